"""The plugin of Airflow's UI: the page that shows which intervals are landed, for Airflow 3.1.1 and newer.

It is an entry point, since plugins that a provider's description names are loaded only where
``[core] lazy_discover_providers`` is off. Each process of Airflow loads it, so that the page itself is loaded by
the first one who asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PREFIX = "/reportrun"
"""Where the page's server is mounted, behind Airflow's own base path."""


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request to the page's server."""
    from airflow_reportrun.page.server import app

    await app(scope, receive, send)


class StripeReportsPlugin(AirflowPlugin):
    """Adds the page *Stripe reports* to the menu *Browse*."""

    name = "stripe_reports"
    # Airflow declares them as the instance's, and reads the class's.
    fastapi_apps: list[Any] = [{"app": serve, "url_prefix": PREFIX, "name": "Stripe reports"}]  # noqa: RUF012
    react_apps: list[Any] = [  # noqa: RUF012
        {
            "name": "Stripe reports",
            "bundle_url": f".{PREFIX}/static/coverage.js",
            "destination": "nav",
            "category": "browse",
            "url_route": "stripe-reports",
        }
    ]
