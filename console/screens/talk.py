"""What is said in a conversation, as entries of a transcript, and what its head says of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell, foreign
from console.screens.inbox_rows import labels, left, moment, point, remaining, rough
from console.widgets.lines import Line
from console.widgets.transcript import Entry
from console.words import BAD, BUSY, GOOD, INBOUND, KEY, MUTED, STRONG, WARN, Look, look

if TYPE_CHECKING:
    from datetime import datetime

    from engine.observe.threads import Draft, Said, ThreadRow

LAST_SECONDS = 60
"""Before a hand-back; then seconds are counted."""
BURST_SECONDS = 90
"""A customer's messages this close to each other share a head line."""
UNANSWERED = ("received", "inbound_processing", "inbound_error", "inbound_human_takeover")


def keys(*pairs: tuple[str, str]) -> Content:
    """Keys and what they do."""
    return Content.assemble(*(part for key, does in pairs for part in ((key, KEY), (f" {does}  ", MUTED))))


def head(row: ThreadRow, clock: Clock, me: str) -> list[Line]:
    """Who it is with, and who answers until when."""
    account = "" if row.account == "default" else f"/{row.account}"
    address = "" if row.address == row.who else f"  {row.address}"
    who = Content.assemble(
        cell(row.who or row.address or "nobody known", STRONG, 60),
        labels(row, most=6),
        cell(address, MUTED, 60),
        cell(f"  {row.channel}{account} · thread {row.id}", MUTED),
        ("  ⊘ asked not to be written to" if row.opted_out_at else "", BAD),
    )
    state = (_asleep(row, clock), _owner(row, clock, me), _timer(row, clock), window(row, clock))
    return [Line(who), Line(Content.assemble(*state))]


def _asleep(row: ThreadRow, clock: Clock) -> Content:
    if row.snoozed_until is None:
        return Content("")
    return Content.assemble(
        ("z asleep until ", WARN),
        point(clock, row.snoozed_until),
        (f", {left(remaining(clock, row.snoozed_until))} · ", MUTED),
    )


def _owner(row: ThreadRow, clock: Clock, me: str) -> Content:
    since = rough(clock.age(row.owner_since))
    if row.owner == "human":
        if row.operator is None:
            return Content.assemble(
                ("● Waits for a person", WARN), (f" · {since}", MUTED), (_also_paused(row), WARN)
            )
        if row.operator == me:
            return Content.assemble(("◆ You answer", GOOD), (f" · {since}", MUTED), (_also_paused(row), WARN))
        return Content.assemble(
            "◆ ", cell(row.operator, "", 24), (f" answers · {since}", MUTED), (_also_paused(row), WARN)
        )
    if row.thinking:
        return Content.styled("◐ The AI is writing an answer", BUSY)
    if row.paused == "thread":
        return Content.assemble(("‖ The AI is paused here", WARN), (" · what comes waits; K resumes", MUTED))
    if row.paused:
        return Content.assemble(
            cell(f"‖ The AI is paused on {row.channel}", WARN), (" · K on Overview resumes", MUTED)
        )
    if row.waiting and row.due_at is None:
        return Content.styled("✗ The AI gave no answer, and nobody else does", BAD)
    whose = Content("")
    if row.operator is not None:
        mine = row.operator == me
        whose = cell(" · yours" if mine else f" · {row.operator}'s", GOOD if mine else "", 27)
    if row.mode == "suggest":
        return Content.assemble(("The AI only drafts here, a person sends", WARN), whose)
    return Content.assemble(("The AI answers", MUTED), whose)


def _also_paused(row: ThreadRow) -> str:
    return " · ‖ AI paused here too" if row.paused == "thread" else ""


def _timer(row: ThreadRow, clock: Clock) -> Content:
    if row.owner != "human":
        return Content("")
    if row.auto_release_at is None:
        return Content.styled(" · stays with people until handed back", MUTED)
    seconds = remaining(clock, row.auto_release_at) or 0
    short = seconds < 300
    return Content.assemble(
        (" · back to the AI in ", MUTED),
        (f"↺ {_countdown(seconds)}" if seconds > 0 else "a moment", WARN if short else ""),
    )


def _countdown(seconds: float) -> str:
    return f"{-int(-seconds // 1)}s" if seconds <= LAST_SECONDS else left(seconds)


def in_the_last_minute(row: ThreadRow | None, clock: Clock) -> bool:
    """Whether seconds are counted down to the hand-back."""
    seconds = remaining(clock, row.auto_release_at) if row is not None and row.owner == "human" else None
    return seconds is not None and 0 < seconds <= LAST_SECONDS


def window(row: ThreadRow, clock: Clock) -> Content:
    """How long the channel still takes an answer."""
    seconds = remaining(clock, row.window_until)
    if seconds is None:
        return Content("")
    if seconds <= 0:
        return Content.styled(" · ◷ window closed", BAD)
    return Content.assemble((" · window ", MUTED), (f"◷ {left(seconds)}", WARN if seconds < 7200 else ""))


def why_not_write(row: ThreadRow, clock: Clock, draft: Draft | None) -> str | None:
    """Why a person cannot write to this customer now; `draft` is the one that is being accepted."""
    seconds = remaining(clock, row.window_until)
    if seconds is not None and seconds <= 0:
        return "The channel's 24 h window is closed: it takes an answer again when the customer has written."
    if row.owner != "human" and (draft is None or draft.reason != "suggested"):
        does = "is paused here" if row.paused else "answers this conversation"
        return f"The AI {does}; t takes it over."
    return None


