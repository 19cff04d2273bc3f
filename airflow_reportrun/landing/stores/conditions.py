"""How each store is told to publish an object only if what is there is still what somebody looked at."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from airflow_reportrun.landing.stores.place import ANY, MovedError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_REFUSED = {
    *("PreconditionFailed", "ConditionalRequestConflict", "412"),
    *("ConditionNotMet", "BlobAlreadyExists", "InvalidBlockList"),
}
"""What S3 and Azure call it that a condition does not hold, or that others have published meanwhile.

Not by their statuses: a lease or a policy against changes is a 409 or a 412, too, and no other task.
"""


class Mark(NamedTuple):
    """What is there, as its store calls it.

    :param etag: None where the store has none.
    :param size: in bytes.
    :param version: what else the store tells contents apart by.
    """

    etag: str | None
    size: int
    version: str | None = None


class Conditions:
    """A store that takes none: what is expected is passed over, and has to be looked at afterwards.

    :param fs: of the store.
    """

    shows_closed = True
    """Whether to close a file publishes it."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs: Any = fs

    def look(self, path: str) -> Mark:
        """Return what is there.

        :raises FileNotFoundError: when nothing is.
        """
        info = self._fs.info(path)
        etag = info.get("ETag") or info.get("etag")
        created = None if info.get("created") is None else str(info["created"])
        return Mark(None if etag is None else str(etag), info["size"], None if etag else created)

    def read(self, path: str) -> bytes:
        """Return a small object.

        :raises FileNotFoundError: when there is none.
        """
        contents: bytes = self._fs.cat_file(path)
        return contents

    def put(self, path: str, contents: bytes, expected: object) -> Mark | None:
        """Publish a small object; return its mark, None where the store has not said it."""
        self._fs.pipe_file(path, contents)
        return None

    def begin(self, path: str, expected: object, size: int) -> Any:
        """Return a file to write, which is not seen before :meth:`complete`.

        :param size: bytes that go up at a time.
        """
        return self._fs.open(path, "wb", block_size=size, autocommit=False)

    def complete(self, file: Any, expected: object) -> Mark | None:
        """Publish what was written, which is all there but for :meth:`complete`; see :meth:`put`."""
        file.close()
        return None

    @contextmanager
    def moved(self) -> Iterator[None]:
        """Tell a condition that does not hold from a store's other errors.

        :raises MovedError: see above.
        """
        try:
            yield
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, FileExistsError) or _code(cause) in _REFUSED:
                    raise MovedError from None
                cause = cause.__cause__
            raise


class S3Conditions(Conditions):
    """Amazon's; one that speaks the same and takes no conditions (501) is asked without."""

    shows_closed = False

    def look(self, path: str) -> Mark:
        """Return what is there, without the listing by which s3fs looks for a folder."""
        bucket, key, _ = self._fs.split_path(path)
        head = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        return Mark(head["ETag"], head["ContentLength"])

    def read(self, path: str) -> bytes:
        """Return a small object; where s3fs may read several parts at once it asks for the size first."""
        contents: bytes = self._fs.cat_file(path, max_concurrency=1)
        return contents

    def put(self, path: str, contents: bytes, expected: object) -> Mark | None:
        """Publish it by one request."""
        answer = _where_taken(lambda **match: self._fs.pipe_file(path, contents, **match), expected)
        return Mark(answer["ETag"], len(contents))

    def complete(self, file: Any, expected: object) -> Mark | None:
        """Complete the upload; what lies there by then has the answer's ETag."""
        call, size, answers = file._call_s3, file.tell(), []  # s3fs drops the answer

        def complete(**match: Any) -> None:
            def calling(method: str, *args: Any, **kwargs: Any) -> Any:
                answers.append(call(method, *args, **kwargs, **match))
                return answers[-1]

            file._call_s3 = calling
            file.commit()

        _where_taken(complete, expected)
        return Mark(answers[-1]["ETag"], size) if answers else None


