"""Which way a request takes: the proxy and the certificates, worked out once, so that both hooks take the same.

Requests would read the environment by itself, aiohttp does not, and the two read a proxy without a scheme in
different ways. So both are told everything.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow_reportrun.wire.connection import ConnectionSettings

PROXY_EXAMPLE = "http://[user:password@]host:port"

_SOCKS = ("socks4", "socks4a", "socks5", "socks5h")


@dataclass(frozen=True)
class Route:
    """The way to one host.

    :param proxy: with scheme, and with credentials where it has any; None for none.
    :param verify: False, or the path of a CA bundle.
    :param cert: client certificate, or certificate and key; empty for none.
    """

    proxy: str | None
    verify: bool | str
    cert: tuple[str, ...] = ()

    @property
    def is_socks(self) -> bool:
        """Whether the proxy is one that speaks SOCKS."""
        return self.proxy is not None and urlsplit(self.proxy).scheme in _SOCKS

    def for_requests(self) -> dict[str, Any]:
        """Return the options of a request of requests, whose session must not trust the environment.

        :raises ConfigurationError: when it could not be sent so.
        """
        if self.is_socks and importlib.util.find_spec("socks") is None:
            raise ConfigurationError("The proxy is a SOCKS proxy, which takes: pip install 'requests[socks]'")
        usual = self.verify == DEFAULT_CA_BUNDLE_PATH and not self.cert
        if not usual:
            self.context()  # in words, what requests would only fail at when it connects
        return {
            "proxies": {} if self.proxy is None else {"http": self.proxy, "https": self.proxy},
            "verify": True if usual else self.verify,
            "cert": self.cert if len(self.cert) == 2 else "".join(self.cert) or None,
        }

    def for_aiohttp(self) -> dict[str, Any]:
        """Return the options of a request of aiohttp.

        :raises ConfigurationError: when it could not be sent so.
        """
        if self.is_socks:
            raise ConfigurationError(
                "The proxy is a SOCKS proxy, which a trigger can't take: name an HTTP proxy, or wait in the "
                "worker, with deferrable=False."
            )
        return {"proxy": self.proxy, "ssl": self.context()}

    def context(self) -> ssl.SSLContext | bool:
        """Return what verifies: False for nothing.

        :raises ConfigurationError: when a file is not there, or is not what it should be.
        """
        bundle = self.verify if isinstance(self.verify, str) else ""
        if not bundle and not self.cert:
            return False
        try:
            versions = tuple(os.stat(path).st_mtime_ns for path in filter(None, (bundle, *self.cert)))
            return _ssl_context(bundle, self.cert, versions)
        except (OSError, ValueError) as error:  # a path may hold what no path can
            reason = error.strerror if isinstance(error, OSError) and error.filename else type(error).__name__
        # What stands in a field is not shown: somebody may have pasted a key there.
        raise ConfigurationError(
            f"The CA bundle or client certificate can't be used ({reason}); look at verify and cert of the "
            "connection, and at REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE where the connection has no verify."
        )


def route_to(url: str, settings: ConnectionSettings) -> Route:
    """Return the way to the host of a URL: what the connection says of it first, then the environment.

    :raises ConfigurationError: when the environment names a proxy that can't be one.
    """
    found = select_proxy(url, settings.proxies)
    if found is None and settings.trust_env:
        found = select_proxy(url, get_environ_proxies(url, no_proxy=settings.proxies.get("no_proxy")))
    proxy = proxy_url(found) if found else None
    if found and proxy is None:
        raise ConfigurationError(f"The proxy that the environment names is not {PROXY_EXAMPLE}.")
    bundle = settings.verify
    if bundle is True:
        named = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if settings.trust_env)
        bundle = next(filter(None, named), DEFAULT_CA_BUNDLE_PATH)
    cert = (settings.cert,) if isinstance(settings.cert, str) else settings.cert or ()
    return Route(proxy, bundle, cert)


def proxy_url(text: str) -> str | None:
    """Return the URL of a proxy with its scheme, which may be left out as for curl; None where it can't be one."""
    text = text.strip()
    url = text if "://" in text else f"http://{text.lstrip('/')}"
    try:
        parts = urlsplit(url)
        usable = is_host(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    if not usable or parts.scheme not in ("http", "https", *_SOCKS) or parts.query or parts.fragment:
        return None
    return f"{parts.scheme}://{parts.netloc}"


def is_host(name: str | None) -> bool:
    """Tell whether something can be the name or the address of a host."""
    try:
        return bool(name and re.fullmatch(r"[\w.:-]+", name) and name.encode("idna"))
    except UnicodeError:
        return False


def is_loopback(parts: SplitResult) -> bool:
    """Tell whether a URL leads to this machine, which is the one that may be asked in plain http."""
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def peer(url: str, proxy: str | None = None) -> str:
    """Return the host and port of a URL, and the proxy on the way there, without anybody's credentials."""

    def named(it: str) -> str:
        parts = urlsplit(it)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{host}:{parts.port or {'https': 443, 'http': 80}.get(parts.scheme, 1080)}"

    return named(url) + (f" by the proxy {named(proxy)}" if proxy else "")


@lru_cache(maxsize=8)
def _ssl_context(bundle: str, cert: tuple[str, ...], versions: tuple[int, ...]) -> ssl.SSLContext:
    """Return a context made once for these versions of the files: a triggerer waits for many runs at a time."""
    folder = os.path.isdir(bundle)
    context = ssl.create_default_context(
        capath=bundle if folder else None, cafile=None if folder else bundle or None
    )
    if not bundle:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert:
        # An encrypted key is refused; without a password OpenSSL would ask for it on the terminal.
        context.load_cert_chain(cert[0], cert[1] if len(cert) > 1 else None, password=lambda: "")
    return context
