"""What a sensor is refused for, when the file is parsed, that is to begin in the triggerer and maybe to end there.

Airflow (3.3.2) refuses none of it: such a task hangs, runs in a worker after all, or leaves something out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator

from airflow_reportrun.airflow_context import is_airflows_own
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.tasks.options import is_template

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs

LONGEST = 3650 * 86_400.0
"""Seconds. The scheduler adds the time-out to its clock, and an overflow there would end it."""

XCOM = "__xcom_of_task"
"""Marks what another task returned among a trigger's arguments: the task's id, with the XCom's key beside it."""

KNOWN_NAMES = frozenset(
    {
        "conn",
        "dag",
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "logical_date",
        "macros",
        "params",
        "partition_date",
        "partition_key",
        "run_id",
        "task",
        "task_instance",
        "task_instance_key_str",
        "ti",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
        "var",
    }
)
"""What a template in the triggerer can use. Airflow's others are empty there or never answered; a DAG's own macros
are not kept with it."""

_OURS = ("goal", "found", "trigger", "poke", "execute", "execute_complete")


def start_args(sensor: Any, trigger: str, backstop: timedelta, options: Mapping[str, Any]) -> StartTriggerArgs:
    """Return how a sensor begins in the triggerer.

    :param sensor: in its constructor, with all options set.
    :param trigger: the class path of one of :mod:`airflow_reportrun.start_triggers`.
    :param backstop: how long after the sensor's own ``timeout`` Airflow gives up.
    :param options: the trigger's arguments; those of the sensor's that are templated may be templates, or
        ``task.output``.
    :raises ConfigurationError: for what can't be so, with what to do.
    """
    require_airflow_3_3()
    _require("start_from_trigger=True", _beginning(sensor))
    if sensor.end_from_trigger:
        _require("end_from_trigger=True", _ending(sensor))
    from airflow.triggers.base import StartTriggerArgs

    kwargs = {name: _argument(name, value) for name, value in options.items()}
    return StartTriggerArgs(
        trigger_cls=trigger,
        next_method="execute_complete",
        trigger_kwargs=kwargs,
        timeout=timedelta(seconds=min(sensor.timeout, LONGEST)) + backstop,
    )


def require_airflow_3_3() -> None:
    """Refuse an Airflow whose triggerer renders no templates.

    :raises ConfigurationError: see above.
    """
    from airflow.triggers.base import BaseTrigger

    if not hasattr(BaseTrigger, "render_template_fields"):
        raise ConfigurationError(
            "start_from_trigger=True needs Airflow 3.3 or newer; deferrable=True waits in the triggerer before."
        )


def refuse_mapping() -> None:
    """Refuse what Airflow would run in a worker, with a warning in the scheduler's log alone.

    :raises ConfigurationError: always.
    """
    raise ConfigurationError("start_from_trigger=True: Airflow can't begin mapped tasks so. Use deferrable=True.")


def _require(option: str, reasons: Iterator[str]) -> None:
    if found := list(reasons):
        raise ConfigurationError(f"{option}: {' '.join(found)}")


def _beginning(sensor: Any) -> Iterator[str]:
    """Yield why a sensor can't begin in the triggerer."""
    if getattr(sensor, "_BaseOperator__from_mapped", False) or sensor.get_closest_mapped_task_group():
        refuse_mapping()
    ours = next(base for base in type(sensor).__mro__ if base.__module__ == "airflow_reportrun.sensors")
    if own := [name for name in _OURS if getattr(type(sensor), name) is not getattr(ours, name)]:
        yield f"{type(sensor).__name__} has its own {', '.join(own)}, which is not called there."
    limits = [name for name in ("max_active_tis_per_dag", "max_active_tis_per_dagrun") if getattr(sensor, name)]
    if sensor.pool != "default_pool":
        limits.insert(0, "pool")
    if limits:
        yield f"{', '.join(limits)} would not hold it back: leave that out."


def _ending(sensor: Any) -> Iterator[str]:
    """Yield why a sensor can't end in the triggerer, where no code of the DAG file is run."""
    uncalled = [name for name in ("pre_execute", "post_execute") if getattr(sensor, f"_{name}_hook", None)]
    uncalled += [
        name
        for name in ("pre_execute", "post_execute")
        if getattr(type(sensor), name) is not getattr(BaseSensorOperator, name)
    ]
    # Airflow hands a success to the DAG processor (3.3.2), which calls nothing but callbacks of failures.
    uncalled += [name for name in ("on_execute_callback", "on_success_callback") if getattr(sensor, name)]
    if uncalled:
        yield f"{', '.join(dict.fromkeys(uncalled))} would not be called: use end_from_trigger=False."
    if sensor.outlets:
        yield "no event of its outlets would be recorded: use end_from_trigger=False."
    if sensor.multiple_outputs:
        yield "multiple_outputs is not supported there: use end_from_trigger=False."


def refuse_own_timetable(timetable: Any) -> None:
    """Refuse to ask somebody's own timetable for an interval: how long it takes would hold up all triggers.

    :raises ConfigurationError: see above.
    """
    if timetable is not None and not is_airflows_own(timetable):
        raise ConfigurationError(
            f"start_from_trigger=True: the interval of {type(timetable).__name__}, which is not Airflow's, is not"
            " worked out in the triggerer. Pass interval_end=, or use deferrable=True."
        )


def _argument(name: str, value: Any) -> Any:
    """Return an option as JSON; the triggerer renders it."""
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from airflow.sdk.definitions.xcom_arg import PlainXComArg, XComArg

    if isinstance(value, PlainXComArg):
        if isinstance(value.operator, MappedOperator) or value.operator.get_closest_mapped_task_group():
            raise ConfigurationError(
                f"start_from_trigger=True: {name} comes from the mapped task {value.operator.task_id!r}, which"
                " returns a list. Use deferrable=True."
            )
        return {XCOM: value.operator.task_id, "key": value.key}
    if next(XComArg.iter_xcom_references(value), None):
        raise ConfigurationError(
            f"start_from_trigger=True: of upstream tasks {name} takes what one returned, as in task.output or"
            " task.output['key'], and nothing made of that. Use deferrable=True."
        )
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        _require_known_names(name, value)
    elif isinstance(value, Mapping):
        return {str(key): _argument(f"{name}[{key}]", part) for key, part in value.items()}
    elif not isinstance(value, (int, float, type(None))):
        raise ConfigurationError(f"start_from_trigger=True: {name} can't be a {type(value).__name__}.")
    return value


def _require_known_names(name: str, text: str) -> None:
    """Refuse a template whose names are not there in the triggerer, or come to something else."""
    if not is_template(text):
        return
    from jinja2 import TemplateError, meta

    env = template_env()
    try:
        used = meta.find_undeclared_variables(env.parse(text))
        env.from_string(text)  # which knows the filters
    except TemplateError as error:
        raise ConfigurationError(f"start_from_trigger=True: the template of {name}: {error}") from None
    if unknown := sorted(used - KNOWN_NAMES - env.globals.keys()):
        raise ConfigurationError(
            f"start_from_trigger=True: the template of {name} uses {', '.join(unknown)}, which the triggerer does"
            " not have. Use deferrable=True."
        )


def template_env(*, native: bool = False) -> Any:
    """Return Airflow's environment for templates, in which an unknown name is an error.

    :param native: see ``render_template_as_native_obj``.
    """
    from airflow.sdk import DAG
    from jinja2 import StrictUndefined

    dag = DAG("templates", schedule=None, template_undefined=StrictUndefined, render_template_as_native_obj=native)
    return dag.get_template_env(force_sandboxed=not native)
