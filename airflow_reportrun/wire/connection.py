"""What an Airflow connection of type ``stripe`` says, checked once, and the headers that come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from airflow_reportrun import __version__
from airflow_reportrun.get_provider_info import CONN_FIELDS
from airflow_reportrun.reporting.budget import LIVE_LIMIT, TEST_LIMIT, Budget, budget_of
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.secrets import redacted
from airflow_reportrun.wire.fields import accounts_of, number_of, switch_of, text_of
from airflow_reportrun.wire.route import PROXY_EXAMPLE, is_host, is_loopback, proxy_url

API_BASE_URL = "https://api.stripe.com"
FILES_BASE_URL = "https://files.stripe.com"
DEFAULT_TIMEOUT = 60.0
LONGEST_TIMEOUT = 86400.0
HIGHEST_RATE_LIMIT = 10_000

EXTRA_FIELDS = (*CONN_FIELDS, "proxies", "verify", "cert", "trust_env")
"""What the connection's extra may hold: the fields of the form, and what requests calls the same."""

_OF_AIRFLOW_2 = "extra__stripe__"
"""Before a field's name in what the Test button of Airflow 2's form sends, and what it once stored."""

_PROXIED = re.compile(r"(https?|all)(://[\w.-]+)?")
"""What requests knows a proxy by: a scheme, or a scheme and a host."""


class AirflowConnection(Protocol):
    """The fields of an Airflow connection that are read here."""

    conn_id: Any
    host: Any
    schema: Any
    login: Any
    password: Any
    port: Any
    extra: Any


