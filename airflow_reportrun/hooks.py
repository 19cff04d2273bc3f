"""The hooks: an Airflow connection becomes a client of Stripe's Reporting API.

They stand on the HTTP provider's hooks, so that proxies, TLS and keep-alive mean what Airflow users expect.
What is wrong for a secret key is switched off: extras as headers, redirects, plain http, no time-out, a host
from a DNS record, errors that carry URLs or headers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import aiohttp
from airflow.providers.http.hooks.http import AsyncHttpSession, HttpAsyncHook, HttpHook, SessionConfig
from requests.auth import AuthBase

from airflow_reportrun import metrics
from airflow_reportrun.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_reportrun.reporting.answers import Response, refusal_of, require_short
from airflow_reportrun.reporting.client import AsyncReportingClient, ReportingClient
from airflow_reportrun.reporting.endpoints import FILES, READ_FILE
from airflow_reportrun.reporting.errors import ConfigurationError, ReportingError
from airflow_reportrun.reporting.resending import ResendPolicy, Tries
from airflow_reportrun.reporting.secrets import without_secrets
from airflow_reportrun.wire.connection import ConnectionSettings
from airflow_reportrun.wire.downloads import Download
from airflow_reportrun.wire.lookup import LONGEST_AGE, look_up, look_up_async
from airflow_reportrun.wire.reach import reach
from airflow_reportrun.wire.reasons import no_answer
from airflow_reportrun.wire.route import route_to
from airflow_reportrun.wire.transport import FAILURES, BoundedSession, answer_of, head_of, lower

if TYPE_CHECKING:
    import requests

    from airflow_reportrun.reporting.budget import Turn
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.models import File

log = logging.getLogger(__name__)

T = TypeVar("T")


class BearerAuth(AuthBase):
    """Sends the key. As the session's ``auth`` it also keeps requests from asking a ``.netrc`` file."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class StripeReportingHook(ReportingClient, HttpHook):
    """Calls Stripe's Reporting API with an Airflow connection of type ``stripe``.

    One session is kept alive for the life of the hook. All calls are in
    :class:`~airflow_reportrun.reporting.client.ReportingClient`.

    :param stripe_conn_id: the connection; its password is the secret key.
    :param stripe_account: the account to act as, ``acct_…``; overrides the connection's own.
    :param stripe_context: the same as a path of accounts, ``acct_…/acct_…``, for keys of an organization.
    """

    conn_name_attr = "stripe_conn_id"
    default_conn_name = "stripe_default"
    conn_type = "stripe"
    hook_name = "Stripe"
    resend_policy = ResendPolicy(on_refused=metrics.paused)

    def __init__(
        self,
        stripe_conn_id: str = default_conn_name,
        *,
        stripe_account: str | None = None,
        stripe_context: str | None = None,
    ) -> None:
        super().__init__(http_conn_id=stripe_conn_id)
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.stripe_context = stripe_context

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection, checked; one look-up for the life of the hook."""
        return ConnectionSettings.from_connection(
            look_up(self.stripe_conn_id, option="stripe_conn_id", hook=self),
            stripe_account=self.stripe_account,
            stripe_context=self.stripe_context,
        )

    def renew(self) -> bool:
        """Read the connection anew; see :meth:`ReportingClient.renew`."""
        now = StripeReportingHook(
            self.stripe_conn_id, stripe_account=self.stripe_account, stripe_context=self.stripe_context
        )
        with suppress(Exception):  # what led here is the error to tell, and not this one
            if now.settings != self.settings:
                self._session.close()
                del self._session
                self.settings = now.settings
                return True
        return False

    @cached_property
    def _session(self) -> requests.Session:
        session = BoundedSession(self.keep_alive_adapter)
        session.auth = BearerAuth(self.settings.api_key)
        session.headers.update(self.settings.headers())
        session.trust_env = False  # what the environment says is in each request's route
        return session

    def get_conn(
        self, headers: dict[Any, Any] | None = None, extra_options: dict[str, Any] | None = None
    ) -> requests.Session:
        """Return the hook's session, which sends the key with each request: take care where to."""
        if headers or extra_options:
            raise ConfigurationError("The session is made from the connection alone; set options there.")
        return self._session

    def run(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the inherited call follows redirects with the key and loses what Stripe says."""
        raise ConfigurationError(
            "StripeReportingHook has no run(); call create_report_run(), retrieve_report_run() "
            "or another verb of ReportingClient."
        )

    def exchange(self, request: Request[T]) -> Response:
        """Do one HTTP exchange; see :meth:`ReportingClient.exchange`."""
        fields = list(request.fields)
        what = f"{request.method} {request.path}"
        turn = self._turn(request.operation)
        with self._request(
            turn,
            what,
            request.method,
            self.settings.api_base_url + request.path,
            params=fields if request.method == "GET" else None,
            data=fields if request.method == "POST" else None,
            headers=_request_headers(request),
        ) as response:
            answer = answer_of(what, response)
        _learn(turn, answer)
        return replace(answer, stripe_account=self.settings.stripe_account)

    def read_file(self, file: File, consume: Callable[[Iterator[bytes]], T]) -> T:
        """Stream a file's contents, after a cut the rest of them, where the server serves parts.

        :param file: the ``result`` of a succeeded report run.
        :param consume: is given the bytes in chunks from the first on: as many as the file has, or an
            error. It is called again where they begin again, and after an error of its own; but not when it has
            refused all of the bytes twice. So it has to let errors that come out of the chunks pass, and drop what
            it has. The time that it takes does not count.
        :raises ConfigurationError: when Stripe points to a host that the key must not go to.
        :raises DownloadError: when other than ``file.size`` bytes come; no more than these are read.
        """
        url = self.settings.file_url(file.url)
        if url is None:
            raise ConfigurationError(
                f"File {file.id} is on a host that the key is not for. If it is yours, "
                f"set files_base_url in connection {self.stripe_conn_id!r}."
            )
        what = f"GET {FILES}/{file.id}/contents"

        def ask(headers: Mapping[str, str]) -> requests.Response:
            turn = self._turn(READ_FILE)
            response = self._request(turn, what, "GET", url, headers=headers)
            _learn(turn, head_of(response))
            return response

        download = Download(
            what,
            file.size,
            ask=ask,
            tries=Tries(self.resend_policy, self.sleep),
            timeout=self.settings.timeout,
        )
        return download.into(consume)

    def _turn(self, operation: str) -> Turn:
        """Wait until the account's budget has room for one more request."""
        turn = self.settings.budget().turn(operation)
        begun = now = time.monotonic()
        while pause := turn.pause(now):
            self.sleep(pause)
            now = max(now + pause, time.monotonic())
        _measure_pause(now - begun)
        return turn

    def _request(self, turn: Turn, what: str, method: str, url: str, **options: Any) -> requests.Response:
        route = route_to(url, self.settings)
        way = route.for_requests()
        try:
            response = self._session.request(
                method,
                url,
                timeout=self.settings.timeout,
                allow_redirects=False,
                stream=True,
                **way,
                **options,
            )
        except (*FAILURES, OSError) as error:
            # Raised below, without a context: these errors hold URLs, and theirs the headers.
            failure = no_answer(what, error, url, route.proxy)
        else:
            metrics.requested(turn.operation, response.status_code)
            return response
        finally:
            turn.ended()
        metrics.requested(turn.operation, None)
        raise failure

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether the connection works, and what it leads to or what is wrong, for the Test button."""
        try:
            return True, reach(self, self.settings)
        except ReportingError as error:
            # The button tests a copy under a name made up for it.
            return False, str(error).removeprefix(f"Connection {self.stripe_conn_id!r}: ")

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels of the connection form, for Airflow 2; Airflow 3 reads the provider info."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the connection form, for Airflow 2; Airflow 3 reads the provider info."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import BooleanField, StringField

        def widget(field: Mapping[str, Any]) -> Any:
            about = {"label": field["label"], "description": field["description"]}
            if "boolean" in field["schema"]["type"]:
                return BooleanField(**about)
            # Numbers as well: of those, Airflow 2 takes none but whole ones.
            return StringField(**about, widget=BS3TextFieldWidget())

        return {name: widget(field) for name, field in CONN_FIELDS.items()}


class StripeReportingAsyncHook(AsyncReportingClient, HttpAsyncHook):
    """Calls Stripe's Reporting API from an event loop, with an Airflow connection of type ``stripe``.

    An asynchronous context manager: connections are kept alive inside it. All calls are in
    :class:`~airflow_reportrun.reporting.client.AsyncReportingClient`.

    :param stripe_conn_id: the connection; its password is the secret key.
    :param stripe_account: the account to act as, ``acct_…``; overrides the connection's own.
    :param stripe_context: the same as a path of accounts, ``acct_…/acct_…``, for keys of an organization.
    """

    conn_name_attr = "stripe_conn_id"
    default_conn_name = "stripe_default"
    conn_type = "stripe"
    hook_name = "Stripe"
    resend_policy = StripeReportingHook.resend_policy

    def __init__(
        self,
        stripe_conn_id: str = default_conn_name,
        *,
        stripe_account: str | None = None,
        stripe_context: str | None = None,
    ) -> None:
        # One place decides about sending again, and it is not this one.
        super().__init__(http_conn_id=stripe_conn_id, retry_limit=1)
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.stripe_context = stripe_context
        self._settings: ConnectionSettings | None = None
        self._stack = AsyncExitStack()
        self._sessions: dict[str, AsyncHttpSession] = {}

    async def __aenter__(self) -> StripeReportingAsyncHook:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._sessions.clear()
        await self._stack.aclose()

    async def settings_async(self) -> ConnectionSettings:
        """Return the connection, checked; one look-up for the life of the hook."""
        if self._settings is None:
            self._settings = await self._read(LONGEST_AGE)
        return self._settings

    async def _read(self, max_age: float) -> ConnectionSettings:
        return ConnectionSettings.from_connection(
            await look_up_async(self.stripe_conn_id, option="stripe_conn_id", hook=self, max_age=max_age),
            stripe_account=self.stripe_account,
            stripe_context=self.stripe_context,
        )

    async def renew_async(self) -> bool:
        """Read the connection anew; see :meth:`ReportingClient.renew`."""
        try:
            now = await self._read(max_age=0.0)
        except Exception as error:  # what led here is the error to tell, and not this one
            said = error if isinstance(error, ReportingError) else type(error).__name__
            log.warning("Connection %r could not be read anew, and stays as it was. %s", self.stripe_conn_id, said)
            return False
        if now == self._settings:
            return False
        self._sessions.clear()
        with suppress(Exception):
            await self._stack.aclose()
        self._settings, self._config = now, None
        return True

    async def config(self) -> SessionConfig:
        """Return what each request is sent with."""
        if not self._config:
            settings = await self.settings_async()
            self._config = SessionConfig(
                base_url=settings.api_base_url,
                headers={**settings.headers(), "Authorization": f"Bearer {settings.api_key}"},
                extra_options={
                    "allow_redirects": False,
                    "check_response": False,
                    **route_to(settings.api_base_url, settings).for_aiohttp(),
                    "timeout": aiohttp.ClientTimeout(total=settings.timeout),
                    "auto_decompress": False,
                },
            )
        return self._config

    async def run(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, as :meth:`StripeReportingHook.run` does."""
        raise ConfigurationError(
            "StripeReportingAsyncHook has no run(); call retrieve_report_run_async() "
            "or another verb of AsyncReportingClient."
        )

    async def exchange_async(self, request: Request[T]) -> Response:
        """Do one HTTP exchange; see :meth:`AsyncReportingClient.exchange_async`."""
        what, status = f"{request.method} {request.path}", None
        turn = await self._turn(await self.settings_async(), request.operation)
        # Only now: whoever shares the hook may have renewed it meanwhile.
        settings = await self.settings_async()
        try:
            if request.method not in self._sessions:
                self._sessions[request.method] = await self._stack.enter_async_context(
                    self.session(method=request.method)
                )
            response = await self._sessions[request.method].run(
                request.path,
                data=dict(request.fields) or None,  # names are unique: lists are sent by index
                headers=_request_headers(request),
            )
            turn.ended()
            status = response.status
            async with response:
                body = bytearray()
                async for piece in response.content.iter_any():
                    body += piece
                    require_short(what, len(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            url = settings.api_base_url
            failure = no_answer(what, error, url, route_to(url, settings).proxy)
        else:
            # As requests reads them, and not as UTF-8 with holes.
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
            account = settings.stripe_account
            answer = Response(response.status, lower(headers), bytes(body), account)
            _learn(turn, answer)
            return without_secrets(answer, settings.api_key)
        finally:
            turn.ended()
            metrics.requested(turn.operation, status)
        raise failure

    async def _turn(self, settings: ConnectionSettings, operation: str) -> Turn:
        """Wait until the account's budget has room for one more request."""
        turn = settings.budget().turn(operation)
        begun = now = time.monotonic()
        while pause := turn.pause(now):
            await self.sleep_async(pause)
            now = max(now + pause, time.monotonic())
        _measure_pause(now - begun)
        return turn


def _measure_pause(seconds: float) -> None:
    if seconds:
        metrics.paused(seconds, "budget")


def _learn(turn: Turn, answer: Response) -> None:
    if reason := refusal_of(answer):
        turn.refused(reason, time.monotonic())


def _request_headers(request: Request[T]) -> dict[str, str]:
    return {"Idempotency-Key": request.idempotency_key} if request.idempotency_key else {}
