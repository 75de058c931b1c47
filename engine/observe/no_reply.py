"""Why has this message no reply? One plain sentence, from the records alone.

received ─ nobody claims it, or it is not its turn yet
inbound_processing ─ it is being answered, or whoever did so is gone
inbound_ai_replied ─ it has a reply, and the sentence tells how far that came
inbound_human_takeover ─ a person has it, by whose or which rule's decision
inbound_error ─ what went wrong
"""

from __future__ import annotations

import json
from typing import Any

import psycopg

from engine.database.connection import Connection, Pool, fetch
from engine.model import InboundStatus
from engine.observe.duration import duration
from engine.observe.reading import ALIVE_SECONDS
from engine.text import one_line

Facts = dict[str, Any]
TEXT_LIMIT = 300
LONG_TURN_SECONDS = 120.0
SCHEMA_SENTENCE = (
    "Nobody can tell: the database schema is not the one this program needs, and while it is not, nothing is "
    "answered; run: switchboard migrate."
)


async def why_no_reply(pool: Pool, message_id: int) -> str:
    """Why an inbound message has no reply of the AI, or that it has one, in one sentence."""
    try:
        async with pool.connection() as connection:
            facts = await reply_facts(connection, message_id)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return SCHEMA_SENTENCE
    return f"There is no message {message_id}." if facts is None else explain(facts)


async def reply_facts(connection: Connection, message_id: int) -> Facts | None:
    """What `explain` looks at; None when there is no such message."""
    rows = await fetch(connection, "why_no_reply", message_id, ALIVE_SECONDS)
    return json.loads(rows[0]["facts"]) if rows else None


def explain(facts: Facts) -> str:
    """The sentence for what `why_no_reply.sql` found."""
    if facts["direction"] != "inbound":
        return "It is a message of ours, so it asks for no reply."
    match facts["status"]:
        case InboundStatus.RECEIVED:
            return _received(facts)
        case InboundStatus.PROCESSING:
            return _processing(facts)
        case InboundStatus.AI_REPLIED:
            return _replied(facts)
        case InboundStatus.HUMAN_TAKEOVER:
            return _with_a_person(facts)
        case InboundStatus.ERROR:
            return _failed(facts)
    return f"Its status {_said(facts['status'])!r} is not one that this program knows, so nobody works on it."


def _received(facts: Facts) -> str:
    """In the order in which an obstacle hides those after it."""
    thread = facts["thread"]
    if thread and thread["owner"] == "human":
        return f"It waits for {_operator(thread)}, who answers this conversation{_asleep(thread)}."
    if not facts["engines"]:
        return "No engine is running, so nothing is answered; start one with: switchboard engine."
    if pause := _paused(facts):
        where, key = pause
        return f"The AI is paused {where}, so it waits; resume it {key}."
    if all(engine["state"] == "blocked" for engine in facts["engines"]):
        return _blocked(facts["engines"])
    if thread is None:
        return "It belongs to no conversation yet; an engine puts it into one within a minute."
    if thread["holder"]:
        return "The AI is answering an earlier message of this conversation, and this one comes next."
    if facts["attempts"] and thread["due_in"] is not None and thread["due_in"] > 0:
        return (
            f"Attempt {facts['attempts']} failed ({_cause(facts)}), and it is tried again in "
            f"{duration(thread['due_in'])}."
        )
    return _not_claimed_yet(facts, thread)


def _paused(facts: Facts) -> tuple[str, str] | None:
    """For whom the AI is paused, and where that ends; None when it is not."""
    if facts["ai_paused"]:
        return "for everyone", "on the console's Overview (k)"
    if facts.get("channel_paused"):
        return f"on {_said(facts['channel'])}", "on the console's Overview (K)"
    if facts["thread"] and facts["thread"].get("paused"):
        return "in this conversation", "in the console's Inbox (K)"
    return None