@dataclass(frozen=True)
class ConnectionSettings:
    """A connection of type ``stripe``, ready for use.

    :param api_key: the secret key; never shown.
    :param api_base_url: scheme, host and port of the API, without a slash at the end.
    :param files_base_url: the same for the contents of files.
    :param stripe_account: the account that is acted as, ``acct_…``; the last one of a context.
    :param stripe_context: the path of accounts that leads there, such as ``acct_…/acct_…``, where one was given.
    :param stripe_version: the API version to ask for.
    :param idempotency_scope: part of the identity of each report run.
    :param timeout: seconds for an exchange with the API as a whole, and for each wait in a download.
    :param proxies: by scheme, as requests takes them; an empty one is none.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param cert: client certificate, or certificate and key.
    :param trust_env: whether proxies and CA bundles of the environment count.
    :param use_events: whether waits may ask Stripe's events.
    :param rate_limit: requests a second that Stripe allows the account, None for what it documents.
    """

    api_key: str = field(repr=False)
    api_base_url: str = API_BASE_URL
    files_base_url: str = FILES_BASE_URL
    stripe_account: str | None = None
    stripe_context: str | None = None
    stripe_version: str | None = None
    idempotency_scope: str = ""
    timeout: float = DEFAULT_TIMEOUT
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    trust_env: bool = True
    use_events: bool = False
    rate_limit: float | None = None

    @property
    def livemode(self) -> bool | None:
        """Whether the key is one for live data, None where its prefix doesn't tell."""
        _, kind, *rest = self.api_key.split("_")
        return {"live": True, "test": False}.get(rest[0] if kind == "org" and len(rest) > 1 else kind)

    @property
    def acting_as(self) -> str | None:
        """Whom a request acts as, and by which way: the context, or the account, or None for the key's own."""
        return self.stripe_context or self.stripe_account

    def budget(self) -> Budget:
        """Return what this process may ask of the account."""
        limit = self.rate_limit or (LIVE_LIMIT if self.livemode else TEST_LIMIT)
        return budget_of(self.api_base_url, self.api_key, self.acting_as, limit)

    def headers(self) -> dict[str, str]:
        """Return the headers that go with each request, the key's aside."""
        named = {
            # Stripe-Context supersedes Stripe-Account (https://docs.stripe.com/context), so there is one of them.
            "Stripe-Account": None if self.stripe_context else self.stripe_account,
            "Stripe-Context": self.stripe_context,
            "Stripe-Version": self.stripe_version,
        }
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
        cls,
        connection: AirflowConnection,
        *,
        stripe_account: str | None = None,
        stripe_context: str | None = None,
    ) -> ConnectionSettings:
        """Read a connection.

        Its extra is read here, as text: where it is no JSON, Airflow makes an empty one of it, and the task would
        act as another account.

        :param connection: an Airflow connection.
        :param stripe_account: the task's own; it or the context comes before whatever the connection says of both.
        :param stripe_context: the task's own.
        :raises ConfigurationError: naming everything that is missing or wrong at once, and nothing of what stands
            in the fields: it may be a secret that was put into the wrong one.
        """
        mistakes: list[str] = []
        given = _extra(connection.extra, mistakes)
        named = {**given, "host": connection.host, "schema": connection.schema, "login": connection.login}
        task = {"stripe_account": stripe_account, "stripe_context": stripe_context}
        api_key = _api_key(connection, mistakes)
        misplaced = [name for name, value in [*named.items(), *task.items()] if _holds_key(value, api_key)]
        if misplaced:
            mistakes.append(
                f"{', '.join(misplaced)}: there is a secret key in it, which goes into the password only"
            )
        if text_of("login", connection.login, mistakes).startswith("acct_"):
            mistakes.append("the login holds an account, which goes into stripe_account in the extra")
        api_base_url = _base_url(connection, mistakes)
        files_base_url = FILES_BASE_URL if api_base_url == API_BASE_URL else api_base_url
        if files_host := text_of("files_base_url", given.get("files_base_url"), mistakes):
            files_base_url = _origin("files_base_url", files_host, mistakes)
        account, context = accounts_of(given, task, mistakes)
        version = text_of(
            "stripe_version", given.get("stripe_version"), mistakes, pattern=r"[\w.-]+", expected="an API version"
        )
        if api_key.startswith("sk_org_"):
            if not context:
                mistakes.append(
                    "a key of an organization (sk_org_…) needs stripe_context, the account to act as, in the "
                    "extra or on the task; stripe_account is for other keys"
                )
            if not version:
                mistakes.append("a key of an organization (sk_org_…) needs stripe_version in the extra")
        scope = given.get("idempotency_scope", "")
        text_of("idempotency_scope", scope, mistakes)  # taken as it is: it is part of keys that were sent
        timeout = number_of(given.get("timeout", DEFAULT_TIMEOUT), LONGEST_TIMEOUT)
        if not timeout:
            mistakes.append("timeout is a positive number of seconds, a day at most")
        rate_limit = None
        if "rate_limit" in given and not (rate_limit := number_of(given["rate_limit"], HIGHEST_RATE_LIMIT)):
            mistakes.append(f"rate_limit is a positive number of requests a second, {HIGHEST_RATE_LIMIT} at most")
        use_events = switch_of("use_events", given.get("use_events", False), mistakes)
        proxies = _proxies(given.get("proxies", {}), mistakes)
        verify = switch_of("verify", given.get("verify", True), mistakes, or_else="the path of a CA bundle")
        trust_env = switch_of("trust_env", given.get("trust_env", True), mistakes)
        cert = _cert(given.get("cert"), mistakes)
        if mistakes:
            conn_id = redacted(repr(connection.conn_id), api_key)
            raise ConfigurationError(f"Connection {conn_id}: {'; '.join(dict.fromkeys(mistakes))}.")
        return cls(
            api_key=api_key,
            api_base_url=api_base_url,
            files_base_url=files_base_url,
            stripe_account=account or context.rpartition("/")[2] or None,
            stripe_context=context or None,
            stripe_version=version or None,
            idempotency_scope=scope,
            timeout=timeout,
            proxies=proxies,
            verify=verify,
            cert=cert,
            # The way to this machine leads over no proxy, least of all with a key in plain http.
            trust_env=trust_env is True and not is_loopback(urlsplit(api_base_url)),
            use_events=use_events is True,
            rate_limit=rate_limit,
        )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a name that is there twice")
    return found


def _extra(extra: Any, mistakes: list[str]) -> dict[str, Any]:
    """Return the fields of the extra that are not empty; what the form leaves empty is null or an empty text."""
    if extra is None or (isinstance(extra, str) and not extra.strip()):
        return {}
    try:
        found = json.loads(extra, object_pairs_hook=_each_once) if isinstance(extra, str) else extra
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, str):
        mistakes.append("the extra is JSON that was encoded twice; leave out the outer quotes")
        return {}
    if not isinstance(found, Mapping):
        mistakes.append(
            'the extra is no JSON object, such as {"timeout": 60}; look for a comma too many, for single quotes '
            "and for a name that is there twice"
        )
        return {}
    ours = {name: value for name, value in found.items() if not str(name).startswith(_OF_AIRFLOW_2)}
    twins = {str(name)[len(_OF_AIRFLOW_2) :]: found[name] for name in found if name not in ours}
    given = {name: value for name, value in {**twins, **ours}.items() if value not in (None, "")}
    if unknown := [str(name) for name in given if name not in EXTRA_FIELDS]:
        # Without their names: a key that was pasted in front of a colon is one.
        near = ", ".join({match: "" for name in unknown for match in get_close_matches(name, EXTRA_FIELDS, n=1)})
        perhaps = f" (meant as {near}?)" if near else ""
        mistakes.append(
            f"the extra has fields that are not known{perhaps}: {len(unknown)} besides {', '.join(EXTRA_FIELDS)}"
        )
    return {name: value for name, value in given.items() if name in EXTRA_FIELDS}


