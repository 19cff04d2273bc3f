"""Names, metadata and changes of columns where reports land: in Parquet files and in tables, by one contract."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.contract import Contract, metadata_of, snake_case
from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.formats.columns import columns_of
from airflow_reportrun.landing.formats.parquet import write_parquet
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportToSqlOperator
from airflow_reportrun.reporting.errors import ContentsError, LandingConflictError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.databases import Warehouse
from tests.landings import as_stripe_writes, day, land
from tests.task_runner import TaskRunner, Try, in_dag

SNAKE, JSON, FROZEN = Contract(naming="snake_case"), Contract(metadata="json"), Contract(schema="freeze")
BOTH = Contract(naming="snake_case", metadata="json")
FORMS = [Contract(), SNAKE, JSON, BOTH]
ORDER, ODD = "payment_metadata[order_id]", "payment_metadata[order-id]"
ODD_NAME = snake_case(ODD)
REPORT = "balance_change_from_activity.itemized.3"

TEXT = st.text(
    st.one_of(st.sampled_from('",\n\\\t\x01\x7f é李{}'), st.characters(exclude_categories=["Cs", "Cc"]))
)
HEADERS = st.lists(
    st.one_of(
        st.sampled_from(["description", "Net", "currency", "x y"]),
        st.builds("{}_metadata[{}]".format, st.sampled_from(["payment", "refund"]), TEXT),
    ),
    min_size=1,
    max_size=5,
    unique=True,
)


Rows = list[dict[str, str | None]]


def expected(contract: Contract, row: dict[str, str | None]) -> dict[str, Any]:
    """Return what becomes of a row of texts."""
    kept: dict[str, Any] = {}
    for column, cell in row.items():
        found = metadata_of(column)
        if found and contract.metadata == "json":
            objects = kept.setdefault(found[0], {})
            if cell is not None:
                objects[found[1]] = cell
        else:
            kept[snake_case(column) if contract.naming == "snake_case" else column] = cell
    return {
        name: json.dumps(it, sort_keys=True, ensure_ascii=False) if isinstance(it, dict) else it
        for name, it in kept.items()
    }


def parquet_of(rows: Sequence[dict[str, str | None]], contract: Contract) -> bytes:
    file = io.BytesIO()
    whole = as_stripe_writes([list(rows[0]), *(list(row.values()) for row in rows)])
    write_parquet([whole], file, contract=contract)
    return file.getvalue()


@settings(deadline=None, max_examples=60)
@given(st.data(), HEADERS, st.sampled_from(FORMS), st.sampled_from([1, 1 << 20]))
def test_what_is_kept_in_a_file_is_what_stripe_wrote(
    data: st.DataObject, header: list[str], contract: Contract, block: int
) -> None:
    """By each naming, and as JSON: NULL is left out of that, and the empty text is not."""
    cells = st.lists(st.none() | TEXT, min_size=len(header), max_size=len(header))
    rows = [dict(zip(header, row, strict=True)) for row in data.draw(st.lists(cells, min_size=1, max_size=6))]
    with mock.patch.object(typed, "BLOCK_SIZE", block):
        table = pyarrow.parquet.read_table(io.BytesIO(parquet_of(rows, contract)))
    assert table.to_pylist() == [expected(contract, row) for row in rows]


def test_engines_read_the_names_and_the_json(tmp_path: Path) -> None:
    """DuckDB folds case, and queries the JSON."""
    row: dict[str, str | None] = {"X": "1", "x": "2", ODD: 'a"b', ODD.upper(): "c"}
    (tmp_path / "snake.parquet").write_bytes(parquet_of([row], SNAKE))
    (tmp_path / "json.parquet").write_bytes(parquet_of([{ORDER: 'a"b', ODD: None}], BOTH))
    names = [snake_case(name) for name in row]
    with duckdb.connect() as engine:
        found = engine.sql(f"SELECT {', '.join(names)} FROM '{tmp_path}/snake.parquet'").fetchall()  # noqa: S608
        assert found == [tuple(row.values())]
        query = f"SELECT payment_metadata->>'order_id', json_keys(payment_metadata) FROM '{tmp_path}/json.parquet'"  # noqa: S608
        assert engine.sql(query).fetchall() == [('a"b', ["order_id"])]


@pytest.mark.parametrize("contract", FORMS)
def test_what_is_kept_in_a_table_is_what_stripe_wrote(warehouse: Warehouse, contract: Contract) -> None:
    """Also in the columns that a later interval brings, and where the first was landed anew."""
    first: Rows = [{"description": "a", ORDER: "1", ODD: None}, {"description": "b", ORDER: None, ODD: 'x"\\'}]
    second: Rows = [{"description": "c", ORDER: "", "payment_metadata[Size]": "ü\n", "refund_metadata[why]": "z"}]
    for rows, run_id, start in ((first, "frr_1", 1), (second, "frr_2", 2), (first, "frr_3", 1)):
        cells = [list(row.values()) for row in rows]
        land(warehouse.hook, list(rows[0]), cells, run_id, contract=contract, start=day(start), end=day(start + 1))
    wanted = [expected(contract, row) for row in (*first, *second)]
    names = list(dict.fromkeys(name for row in wanted for name in row))
    quoted = ", ".join(f'"{name}"' for name in names)
    found = warehouse.query(f"SELECT {quoted} FROM activity ORDER BY description")  # noqa: S608 - ours
    assert found == [tuple(row.get(name) for name in names) for row in wanted]


def test_the_json_is_queried_in_sql(warehouse: Warehouse) -> None:
    """With what each database has for texts that are JSON."""
    land(warehouse.hook, ["description", ORDER], [["a", "6735"], ["b", None]], contract=BOTH)
    query = {
        **dict.fromkeys(
            ("sqlite", "duckdb"), "SELECT payment_metadata ->> 'order_id' FROM activity ORDER BY description"
        ),
        "postgresql": "SELECT payment_metadata::jsonb ->> 'order_id' FROM activity ORDER BY description",
        "mariadb": "SELECT JSON_VALUE(payment_metadata, '$.order_id') FROM activity ORDER BY description",
    }[warehouse.name]
    assert warehouse.query(query) == [("6735",), (None,)]


def test_a_table_tells_no_letters_case_apart_in_snake_case(sqlite: Warehouse) -> None:
    """What is refused by Stripe's names lands there."""
    header = ["payment_metadata[Id]", "payment_metadata[id]"]
    with pytest.raises(ContentsError, match="would be the same there"):
        land(sqlite.hook, header, [["a", "b"]])
    land(sqlite.hook, header, [["a", "b"]], contract=SNAKE)
    assert sqlite.query(f"SELECT {snake_case(header[0])}, payment_metadata__id FROM activity") == [("a", "b")]  # noqa: S608


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (
            Contract(),
            SNAKE,
            r"naming='snake_case' .* 'payment_metadata\[order_id\]' is 'payment_metadata__order_id'",
        ),
        (SNAKE, Contract(), r"naming='stripe' .* 'payment_metadata__order_id' is 'payment_metadata\[order_id\]'"),
        (Contract(), JSON, r"metadata='json', .* 'payment_metadata\[order_id\]' is 'payment_metadata'"),
        (BOTH, SNAKE, r"metadata='columns', .* 'payment_metadata' is 'payment_metadata__order_id'"),
    ],
)
def test_a_table_in_another_form_is_refused(sqlite: Warehouse, before: Contract, now: Contract, said: str) -> None:
    """Whichever interval comes, and nothing changes: one column would be two."""
    land(sqlite.hook, ["net", ORDER], [["1.00", "a"]], contract=before)
    rows = sqlite.query("SELECT * FROM activity")
    for start in (1, 2):
        with pytest.raises(LandingConflictError, match=said):
            land(
                sqlite.hook,
                ["net", ORDER],
                [["2.00", "b"]],
                "frr_2",
                contract=now,
                start=day(start),
                end=day(start + 1),
            )
    assert sqlite.query("SELECT * FROM activity") == rows
    land(
        sqlite.hook, ["net"], [["3.00"]], "frr_3", contract=now, start=day(3), end=day(4)
    )  # moot without metadata


