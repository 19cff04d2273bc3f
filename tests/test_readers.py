"""Lakes in the default layout, read whole by the calls that people type: ``make readers``.

In an environment of its own: where pandas is installed, pyarrow imports it with the first array.
"""

from __future__ import annotations

import importlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.destination import placeholders, resolve_destination
from airflow_reportrun.landing.lake import BOUNDS, gather_manifests
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.deltas import Ledger
from tests.docs_blocks import programs
from tests.docs_tables import hold, table
from tests.icebergs import Books
from tests.lakehouses import Lakehouse
from tests.landings import as_stripe_writes, day
from tests.s3 import S3

pytest.importorskip("polars", reason="make readers installs the readers")

PAGE = Path(__file__).parent.parent / "docs" / "landing.md"
TYPE = "balance_change_from_activity.itemized"
COLUMNS = ("balance_transaction_id", "created", "currency", "fee", "net", "description")
LATER = ("card_brand", "customer_facing_amount")
FIRST = datetime(2024, 5, 1, tzinfo=UTC)
FORMATS = ("parquet", "csv", "csv.gz")
DAYS: list[list[list[str | None]]] = [
    [],  # without rows, its columns are of the same types
    [["txn_0", "2024-05-02 10:00:00", "usd", None, "1", "0815"]],  # where CSV looks like whole numbers
    [
        ["txn_1", "2024-05-03 10:00:00", "usd", "0.30", "9.70", 'said "no",\n' + "and left " * 400],
        ["txn_2", "2024-05-03 11:00:00", "eur", "0.000001", "-3.10", None],
    ],
    [  # more than the blocks that readers take, which end within cells
        [f"txn_3_{n}", "2024-05-04 10:00:00", "usd", "0.30", "1.10", f"{n}:\n" + "and on\n" * 200]
        for n in range(1000)
    ],
    [
        ["txn_4", "2024-05-05 10:00:00", None, "0.30", "12345678901.70", ""],
        ["txn_5", "2024-05-05 11:00:00", "usd", None, "0.01", "übrig"],
    ],
]
ADDED: list[list[str | None]] = [["visa", "9.70"], [None, None]]  # to the rows of the last day, behind the id
NET = sum(Decimal(row[4] or 0) for rows in DAYS for row in rows)
LAYOUTS = ("days", "with a filter", "columns that came later")


@dataclass(frozen=True)
class Lakes:
    """Where the lakes are: the local folder of all, and the same in a bucket."""

    folder: Path
    s3: S3

    def local(self, layout: str, format: str) -> str:
        """Return a root on disk."""
        return str(self.folder / layout.replace(" ", "-") / format.replace(".", "-"))

    def key(self, layout: str, format: str) -> str:
        """Return a root in the bucket, from the bucket on."""
        return f"{self.s3.bucket}/lakes/{layout.replace(' ', '-')}/{format.replace('.', '-')}"


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Iterator[Lakes]:
    """Each layout in each format, landed with our code."""
    lakes = Lakes(tmp_path_factory.mktemp("lakes"), s3)
    source = tmp_path_factory.mktemp("source") / "report.csv"
    with StripeSandbox(transition=AtOnce()) as sandbox, pytest.MonkeyPatch.context() as patch:
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
        patch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        for layout in LAYOUTS:
            for day, rows in enumerate(DAYS):
                names: tuple[str, ...] = COLUMNS
                version = 3
                if layout == LAYOUTS[2] and day == len(DAYS) - 1:
                    names, version = (COLUMNS[0], *LATER, *COLUMNS[1:]), 4
                    rows = [[row[0], *more, *row[1:]] for row, more in zip(rows, ADDED, strict=True)]
                source.write_bytes(as_stripe_writes([names, *rows]))
                sandbox.serve_file(source)
                for format in FORMATS:
                    for root in (lakes.local(layout, format), f"s3://{s3.conn_id}@{lakes.key(layout, format)}"):
                        options: dict[str, Any] = {"currency": "usd"} if layout == LAYOUTS[1] else {}
                        land(root, day, format, version, columns=names, **options)
        with zipfile.ZipFile(source.with_name("report.zip"), "w") as packed:
            packed.write(source, "report.csv")
        sandbox.serve_file(source.with_name("report.zip"))
        land(str(lakes.folder / "zip"), 0, "csv", 3, compress=True)
        yield lakes