def _holds_key(value: Any, api_key: str) -> bool:
    text = json.dumps(value, default=str)
    return redacted(text, api_key) != text


def _api_key(connection: AirflowConnection, mistakes: list[str]) -> str:
    password = "" if connection.password is None else connection.password
    key = password.strip() if isinstance(password, str) else "?"
    if not key:
        where = " (not into the login)" if connection.login else ""
        mistakes.append(f"the secret key is missing; put it into the password{where}")
    elif not re.fullmatch(r"(sk|rk)_[A-Za-z0-9_]+", key):
        mistakes.append("the password is not a secret key; those begin with sk_ or rk_")
    return key


def _proxies(value: Any, mistakes: list[str]) -> dict[str, str]:
    """Return proxies by what requests knows them by, each with its scheme."""
    if isinstance(value, str):
        value = {"http": value, "https": value}
    if not isinstance(value, Mapping):
        mistakes.append(f"proxies is a URL, {PROXY_EXAMPLE}, or an object of URLs by scheme")
        return {}
    found: dict[str, str] = {}
    for name, url in value.items():
        if name == "no_proxy" and isinstance(url, str):
            found[name] = url
        elif not isinstance(name, str) or not _PROXIED.fullmatch(name):
            mistakes.append("proxies is by scheme: http, https, all, or no_proxy")
        elif url in (None, ""):
            found[name] = ""
        elif isinstance(url, str) and (proxy := proxy_url(url)):
            found[name] = proxy
        else:
            mistakes.append(f"proxies: for {name.partition(':')[0]} stands no URL of a proxy, {PROXY_EXAMPLE}")
    return found


def _cert(value: Any, mistakes: list[str]) -> str | tuple[str, str] | None:
    if value is None:
        return None
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list | tuple) or not all(isinstance(it, str) and it.strip() for it in paths):
        paths = []
    match tuple(paths):
        case (path,) if isinstance(value, str):
            return text_of("cert", path, mistakes)
        case (path, key):
            return text_of("cert", path, mistakes), text_of("cert", key, mistakes)
    mistakes.append("cert is the path of a certificate, or a list of two: of the certificate and of its key")
    return None


def _base_url(connection: AirflowConnection, mistakes: list[str]) -> str:
    host = text_of("host", connection.host, mistakes) or API_BASE_URL
    schema, port = text_of("schema", connection.schema, mistakes).lower(), connection.port
    own = host.partition("://")[0].lower() if "://" in host else "https"
    if schema and schema not in (("http", "https") if "://" not in host else (own,)):
        mistakes.append("schema is http or https, as the host says; leave it empty")
    url = host if "://" in host else f"{schema or own}://{host}"
    if isinstance(port, bool) or not re.fullmatch(r"\d{0,5}", "" if port is None else str(port), re.ASCII):
        mistakes.append("port is a number up to 65535")
    elif port and int(port):  # the connection form may send 0 for none
        written = re.search(r":(\d+)/*$", url, re.ASCII)
        if written and int(written[1]) != int(port):
            mistakes.append("there is a port in the host and another one in the port; leave one of them out")
        elif not written:
            url = f"{url.rstrip('/')}:{port}"
    return _origin("host", url, mistakes)


def _origin(name: str, url: str, mistakes: list[str]) -> str:
    """Return scheme, host and port of a base URL, which has to be safe for a key and have nothing else."""
    try:
        parts = urlsplit(url.rstrip("/"))
        usable = is_host(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable or parts.path or parts.query or parts.fragment or parts.username or parts.password:
        mistakes.append(f"{name} is a host or https://host[:port], without a path or a user")
    elif parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts)):
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
