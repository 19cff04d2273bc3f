from __future__ import annotations

import json
import sys
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from types import ModuleType, SimpleNamespace
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_reportrun.get_provider_info import CONN_FIELDS, get_provider_info
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.wire.connection import EXTRA_FIELDS
from tests.versions import AIRFLOW_2, BEFORE_3_3


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


def test_the_uris_of_assets_are_valid_against_the_strict_schema() -> None:
    """Airflow 2 knows them by another name."""
    name = "dataset-uris" if AIRFLOW_2 else "asset-uris"
    strict = schema("provider.yaml.schema.json")["properties"][name]
    jsonschema.validate(get_provider_info()[name], strict)


def test_everything_that_it_names_exists() -> None:
    """Hooks, operators, sensors, triggers, links and what makes assets by their paths."""
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for module in info[kind][0]["python-modules"]:
            if not (BEFORE_3_3 and module == "airflow_reportrun.event_triggers"):
                __import__(module)
    for path in (*info["extra-links"], *info["cli"]):
        import_string(path)
    (uris,) = info["asset-uris"]
    for role in ("handler", "factory", "to_openlineage_converter"):
        assert callable(import_string(uris[role]))
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
    """Its form is made of classes that Airflow 3 doesn't bring, and takes a few of them alone."""
    if not AIRFLOW_2:
        for name, classes in {
            "flask_appbuilder": (),
            "flask_appbuilder.fieldwidgets": ("BS3TextFieldWidget",),
            "wtforms": ("BooleanField", "StringField"),
        }.items():
            module = ModuleType(name)
            for it in classes:
                setattr(module, it, type(it, (SimpleNamespace,), {}))
            monkeypatch.setitem(sys.modules, name, module)
    fields = StripeReportingHook.get_connection_form_widgets()
    assert list(fields) == list(CONN_FIELDS)
    for name, field in fields.items():
        kind, its = type(field).__name__, CONN_FIELDS[name]
        if AIRFLOW_2:  # where a field waits for its form
            kind, field = field.field_class.__name__, SimpleNamespace(**field.kwargs)
        assert (field.label, field.description) == (its["label"], its["description"])
        assert kind == ("BooleanField" if "boolean" in its["schema"]["type"] else "StringField")