def land(root: str, day: int, format: str, version: int, *, compress: bool = False, **options: Any) -> None:
    hook = StripeReportingHook()
    start = int((FIRST + timedelta(days=day)).timestamp())
    parameters = ReportParameters(interval_start=start, interval_end=start + 86400, **options)
    run = replace(hook.create_report_run(f"{TYPE}.3", parameters), report_type=f"{TYPE}.{version}")
    if compress:
        run = replace(run, parameters={**run.parameters, "compress_file": True})
    bounds = {name: datetime.fromtimestamp(run.parameters[name], UTC) for name in BOUNDS}
    values = placeholders(run.report_type, run.parameters, bounds, stripe_account=None, report_run_id=run.id)
    place = place_of(resolve_destination(f"{root}/", values, format, compressed=compress))
    land_report(hook, run, place, format=format)


Rows = list[dict[str, Any]]
Reader = Callable[[str, S3 | None], Rows]


def duckdb(sql: str) -> Reader:
    def read(root: str, s3: S3 | None) -> Rows:
        found = importlib.import_module("duckdb").sql(sql.replace("{root}", root))
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    return read


def python(expression: str) -> Reader:
    """Return what evaluates a call of polars, pandas or pyarrow, and gives its rows."""

    def read(root: str, s3: S3 | None) -> Rows:
        names: dict[str, Any] = {"glob": glob, "newest": newest(root)}
        for name in ("pandas", "polars"):
            names[name] = importlib.import_module(name)
        (program,) = (it for it in programs("docs/landing.md") if it.startswith("import pyarrow\n"))
        exec(program, names)  # noqa: S102 - our own page
        text = expression.replace("{root}", root)
        if s3:
            told = text.replace(HIVE.format(root=root), f"{HIVE.format(root=root)}, **there")
            text = told if told != text else text.replace(")", ", **there)", 1)
            names["there"] = told_of_s3(s3, expression)
        found = eval(text, names)  # noqa: S307 - our own
        found = found.collect() if hasattr(found, "collect") else found
        if expression.startswith("pandas"):
            return list(found.astype(object).where(found.notna(), None).to_dict("records"))
        return list(found.to_dicts() if expression.startswith("polars") else found.to_pylist())

    return read


def spark(expression: str) -> Reader:
    def read(root: str, s3: S3 | None) -> Rows:
        session = importlib.import_module("pyspark.sql").SparkSession
        building = session.builder.master("local[1]").config("spark.ui.enabled", "false")
        running = building.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
        expr = importlib.import_module("pyspark.sql.functions").expr
        found = eval(expression.replace("{root}", root), {"spark": running, "expr": expr})  # noqa: S307 - our own
        return [row.asDict() for row in found.collect()]

    return read


def newest(root: str) -> str:
    """Return the last file below a root on disk, whose columns are the latest."""
    return max((str(it) for it in Path(root).rglob("report.*")), default="")


def told_of_s3(s3: S3, expression: str) -> dict[str, Any]:
    """Return what a reader has to be told of the bucket."""
    key = secret = "testing"
    if expression.startswith("pandas"):
        return {"storage_options": {"key": key, "secret": secret, "client_kwargs": {"endpoint_url": s3.url}}}
    if expression.startswith("polars"):
        account = {"aws_access_key_id": key, "aws_secret_access_key": secret, "aws_region": "us-east-1"}
        return {"storage_options": {**account, "aws_endpoint_url": s3.url, "aws_allow_http": "true"}}
    fs = importlib.import_module("pyarrow.fs")
    return {"filesystem": fs.S3FileSystem(access_key=key, secret_key=secret, endpoint_override=s3.url)}


@dataclass(frozen=True)
class Call:
    """A call that reads a whole root.

    :param shown: as people type it.
    :param formats: of the lakes that it is for.
    :param read: does it.
    :param bucket: what a root in a bucket begins with; None where the reader is not tried there.
    :param has_folders: the folders become columns.
    :param takes_later: it is for lakes whose columns changed.
    :param gives: see :func:`outcome`.
    """

    shown: str
    formats: tuple[str, ...]
    read: Reader
    bucket: str | None = None
    has_folders: bool = True
    takes_later: bool = False
    gives: str = "all"


