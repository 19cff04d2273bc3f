"""What an Airflow connection of type ``stripe`` says, checked once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from airflow_reportrun import __version__
from airflow_reportrun.get_provider_info import CONN_FIELDS
from airflow_reportrun.reporting.errors import ConfigurationError

API_BASE_URL = "https://api.stripe.com"
FILES_BASE_URL = "https://files.stripe.com"
DEFAULT_TIMEOUT = 60.0
LONGEST_TIMEOUT = 86400.0

EXTRA_FIELDS = (*CONN_FIELDS, "proxies", "verify", "cert", "trust_env")
"""What the connection's extra may hold: the fields of the form, and what requests calls the same."""


_EXPECTED = {"stripe_account": "the id of an account (acct_…)", "stripe_version": "an API version"}


class AirflowConnection(Protocol):
    """The fields of an Airflow connection that are read here."""

    conn_id: Any
    host: Any
    schema: Any
    login: Any
    password: Any
    port: Any


@dataclass(frozen=True)
class ConnectionSettings:
    """A connection of type ``stripe``, ready for use.

    :param api_key: the secret key; never shown.
    :param api_base_url: scheme, host and port of the API, without a slash at the end.
    :param files_base_url: the same for the contents of files.
    :param stripe_account: the account to act as, ``acct_…``.
    :param stripe_version: the API version to ask for.
    :param idempotency_scope: part of the identity of each report run.
    :param timeout: seconds for an exchange with the API as a whole, and for each wait in a download.
    :param proxies: by scheme, as requests takes them.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param cert: client certificate, or certificate and key.
    :param trust_env: whether proxies and CA bundles of the environment count.
    """

    api_key: str = field(repr=False)
    api_base_url: str = API_BASE_URL
    files_base_url: str = FILES_BASE_URL
    stripe_account: str | None = None
    stripe_version: str | None = None
    idempotency_scope: str = ""
    timeout: float = DEFAULT_TIMEOUT
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    trust_env: bool = True

    @property
    def livemode(self) -> bool | None:
        """Whether the key is one for live data, None where its prefix doesn't tell."""
        return {"live": True, "test": False}.get(self.api_key.split("_")[1])

    def headers(self) -> dict[str, str]:
        """Return the headers that go with each request, the key's aside."""
        named = {"Stripe-Account": self.stripe_account, "Stripe-Version": self.stripe_version}
        return {
            "User-Agent": f"airflow-provider-reportrun/{__version__}",
            "Accept-Encoding": "identity",
            **{name: value for name, value in named.items() if value},
        }

    def file_url(self, url: str) -> str | None:
        """Return where to fetch a file that Stripe says is at this URL, None where the key must not go.

        The key goes to the hosts of the API and of the files, nowhere else; a URL of Stripe's own files host is
        taken to the one that the connection names instead.
        """
        try:
            parts = urlsplit(url)
            origin = None if parts.username or parts.password else _normal(parts)
        except ValueError:
            return None
        if origin not in (FILES_BASE_URL, self.api_base_url, self.files_base_url):
            return None
        base = self.files_base_url if origin == FILES_BASE_URL else origin
        # Made of what was looked at: two parsers may see different hosts in the same text.
        return f"{base}{parts.path}{parts.query and '?'}{parts.query}"

    @classmethod
    def from_connection(
        cls, connection: AirflowConnection, extra: Mapping[str, Any], *, stripe_account: str | None = None
    ) -> ConnectionSettings:
        """Read a connection.

        :param connection: an Airflow connection.
        :param extra: its extra, as a mapping.
        :param stripe_account: overrides the connection's own.
        :raises ConfigurationError: naming everything that is missing or wrong at once, and no secret.
        """
        mistakes: list[str] = []
        given = {name: value for name, value in extra.items() if value not in (None, "")}
        if unknown := sorted(set(given) - set(EXTRA_FIELDS)):
            mistakes.append(f"the extra has {', '.join(unknown)}, and what is known is {', '.join(EXTRA_FIELDS)}")
        api_key = _api_key(connection, mistakes)
        api_base_url = _base_url(connection, mistakes)
        own_files_host = FILES_BASE_URL if api_base_url == API_BASE_URL else api_base_url
        files_base_url = _origin("files_base_url", str(given.get("files_base_url", own_files_host)), mistakes)
        try:
            timeout = float(given.get("timeout", DEFAULT_TIMEOUT))
        except (TypeError, ValueError):
            timeout = 0.0
        if not 0 < timeout <= LONGEST_TIMEOUT:
            mistakes.append(
                f"timeout is a positive number of seconds, a day at most, not {given.get('timeout')!r}"
            )
        proxies = given.get("proxies", {})
        if isinstance(proxies, str):
            proxies = {"http": proxies, "https": proxies}
        if not isinstance(proxies, Mapping):
            mistakes.append("proxies is an object of URLs by scheme")
        if stripe_account is not None and not str(stripe_account).strip():
            mistakes.append("the task's stripe_account is empty")
        account = _header("stripe_account", stripe_account or given.get("stripe_account"), r"acct_\w+", mistakes)
        version = _header("stripe_version", given.get("stripe_version"), r"[\w.-]+", mistakes)
        cert = given.get("cert")
        if mistakes:
            raise ConfigurationError(f"Connection {connection.conn_id!r}: {'; '.join(mistakes)}.")
        return cls(
            api_key=api_key,
            api_base_url=api_base_url,
            files_base_url=files_base_url,
            stripe_account=account,
            stripe_version=version,
            idempotency_scope=str(given.get("idempotency_scope", "")),
            timeout=timeout,
            proxies=dict(proxies),
            verify=_verify(given.get("verify", True)),
            cert=tuple(cert) if isinstance(cert, list) else cert,
            # The way to this machine leads over no proxy, least of all with a key in plain http.
            trust_env=_verify(given.get("trust_env", True)) is not False
            and not _is_loopback(urlsplit(api_base_url)),
        )