def _asleep(thread: Facts) -> str:
    """That a conversation is put off, by whom and for how long; it keeps nobody but people waiting."""
    left = thread.get("snoozed_for")
    if left is None or left <= 0:
        return ""
    by = f" by {_said(thread['snoozed_by'])}" if thread.get("snoozed_by") else ""
    return f", and is snoozed{by} for {duration(left)} more"


def _not_claimed_yet(facts: Facts, thread: Facts) -> str:
    due = thread["due_in"]
    if due is None:
        return "Its conversation does not know of it; an engine's sweep finds it within a minute."
    if due > 0:
        return f"It waits {duration(due)} more, in case the customer writes on (quiet window)."
    if thread["ahead"]:
        return f"{_count(thread['ahead'], 'earlier message')} of this conversation came first, and it is due next."
    if all(engine["state"] in ("starting", "stopping") for engine in facts["engines"]):
        return f"It is due, but the engine is {facts['engines'][0]['state']}."
    if thread["earlier_due"]:
        more = "1000 or more" if thread["earlier_due"] >= 1000 else str(thread["earlier_due"])
        return f"It is due, and {more} other conversations are due before it."
    return "It is due and will be claimed in a moment."


def _blocked(engines: list[Facts]) -> str:
    blockers = [blocker for engine in engines for blocker in engine["blockers"] or []]
    if not blockers:
        return "Every engine is blocked, so nothing is claimed; see the blockers on the console's Overview."
    order = ("schema", "database", "engine", "llm")
    worst = min(blockers, key=lambda b: next((i for i, o in enumerate(order) if b["code"].startswith(o)), 9))
    what, remedy = _said(worst["what"]).rstrip("."), _said(worst["remedy"]).rstrip(".")
    return f"Nothing is claimed, because of a blocker ({what}); {_lowered(remedy)}."


def _processing(facts: Facts) -> str:
    engine, attempt = _said(facts["engine"] or "an engine"), facts["attempts"]
    if facts["lease_over"]:
        return (
            f"The engine {engine} stopped answering during attempt {attempt}; another takes over in seconds."
        )
    seconds = facts["working_for"] or 0.0
    slow = ", which is unusually long" if seconds > LONG_TURN_SECONDS else ""
    return f"The AI is answering it right now (attempt {attempt}, for {duration(seconds)} on {engine}{slow})."


def _replied(facts: Facts) -> str:
    reply = facts["reply"]
    if reply is None:
        return "It counts as answered by the AI, but the reply is not in the database any more."
    name = f"It has a reply (message {reply['id']})"
    match reply["status"]:
        case "sent" | "accepted":
            return f"{name}, {_arrival(reply)}."
        case "queued":
            return f"{name}, which waits to be sent{_why_queued(facts, reply)}."
        case "processing":
            if reply["lease_over"]:
                return f"{name}; the engine that was sending it is gone, and its rescue follows in seconds."
            return f"{name}, which is being sent right now."
        case "retry_scheduled":
            wait = f"again in {duration(reply['next_in'])}" if reply["next_in"] > 0 else "again now"
            held = f", once the channel {_said(reply['route'])} is well again" if _held(facts, reply) else ""
            return (
                f"{name}, but sending it failed ({_said(reply['error'] or 'no reason told')}); it is tried "
                f"{wait}{held}."
            )
    return f"{name}, but {_why_not_sent(reply)}."


def _arrival(reply: Facts) -> str:
    for key, word in (("read_ago", "read"), ("delivered_ago", "delivered"), ("sent_ago", "sent")):
        if reply[key] is not None:
            return f"{word} {duration(reply[key])} ago"
    return "sent"


def _why_queued(facts: Facts, reply: Facts) -> str:
    if not facts["engines"]:
        return ", but no engine is running"
    if reply["behind"]:
        return f" after {_count(reply['behind'], 'earlier message')} of this conversation"
    if _held(facts, reply):
        return f" until the channel {reply['route']} is well again"
    if reply["next_in"] > 1:
        return f" for {duration(reply['next_in'])} more (quiet hours, or the pace of the channel)"
    return ""