def test_a_renamed_column_is_taken_by_its_new_name(sqlite: Warehouse) -> None:
    """So a table goes over to other names, as the error says."""
    land(sqlite.hook, ["net", ORDER], [["1.00", "a"]])
    sqlite.query(f'ALTER TABLE activity RENAME COLUMN "{ORDER}" TO {snake_case(ORDER)}')
    land(sqlite.hook, ["net", ORDER], [["2.00", "b"]], "frr_2", contract=SNAKE, start=day(2), end=day(3))
    assert sqlite.query("SELECT payment_metadata__order_id FROM activity ORDER BY net") == [("a",), ("b",)]


def test_a_frozen_table_refuses_what_would_change_it(warehouse: Warehouse) -> None:
    """All of it is named, and neither the table nor a row changes; it is created by the first report."""
    land(warehouse.hook, ["net", "description", "created"], [["1.00", "a", None]], contract=FROZEN)
    if warehouse.name != "sqlite":  # whose texts may be any kind
        warehouse.query("ALTER TABLE activity DROP COLUMN created")
        warehouse.query("ALTER TABLE activity ADD COLUMN created text")
    before = warehouse.query("SELECT * FROM activity")
    header, cells = (
        ["net", "description", "created", "fee", ORDER],
        ["2.00", "b", "2024-05-01 00:00:00", "0.10", "c"],
    )
    said = r"lacks 'fee' \(money\(6\)\), 'payment_metadata\[order_id\]' \(text\)"
    said += "" if warehouse.name == "sqlite" else "; its 'created' is .*TEXT.*, and the report's is timestamp"
    with pytest.raises(ContentsError, match=said):
        land(warehouse.hook, header, [cells], "frr_2", contract=FROZEN)
    assert warehouse.query("SELECT * FROM activity") == before
    kinds = {"created": "text"}
    land(warehouse.hook, header[:3], [cells[:3]], "frr_2", contract=FROZEN, column_types=kinds)
    land(warehouse.hook, header, [cells], "frr_3", column_types=kinds)
    land(warehouse.hook, header, [cells], "frr_4", contract=FROZEN, column_types=kinds)