def _api_key(connection: AirflowConnection, mistakes: list[str]) -> str:
    key = str(connection.password or "").strip()
    if not key:
        where = " (not into the login)" if connection.login else ""
        mistakes.append(f"the secret key is missing; put it into the password{where}")
    elif not re.fullmatch(r"(sk|rk)_[A-Za-z0-9_]+", key):
        mistakes.append("the password is not a secret key; those begin with sk_ or rk_")
    return key


def _header(name: str, value: Any, pattern: str, mistakes: list[str]) -> str | None:
    """Return the value of a header; secret stores like to add a line end."""
    text = str(value or "").strip()
    if text and not re.fullmatch(pattern, text, re.ASCII):
        mistakes.append(f"{name} is {value!r}, which is not {_EXPECTED[name]}")
    return text or None


def _base_url(connection: AirflowConnection, mistakes: list[str]) -> str:
    host = str(connection.host or API_BASE_URL)
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    if connection.port:  # the connection form may send 0 for none
        url = f"{url.rstrip('/')}:{connection.port}"
    return _origin("host", url, mistakes)


def _origin(name: str, url: str, mistakes: list[str]) -> str:
    """Return scheme, host and port of a base URL, which has to be safe for a key and have nothing else."""
    try:
        parts = urlsplit(url.rstrip("/"))
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable or parts.path or parts.query or parts.fragment or parts.username or parts.password:
        mistakes.append(f"{name} is a host or https://host[:port], without a path or a user")
    elif parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts)):
        mistakes.append(f"{name} has to be https; plain http is for a sandbox on this machine")
    return _normal(parts)


def _normal(parts: SplitResult) -> str:
    """Return scheme, host and port of a URL in the one spelling that can be compared."""
    try:
        port = parts.port
    except ValueError:
        return ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if port in (None, default) else f":{port}")


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _verify(value: Any) -> bool | str:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value if isinstance(value, (bool, str)) else True