def _held(facts: Facts, reply: Facts) -> bool:
    """Whether an engine leaves the reply's account alone for now."""
    return any(reply["route"] in (engine["paused_channels"] or []) for engine in facts["engines"])


def _why_not_sent(reply: Facts) -> str:
    told = f" ({_said(reply['error'])})" if reply["error"] else ""
    match reply["outcome"]:
        case "cancelled":
            return f"it was cancelled before it left{told}"
        case "unknown":
            return (
                f"whether it arrived is unknown{told}, so it is not sent again by itself; retry it or mark it sent "
                "in the console's Outbound"
            )
    return f"it could not be sent{told}; retry it in the console's Outbound"


def _with_a_person(facts: Facts) -> str:
    answer = facts["human_reply"]
    if answer:
        on_its_way = "" if answer["status"] in ("sent", "accepted", "failed") else ", which is on its way"
        return f"A person replied {duration(answer['ago'])} ago (message {answer['id']}{on_its_way}), not the AI."
    return f"{_why_with_a_person(facts)}{_what_next(facts)}."


def _why_with_a_person(facts: Facts) -> str:
    thread, turn, reason = facts["thread"], facts["turn"], facts["reason"] or ""
    who = _operator(thread)
    if reason == "takeover.operator":
        draft = ", and what the AI was about to say is kept as a draft" if turn and turn["draft"] else ""
        return f"{_capital(who)} took the conversation over before the AI had answered{draft}"
    if reason == "takeover.phone":
        return "The conversation was answered on the phone before the AI had answered this message"
    if reason == "takeover.owned":
        return "It came while a person was answering the conversation"
    if reason == "suggested":
        return "The agent only suggests, and its draft waits for a person to send it"
    if facts["tenant_paused"]:
        return "Its tenant is paused, so the AI does not answer it"
    detail = facts["error"] or (turn and turn["error"])
    if reason.startswith("policy."):
        return f"A rule kept the AI from answering: {_said(detail or reason.removeprefix('policy.'))}"
    if detail or reason:
        return f"It was given to a person: {_said(detail or reason)}"
    return "It was given to a person"


def _what_next(facts: Facts) -> str:
    thread, pause = facts["thread"], _paused(facts)
    but = f"; the AI is paused {pause[0]}" if pause else ""
    if not thread or thread["owner"] != "human":
        if pause:
            return f"; nobody has replied{but}, so it answers nothing until it is resumed {pause[1]}"
        return "; nobody has replied, and the AI answers only the customer's next message, or this one after a replay"
    left, asleep = thread["release_in"], _asleep(thread)
    if left is None:
        return f"; nobody has replied yet{asleep.replace(', and', ': the conversation', 1)}{but}"
    if left <= 0:
        return f"; nobody has replied, and the conversation goes back to the AI in a moment{but}"
    return (
        f"; nobody has replied yet, and the conversation goes back to the AI in {duration(left)}{asleep}{but}"
    )


def _failed(facts: Facts) -> str:
    tried = _count(facts["attempts"], "attempt")
    if facts["reason"] == "attempts_exhausted":
        return (
            f"It was given up after {tried}: {_said(facts['error'] or 'engines stopped while answering it')}."
        )
    return f"The AI failed to answer it ({_cause(facts)}) after {tried}; replay it once the cause is mended."


def _cause(facts: Facts) -> str:
    parts = [part for part in (facts["reason"], facts["error"]) if part]
    return _said(": ".join(parts)).rstrip(".") or "no reason was recorded"


def _operator(thread: Facts | None) -> str:
    return _said(thread["operator"]) if thread and thread["operator"] else "a person"


def _said(text: str) -> str:
    """Foreign words, safe to show, as part of a sentence."""
    return one_line(str(text), TEXT_LIMIT).strip()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("a ") else text


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
