"""The page's server: a FastAPI app behind Airflow's own authentication, which writes nothing."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from airflow_reportrun.coverage.backfills import backfills_for
from airflow_reportrun.landing.manifest import Manifest, iso
from airflow_reportrun.page.dag_runs import Progress, links_of, progress_of, runs_that_landed
from airflow_reportrun.page.readings import Reading, Readings
from airflow_reportrun.page.report_tasks import (
    Lander,
    StoredTasks,
    Where,
    covering,
    landers_of,
    read_rendered,
)
from airflow_reportrun.page.shelves import Contents, read_contents, source_of
from airflow_reportrun.page.shown import Shown, shown_in

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PATIENCE = 2.0
"""Seconds that a request waits for stores: what takes longer is shown when the page asks again."""

_STATIC = Path(__file__).parent / "static"
_NEEDED = (None, DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""What a user has to be allowed to read of a DAG: the page shows all of it."""

_TOLD = (
    *("report_run_id", "report_type", "interval_start", "interval_end", "stripe_account", "livemode"),
    *("rows", "format", "path", "size", "sha256", "file_id", "landed_at", "landed_by", "state"),
)
"""What the page shows of a manifest."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

app = FastAPI(title="Stripe reports", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=_STATIC), name="static")

User = Annotated[BaseUser, Depends(get_user)]


@app.get("/")
async def page(request: Request) -> Response:
    """Return the page by itself, or the way to Airflow's login."""
    try:
        await get_user(request, None, await HTTPBearer(auto_error=False)(request))
    except HTTPException:
        login = get_auth_manager().get_url_login()
        return RedirectResponse(f"{login}?next={quote(request.url.path)}", status_code=303)
    return FileResponse(_STATIC / "coverage.html", headers=_HEADERS)


@app.get("/coverage")
def coverage(user: User, response: Response, anew: bool = False) -> dict[str, Any]:
    """Return which intervals are landed, as far as it is known after a moment."""
    response.headers.update(_HEADERS)
    with create_session() as session:
        seen = View(session, user, anew=anew)
        shown = seen.shown()
        return {
            "now": int(time.time()),
            "read_at": iso(min((it.read_at for it in seen.readings.values() if it.read_at), default=None)),
            "series": [it.as_dict() for it in shown],
            "reading": sorted(str(where) for where, it in seen.readings.items() if it.under_way),
            "problems": seen.problems(),
        }


@app.get("/interval")
def interval(user: User, response: Response, series: str, end: int) -> dict[str, Any]:
    """Return what is known of one interval: its manifest, its DAG runs, and what fills it where it is missing.

    :param series: as in `coverage`.
    :param end: epoch seconds.
    """
    response.headers.update(_HEADERS)
    with create_session() as session:
        seen = View(session, user)
        it = seen.one(series)
        at = it.shelf.ends.index(end) if end in it.shelf.ends else None
        if at is None:
            raise HTTPException(404, "The calendar has no such interval any more; load the page again.")
        start = it.shelf.ends[at - 1] if at else it.shelf.start
        found: dict[str, Any] = {"manifest": None, "problem": None, "backfills": []}
        instances = [(run.dag_id, run.run_id, run.map_index) for run in it.under_way.get(end, ())]
        if told_at := it.shelf.told_at[at]:
            session.rollback()
            reading = _manifests.of([(it.shelf.where, told_at)], patience=10)[it.shelf.where, told_at]
            found["problem"] = reading.error or (
                "What is there could not be read in ten seconds; look again." if reading.under_way else None
            )
            if reading.value:
                found["manifest"] = _told(reading.value)
                instances += runs_that_landed(session, it.landers, reading.value.report_run_id)
        found["dag_runs"] = [vars(link) for link in links_of(session, it.landers, instances)]
        if it.shelf.states[at] in "mf":
            found["backfills"], _ = seen.backfills(it, [(start, end)])
        return found


@app.get("/gaps")
def gaps(user: User, response: Response, series: str) -> dict[str, Any]:
    """Return the backfills that fill the gaps of a series.

    :param series: as in `coverage`.
    """
    response.headers.update(_HEADERS)
    with create_session() as session:
        seen = View(session, user)
        it = seen.one(series)
        missing = [span for span, state in zip(it.shelf.spans(), it.shelf.states, strict=True) if state in "mf"]
        found, left = seen.backfills(it, missing)
        return {"backfills": found, "left": len(left)}


def _order(it: Shown) -> tuple[str, ...]:
    about = it.shelf.about
    return about.report, about.stripe_account or "", str(it.shelf.where), str(about.filters), it.shelf.id


def _told(manifest: Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in _TOLD}


def _read(key: Any) -> Iterable[Contents]:
    where, askers = key
    return read_contents(where, askers)