class GoogleConditions(Conditions):
    """Google's, which takes the condition of an upload when that begins, and may refuse it then."""

    shows_closed = False

    def look(self, path: str) -> Mark:
        """Return what is there, without the listing by which gcsfs looks for a folder."""
        bucket, key, _ = self._fs.split_path(path)
        it = self._fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        return Mark(it.get("etag"), int(it["size"]), it.get("generation"))

    def put(self, path: str, contents: bytes, expected: object) -> Mark | None:
        """Publish it by one request."""
        it = self._fs.call(
            "POST",
            self._uploads(path),
            uploadType="media",
            headers={"Content-Type": "application/octet-stream"},
            data=contents,
            json_out=True,
            **_generation(expected),
        )
        return Mark(it.get("etag"), int(it["size"]), it.get("generation"))

    def begin(self, path: str, expected: object, size: int) -> Any:
        """Return a file whose upload begins on a condition, which gcsfs has for new objects alone."""
        file = super().begin(path, expected, size)
        discard = file.discard

        def initiate() -> None:
            with self.moved():
                headers, _ = self._fs.call(
                    "POST",
                    self._uploads(path),
                    uploadType="resumable",
                    json={"name": file.key},
                    headers={"X-Upload-Content-Type": file.content_type},
                    **_generation(expected),
                )
            file.location = headers["Location"]

        def give_up() -> None:
            if file.location:
                file.location = re.sub("&ifGenerationMatch=[^&]*", "", file.location)
            discard()

        file._initiate_upload, file.discard = initiate, give_up
        return file

    def complete(self, file: Any, expected: object) -> Mark | None:
        """Complete the upload, and look what lies there by then."""
        file.commit()
        there = self.look(file.path)
        if file.generation and there.version != file.generation:
            raise MovedError
        return there

    def _uploads(self, path: str) -> str:
        bucket, key, _ = self._fs.split_path(path)
        return f"{self._fs._location}/upload/storage/v1/b/{quote(bucket, '')}/o?name={quote(key, '')}"


class AzureConditions(Conditions):
    """Azure's, where to close a file commits its blocks."""

    def put(self, path: str, contents: bytes, expected: object) -> Mark | None:
        """Publish it by one request."""
        self._fs.pipe_file(path, contents, overwrite=expected is not None, **_azure_match(expected))
        return None

    def complete(self, file: Any, expected: object) -> Mark | None:
        """Commit the blocks."""
        file.container_client = _Committing(file.container_client, expected)
        return super().complete(file, expected)


class _Committing:
    """A client of a container that commits blocks on a condition, which adlfs has for new blobs alone."""

    def __init__(self, client: Any, expected: object) -> None:
        self._client, self._expected = client, expected

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_blob_client(self, *args: Any, **kwargs: Any) -> Any:
        client = self._client.get_blob_client(*args, **kwargs)
        commit = client.commit_block_list

        async def committing(*args: Any, **kwargs: Any) -> Any:
            match = {"headers": {"If-None-Match": "*"}} if self._expected is None else _azure_match(self._expected)
            return await commit(*args, **kwargs, **match)

        client.commit_block_list = committing
        return client


def conditions_of(fs: AbstractFileSystem) -> Conditions:
    """Return how a store is told conditions."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}
    for name, kind in (("s3", S3Conditions), ("gs", GoogleConditions), ("abfs", AzureConditions)):
        if name in protocols:
            return kind(fs)
    return Conditions(fs)


def _where_taken(call: Any, expected: object) -> Any:
    """Call with S3's conditions, and without where the store has none."""
    match: dict[str, str] = {}
    if isinstance(expected, Mark):
        match = {"IfMatch": str(expected.etag)}
    elif expected is not ANY:
        match = {"IfNoneMatch": "*"}
    try:
        return call(**match)
    except FileNotFoundError as error:
        if "IfMatch" in match and error.__cause__ and _code(error.__cause__) == "NoSuchKey":
            raise MovedError from None  # it was removed
        raise
    except OSError as error:
        if not match or error.errno != errno.ENOSYS:
            raise
    return call()


def _generation(expected: object) -> dict[str, str]:
    if expected is ANY:
        return {}
    return {"ifGenerationMatch": (expected.version or "0") if isinstance(expected, Mark) else "0"}


def _azure_match(expected: object) -> dict[str, Any]:
    if not isinstance(expected, Mark):
        return {}
    from azure.core import MatchConditions

    return {"etag": expected.etag, "match_condition": MatchConditions.IfNotModified}


def _code(error: BaseException) -> str | None:
    """Return what S3 or Azure calls an error of its."""
    answer = getattr(error, "response", None)
    code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else getattr(error, "error_code", None)
    return None if code is None else str(getattr(code, "value", code))