def calls(
    reader: Callable[[str], Reader],
    formats: tuple[str, ...],
    *shown: str,
    later: Sequence[str] = (),
    **options: Any,
) -> list[Call]:
    plain = [Call(it, formats, reader(it), **options) for it in shown]
    options["bucket"] = None
    return [*plain, *(Call(it, formats, reader(it), takes_later=True, **options) for it in later)]


HIVE = 'dataset("{root}", partitioning="hive"'
PARQUET, CSVS = ("parquet",), ("csv", "csv.gz")
FLOAT, TEXT = "all, money as float", "all, as text"
TYPED = "types={'net': 'DECIMAL(38, 6)'}"
OVERRIDES = 'schema_overrides={"net": polars.Decimal(38, 6)}'
PATTERN = 'glob("{root}/**/*.parquet", recursive=True)'
SPARK = """spark.read.options(header=True, multiLine=True, escape='"').csv("{root}")"""
CALLS = [
    *calls(
        duckdb,
        PARQUET,
        "FROM read_parquet('{root}/**')",
        "FROM read_parquet('{root}/**/*.parquet')",
        later=["FROM read_parquet('{root}/**', union_by_name=true)"],
    ),
    *calls(
        duckdb,
        CSVS,
        "FROM read_csv('{root}/**')",
        "FROM read_csv('{root}/**/*.csv*')",
        gives=FLOAT,
    ),
    *calls(
        duckdb,
        CSVS,
        f"FROM read_csv('{{root}}/**', {TYPED})",
        later=[f"FROM read_csv('{{root}}/**', {TYPED}, union_by_name=true)"],
    ),
    *calls(
        python,
        PARQUET,
        'polars.read_parquet("{root}/")',
        'polars.scan_parquet("{root}/")',
        later=[
            'polars.scan_parquet("{root}/", schema=polars.read_parquet_schema(newest), missing_columns="insert")'
        ],
        bucket="s3://",
    ),
    *calls(python, CSVS, 'polars.read_csv("{root}/**/*.csv*")', has_folders=False, gives=TEXT),
    *calls(
        python,
        CSVS,
        f'polars.read_csv("{{root}}/**/*.csv*", {OVERRIDES})',
        later=[f'polars.scan_csv("{{root}}/**/*.csv*", {OVERRIDES}, missing_columns="insert")'],
        has_folders=False,
    ),
    *calls(
        python,
        PARQUET,
        'pandas.read_parquet("{root}")',
        later=[f'pandas.read_parquet("{{root}}", schema=merged({HIVE})))'],
        bucket="s3://",
    ),
    *calls(
        python,
        CSVS,
        later=['pandas.concat(map(pandas.read_csv, glob("{root}/**/*.csv*", recursive=True)))'],
        has_folders=False,
        gives="other texts",
    ),
    *calls(
        python,
        CSVS,
        later=['pandas.concat(pandas.read_csv(it, dtype=str) for it in glob("{root}/**/*.csv*", recursive=True))'],
        has_folders=False,
        gives=TEXT,
    ),
    *calls(
        python,
        PARQUET,
        f"{HIVE}).to_table()",
        later=[f"{HIVE}, schema=merged({HIVE}))).to_table()"],
        bucket="",
    ),
    *calls(python, CSVS, f'{HIVE}, format="csv").to_table()', bucket="", gives="refused"),
    *calls(
        python,
        CSVS,
        f"{HIVE}, format=csv, schema=merged({HIVE}, format=csv))).to_table()",
        bucket="",
        takes_later=True,
    ),
    *calls(
        spark,
        PARQUET,
        'spark.read.parquet("{root}")',
        later=['spark.read.option("mergeSchema", "true").parquet("{root}")'],
    ),
    *calls(spark, CSVS, SPARK, gives=TEXT),
    *calls(spark, CSVS, f"""{SPARK}.withColumn("net", expr("CAST(net AS DECIMAL(38, 6))"))"""),
]


