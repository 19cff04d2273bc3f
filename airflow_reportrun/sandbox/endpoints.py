"""What each endpoint does, from a request that is allowed in to a JSON answer."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from starlette.concurrency import run_in_threadpool

from . import errors
from .downloads import contents_of
from .errors import ApiError
from .events import MOST_TYPES
from .faults import DataLate, RequestFault, ServerError, Slow
from .messages import ACCOUNT, Answer, Call, Contents, Form, Json
from .parameters import check_availability, find_type, integer, read_run_request, string, strings

if TYPE_CHECKING:
    from .events import Event
    from .runs import ReportRun
    from .state import State

log = logging.getLogger(__name__)

RUNS_PATH = "/v1/reporting/report_runs"
TYPES_PATH = "/v1/reporting/report_types"
EVENTS_PATH = "/v1/events"
ACCOUNT_PATH = "/v1/account"

API_VERSION = "2026-10-28.endive"
"""The account's own, for a client that names none."""

_PAGING = ("created", "ending_before", "limit", "starting_after")

LIST_DEFAULT = 10
LIST_MOST = 100

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda created, bound: created > bound,
    "gte": lambda created, bound: created >= bound,
    "lt": lambda created, bound: created < bound,
    "lte": lambda created, bound: created <= bound,
}


class Listed(Protocol):
    """What a list can be paged through and filtered by."""

    @property
    def id(self) -> str:
        """Return the id, which a cursor names."""
        ...

    @property
    def created(self) -> int:
        """Return when it came to be, in Unix seconds."""
        ...


ListedT = TypeVar("ListedT", bound=Listed)


async def wait(state: State, seconds: float) -> None:
    """Keep the client waiting, but no stop or reset."""
    slices = math.ceil(seconds / 0.05)
    for _ in range(slices):
        if state.over:
            return
        await asyncio.sleep(seconds / slices)


async def pause(state: State, fault: RequestFault | None) -> None:
    """Keep the client waiting if that is the fault."""
    if isinstance(fault, Slow):
        await wait(state, fault.seconds)


