"""One send in full: its text, its way so far, and what people did to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell, foreign
from console.screens.inbox_rows import left, remaining
from console.words import BAD, GOOD, MUTED, STRONG, WARN, look

if TYPE_CHECKING:
    from datetime import datetime

    from engine.observe.outbound import SendDetail
    from engine.observe.records import Act, SendRow

ADVICE = {
    "unknown": "Nobody can tell whether it arrived. Look at the customer's side if you can; then s marks it sent, or "
    "r sends it again, which the customer may get twice.",
    "window_closed": "The channel takes free text only within 24 hours of the customer's last message.",
    "no_address": "Nothing can be sent until the customer's address is known.",
    "auth": "The channel refuses our credentials; see the channel's blocker on the Overview.",
}


def told(detail: SendDetail, clock: Clock) -> Content:
    """The detail pane."""
    row = detail.row
    return Content("\n").join(
        [_head(row, clock), Content(""), _text(detail), Content(""), *_way(detail, clock)]
    )


def _head(row: SendRow, clock: Clock) -> Content:
    state = look(row.status, row.outcome)
    account = "" if row.account == "default" else f"/{row.account}"
    lines = [
        Content.assemble(
            (f"{state.glyph} {state.word}", state.style),
            cell(
                f"  {row.error_class}" if row.error_class not in (None, state.word) else "", state.style, 40
            ),
        ),
        Content.assemble(("to ", MUTED), cell(row.who or "nobody known", STRONG, 60)),
        cell(f"{row.channel}{account} · thread {row.thread_id or '–'} · send {row.id}", MUTED),
    ]
    if row.error:
        lines.append(cell(row.error, state.style, 500))
    due = remaining(clock, row.next_attempt_at) if row.status == "retry_scheduled" else None
    if due is not None:
        lines.append(Content.styled(f"next try {'now' if due <= 0 else f'in {left(due)}'}", WARN))
    advice = ADVICE.get(row.outcome or "") or ADVICE.get(row.error_class or "")
    if row.status == "failed" and advice:
        lines.append(Content.styled(advice, MUTED))
    return Content("\n").join(lines)


def _text(detail: SendDetail) -> Content:
    message, row = detail.message, detail.row
    stored = message.outbound if message is not None else None
    said = foreign(stored.text if stored is not None else row.text)
    if message is None or message.inbound is None or not message.inbound.text:
        return said
    asked = cell(message.inbound.text, MUTED, 300)
    return Content.assemble(("answers  ", MUTED), asked, "\n\n", said)


def _way(detail: SendDetail, clock: Clock) -> list[Content]:
    """What happened to it, in order."""
    row, stored = detail.row, detail.message.outbound if detail.message is not None else None
    by = "by the AI" if row.author == "ai" else "by a person"
    steps: list[tuple[datetime | None, str, str]] = [
        (row.created_at, f"queued {by}", ""),
        (row.send_started_at, f"sending began{f', try {row.attempts}' if row.attempts > 1 else ''}", ""),
    ]
    if row.status in ("sent", "accepted"):
        steps.append((row.finished_at, row.status, GOOD))
    elif row.status == "failed":
        steps.append((row.finished_at or row.updated_at, look(row.status, row.outcome).word, BAD))
    if stored is not None:
        steps += [(stored.delivered_at, "delivered", GOOD), (stored.read_at, "read", GOOD)]
    lines = [(at, Content.styled(what, style)) for at, what, style in steps if at is not None]
    lines += [(act.at, _act(act)) for act in detail.acts]
    lines.sort(key=lambda line: line[0])
    title = Content.styled("Its way", STRONG)
    return [title, *(Content.assemble((f"{clock.time(at)}  ", MUTED), what) for at, what in lines)]


def _act(act: Act) -> Content:
    does = act.act.removeprefix("send.").replace("_", " ")
    return Content.assemble(cell(act.actor, "", 24), (f": {does}", WARN))
