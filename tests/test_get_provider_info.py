from __future__ import annotations

import json
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_reportrun.get_provider_info import CONN_FIELDS, get_provider_info
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.wire.connection import EXTRA_FIELDS
from tests.versions import AIRFLOW_2


def schema(name: str) -> Any:
    return json.loads((files("airflow") / name).read_text())


def test_is_found_under_the_distributions_canonical_name() -> None:
    """With an underscore here, every command of Airflow that loads providers would break."""
    (entry_point,) = entry_points(group="apache_airflow_provider", module="airflow_reportrun.get_provider_info")
    info = entry_point.load()()
    assert entry_point.name == "provider_info"
    assert info["package-name"] == distribution("airflow-provider-reportrun").name == "airflow-provider-reportrun"


def test_is_valid_for_airflow() -> None:
    """The schema that Airflow checks at run time."""
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_the_connection_form_is_valid_against_the_strict_schema() -> None:
    """The schema at run time lets a misspelt key pass, and the form silently loses its labels."""
    strict = schema("provider.yaml.schema.json")["properties"]
    for part in ("connection-types", *(["cli"] if "cli" in strict else [])):  # Airflow 2 has no such commands
        jsonschema.validate(get_provider_info()[part], strict[part])


def test_everything_that_it_names_exists() -> None:
    """Hooks, operators, sensors, triggers and links by their paths."""
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for module in info[kind][0]["python-modules"]:
            if not (AIRFLOW_2 and module == "airflow_reportrun.event_triggers"):
                __import__(module)
    for path in (*info["extra-links"], *info["cli"]):
        import_string(path)
    (connection,) = info["connection-types"]
    assert import_string(connection["hook-class-name"]) is StripeReportingHook
    assert connection["connection-type"] == StripeReportingHook.conn_type


def test_each_field_of_the_form_is_read() -> None:
    """A field that nobody reads would be a promise."""
    assert set(CONN_FIELDS) <= set(EXTRA_FIELDS)


def test_airflow_2_gets_the_same_labels() -> None:
    """It asks the hook, in its own spelling."""
    behaviour = StripeReportingHook.get_ui_field_behaviour()
    jsonschema.validate(behaviour, schema("customized_form_field_behaviours.schema.json"))
    assert behaviour["relabeling"]["password"] == "Secret key"


def test_airflow_2_gets_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its form is made of classes that Airflow 3 doesn't bring."""
    import sys
    from types import ModuleType, SimpleNamespace

    wtforms, widgets = ModuleType("wtforms"), ModuleType("flask_appbuilder.fieldwidgets")
    monkeypatch.setattr(wtforms, "StringField", SimpleNamespace, raising=False)
    monkeypatch.setattr(widgets, "BS3TextFieldWidget", object, raising=False)
    for module in (wtforms, widgets, ModuleType("flask_appbuilder")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    fields = StripeReportingHook.get_connection_form_widgets()
    assert {name: field.label for name, field in fields.items()} == {
        name: field["label"] for name, field in CONN_FIELDS.items()
    }
