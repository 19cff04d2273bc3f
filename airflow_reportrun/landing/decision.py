"""Whether what is landed somewhere may be replaced: one answer for files, stores and tables.

It is asked for before a download, which it may spare, and again at the moment of publication: something else may
be there by then.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_reportrun.landing.manifest import Manifest, Subject


class Answer(Enum):
    """What to do about what is there."""

    LANDED = "this very file is landed as it is wanted: nothing is left to do"
    CONFIRMED = "another file has the same contents, and is landed as it is wanted: the manifest alone moves"
    NEWER = "the figures of a newer report run are there: they stay"
    REPLACE = "what is there, if anything is, may be replaced"
    ANOTHERS = "another report or interval is landed there, or is being landed: refuse"
    NOBODYS = "data is there that no manifest tells of: refuse"


STAYS = (Answer.LANDED, Answer.NEWER)
"""What there is to do nothing about."""


def decide(
    mine: Manifest,
    there: Manifest | None,
    *,
    intact: bool,
    as_wanted: bool,
    unknown: bool = False,
) -> Answer:
    """Return what to do about what is there now; reads and writes nothing.

    Age protects what is intact, in whatever format and with whatever types it was landed.

    :param mine: what is to be landed; its ``file_sha256`` is empty until it is known.
    :param there: what the manifest that is there says, None where there is none.
    :param intact: the data that it tells of is there, unchanged. What is only being landed is never intact.
    :param as_wanted: this data is in the format and of the types that are asked for now.
    :param unknown: data is there, and may not be replaced without a manifest of ours.
    """
    if answer := refusal(mine.subject, there, unknown=unknown):
        return answer
    if there is None or there.landing or not intact:
        return Answer.REPLACE
    if there.file_id == mine.file_id:
        return Answer.LANDED if as_wanted else Answer.REPLACE
    if there.is_newer_than(mine.report_run_created):
        return Answer.NEWER
    if as_wanted and mine.file_sha256 and mine.file_sha256 == there.file_sha256:
        return Answer.CONFIRMED
    return Answer.REPLACE


def refusal(subject: Subject, there: Manifest | None, *, unknown: bool = False) -> Answer | None:
    """Return why nothing of a subject may land, None where it may: for who has no report run yet."""
    if there is None:
        return Answer.NOBODYS if unknown else None
    return Answer.ANOTHERS if there.subject != subject else None