def outcome(call: Call, layout: str, root: str, s3: S3 | None = None) -> str:
    """Say in a word or a few what a reader makes of a root: "all" are all rows, with money in decimals."""
    try:
        rows = call.read(root, s3)
    except Exception:
        return "refused"
    wanted = [row for day in DAYS for row in day]
    if len(rows) != len(wanted):
        return f"{len(rows)} rows of {len(wanted)}"
    try:
        net = sum(Decimal(str(row["net"])) for row in rows)
    except InvalidOperation:
        net = None
    if net != NET:
        return "other amounts"
    if {row["description"] or "" for row in rows} != {row[5] or "" for row in wanted}:
        return "other texts"
    days = {f"{FIRST + timedelta(days=day):%Y-%m-%dT%H-%M-%SZ}" for day, rows in enumerate(DAYS) if rows}
    if call.has_folders and {row.get("interval_start") for row in rows} != days:
        return "other folders"
    if layout == LAYOUTS[2] and "visa" not in {row.get(LATER[0]) for row in rows}:
        return "without the later columns"
    if {type(cell) for row in rows for cell in row.values() if cell is not None} == {str}:
        return TEXT
    kinds = {type(row["net"]) for row in rows}
    return "all" if kinds == {Decimal} else f"all, money as {' and '.join(sorted(it.__name__ for it in kinds))}"


@cache
def outcomes(call: Call, lakes: Lakes) -> list[str]:
    """Return what a reader makes of each layout on disk, and of the first one in a bucket."""
    if call.read.__qualname__.startswith("spark") and not shutil.which("java"):
        pytest.skip("Spark takes a java")
    found = [
        " / ".join(dict.fromkeys(outcome(call, layout, lakes.local(layout, it)) for it in call.formats))
        for layout in LAYOUTS
    ]
    if call.bucket is None:
        return [*found, "not tried"]
    roots = [call.bucket + lakes.key(LAYOUTS[0], it) for it in call.formats]
    return [*found, " / ".join(dict.fromkeys(outcome(call, LAYOUTS[0], it, lakes.s3) for it in roots))]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.shown)
def test_a_reader_finds_all_of_a_lake(lakes: Lakes, call: Call) -> None:
    """All rows, exact amounts, texts, and folders as text; later columns by the call that is for them.

    Where a reader falls short of that, the docs have another call.
    """
    days, filtered, later, bucket = outcomes(call, lakes)
    assert (days, filtered) == (call.gives, call.gives)
    assert bucket == ("not tried" if call.bucket is None else call.gives)
    assert later == call.gives or not call.takes_later


def test_the_table_of_readers_is_what_they_do(lakes: Lakes) -> None:
    """Call by call, as it stands in the docs."""
    rows = [
        [f"`{call.shown.replace('{root}', 'root')}`", ", ".join(call.formats), *outcomes(call, lakes)]
        for call in CALLS
    ]
    header = ["call", "format", LAYOUTS[0], LAYOUTS[1], LAYOUTS[2], f"{LAYOUTS[0]} in a bucket"]
    hold(PAGE, "readers", table(header, rows))


@pytest.mark.parametrize(
    ("reader", "shown"),
    [
        (duckdb, "FROM read_parquet('{root}/report_type=*/**')"),
        (duckdb, "FROM read_parquet('{root}/**/*.parquet')"),
        (python, 'polars.read_parquet("{root}/**/*.parquet", hive_partitioning=True)'),
        (python, 'pandas.read_parquet("{root}")'),
        (python, f"{HIVE}).to_table()"),
    ],
)
def test_a_root_with_its_manifests_below_it_is_read_by_patterns(
    lakes: Lakes, tmp_path: Path, reader: Callable[[str], Reader], shown: str
) -> None:
    """As a whole bucket or a mounted volume is."""
    root = Path(lakes.local(LAYOUTS[0], "parquet"))
    shutil.copytree(root, tmp_path / "root")
    shutil.copytree(root.with_name(f"{root.name}_manifests"), tmp_path / "root" / "_manifests")
    call = Call(shown, PARQUET, reader(shown))
    assert outcome(call, LAYOUTS[0], str(tmp_path / "root")) == "all"


