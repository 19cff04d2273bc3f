from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest

import install


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ([], {}),
        (
            ["global.index-url='https://packages.example/simple'", "global.cert='/etc/ssl/ours.pem'"],
            {"UV_DEFAULT_INDEX": "https://packages.example/simple", "SSL_CERT_FILE": "/etc/ssl/ours.pem"},
        ),
        (
            [
                r"global.extra-index-url='\nhttps://one.example\nhttps://two.example'",
                "global.find-links='/a /b'",
            ],
            {
                "UV_INDEX": "https://one.example https://two.example",
                "UV_INDEX_STRATEGY": "unsafe-best-match",
                "UV_FIND_LINKS": "/a,/b",
            },
        ),
        (
            [":env:.default-timeout='60'", ":env:.disable-pip-version-check='1'", "global.default-timeout='15'"],
            {"UV_HTTP_TIMEOUT": "60"},
        ),
        (["install.find-links='/mine'", "global.find-links='/all'"], {"UV_FIND_LINKS": "/mine"}),
        (["download.no-binary='numpy'"], {}),
        (["global.constraint='/etc/constraints.txt'"], {}),
    ],
)
def test_uv_is_told_what_pip_was(listed: list[str], told: dict[str, str]) -> None:
    """What is for installing, and the environment's word last."""
    environment = install.uv_environment(install.pip_settings(listed))
    assert environment == {"UV_COMPILE_BYTECODE": "1", **told}


@pytest.mark.parametrize(
    ("failing", "setting", "tools", "said"),
    [
        (set(), "cert", ["uv"], ""),
        (set(), "trusted-host", ["pip"], "uv can't be told its trusted-host"),
        ({"get uv"}, "cert", ["get uv", "pip"], "no uv to be had"),
        ({"uv"}, "cert", ["uv", "pip"], "uv did not manage"),
        ({"uv", "pip"}, "cert", ["uv", "pip"], "uv did not manage"),
    ],
)
def test_pip_does_what_uv_does_not(
    failing: set[str],
    setting: str,
    tools: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both are given the same packages and constraints, and the last word is the exit status."""
    ran: dict[str, list[str]] = {}

    def run(command: list[str], environment: Mapping[str, str] | None = None) -> int:
        tool = "get uv" if command[-1] == "uv" else "uv" if "uv" in command else "pip"
        ran[tool] = command
        return int(tool in failing)

    monkeypatch.setattr(install, "run", run)
    monkeypatch.setattr(install, "pip_settings", lambda listed: {"constraint": "/etc/all.txt", setting: "it"})
    assert install.main(["--constraint", "ours.txt", "--editable", ".[dev]"]) == int("pip" in failing)
    assert [tool for tool in ran if tool != "get uv" or tool in failing] == tools
    for tool in set(tools) - {"get uv"}:
        assert ran[tool][-2:] == ["--editable", ".[dev]"]
        assert "--constraint=ours.txt" in ran[tool]
        assert ("--constraint=/etc/all.txt" in ran[tool]) == (tool == "uv")  # pip reads its own
    assert said in capsys.readouterr().out


def test_a_command_tells_how_far_it_is_and_why_it_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[Any]
) -> None:
    """Its last line every few seconds, and all of it where it failed."""
    monkeypatch.setattr(install, "EVERY", 0.1)
    program = "import time; print('one', flush=True); time.sleep(1); print('two'); raise SystemExit(3)"
    assert install.run([sys.executable, "-c", program]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("s  one") for line in lines)
    assert lines[-3:] == ["one", "two", ""]
