"""What each endpoint does, from a request that is allowed in to a JSON answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from . import errors
from .catalogue import CATALOGUE
from .errors import ApiError
from .faults import DataLate, RequestFault, ServerError, Slow
from .messages import Answer, Call, Json
from .parameters import Form, check_availability, integer, read_run_request, string

if TYPE_CHECKING:
    from .runs import ReportRun
    from .state import State

RUNS_PATH = "/v1/reporting/report_runs"
TYPES_PATH = "/v1/reporting/report_types"

LIST_DEFAULT = 10
LIST_MOST = 100

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda created, bound: created > bound,
    "gte": lambda created, bound: created >= bound,
    "lt": lambda created, bound: created < bound,
    "lte": lambda created, bound: created <= bound,
}


async def pause(state: State, fault: RequestFault | None) -> None:
    """Keep the client waiting if that is the fault, but no stop or reset."""
    if isinstance(fault, Slow):
        slices = math.ceil(fault.seconds / 0.05)
        for _ in range(slices):
            if not state.over:
                await asyncio.sleep(fault.seconds / slices)


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
    # The key is in use for as long as the first answer is on its way.
    await pause(state, fault)
    with state.lock:
        return state.idempotency.keep(call, key, answer)


async def _execute_create(state: State, call: Call, fault: RequestFault | None) -> Answer:
    request = read_run_request(call.form, livemode=state.livemode)
    if isinstance(fault, ServerError) and not fault.committed:
        raise errors.server_error()
    start, end = request.parameters.interval_start, request.parameters.interval_end
    if isinstance(fault, DataLate) and end is not None:
        available = state.availability().start if start is None else start
        raise errors.interval_after_data(request.report_type.id, available, end)
    check_availability(request, state.availability(), state.books(call.account))
    run = state.begin_run(call, request)
    if isinstance(fault, ServerError):
        raise errors.server_error()
    return Answer.of(await _as_it_is_now(state, call, run))


async def retrieve(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a run, which may thereby come to its end."""
    _refuse_unknown(call.query)
    run = state.find_run(call)
    with state.lock:
        run.reads += 1
    return Answer.of(await _as_it_is_now(state, call, run))


async def list_runs(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a page of runs, newest first."""
    _refuse_unknown(call.query, ("created", "ending_before", "limit", "starting_after"))
    page, has_more = _page(call.query, state.runs_of(call.account))
    data = [await _as_it_is_now(state, call, run) for run in page]
    return _list_object(RUNS_PATH, data, has_more=has_more)


async def list_types(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show the whole catalogue; Stripe does not page it."""
    _refuse_unknown(call.query)
    available = state.availability()
    data = [
        report_type.body(available, livemode=state.livemode)
        for report_type in CATALOGUE.values()
        if state.livemode or not report_type.live_only
    ]
    return _list_object(TYPES_PATH, data, has_more=False)


async def retrieve_type(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a report type."""
    _refuse_unknown(call.query)
    report_type = CATALOGUE.get(call.id)
    if report_type is None:
        raise errors.no_such("report type", call.id)
    if report_type.live_only and not state.livemode:
        raise errors.live_mode_only()
    return Answer.of(report_type.body(state.availability(), livemode=state.livemode))


async def retrieve_file(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Show a file."""
    _refuse_unknown(call.query)
    return Answer.of(state.find_file(call).body(call.base_url))


async def unrecognized(state: State, call: Call, fault: RequestFault | None) -> Answer:
    """Answer an address that is none of the others."""
    raise errors.unrecognized_url(call.method, call.path)


async def _as_it_is_now(state: State, call: Call, run: ReportRun) -> Json:
    if run.is_due(state.now()):
        await run_in_threadpool(state.end, run)
    return run.body(call.base_url)


def _refuse_unknown(form: Form, known: Collection[str] = (), label: str = "{}") -> None:
    unknown = [label.format(name) for name in form if name not in known]
    if unknown:
        raise errors.unknown_parameters(unknown)


def _page(query: Form, runs: list[ReportRun]) -> tuple[list[ReportRun], bool]:
    """Cut a page out of ``runs``, and tell whether there are more in its direction."""
    limit, matches = _limit(query), _created_filter(query)
    if "starting_after" in query and "ending_before" in query:
        raise errors.both_cursors()
    if "ending_before" in query:
        newer = list(filter(matches, runs[: _position(query, "ending_before", runs)]))
        return newer[-limit:], len(newer) > limit
    first = _position(query, "starting_after", runs) + 1 if "starting_after" in query else 0
    older = list(filter(matches, runs[first:]))
    return older[:limit], len(older) > limit


def _limit(query: Form) -> int:
    if "limit" not in query:
        return LIST_DEFAULT
    limit = integer(query["limit"], "limit")
    if not 1 <= limit <= LIST_MOST:
        raise errors.integer_out_of_range("limit", limit, least=1, most=LIST_MOST)
    return limit


def _created_filter(query: Form) -> Callable[[ReportRun], bool]:
    wanted = query.get("created", {})
    if not isinstance(wanted, dict):
        second = integer(wanted, "created")
        return lambda run: run.created == second
    _refuse_unknown(wanted, _COMPARISONS, "created[{}]")
    bounds = [(_COMPARISONS[name], integer(bound, f"created[{name}]")) for name, bound in wanted.items()]
    return lambda run: all(holds(run.created, bound) for holds, bound in bounds)


def _position(query: Form, name: str, runs: list[ReportRun]) -> int:
    run_id = string(query[name], name)
    for position, run in enumerate(runs):
        if run.id == run_id:
            return position
    raise errors.no_such("report run", run_id, param=name, status=400)


def _list_object(path: str, data: list[Json], *, has_more: bool) -> Answer:
    return Answer.of({"object": "list", "data": data, "has_more": has_more, "url": path})
