"""Where a `:` leads: `thread 12`, `message 345`, a phone number, a customer's name, or words that were said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.app import SwitchboardApp

_NUMBERED = re.compile(r"(?P<kind>t|thread|m|msg|message)?\s*[#:]?\s*(?P<id>\d{1,18})", re.IGNORECASE)


async def go(app: SwitchboardApp, wanted: str) -> None:
    """Open what was meant, or say that nothing of the kind exists."""
    from engine.observe import views

    assert app.session.feed is not None
    pool = app.session.feed.pool
    match = _NUMBERED.fullmatch(wanted.strip())
    kind = (match["kind"] or "").lower()[:1] if match else ""
    if match and kind == "m":
        await open_message(app, int(match["id"]))
        return
    thread_id = int(match["id"]) if match and kind == "t" else None
    if thread_id is None:
        thread_id = await views.find_thread(pool, wanted)
    if thread_id is None:
        await find_words(app, wanted)
        return
    await open_thread(app, thread_id)


async def find_words(app: SwitchboardApp, wanted: str) -> None:
    """The messages in which the words stand, or that there is none."""
    from engine.observe.finding import first_page
    from engine.observe.search import SearchError, parse_search

    assert app.session.feed is not None
    try:
        page, search = await first_page(app.session.feed.pool, parse_search(wanted), limit=1)
    except SearchError as error:
        app.notify(str(error), severity="warning", markup=False)
        return
    if not page.rows:
        app.notify(f"Nothing found for “{wanted[:60]}”.", severity="warning", markup=False)
        return
    await app.switch_mode("messages")
    getattr(app.screen, "search")(search)  # noqa: B009 - of that area


async def open_thread(app: SwitchboardApp, thread_id: int) -> None:
    """Show a conversation: in the Inbox where there is one, else its messages."""
    name = "inbox" if "inbox" in app.MODES else "messages"
    await app.switch_mode(name)
    await getattr(app.screen, "open_thread")(thread_id)  # noqa: B009 - of whichever area it is


async def open_inbox(app: SwitchboardApp, words: str) -> None:
    """Show the conversations that match a filter."""
    await app.switch_mode("inbox")
    getattr(app.screen, "filter_by")(words)  # noqa: B009


async def open_message(app: SwitchboardApp, message_id: int) -> None:
    """Show a message with its trip."""
    await app.switch_mode("messages")
    await getattr(app.screen, "open_message")(message_id)  # noqa: B009


async def open_queue(app: SwitchboardApp, status: str, outcome: str | None) -> None:
    """Show what is in a queue: sends in Outbound where there is one, people's conversations in the Inbox."""
    from engine.observe.search import OUTBOUND, MessageSearch

    if status == "inbound_human_takeover" and "inbox" in app.MODES:
        await app.switch_mode("inbox")
    elif status in OUTBOUND and "outbound" in app.MODES:
        await app.switch_mode("outbound")
        await getattr(app.screen, "open_queue")(status, outcome)  # noqa: B009
    else:
        await app.switch_mode("messages")
        getattr(app.screen, "search")(MessageSearch(status=(status,)))  # noqa: B009
