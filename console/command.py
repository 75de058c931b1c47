"""What the commands share: exit codes, settings, signals, a pool for one act, times, JSON.

Nothing slow is imported before a command runs.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn, TypeVar

import typer

from console.main import SIGNALS, USAGE
from console.plain import say

if TYPE_CHECKING:
    from pydantic import BaseModel

    from engine.observe.feed import Pool
    from engine.operator.audit import Operator
    from engine.settings import Settings

SPANS = {"min": "minutes", "h": "hours", "d": "days"}
LARGEST_FILE = 1_000_000
"""Bytes of a file that a command reads: prompts, policies, routings."""
HIGHEST_ID = 2**63 - 1
Result = TypeVar("Result")
Id = Annotated[int, typer.Argument(min=1, max=HIGHEST_ID)]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept with it in the audit log.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def finish(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end. A signal cancels it, and ends the process once it has let go of everything."""
    caught: list[int] = []
    cancel: list[Callable[[], object]] = []

    def note(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        for act in cancel:
            act()

    async def supervised() -> Result:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        if caught:
            cancel[0]()
        return await work

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError:
        raise SystemExit(128 + caught[0]) from None
    finally:
        work.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def with_pool(dsn: str, act: Callable[[Pool], Awaitable[Result]]) -> Result:
    """Run `act` on a pool that is closed after it. What the database refuses comes with a remedy."""
    from engine.observe.access import pool_at

    async def run() -> Result:
        async with pool_at(dsn) as pool:
            return await act(pool)

    return finish(run())


def settings_in_force(*, logs_to_stderr: bool = False) -> Settings:
    """With logging set up: commands other than `engine` keep their terminal clean."""
    from engine.observe.logs import configure_logging
    from engine.settings import load_settings

    settings = load_settings()
    configure_logging(settings, quiet=not logs_to_stderr)
    return settings


def operator_here() -> Operator:
    """Who runs this command: the setting `operator`, else the user the system knows."""
    from engine.operator.audit import Operator
    from engine.settings import load_settings

    return Operator.current(name=load_settings().operator)


def print_json(told: BaseModel | Sequence[Any]) -> None:
    """A model, or models or dataclasses in a row; indented, and without a character that could drive a terminal."""
    from pydantic_core import to_json

    from engine.observe import safe_json

    typer.echo(safe_json(to_json(told, indent=2).decode()))


def file_text(path: Path, what: str) -> str:
    """A file as text, or standard input for `-`; what cannot be read is a wrong call."""
    try:
        data = sys.stdin.buffer.read(LARGEST_FILE + 1) if str(path) == "-" else _beginning(path)
        if len(data) > LARGEST_FILE:
            usage(f"{what}: {path} is larger than {LARGEST_FILE // 1000} kB.")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        usage(f"{what}: {path} is not text in UTF-8.")
    except OSError as error:
        usage(f"{what}: {path} cannot be read: {error.strerror}.")


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def usage(what: str) -> NoReturn:
    """End with the exit code of a wrong call, told in one line."""
    say(f"switchboard: {what}", error=True)
    sys.exit(USAGE)


def moment(text: str) -> datetime:
    """A point in time: `2026-03-14`, `2026-03-14T12:00` (UTC unless a zone is given), or an age like `2h`."""
    try:
        if age := re.fullmatch(r"(\d{1,6})(min|h|d)", text.strip()):
            return datetime.now(UTC) - timedelta(**{SPANS[age[2]]: int(age[1])})
        at = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is not a time; write 2026-03-14, 2026-03-14T12:00 (UTC), or 30min, 2h, 3d for that long ago."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def agreed(question: str) -> bool:
    """Ask on stderr; without a terminal to answer from, it is a wrong call."""
    if not sys.stdin.isatty():
        usage("There is nobody to ask here; add --yes.")
    return typer.confirm(question, err=True)


Since = Annotated[
    datetime | None,
    typer.Option(
        parser=moment, metavar="TIME", help="From then on: 2026-03-14T12:00 (UTC), or an age like 2h."
    ),
]
Until = Annotated[datetime | None, typer.Option(parser=moment, metavar="TIME", help="Before then.")]
Channel = Annotated[str | None, typer.Option(help="Of this channel only.")]


@contextmanager
def stdout_bytes() -> Iterator[BinaryIO]:
    """Stdout for what is not text of ours. Once it has failed, what is left is dropped, not tried again at exit."""
    try:
        yield sys.stdout.buffer
    except BaseException:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
