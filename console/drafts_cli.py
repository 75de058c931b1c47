"""`switchboard drafts`: what the AI would say, for a person to send, change or discard."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import (
    HIGHEST_ID,
    Id,
    Json,
    file_text,
    operator_here,
    print_json,
    settings_in_force,
    usage,
    with_pool,
)
from console.plain import say

if TYPE_CHECKING:
    from engine.observe.drafts import WaitingDraft
    from engine.observe.feed import Pool
    from engine.operator.drafts import ThreadMode

drafts = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
"""Goes under the name `drafts`."""


class Mode(StrEnum):
    AUTO = "auto"
    SUGGEST = "suggest"
    AGENT = "agent"


Thread = Annotated[int, typer.Argument(min=1, max=HIGHEST_ID, metavar="THREAD", show_default=False)]


@drafts.callback()
def about() -> None:
    """Drafts of the AI: list, ask, send, discard; mode has a conversation only drafted for.

    Example: switchboard drafts list
    """


@drafts.command("list")
def list_them(
    thread: Annotated[
        int | None, typer.Option(min=1, max=HIGHEST_ID, help="Of this conversation only.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Drafts at most, the newest first.")] = 50,
    json: Json = False,
) -> None:
    """List the drafts that wait for a person, with what the customer asked.

    Example: switchboard drafts list
    """
    from console.plain_drafts import draft_lines
    from engine.observe.drafts import waiting_drafts
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        found = with_pool(database.dsn, lambda pool: waiting_drafts(pool, thread, limit))
    if json:
        print_json(found)
    else:
        say([line for draft in found for line in draft_lines(draft)] or "No draft waits.")


@drafts.command()
def ask(thread_id: Thread, json: Json = False) -> None:
    """Have the AI draft an answer to what the customer wrote last. Costs one LLM call; nothing is sent.

    Example: switchboard drafts ask 12
    """
    from console.plain_drafts import drafted_lines
    from engine.operator.drafts import draft_now
    from engine.supervisor import Database

    settings = settings_in_force()
    operator = operator_here()
    with Database.open(settings) as database:
        made = with_pool(database.dsn, lambda pool: draft_now(pool, operator, settings, thread_id))
    if json:
        print_json(made)
    else:
        say(drafted_lines(made))


@drafts.command()
def send(
    turn_id: Id,
    text: Annotated[str | None, typer.Option(help="Send this in its place.")] = None,
    file: Annotated[Path | None, typer.Option(help="Send what this file says; - is standard input.")] = None,
    edit: Annotated[bool, typer.Option("--edit", "-e", help="Change it in your editor first.")] = False,
    json: Json = False,
) -> None:
    """Send a draft as your reply, as it is or changed. It goes by the number that list shows.

    Example: switchboard drafts send 4711 --edit
    """
    if sum((text is not None, file is not None, edit)) > 1:
        usage("Give one of --text, --file, --edit.")
    if edit and not sys.stdin.isatty():
        usage("An editor needs a terminal; use --text or --file.")
    from console.plain_drafts import sent_line
    from engine.operator.reply import accept_draft
    from engine.supervisor import Database

    settings = settings_in_force()
    operator = operator_here()
    said = text if file is None else file_text(file, "--file")
    with Database.open(settings) as database:
        if edit:
            said = _edited(with_pool(database.dsn, lambda pool: _draft(pool, turn_id)).text)
        sent = with_pool(database.dsn, lambda pool: accept_draft(pool, operator, turn_id, said))
    if json:
        print_json(sent)
    else:
        say(sent_line(sent))


async def _draft(pool: Pool, turn_id: int) -> WaitingDraft:
    from engine.observe.drafts import waiting_drafts
    from engine.operator.audit import NotFound
    from engine.operator.drafts import thread_of

    for draft in await waiting_drafts(pool, await thread_of(pool, turn_id)):
        if draft.turn_id == turn_id:
            return draft
    raise NotFound(f"Turn {turn_id} has no draft that waits.", "List them: switchboard drafts list")


def _edited(draft: str) -> str:
    """What the person's editor leaves. Nothing is sent when it is left unchanged unsaved, or empty."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "draft.txt"
        path.write_text(draft, encoding="utf-8")
        before = path.stat().st_mtime_ns
        try:
            subprocess.run([*editor, str(path)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            usage(f"The editor {editor[0]} did not work: {error}. Set EDITOR, or use --text.")
        text = file_text(path, "--edit").strip()
        if not text or path.stat().st_mtime_ns == before:
            usage("Nothing was saved, so nothing is sent.")
        return text


@drafts.command()
def discard(turn_id: Id, json: Json = False) -> None:
    """Put a draft away; its record stays.

    Example: switchboard drafts discard 4711
    """
    from engine.operator.drafts import discard_draft
    from engine.supervisor import Database

    operator = operator_here()
    with Database.open(settings_in_force()) as database:
        done = with_pool(database.dsn, lambda pool: discard_draft(pool, operator, turn_id))
    if json:
        print_json(done)
    else:
        say(f"The draft of turn {done.turn_id} in thread {done.thread_id} is put away")


@drafts.command()
def mode(
    thread_id: Thread,
    mode: Annotated[Mode, typer.Argument(help="agent: as its agent is set.")],
    json: Json = False,
) -> None:
    """Have the AI only draft in a conversation (suggest), send by itself (auto), or do as its agent is set.

    Example: switchboard drafts mode 12 suggest
    """
    from engine.operator.drafts import set_thread_mode
    from engine.supervisor import Database

    operator = operator_here()
    chosen: ThreadMode | None = {Mode.AUTO: "auto", Mode.SUGGEST: "suggest"}.get(mode)  # type: ignore[assignment]
    with Database.open(settings_in_force()) as database:
        done = with_pool(database.dsn, lambda pool: set_thread_mode(pool, operator, thread_id, chosen))
    told = {"suggest": "The AI only drafts", "auto": "The AI sends by itself"}
    if json:
        print_json(done)
    else:
        say(f"{told.get(done.mode or '', 'The AI does as its agent is set')} in thread {done.thread_id}")
