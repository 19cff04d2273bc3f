"""What a report is called as an asset: ``stripe://<account>/reporting/<report_type>``.

The account is ``acct_…``; where only the key knows it, the id of the Airflow connection stands in its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.sdk import Asset

SCHEME = "stripe"

_WHOSE = re.compile(r"acct_\w+|(?!acct_)(?:[\w.~-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_REPORT_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


def report_uri(account: str, report_type: str) -> str:
    """Return the URI of a report.

    :param account: ``acct_…``, or the id of an Airflow connection for the account of its key.
    :param report_type: such as ``balance.summary.1``.
    """
    return f"{SCHEME}://{quote(account, safe='')}/reporting/{report_type}"


def create_asset(*, account: str, report_type: str, extra: Mapping[str, Any] | None = None) -> Asset:
    """Return a report as an asset.

    :param account: ``acct_…``, or the id of an Airflow connection for the account of its key.
    :param report_type: such as ``balance.summary.1``.
    :param extra: what else the asset says of itself, JSON.
    :raises ValueError: when there can be no such report.
    """
    from airflow.providers.common.compat.sdk import Asset

    sanitize_uri(urlsplit(report_uri(account, report_type)))
    return Asset(uri=report_uri(account, report_type), extra=dict(extra or {}))


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the one spelling of a report's URI; Airflow asks for it where a DAG file has one.

    :raises ValueError: when it is no report's, saying why.
    """
    kind, _, report_type = uri.path.strip("/").lower().partition("/")
    if not _WHOSE.fullmatch(uri.netloc):
        wrong = f"{uri.netloc!r} is neither an account (acct_…) nor the id of an Airflow connection"
    elif kind != "reporting" or not _REPORT_TYPE.fullmatch(report_type):
        wrong = f"{uri.path!r} is no /reporting/ with a report type behind it, such as balance.summary.1"
    elif uri.query or uri.fragment:
        wrong = "nothing follows the report type"
    else:
        return uri._replace(path=f"/reporting/{report_type}")
    raise ValueError(f"The URI of an asset of Stripe is stripe://<account>/reporting/<report_type>: {wrong}.")


def dataset_name(asset_uri: str) -> tuple[str, str]:
    """Return the namespace and the name by which OpenLineage knows a report."""
    parts = urlsplit(asset_uri)
    return f"{SCHEME}://{parts.netloc}", parts.path.strip("/")


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Any:
    """Return the dataset of OpenLineage that an asset is; its provider asks for those of inlets and outlets.

    :param lineage_context: of no use here.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, name = dataset_name(asset.uri)
    return Dataset(namespace=namespace, name=name)
