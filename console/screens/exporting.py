"""Every message of a filter into a file, while a bar tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from console.screens.export import Export
from console.screens.guarded import not_written
from console.screens.working import Working
from console.words import count

if TYPE_CHECKING:
    from console.screens.area import AreaScreen
    from engine.observe.export import ExportFilter, Form
    from engine.observe.search import MessageSearch


async def export_found(screen: AreaScreen, search: MessageSearch) -> None:
    """Ask as what, write it to the download folder (or hand it to the browser), and say where it is."""
    from engine.observe.export import ExportFilter

    told = f"Filter: {search.words()}." if search else "No filter: every message there is."
    kind = await screen.app.push_screen_wait(Export("Export all that the filter shows?", told))
    if not kind:
        return
    clock = screen.switchboard.clock
    name = f"switchboard-messages-{clock.local(clock.now()):%Y%m%d-%H%M%S}.{kind}"
    form: Form = "csv" if kind == "csv" else "jsonl"
    which = ExportFilter(search=search)
    make = _to_browser if screen.app.is_web else _to_file
    done = await screen.app.push_screen_wait(
        Working("Exporting messages", lambda progress: make(screen, which, form, name, progress))
    )
    if done:
        screen.say(done, title="Export")


async def _to_file(
    screen: AreaScreen, which: ExportFilter, form: Form, name: str, progress: Callable[[int, int], None]
) -> str | None:
    """What is said in the end; None: it was stopped, or could not be written, which is said here."""
    from platformdirs import user_downloads_path

    from engine.observe.export import export, new_file
    from engine.operator.bulk import Stop

    path = user_downloads_path() / name
    feed = screen.switchboard.session.feed
    assert feed is not None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as out:
            rows = await export(feed.pool, "messages", which, form, out, progress)
    except OSError as error:
        screen.say(not_written(error, str(path)), title="Not exported", bad=True)
        return None
    except Stop:
        screen.say("Stopped; nothing is kept.", title="Export")
        return None
    return f"{count(rows)} messages written to {path}."


async def _to_browser(
    screen: AreaScreen, which: ExportFilter, form: Form, name: str, progress: Callable[[int, int], None]
) -> str | None:
    from engine.observe.export import export
    from engine.operator.bulk import Stop

    feed = screen.switchboard.session.feed
    assert feed is not None
    out = BytesIO()
    try:
        await export(feed.pool, "messages", which, form, out, progress)
    except Stop:
        return None
    out.seek(0)
    screen.app.deliver_binary(out, save_filename=name, name=name)
    return None
