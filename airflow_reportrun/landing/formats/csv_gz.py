"""The format ``csv.gz``."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

_GZIP = 16 + zlib.MAX_WBITS


def gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress bytes as they pass.

    The header has neither a time nor a name: the same contents become the same bytes, however they were cut, as
    long as zlib stays the same.
    """
    packer = zlib.compressobj(wbits=_GZIP)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