async def create(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Begin a run, at most once under an idempotency key."""
    key = call.idempotency_key
    if key is None:
        answer = await _execute_create(state, call, fault)
        await pause(state, fault)
        return answer
    with state.lock:
        kept = state.idempotency.begin(call, key)
    if kept is not None:
        await pause(state, fault)
        if isinstance(fault, ServerError):
            raise errors.server_error()
        return kept
    try:
        answer = await _execute_create(state, call, fault)
    except ApiError as error:
        if not error.executed:
            with state.lock:
                state.idempotency.forget(call, key)
            raise
        answer = error.answer
    except BaseException:
        with state.lock:
            state.idempotency.forget(call, key)
        raise
    # The key is in use for as long as the first answer is on its way.
    await pause(state, fault)
    with state.lock:
        return state.idempotency.keep(call, key, answer)


async def _execute_create(state: State, call: Call, fault: RequestFault | None) -> Answer:
    offered, strict = state.report_types(call.scope), state.settings.strict
    request = read_run_request(call.form, offered, livemode=call.scope.livemode, strict=strict)
    if isinstance(fault, ServerError) and not fault.committed:
        raise errors.server_error()
    start, end = request.parameters.interval_start, request.parameters.interval_end
    if isinstance(fault, DataLate) and end is not None:
        available = state.availability().start if start is None else start
        raise errors.interval_after_data(request.report_type.id, available, end)
    for account in sorted(request.parameters.connected_accounts):
        if call.account is not None or not state.knows_account(account):  # connected accounts have none
            raise errors.no_such_connected_account(account)
    check_availability(request, state.availability(), state.books(call.account))
    run = state.begin_run(call, request)
    if request.unknown_columns:
        names, type_id = ", ".join(map(repr, request.unknown_columns)), request.report_type.id
        log.warning(
            "%s has columns that %s is not known to have, made up by their names: %s", run.id, type_id, names
        )
    if isinstance(fault, ServerError):
        raise errors.server_error()
    return Answer.of(await _as_it_is_now(state, call, run))


async def retrieve(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a run, which may thereby come to its end."""
    _refuse_unknown(call.query)
    run = state.find_run(call)
    _count_look(state, [run])
    return Answer.of(await _as_it_is_now(state, call, run))


async def list_runs(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a page of runs, newest first."""
    _refuse_unknown(call.query, _PAGING)
    page, has_more = _page(call.query, state.runs_of(call.scope), "report run")
    _count_look(state, page)
    data = [await _as_it_is_now(state, call, run) for run in page]
    return _list_object(RUNS_PATH, data, has_more=has_more)


async def list_types(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show all types on offer; Stripe does not page them."""
    _refuse_unknown(call.query)
    available, types = state.availability(), state.report_types(call.scope).values()
    data = [report_type.body(available, livemode=call.scope.livemode) for report_type in types]
    return _list_object(TYPES_PATH, data, has_more=False)


async def retrieve_type(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a report type."""
    _refuse_unknown(call.query)
    report_type = find_type(call.id, state.report_types(call.scope), livemode=call.scope.livemode, param="id")
    return Answer.of(report_type.body(state.availability(), livemode=call.scope.livemode))


async def retrieve_file(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a file."""
    _refuse_unknown(call.query)
    return Answer.of(state.find_file(call).body(call.base_url))


async def contents(state: State, call: Call, fault: RequestFault | None) -> Contents:
    """Send a file's contents."""
    return contents_of(state.find_file(call), call, fault)


async def list_events(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a page of events, newest first."""
    _refuse_unknown(call.query, (*_PAGING, "type", "types"))
    wanted = _event_types(call.query)
    events = [event for event in await _events(state, call) if not wanted or event.type in wanted]
    page, has_more = _page(call.query, events, "event")
    return _list_object(EVENTS_PATH, [_shown(event, call) for event in page], has_more=has_more)


async def retrieve_event(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show an event."""
    _refuse_unknown(call.query)
    for event in await _events(state, call):
        if event.id == call.id:
            return Answer.of(_shown(event, call))
    raise errors.no_such("event", call.id)


async def retrieve_account(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show the account that is acted as: as much of it as tells which one it is."""
    _refuse_unknown(call.query)
    account = call.account or ACCOUNT
    name = f"Shop of {account.removeprefix('acct_')}"
    body = {
        "id": account,
        "object": "account",
        "business_profile": {"name": name},
        "settings": {"dashboard": {"display_name": name, "timezone": "Etc/UTC"}},
    }
    return Answer.of(body)


async def unrecognized(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Answer an address that is none of the others."""
    raise errors.unrecognized_url(call.method, call.path)


async def _events(state: State, call: Call) -> list[Event]:
    """List what happened; a run that is due by the clock has ended, though nobody looked at it by itself."""
    runs = state.runs_of(call.scope)
    _count_look(state, runs)
    for run in runs:
        await _end_if_due(state, run)
    return state.events_of(call.scope)


def _shown(event: Event, call: Call) -> Json:
    return event.body(call.base_url, API_VERSION)


def _event_types(query: Form) -> list[str]:
    """Read which types of events are asked for."""
    if "type" in query and "types" in query:
        raise errors.type_and_types()
    if "type" in query:
        return [string(query["type"], "type")]
    types = strings(query["types"], "types") if "types" in query else []
    if len(types) > MOST_TYPES:
        raise errors.too_many_types(MOST_TYPES)
    return types


def _count_look(state: State, runs: Iterable[ReportRun]) -> None:
    with state.lock:
        for run in runs:
            run.reads += 1


async def _as_it_is_now(state: State, call: Call, run: ReportRun) -> Json:
    await _end_if_due(state, run)
    return run.body(call.base_url)


async def _end_if_due(state: State, run: ReportRun) -> None:
    if run.is_due(state.now()):
        await run_in_threadpool(state.end, run)


def _refuse_unknown(form: Form, known: Collection[str] = (), label: str = "{}") -> None:
    if "expand" in form:  # which changes nothing: whatever could be expanded is whole anyway
        strings(form["expand"], "expand")
    unknown = [label.format(name) for name in form if name not in (*known, "expand")]
    if unknown:
        raise errors.unknown_parameters(unknown)


def _page(query: Form, listed: Sequence[ListedT], noun: str) -> tuple[Sequence[ListedT], bool]:
    """Cut a page out of what is listed, and tell whether there are more in its direction."""
    limit, matches = _limit(query), _created_filter(query)
    if "starting_after" in query and "ending_before" in query:
        raise errors.both_cursors()
    if "ending_before" in query:
        before = listed[: _position(query, "ending_before", listed, noun)]
        newer = list(islice(filter(matches, reversed(before)), limit + 1))
        return newer[:limit][::-1], len(newer) > limit
    first = _position(query, "starting_after", listed, noun) + 1 if "starting_after" in query else 0
    older = list(islice(filter(matches, islice(listed, first, None)), limit + 1))
    return older[:limit], len(older) > limit


def _limit(query: Form) -> int:
    if "limit" not in query:
        return LIST_DEFAULT
    limit = integer(query["limit"], "limit")
    if not 1 <= limit <= LIST_MOST:
        raise errors.integer_out_of_range("limit", limit, least=1, most=LIST_MOST)
    return limit


def _created_filter(query: Form) -> Callable[[Listed], bool]:
    wanted = query.get("created", {})
    if not isinstance(wanted, dict):
        second = integer(wanted, "created")
        return lambda one: one.created == second
    _refuse_unknown(wanted, _COMPARISONS, "created[{}]")
    bounds = [(_COMPARISONS[name], integer(bound, f"created[{name}]")) for name, bound in wanted.items()]
    return lambda one: all(holds(one.created, bound) for holds, bound in bounds)


def _position(query: Form, name: str, listed: Sequence[Listed], noun: str) -> int:
    wanted = string(query[name], name)
    for position, one in enumerate(listed):
        if one.id == wanted:
            return position
    raise errors.no_such(noun, wanted, param=name, status=400)


def _list_object(path: str, data: list[Json], *, has_more: bool) -> Answer:
    return Answer.of({"object": "list", "data": data, "has_more": has_more, "url": path})
