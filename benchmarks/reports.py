"""A report to download and to convert."""

from __future__ import annotations

import os
import random
from pathlib import Path

TYPES = {
    **dict.fromkeys(("gross", "fee", "net", "customer_facing_amount"), "money"),
    **dict.fromkeys(("created", "available_on", "charge_created", "created_utc"), "timestamp"),
    "is_link": "boolean",
    "automatic_payout_effective_at": "timestamp",
}
TEXTS = (
    *(
        "balance_transaction_id",
        "currency",
        "reporting_category",
        "description",
        "customer_name",
        "customer_email",
    ),
    *("charge_id", "card_brand", "payment_metadata[order_id]", "invoice_number"),
)
NAMES = (*TEXTS, *TYPES)

DISTINCT = 64 << 20  # bytes; whoever compresses has forgotten them when they come again


def write_report(path: Path, size: int) -> None:
    """Write twenty columns as Stripe does, ``size`` bytes or a little more.

    Rows differ, and some cells are null.
    """
    chance = random.Random(1)  # noqa: S311 - a seed, so that each run has the same bytes
    rows: list[bytes] = []
    distinct = 0
    with path.open("wb") as file:
        file.write(",".join(f'"{name}"' for name in NAMES).encode() + b"\n")
        while file.tell() < size and distinct < DISTINCT:
            rows.append("".join(_line(chance) for _ in range(1000)).encode())
            distinct += file.write(rows[-1])
        again = 0
        while file.tell() < size:
            file.write(rows[again % len(rows)])
            again += 1
        file.flush()
        os.fsync(file.fileno())  # or the first readers would share the disk with what is still to be written


def _line(chance: random.Random) -> str:
    second = chance.randrange(86_400 * 28)
    day, rest = divmod(second, 86_400)
    time_of_day = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    created, at_midnight = f"2024-05-{day + 1:02} {time_of_day}", f"2024-05-{day + 1:02} 00:00:00"
    gross, fee, who = chance.randrange(-100_000, 9_000_000), chance.randrange(90_000), chance.randrange(100_000)
    token = f"{chance.getrandbits(96):024x}"
    description = f'"Order {token[:6]}: Espresso, ""large"""' if second % 3 else ""
    order = f'"{who % 977}"' if who % 2 else ""
    cents = [
        f'"{"-" * (value < 0)}{abs(value) // 100}.{abs(value) % 100:02}"' for value in (gross, fee, gross - fee)
    ]
    return (
        f'"txn_{token}","usd","{"charge" if gross > 0 else "refund"}",{description},"Zoë Müller {who}",'
        f'"{who}@example.com","ch_{token}","visa",{order},,'
        f'{",".join(cents)},{cents[0]},"{created}","{at_midnight}","{created}","{created}","false","{at_midnight}"\n'
    )
