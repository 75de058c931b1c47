"""The way in. What opens the console loads nothing that only commands need: the first paint comes first."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from engine.settings import Settings

FINE, FAILED, USAGE, NO_DATABASE = 0, 1, 2, 3
SIGNALS = (signal.SIGINT, signal.SIGTERM)
PAGE_DRIVER = "console.web_driver:ConsoleDriver"
"""In `TEXTUAL_DRIVER`: this console's terminal is a page of `switchboard serve`."""
OPTIONS = {
    "--no-engine": "no_engine",
    "--read-only": "read_only",
    "--low-bandwidth": "low_bandwidth",
    "--survive-hangup": "survive_hangup",
}
"""Of the console itself; with any other word, the command line is read in full."""


def main() -> NoReturn:
    """Run the command line; an error a person can act on is one line on stderr."""
    for number in SIGNALS:
        signal.signal(number, _leave)
    words = sys.argv[1:]
    try:
        if OPTIONS.keys() >= set(words):
            sys.exit(open_console(**{OPTIONS[word]: True for word in words}))
        from console.cli import app

        app(prog_name="switchboard")
    except Exception as error:
        sys.exit(_explain(error))
    sys.exit(FINE)


def open_console(
    *,
    no_engine: bool = False,
    read_only: bool = False,
    low_bandwidth: bool = False,
    survive_hangup: bool = False,
) -> int:
    """Run the console on the settings in force until the person leaves it; returns the exit code.

    Who only looks brings no engine: one would migrate the schema and answer.
    """
    if survive_hangup and (no_engine or read_only):
        attached = "--no-engine" if no_engine else "--read-only"
        _usage(f"With {attached} nothing is left to go on: leave out --survive-hangup.")
    need_terminal("switchboard status, or switchboard engine")
    gc.disable()  # until the first paint: what is loaded stays, and a look through it finds nothing to free
    from console.app import run_console

    return run_console(
        _settings,
        with_engine=not (no_engine or read_only),
        read_only=read_only,
        low_bandwidth=low_bandwidth,
        survive_hangup=survive_hangup,
    )


def need_terminal(instead: str) -> None:
    """Ends with `USAGE` where there is no terminal to draw on."""
    if os.environ.get("TEXTUAL_DRIVER") == PAGE_DRIVER:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        _usage(f"The console needs a terminal. Without one, use {instead}.")


def _settings() -> Settings:
    from engine.settings import load_settings

    return load_settings()


def _usage(problem: str) -> NoReturn:
    from console.command import usage

    usage(problem)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Unwind, so that what was opened is closed."""
    raise SystemExit(128 + number)


def _explain(error: Exception) -> int:
    """Say what went wrong and what to do; returns the exit code."""
    from console.plain import say
    from engine.observe.feed import DatabaseError
    from engine.settings import SettingsError, SwitchboardError

    if not isinstance(error, SwitchboardError):
        say(
            f"switchboard: unexpected {type(error).__name__}. This is a defect; please report it.", error=True
        )
        say(_where(error), error=True)
        return FAILED
    say(f"switchboard: {error}", error=True)
    if isinstance(error, SettingsError):
        return USAGE
    return NO_DATABASE if isinstance(error, DatabaseError) else FAILED


def _where(error: Exception) -> list[str]:
    """The places an error passed, without values: those may be a customer's, or secret."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames[-6:]]
