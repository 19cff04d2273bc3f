"""The commands of ``airflow reportrun`` without Airflow's own around them: ``python -m airflow_reportrun``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the words of a command line say.

    :raises SystemExit: unless all went well.
    """
    from airflow_reportrun.cli.definition import COMMANDS, EXIT_CODES

    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m airflow_reportrun",
        description="Stripe's financial reports.",
        epilog=EXIT_CODES,
        formatter_class=form,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        one = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog,
            formatter_class=form,
        )
        for arg in command.args:
            arg.add_to_parser(one)
        one.set_defaults(func=command.func)
    args = parser.parse_args(argv)
    args.func(args)


if __name__ == "__main__":
    main()