def test_new_metadata_changes_no_frozen_json(sqlite: Warehouse) -> None:
    """A key that nobody had before is in the column that is there."""
    frozen = Contract(metadata="json", schema="freeze")
    land(sqlite.hook, ["net", ORDER], [["1.00", "a"]], contract=frozen)
    land(sqlite.hook, ["net", ODD], [["2.00", "b"]], "frr_2", contract=frozen, start=day(2), end=day(3))
    assert sqlite.query("SELECT payment_metadata FROM activity ORDER BY net") == [
        ('{"order_id": "a"}',),
        ('{"order-id": "b"}',),
    ]


COLUMNS = ("balance_transaction_id", "net", ORDER)


@pytest.fixture
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


def finished(number: int = 1, columns: Sequence[str] = COLUMNS) -> str:
    hook = StripeReportingHook()
    asked = ReportParameters(interval_start=day(number), interval_end=day(number + 1), columns=columns)
    return hook.retrieve_report_run(hook.create_report_run(REPORT, asked).id).id


def to_parquet(run_id: str, root: object, **options: Any) -> Try:
    given = {"report_run_id": run_id, "destination": str(root), "format": "parquet", **options}
    return TaskRunner().run(in_dag(StripeReportDownloadOperator, **given))


def to_table(run_id: str, **options: Any) -> Try:
    given = {"report_run_id": run_id, "table": "activity", "conn_id": "warehouse", **options}
    return TaskRunner().run(in_dag(StripeReportToSqlOperator, **given))


def contents(sandbox: StripeSandbox) -> int:
    return len(sandbox.requests_to("contents"))


def test_the_operators_take_templates_of_the_contract(
    sandbox: StripeSandbox, tmp_path: Path, sqlite: Warehouse
) -> None:
    """One way for files and tables; the manifest keeps Stripe's names and says which are there."""
    options = {"naming": "{{ 'snake_case' }}", "metadata": "{{ 'json' }}", "schema": "{{ 'freeze' }}"}
    run_id = finished()
    filed, tabled = to_parquet(run_id, f"{tmp_path}/lake/", **options), to_table(run_id, **options)
    assert (filed.state, tabled.state) == ("success", "success"), (filed.error, tabled.error)
    table = pyarrow.parquet.read_table(filed.returned["path"], partitioning=None)
    assert table.column_names == ["balance_transaction_id", "net", "payment_metadata"]
    ((found,),) = sqlite.query("SELECT count(DISTINCT payment_metadata) FROM activity")
    assert found == len(set(table["payment_metadata"].to_pylist())) > 1
    ((told,),) = sqlite.query("SELECT manifest FROM stripe_report_landings WHERE landing <> ''")
    (note,) = (tmp_path / "lake_manifests").rglob("*.json")
    for manifest in (json.loads(told), json.loads(note.read_text())):
        assert manifest["columns"] == list(COLUMNS)
        assert (manifest["naming"], manifest["metadata"]) == ("snake_case", "json")
        assert manifest["column_types"] == {**dict.fromkeys(COLUMNS, "text"), "net": "money(6)"}
    downloads = contents(sandbox)
    assert to_parquet(run_id, f"{tmp_path}/lake/", **options).returned == filed.returned
    assert to_table(run_id, **options).returned == tabled.returned
    assert contents(sandbox) == downloads


