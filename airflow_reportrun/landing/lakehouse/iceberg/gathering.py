"""A snapshot that gathers what an Iceberg table tells of the files of a partition.

Each commit tells of its files in a manifest of its own, and looks at all that there are: those of a thousand days
took several times what those of ten did. pyiceberg's merge (0.12.0) makes one of all, which restating a day would
write anew; those of a partition are few, and no landing has to read the others.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pyiceberg.manifest import ManifestContent
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Transaction
    from pyiceberg.table.snapshots import Operation

_FULL = 64
"""Files of a manifest that is not written anew to tell of others, too."""


class Gathering(_OverwriteFiles):
    """Adds files of one partition, and takes whole files away."""

    def __init__(self, transaction: Transaction, operation: Operation, said: Mapping[str, str]) -> None:
        super().__init__(operation, transaction, transaction._table.io, snapshot_properties=dict(said))

    def _existing_manifests(self) -> list[ManifestFile]:
        """Leave out what tells of nothing but files that are gone, as an append does."""
        return [it for it in super()._existing_manifests() if it.has_added_files() or it.has_existing_files()]

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Write one manifest in the place of those of the partition that are not full."""
        near = [it for it in manifests if self._added_data_files and _is_like(it, manifests[0])]
        if len(near) < 2:
            return manifests
        one = _ManifestMergeManager(0, 0, True, self)._create_manifest(near[0].partition_spec_id, near)
        paths = {it.manifest_path for it in near}
        for path in paths.intersection(self._written_manifests):
            self._written_manifests.remove(path)
            with suppress(Exception):  # it is harmless
                self._io.delete(path)
        return [one, *(it for it in manifests if it.manifest_path not in paths)]


def _is_like(manifest: ManifestFile, other: ManifestFile) -> bool:
    """Tell whether a manifest has room, and is of the same partition; the other one is of one alone."""
    counts = manifest.added_files_count, manifest.existing_files_count, manifest.deleted_files_count
    return (
        (manifest.content, manifest.partition_spec_id) == (ManifestContent.DATA, other.partition_spec_id)
        and manifest.partitions == other.partitions
        and sum(it or 0 for it in counts) < _FULL
    )