def entries(
    said: Iterable[Said], draft: Draft | None, clock: Clock, me: str, *, who: str, begins: bool
) -> tuple[Entry, ...]:
    """The transcript. `begins` says that nothing was said before."""
    found: list[Entry] = []
    before: Said | None = None
    said = list(said)
    answered = max(
        (item.at for item in said if item.author == "human" and item.direction == "outbound"), default=None
    )
    for item in said:
        if before is None or clock.local(before.at).date() != clock.local(item.at).date():
            found.append(_day(item.at, clock, begins=begins and not found))
            before = None
        if item.kind == "note":
            found.append(_note(item, clock))
        elif item.direction == "inbound":
            waits = None if answered and item.at < answered else _unanswered(item)
            found.append(_theirs(item, before, waits, clock, who))
        else:
            found.append(_ours(item, clock, me))
        before = item
    if draft is not None:
        found.append(_draft(draft, clock))
    return tuple(found)


def _day(at: datetime, clock: Clock, *, begins: bool) -> Entry:
    local = clock.local(at)
    today = local.date() == clock.local(clock.now()).date()
    day = "today" if today else f"{local:%A} {local.day} {local:%B %Y}"
    told = f"── {day} ── the conversation begins" if begins else f"── {day} ──"
    return Entry(("day", local.date()), Content(""), Content.styled(told, MUTED), gutter=" ")


def _theirs(item: Said, before: Said | None, waits: Content | None, clock: Clock, who: str) -> Entry:
    key, body = ("message", item.id), _body(item)
    if before and before.direction == "inbound" and (item.at - before.at).total_seconds() < BURST_SECONDS:
        return Entry(key, Content.assemble(body, "  ", waits) if waits else body, target=key)
    name = Content.assemble(cell(who, STRONG, 40), (f"  {moment_of(item, clock)}", MUTED))
    return Entry(key, body, name, waits, target=key)


def _ours(item: Said, clock: Clock, me: str) -> Entry:
    key, body = ("message", item.id), _body(item)
    mine = item.author == "human"
    writer = "AI" if not mine else "you" if item.operator == me else item.operator or "a person"
    name = Content.assemble(
        cell(writer, STRONG, 24),
        cell(f" · {item.model}" if item.model else "", MUTED, 40),
        (f"  {moment_of(item, clock)}", MUTED),
    )
    state = sending(item)
    if item.error and item.status in ("failed", "retry_scheduled"):
        body = Content.assemble(body, "\n", cell(f"↳ {item.error}", state.style))
    told = Content.styled(f"{state.glyph} {state.word}", state.style)
    return Entry(key, body, name, told, style=GOOD if mine else BUSY, target=key)


def _body(item: Said) -> Content:
    if item.text:
        text = foreign(item.text)
        if item.media and item.media != "text":
            return Content.assemble(cell(f"[{item.media}] ", MUTED, 30), text)
        return text
    return cell(f"[{item.media or 'empty'}]", MUTED, 30)


def moment_of(item: Said, clock: Clock) -> str:
    """Its time of day; days have a line of their own."""
    return f"{clock.local(item.at):%H:%M}"


def _unanswered(item: Said) -> Content | None:
    """Of a customer's message without an answer: why."""
    if item.status not in UNANSWERED:
        return None
    state = INBOUND[item.status]
    word = {"inbound_human_takeover": "for a person"}.get(item.status, state.word)
    reason = f" · {item.reason}" if item.reason and item.status == "inbound_error" else ""
    return Content.assemble((f"{state.glyph} {word}", state.style), cell(reason, MUTED, 40))


def sending(item: Said) -> Look:
    """How far a message to the customer has come."""
    if item.read_at:
        return Look("✓✓", "read", GOOD)
    if item.delivered_at:
        return Look("✓✓", "delivered", MUTED)
    found = look(item.status or "", item.outcome)
    return Look(found.glyph, found.word, MUTED) if item.status in ("sent", "accepted") else found


def _note(item: Said, clock: Clock) -> Entry:
    name = Content.assemble(
        ("✎ note ", WARN), cell(item.author, MUTED, 24), (f"  {moment_of(item, clock)}", MUTED)
    )
    return Entry(
        ("note", item.id), foreign(item.text), name, gutter="┊", style=WARN, target=("note", item.id)
    )


def _draft(draft: Draft, clock: Clock) -> Entry:
    why = {"suggested": "it only suggests"}.get(draft.reason or "", draft.reason or draft.outcome)
    name = Content.assemble(
        ("AI draft, not sent", STRONG),
        cell(f" · {why}", MUTED, 40),
        (f"  {moment(clock, draft.finished_at)}", MUTED),
    )
    accept = Content.assemble(("a", KEY), (" accepts  ", MUTED), ("X", KEY), (" discards", MUTED))
    if draft.stale:
        name = Content.assemble(name, ("  ! the customer has written since", WARN))
    key = ("draft", draft.turn_id)
    return Entry(key, foreign(draft.text, MUTED), name, accept, gutter="╎", style=MUTED, target=key)