@pytest.mark.parametrize(
    ("reader", "format", "shown"),
    [
        (duckdb, "parquet", "FROM read_parquet('{root}/**/*.parquet')"),
        (duckdb, "csv", f"FROM read_csv('{{root}}/**/*.csv*', {TYPED})"),
        (python, "parquet", 'polars.read_parquet("{root}/**/*.parquet", hive_partitioning=True)'),
        (python, "csv", f'polars.read_csv("{{root}}/**/*.csv*", {OVERRIDES})'),
        (python, "parquet", f'pandas.read_parquet({PATTERN}, partitioning="hive")'),
        (python, "parquet", f'dataset({PATTERN}, partitioning="hive").to_table()'),
    ],
)
def test_parquet_and_csv_in_one_root_are_read_by_patterns(
    lakes: Lakes, tmp_path: Path, reader: Callable[[str], Reader], format: str, shown: str
) -> None:
    """Each for itself."""
    for it in ("parquet", "csv"):
        shutil.copytree(lakes.local(LAYOUTS[0], it), tmp_path / "root", dirs_exist_ok=True)
    call = Call(shown, (format,), reader(shown), has_folders=not shown.startswith("polars.read_csv"))
    assert outcome(call, LAYOUTS[0], str(tmp_path / "root")) == "all"


@pytest.mark.parametrize(
    ("reader", "shown"),
    [(duckdb, "FROM read_parquet('{root}/**')"), (python, 'polars.read_parquet("{root}/")')],
)
def test_a_lake_of_an_earlier_version_is_read_when_its_manifests_are_gathered(
    tmp_path: Path, reader: Callable[[str], Reader], shown: str
) -> None:
    """What lies beside the data keeps readers of the whole root out until then."""
    root = str(shutil.copytree(Path(__file__).parent / "old_lake" / "parquet", tmp_path / "root"))
    with pytest.raises(Exception, match=r"No magic bytes|different file extensions"):
        reader(shown)(root, None)
    files = [it for it in Path(root).rglob("report.parquet") if it.is_file()]
    assert gather_manifests(root) == len(files)
    pyarrow = importlib.import_module("pyarrow.parquet")
    assert len(reader(shown)(root, None)) == sum(pyarrow.read_metadata(it).num_rows for it in files) > 0


def test_a_zip_holds_what_stripe_compressed(lakes: Lakes) -> None:
    """In a root of its own, under its name."""
    (path,) = (it for it in (lakes.folder / "zip").rglob("*") if it.is_file())
    assert path.name == "report.zip"
    with zipfile.ZipFile(path) as packed:
        assert packed.namelist() == ["report.csv"]


@pytest.mark.parametrize("call", ["scan_iceberg(table)", 'read_delta("/data/lake/activity")'])
def test_polars_reads_a_table_of_a_lakehouse(tmp_path: Path, call: str) -> None:
    """All rows with their types, columns that came later, and those that a filter asks for."""
    page = "iceberg.md" if "iceberg" in call else "delta.md"
    assert f"`polars.{call}`" in (PAGE.parent / page).read_text(encoding="utf-8")
    lakehouse: Lakehouse = Books(tmp_path) if "iceberg" in call else Ledger(f"{tmp_path}/activity")
    for run, (number, rows) in enumerate([*enumerate(DAYS, 1), (3, DAYS[2][::-1])], 1):
        names: tuple[str, ...] = COLUMNS
        if number == len(DAYS):
            names, rows = (*COLUMNS, *LATER), [[*row, *more] for row, more in zip(rows, ADDED, strict=True)]
        lakehouse.land(names, rows, f"frr_{run}", start=day(number), end=day(number + 1))
    polars = importlib.import_module("polars")
    shown = f"polars.{call}".replace("/data/lake", str(tmp_path))
    found = eval(shown, {"polars": polars, "table": lakehouse.native()}).lazy()  # noqa: S307 - our own
    wanted = [row for rows in DAYS for row in rows]
    texts = found.select("balance_transaction_id", "currency", "description").collect().rows()
    assert sorted(texts, key=repr) == sorted(((row[0], row[2], row[5]) for row in wanted), key=repr)
    assert found.select(polars.col("net").sum()).collect().item() == NET
    for asked, count in (
        (polars.col("fee") == Decimal("0.000001"), 1),
        (polars.col("_report_run_id") == "frr_6", 2),
        (polars.col("_interval_start") >= FIRST + timedelta(days=3), len(DAYS[3]) + len(DAYS[4])),
        (polars.col("created") == FIRST + timedelta(days=2, hours=11), 1),
        (polars.col("card_brand").is_null(), len(wanted) - 1),
        (polars.col("description") == "", 1),
    ):
        assert found.filter(asked).collect().height == count, asked
