"""Ends that nobody wished for: errors of the console itself, and what the database holds after an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.consoles import as_url
from tests.support.seed import Seed
from tests.support.terminal import Terminal, assert_given_back, engine_of, stopped_at

Opener = Callable[..., Terminal]


@pytest.fixture
def terminal(dsn: str, seed: Seed, tmp_path: Path) -> Opener:
    url = as_url(dsn).get_secret_value()
    return lambda **more: Terminal(url, tmp_path, **more)


KEY = "sk-planted-0123456789"
PLANTED = f"""
def boom(*_):
    customer = "Passing through the customer's words"
    raise RuntimeError(f"{{customer}} {KEY}")
"""
IN_THE_APP = PLANTED + "import console.app; console.app.SwitchboardApp.act_help = boom"
IN_A_WORKER = PLANTED + "import console.jumping; console.jumping.go = boom"


def test_an_error_of_the_app_gives_the_terminal_back_and_tells_no_secret(
    terminal: Opener, rows: Any, tmp_path: Path
) -> None:
    with terminal(engine=True, before=IN_THE_APP, environment={"UNIAPI_API_KEY": KEY}) as screen:
        name = engine_of(rows)
        screen.await_text("Passing through")
        screen.type("?")
        assert screen.wait(8) == 1
        assert_given_back(screen)
        after = screen.output[screen.output.rfind(b"\x1b[?1049l") :].decode()
        assert "The console ended on an error of its own" in after
        assert "RuntimeError" in after and "console.log" in after
        assert KEY not in after and "the customer's words" not in after and "Passing" not in after
        assert stopped_at(rows, name) is not None
    logged = (tmp_path / "console.log").read_text()
    assert "the console ended on an error" in logged and "***" in logged
    assert KEY not in logged


def test_an_error_in_a_worker_is_a_toast_and_a_line_of_the_journal(terminal: Opener) -> None:
    with terminal(before=IN_A_WORKER, environment={"UNIAPI_API_KEY": KEY}) as screen:
        screen.await_text("Passing through")
        screen.type(":")
        screen.await_text("area · thread")
        screen.type("12\r")
        screen.await_text("Not done")
        screen.await_text("***")
        assert KEY not in screen.written()
        screen.type("8")
        screen.await_text("worker dialog fai")
        screen.type("q")
        assert screen.wait(5) == 0
        assert_given_back(screen)
