"""How tasks look in Airflow's UI: one colour for all of the package, and a note where their author wrote none."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_reportrun.tasks.failures import map_retry_policy

COLOR = "#e7e5ff"
"""A pale violet: black reads well on it, and none of Airflow's own operators has it."""

_NOTES = ("doc", "doc_md", "doc_json", "doc_yaml", "doc_rst")
"""Where an author may have written one."""


class Noted:
    """Gives a task the note of its class, and a mapped one the retry policy that constructors give the others."""

    note: ClassVar[str]
    """One or two sentences, in Markdown."""

    doc_md: str | None
    ui_color = COLOR
    ui_fgcolor = "#000"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not any(getattr(self, name, None) for name in _NOTES):
            self.doc_md = self.note

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Prepare a mapped task, as Airflow does."""
        made = super().partial(**kwargs)  # type: ignore[misc]
        if not any(made.kwargs.get(name) for name in _NOTES):
            made.kwargs["doc_md"] = cls.note
        map_retry_policy(cls, made.kwargs)
        return made