def _read_manifest(key: Any) -> Iterable[Manifest | None]:
    where, told_at = key
    yield source_of(where).manifest(told_at)


_stored, _lock = StoredTasks(), Lock()
_contents: Readings[Contents] = Readings(_read)
_manifests: Readings[Manifest | None] = Readings(_read_manifest)


class View:
    """What a user may see now.

    :param anew: read all places again.
    """

    def __init__(self, session: Session, user: BaseUser, *, anew: bool = False) -> None:
        self._session = session
        with _lock:
            self._dags = _stored.read(session)
        rendered = read_rendered(session, self._dags)
        by_dag = {dag_id: landers_of(it.tasks, rendered.get(dag_id, {})) for dag_id, it in self._dags.items()}
        permitted = _readable(user, list(by_dag))
        outer = covering(where for found in by_dag.values() for lander in found for where in lander.where)
        self._permitted = defaultdict[Where, list[Lander]](list)
        self._others = defaultdict[Where, list[Lander]](list)
        for dag_id, found in by_dag.items():
            mine = self._permitted if dag_id in permitted else self._others
            for lander in found:
                for where in {outer[it] for it in lander.where}:
                    mine[where].append(lander)
        session.rollback()  # while places are waited for, others need the connection
        keys = {where: (where, self._askers(where)) for where in self._permitted}
        read = _contents.of(keys.values(), patience=PATIENCE, anew=anew)
        self.readings: Mapping[Where, Reading[Contents]] = {where: read[key] for where, key in keys.items()}
        self._unseen = sorted(
            f"{it.task.dag_id}.{it.task.task_id}"
            for dag_id, found in by_dag.items()
            for it in found
            if dag_id in permitted and not it.where
        )

    def _askers(self, where: Where) -> frozenset[Any]:
        return frozenset(
            asker for it in (*self._permitted[where], *self._others.get(where, ())) for asker in it.askers
        )

    def problems(self) -> list[str]:
        """Return what could not be read, in words; of connections, those of tasks that may be seen."""
        found = [f"{where}: {it.error}" for where, it in self.readings.items() if it.error]
        for where, it in self.readings.items():
            mine = {None, *(asker for lander in self._permitted[where] for asker in lander.askers)}
            found += [said for asker, said in (it.value.problems if it.value else ()) if asker in mine]
        if self._unseen:
            found.append(f"Not run yet, so that nothing tells where they land: {', '.join(self._unseen)}")
        return sorted(set(found))

    def shown(self) -> list[Shown]:
        """Return all series that the user may see."""
        progress: dict[int, list[Progress]] = {}
        found: list[Shown] = []
        for where, landers in self._permitted.items():
            for it in landers:
                if id(it) not in progress:
                    progress[id(it)] = progress_of(self._session, it, self._dags[it.task.dag_id].dag)
            reading, runs = self.readings[where], [run for it in landers for run in progress[id(it)]]
            if reading.value:
                others = self._others.get(where, ())
                found += shown_in(where, reading.value, landers, others, runs, now=time.time())
        return sorted(found, key=_order)

    def one(self, series: str) -> Shown:
        """Return a series by its id.

        :raises HTTPException: when the user sees no such one.
        """
        for it in self.shown():
            if it.shelf.id == series:
                return it
        raise HTTPException(404, "There is no such calendar, or you may not see it; load the page again.")

    def backfills(self, it: Shown, missing: Sequence[Any]) -> tuple[list[dict[str, Any]], Sequence[Any]]:
        """Return the backfills of DAGs that fill what is missing, and what none of them fills."""
        found, left = [], missing
        for lander in it.landers:
            for feeder in lander.feeders_of(it.shelf.about):
                try:
                    made, left = backfills_for(
                        self._dags[lander.task.dag_id].dag, left, interval=feeder.fields.get("interval")
                    )
                except ValueError:  # no schedule
                    continue
                found += [{**vars(one), "command": one.command} for one in made]
        return found, left


def _readable(user: BaseUser, dag_ids: list[str]) -> set[str]:
    """Return the DAGs of which a user may read all that the page shows."""
    team_of = getattr(DagModel, "get_dag_id_to_team_name_mapping", None)  # Airflow 3.2 and newer
    teams = team_of(dag_ids) if team_of and dag_ids else {}
    manager = get_auth_manager()

    def details(dag_id: str) -> DagDetails:
        return DagDetails(id=dag_id, team_name=teams.get(dag_id)) if teams.get(dag_id) else DagDetails(id=dag_id)

    def may(dag_id: str) -> bool:
        asked = [{"method": "GET", "access_entity": it, "details": details(dag_id)} for it in _NEEDED]
        return manager.batch_is_authorized_dag(cast(Any, asked), user=user)

    return set(filter(may, dag_ids))
