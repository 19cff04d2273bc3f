"""The tests' own S3, seen through Airflow."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import ObjectStoragePath

from tests.s3 import S3


def test_an_object_is_written_through_airflows_connection(s3: S3) -> None:
    """And read past it; what was not completed shows as such."""
    (ObjectStoragePath(s3.destination("new/x.csv"))).write_bytes(b"a,b\n")
    assert s3.objects("new/") == {"new/x.csv": b"a,b\n"}
    file = ObjectStoragePath(s3.destination("begun.csv")).fs.open(f"{s3.bucket}/begun.csv", "wb", autocommit=False)
    file.write(b"a")
    file.close()
    assert s3.objects("begun") == {}
    assert s3.unfinished("begun") == ["begun.csv"]
    file.discard()
    assert s3.unfinished("begun") == []
