"""The reference of the site has all that is public; whether it can be made, with its links, `make docs` shows."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType

import yaml

from airflow_reportrun import hooks, operators, sandbox, sensors, triggers
from airflow_reportrun.reporting import models
from tests.docs_blocks import ROOT
from tests.versions import needs_airflow

REFERENCE = {
    name
    for page in ROOT.glob("docs/reference/*.md")
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}


def public(module: ModuleType, name: str = r"Stripe\w+") -> set[str]:
    """Return the classes of a module that have such names, and are meant to be used as they are."""
    return {
        f"{module.__name__}.{key}"
        for key, it in vars(module).items()
        if inspect.isclass(it) and re.fullmatch(name, key) and not inspect.isabstract(it)
        if it.__module__.startswith(module.__name__)
    }


def test_the_reference_has_what_is_public() -> None:
    """Tasks, hooks, triggers and values; errors and the sandbox's names come with their modules."""
    bases = {"airflow_reportrun.sensors.StripeSensor", "airflow_reportrun.triggers.StripeTrigger"}
    named = {*public(operators), *public(sensors), *public(hooks), *public(triggers)} - bases
    named |= public(models, "ReportRun|ReportRunStatus|ReportType|File")
    assert len(named) >= 14
    assert named <= REFERENCE
    assert {"airflow_reportrun.reporting.errors", sandbox.__name__} <= REFERENCE


@needs_airflow(3, 3, "retry policy and event triggers")
def test_what_the_reference_names_is_there_and_says_what_it_is() -> None:
    """Each name can be imported, and has a docstring."""
    for name in REFERENCE:
        module, _, attribute = name.rpartition(".")
        it = getattr(importlib.import_module(module), attribute, None) or importlib.import_module(name)
        assert inspect.getdoc(it), name


def test_the_settings_of_the_site_are_strict_and_fetch_nothing() -> None:
    """No font and no script from elsewhere, and a warning ends the build."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "strict: true\n" in settings
    assert "font: false\n" in settings
    assert "http" not in settings
    loaded = yaml.safe_load(settings.replace("!!python/name:", ""))
    assert {it for group in loaded["validation"].values() for it in group.values()} == {"warn"}


def test_no_page_has_what_a_merge_left() -> None:
    """Both sides of a sentence, between the signs of a conflict."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    assert pages
    marked = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)
    assert [it.name for it in pages if marked.search(it.read_text(encoding="utf-8"))] == []