def test_a_word_that_is_none_is_refused(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """When the file is parsed, or where a template came to it."""
    for words in ({"naming": "camelCase"}, {"metadata": "none"}, {"schema": "strict"}):
        (name,) = words
        with pytest.raises(Exception, match=f"{name} is one of "):
            to_parquet("frr_1", tmp_path / "x.parquet", **words)
        tried = to_parquet(finished(), tmp_path / "x.parquet", **{name: f"{{{{ '{words[name]}' }}}}"})
        assert f"{name} is '" in str(tried.error)
    assert contents(sandbox) == 0


@pytest.mark.parametrize("options", [{"naming": "snake_case"}, {"metadata": "json"}, {"schema": "freeze"}])
def test_csv_is_as_stripe_wrote_it(sandbox: StripeSandbox, tmp_path: Path, options: dict[str, Any]) -> None:
    """The options are for what has types."""
    tried = to_parquet(finished(), tmp_path / "x.csv", format="csv", **options)
    assert "are for the format parquet; csv is as Stripe wrote it" in str(tried.error)


def test_types_of_what_is_text_in_json_are_refused(
    sandbox: StripeSandbox, tmp_path: Path, sqlite: Warehouse
) -> None:
    """They would be asked for in vain."""
    options = {"metadata": "json", "column_types": {ORDER: "integer"}}
    for tried in (to_parquet(finished(), tmp_path / "x.parquet", **options), to_table(finished(), **options)):
        assert f"column_types has types for '{ORDER}'" in str(tried.error)
    assert contents(sandbox) == 0


def test_a_file_in_another_form_is_landed_anew(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """As one of another type is; so a lake goes over to other names by clearing its tasks."""
    run_id = finished()
    for options in ({}, {"naming": "snake_case"}, {"naming": "snake_case", "metadata": "json"}):
        tried = to_parquet(run_id, tmp_path / "x.parquet", **options)
        assert tried.state == "success", tried.error
        names = Contract(**options).names(Contract(**options).kept(columns_of(COLUMNS, None, "")))
        assert pyarrow.parquet.read_table(tmp_path / "x.parquet").column_names == names
    assert contents(sandbox) == 3


@pytest.mark.parametrize("store", ["/", "memory://frozen/"])
def test_a_frozen_lake_refuses_what_would_change_it(sandbox: StripeSandbox, tmp_path: Path, store: str) -> None:
    """Before the download; the first report makes its schema, and a task that may change it, the next one."""
    root, frozen = f"{store}{str(tmp_path)[1:]}/lake/", {"schema": "freeze"}
    assert to_parquet(finished(2), root, **frozen).state == "success"
    downloads, wider = contents(sandbox), (*COLUMNS, "fee", ODD)
    for number in (1, 2, 3):
        tried = to_parquet(finished(number, wider), root, column_types={"net": "money(2)"}, **frozen)
        said = r"lacks 'fee' \(money\(6\)\), 'payment_metadata\[order-id\]' \(text\); its 'net' is money\(6\)"
        assert re.search(said, str(tried.error)), tried.error
    assert contents(sandbox) == downloads
    top = place_of(f"{root}x")
    assert len(top.files_below(top.folders)) == 1
    assert to_parquet(finished(3), root, **frozen).state == "success"
    assert to_parquet(finished(4, wider), root).state == "success"
    for number in (1, 5):
        tried = to_parquet(finished(number, wider), root, **frozen)
        assert tried.state == "success", tried.error


def test_a_frozen_lake_refuses_a_header_that_was_not_known_before(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """A report that was asked for without columns shows them when it comes, and nothing is in its place."""
    root, frozen = f"{tmp_path}/lake/", {"schema": "freeze"}
    assert to_parquet(finished(1), root, **frozen).state == "success"
    tried = to_parquet(finished(2, ()), root, **frozen)
    assert "lacks 'created' (timestamp)" in str(tried.error)
    assert len([*Path(root).rglob("*.parquet")]) == len([*Path(tmp_path, "lake_manifests").rglob("*.json")]) == 1


def test_other_names_are_no_frozen_lakes(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """A column by another name is one that the lake lacks."""
    root = f"{tmp_path}/lake/"
    assert to_parquet(finished(1), root).state == "success"
    tried = to_parquet(finished(2), root, schema="freeze", naming="snake_case")
    assert f"lacks '{ORDER}' (text)" in str(tried.error)


def test_what_is_landed_elsewhere_can_not_be_frozen(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Outside of the default layout nothing tells which files are of one lake."""
    tried = to_parquet(finished(), tmp_path / "x.parquet", schema="freeze")
    assert "schema='freeze' can't tell what is landed elsewhere than in the default layout" in str(tried.error)
    assert contents(sandbox) == 0
