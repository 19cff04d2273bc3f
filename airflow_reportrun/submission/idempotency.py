"""The idempotency key: who asks for a report run, and what makes two requests the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reportrun.airflow_context import TaskInstance
from airflow_reportrun.reporting.parameters import form_encode

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_reportrun.question.question import Question
    from airflow_reportrun.wire.connection import ConnectionSettings


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A report that is wanted, and from whom.

    :param scope: tells deployments apart that share an account and have the same DAGs.
    :param stripe_account: the account that is acted as, or the context that leads to it.
    :param livemode: whether the key is one for live data, None where that isn't known.
    :param report_type: such as ``balance.summary.1``.
    :param parameters: by Stripe's names, as JSON.
    """

    scope: str
    stripe_account: str | None
    livemode: bool | None
    report_type: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Identity(Wanted):
    """One task instance between two clears, and what it asks for.

    Retries of a task instance, and a broker that delivers it twice, share an identity; a clear, a mapped sibling
    and another DAG run have identities of their own.

    :param dag_id: id of the DAG.
    :param run_id: id of the DAG run.
    :param task_id: id of the task.
    :param map_index: index of a mapped task, -1 otherwise.
    :param max_tries: Airflow's ``ti.max_tries``, which stays over retries and moves on when a user clears a
        finished or deferred task.
    :param fresh: tells a task instance that wants a run of its own from others with the same ids: epoch seconds
        at which its DAG run began.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    max_tries: int
    fresh: float | None = None

    @classmethod
    def of(
        cls, context: Context, settings: ConnectionSettings, question: Question, fresh: float | None
    ) -> Identity:
        """Return who asks, by Airflow's context and the connection, and what."""
        ti = TaskInstance(context)
        return cls(
            scope=settings.idempotency_scope,
            **ti.ids,
            max_tries=ti.max_tries,
            stripe_account=settings.acting_as,
            livemode=settings.livemode,
            report_type=question.report_type,
            parameters=question.parameters.as_dict(),
            fresh=fresh,
        )

    def idempotency_key(self, attempt: int) -> str:
        """Return the ``Idempotency-Key`` of the attempt: deterministic, and well under Stripe's 255 characters.

        :param attempt: 1, and one more after each report run or stored answer that can't be used.
        """
        # A list in JSON, so that no two identities can be joined to the same text.
        values = [
            *(self.scope, self.dag_id, self.run_id, self.task_id, self.map_index, self.max_tries),
            *(self.stripe_account, self.livemode, self.report_type, dict(form_encode(self.parameters)), attempt),
            # At the end, where it is wanted: keys without it are those of earlier versions.
            *([] if self.fresh is None else [self.fresh]),
        ]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return f"airflow-reportrun-{hashlib.sha256(text.encode()).hexdigest()}"
