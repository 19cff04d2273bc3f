"""What Airflow discovers of this package; the one description of the connection form."""

from __future__ import annotations

from typing import Any

INTEGRATION = "Stripe Reporting"

_TEXT = {"type": ["string", "null"]}

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "stripe_account": {
        "label": "Account to act as",
        "description": "acct_…: work in the name of this connected account, for platforms.",
        "schema": _TEXT,
    },
    "stripe_context": {
        "label": "Context to act in",
        "description": "acct_… or acct_…/acct_…: the account to act as, for keys of an organization (sk_org_…).",
        "schema": _TEXT,
    },
    "stripe_version": {
        "label": "Stripe API version",
        "description": (
            "Pins the API version, such as 2026-10-28.endive; the account's own when empty. "
            "Keys of an organization need it."
        ),
        "schema": _TEXT,
    },
    "idempotency_scope": {
        "label": "Idempotency scope",
        "description": "Set it where two deployments with the same DAGs share one Stripe account.",
        "schema": _TEXT,
    },
    "timeout": {
        "label": "Time-out",
        "description": "Seconds for each request as a whole, and for each wait in a download (60).",
        "schema": {"type": ["number", "null"], "minimum": 1},
    },
    "files_base_url": {
        "label": "Files base URL",
        "description": "Where files are fetched from, when the host is not Stripe's own.",
        "schema": _TEXT,
    },
    "use_events": {
        "label": "Use events",
        "description": (
            "Let waits ask Stripe's feed of events which report runs have ended, in fewer requests. The key needs "
            "the permission event_read, and may then read customers' objects, too: hence it is off by default."
        ),
        "schema": {"type": ["boolean", "null"]},
    },
    "rate_limit": {
        "label": "Rate limit",
        "description": (
            "Requests a second that Stripe allows the account where it is not 25 (test data) or 100 (live "
            "data). Of these, 60 % are used, so that others have room."
        ),
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
}
"""Fields of the connection's extra that the form shows, by name."""

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "Secret key", "host": "API host"},
    "placeholders": {
        "password": "sk_… or rk_…",
        "host": "https://api.stripe.com",
        "port": "443",
    },
}


ASSET_URI: dict[str, Any] = {
    "schemes": ["stripe"],
    "handler": "airflow_reportrun.assets.sanitize_uri",
    "factory": "airflow_reportrun.assets.create_asset",
    "to_openlineage_converter": "airflow_reportrun.assets.convert_asset_to_openlineage",
}


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow's provider manager asks for."""
    return {
        "package-name": "airflow-provider-reportrun",
        "name": INTEGRATION,
        "description": "Stripe's financial reports: one report run for every data interval.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://docs.stripe.com/reports/api",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": INTEGRATION, "python-modules": ["airflow_reportrun.hooks"]}],
        "operators": [{"integration-name": INTEGRATION, "python-modules": ["airflow_reportrun.operators"]}],
        "sensors": [{"integration-name": INTEGRATION, "python-modules": ["airflow_reportrun.sensors"]}],
        "triggers": [
            {
                "integration-name": INTEGRATION,
                "python-modules": ["airflow_reportrun.event_triggers", "airflow_reportrun.triggers"],
            }
        ],
        "cli": ["airflow_reportrun.cli.definition.get_cli_commands"],
        "extra-links": ["airflow_reportrun.links.StripeRequestLink"],
        "asset-uris": [ASSET_URI],
        "dataset-uris": [ASSET_URI],  # Airflow 2's name for it
        "connection-types": [
            {
                "connection-type": "stripe",
                "hook-class-name": "airflow_reportrun.hooks.StripeReportingHook",
                "hook-name": "Stripe",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
    }
