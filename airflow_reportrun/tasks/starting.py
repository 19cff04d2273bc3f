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
        *("dag", "dag_run", "run_id", "task", "ti", "task_instance", "task_instance_key_str"),
        *("logical_date", "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"),
        *("data_interval_start", "data_interval_end", "partition_date", "partition_key"),
        *("conn", "macros", "params", "var"),
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

    dag = sensor.dag if sensor.has_dag() else None
    kwargs = {name: _argument(dag, name, value) for name, value in options.items()}
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


def _argument(dag: Any, name: str, value: Any) -> Any:
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
        _require_known_names(dag, name, value)
    elif isinstance(value, Mapping):
        return {str(key): _argument(dag, f"{name}[{key}]", part) for key, part in value.items()}
    elif not isinstance(value, (int, float, type(None))):
        raise ConfigurationError(f"start_from_trigger=True: {name} can't be a {type(value).__name__}.")
    return value


def _require_known_names(dag: Any, name: str, text: str) -> None:
    """Refuse a template that is not the same in the triggerer, where nothing of the DAG's own is known.

    :param dag: the sensor's, None where it has none yet.
    """
    from jinja2 import TemplateError, meta, nodes

    env, own_syntax = template_env(), dag is not None and dag.jinja_environment_kwargs
    try:
        own_template = own_syntax and any(kind != "data" for _, kind, _ in dag.get_template_env().lex(text))
        if not is_template(text) and not own_template:
            return
        parsed = env.parse(text)
        missing = meta.find_undeclared_variables(parsed) - KNOWN_NAMES
        missing |= {f"the file {it!r}" for it in meta.find_referenced_templates(parsed)}
        if own_syntax:
            missing.add("the DAG's jinja_environment_kwargs")
        if dag is not None:  # which may have given Jinja's own names another meaning
            filters = {it.name for it in parsed.find_all(nodes.Filter)}
            macros = {it.name for it in parsed.find_all(nodes.Name)} - KNOWN_NAMES
            missing |= (filters & set(dag.user_defined_filters or ())) | (
                macros & set(dag.user_defined_macros or ())
            )
        if not missing:
            env.from_string(text)  # which knows the filters
    except TemplateError as error:
        raise ConfigurationError(f"start_from_trigger=True: the template of {name}: {error}") from None
    if missing:
        raise ConfigurationError(
            f"start_from_trigger=True: the template of {name} uses {', '.join(sorted(missing))}, which the"
            " triggerer does not have. Use deferrable=True."
        )


def template_env(*, native: bool = False) -> Any:
    """Return Airflow's environment for templates, in which an unknown name is an error.

    :param native: see ``render_template_as_native_obj``.
    """
    from airflow.sdk import DAG
    from jinja2 import StrictUndefined

    dag = DAG("templates", schedule=None, template_undefined=StrictUndefined, render_template_as_native_obj=native)
    return dag.get_template_env(force_sandboxed=not native)
