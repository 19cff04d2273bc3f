#!/usr/bin/env bash
# s3fs, opened for exclusive creation (mode xb), replaces an object that exists when nothing is written; with a byte
# in it, it is refused. One would guess FileExistsError both times, as a local file gives it at opening.
# The refusal comes when the file is closed.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet s3fs==2026.9.0 fsspec==2026.9.0 "moto[server]==5.2.5"

cd "$home"
AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=us-east-1 venv/bin/python - > said 2> errors <<'PYTHON' || { cat errors; exit 1; }
import fsspec
import s3fs
from moto.server import ThreadedMotoServer

print("s3fs", s3fs.__version__)
server = ThreadedMotoServer("127.0.0.1", port=0)
server.start()
try:
    host, port = server.get_host_and_port()
    store = fsspec.filesystem("s3", endpoint_url=f"http://{host}:{port}")
    store.mkdir("bucket")
    for written in (b"", b"new"):
        store.pipe_file("bucket/object", b"old")
        try:
            with store.open("bucket/object", "xb") as file:
                file.write(written)
            outcome = "no error"
        except Exception as error:
            outcome = type(error).__name__
        store.invalidate_cache()
        print("written", written, outcome, "there is", store.cat_file("bucket/object"))
finally:
    server.stop()
PYTHON
grep -v MotoServer said > seen

cat > expected <<'TEXT'
s3fs 2026.9.0
written b'' no error there is b''
written b'new' FileExistsError there is b'old'
TEXT
echo "guessed: FileExistsError and b'old' both times"
echo "seen:"
cat seen
diff expected seen
