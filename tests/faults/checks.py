"""Invariants 1 to 6, checked on the database, the journal and what customers really received.

Each check returns the violations it found, in words. Those in `AT_ANY_TIME` hold while engines work;
the others only once everything has come to rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from engine.demo.channel_far_end import Arrival
from engine.model import INBOUND_TRANSITIONS, OUTBOUND_TRANSITIONS
from tests.faults.journal import read

DONE = ("inbound_ai_replied", "inbound_human_takeover", "inbound_error")
LEGAL: dict[str, set[tuple[str | None, str]]] = {
    "inbound": {(old, new) for old, news in INBOUND_TRANSITIONS.items() for new in news}
    | {(None, "received")},
    "outbound": {(old, new) for old, news in OUTBOUND_TRANSITIONS.items() for new in news}
    | {
        (None, "queued"),
        (None, "processing"),
    },  # a fresh reply is born claimed when its engine sends it itself
}
LEGAL["send"] = LEGAL["outbound"]


@dataclass
class Evidence:
    """All that a verdict rests on."""

    dsn: str
    arrivals: list[Arrival]
    """What customers received, in order."""
    acknowledged: Collection[str] = ()
    """Provider ids of all messages whose insert was committed, as the producers know them."""
    heads: dict[int, int | None] = field(default_factory=dict)
    """By id of a message of ours: the inbound it answers."""

    def __post_init__(self) -> None:
        rows = read(self.dsn, "SELECT id, in_reply_to FROM et_messages WHERE direction = 'outbound'")
        self.heads = {row["id"]: row["in_reply_to"] for row in rows}

    def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return read(self.dsn, sql, *params)


def lost(evidence: Evidence) -> list[str]:
    """1: every acknowledged message is stored, and has come to an end."""
    rows = evidence.query(
        "SELECT id, provider_message_id AS pid, delivery_status AS status, reason, thread_id FROM et_messages"
        " WHERE direction = 'inbound'"
    )
    stored = {row["pid"] for row in rows}
    found = [
        f"acknowledged message {pid} is not stored" for pid in evidence.acknowledged if pid not in stored
    ]
    found += [
        f"message {row['id']} of thread {row['thread_id']} is still {row['status']} ({row['reason']})"
        for row in rows
        if row["status"] not in DONE
    ]
    open_sends = evidence.query(
        "SELECT id, status FROM et_outbound_queue WHERE status NOT IN ('sent', 'accepted', 'failed')"
    )
    return found + [f"send {row['id']} is still {row['status']}" for row in open_sends]


def stored_twice(evidence: Evidence) -> list[str]:
    """1: a provider's message is one row."""
    rows = evidence.query(
        "SELECT provider_message_id AS pid FROM et_messages WHERE direction = 'inbound'"
        " AND provider_message_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
    )
    return [f"message {row['pid']} is stored more than once" for row in rows]


def replies(evidence: Evidence) -> list[str]:
    """2: exactly one reply row, with its queue row, for what is answered, and none for anything else."""
    rows = evidence.query(
        """SELECT m.id, m.delivery_status AS status, count(q.id) AS replies
             FROM et_messages m
             LEFT JOIN et_messages r ON r.in_reply_to = coalesce(m.turn_head_id, m.id)
                   AND r.direction = 'outbound' AND r.author = 'ai'
             LEFT JOIN et_outbound_queue q ON q.message_id = r.id
            WHERE m.direction = 'inbound'
            GROUP BY m.id HAVING count(q.id) <> (m.delivery_status = 'inbound_ai_replied')::integer"""
    )
    return [f"message {row['id']} is {row['status']} with {row['replies']} replies" for row in rows]


def stale_writers(evidence: Evidence) -> list[str]:
    """2: who writes a reply holds the message's latest claim."""
    rows = evidence.query(
        """SELECT t.message_id, t.engine, t.claim_token AS token, m.claim_token AS latest
             FROM et_turns t JOIN et_messages m ON m.id = t.message_id
            WHERE t.outcome = 'replied' AND t.claim_token <> m.claim_token"""
    )
    return [
        f"{row['engine']} answered {row['message_id']} under claim {row['token']}, the latest was {row['latest']}"
        for row in rows
    ]


def started_after_takeover(evidence: Evidence) -> list[str]:
    """3: no send of the AI starts while a person owns its thread."""
    found = []
    owned: set[int] = set()
    for row in evidence.query("SELECT * FROM journal WHERE what IN ('owner', 'start') ORDER BY id"):
        if row["what"] == "owner":
            (owned.add if row["after"] == "human" else owned.discard)(row["thread_id"])
        elif row["author"] == "ai" and row["thread_id"] in owned:
            found.append(
                f"message {row['row_id']} of the AI started in thread {row['thread_id']} of a person"
            )
    return found


def out_of_order(evidence: Evidence) -> list[str]:
    """4: a customer gets replies in the order of their questions."""
    found = []
    latest: dict[str, int] = defaultdict(int)
    seen: set[int] = set()
    for arrival in evidence.arrivals:
        head = evidence.heads.get(arrival.message_id)
        if head is None or arrival.message_id in seen:
            continue
        seen.add(arrival.message_id)
        if head < latest[arrival.to]:
            late = f"{arrival.to} got the reply to {head} after the one to {latest[arrival.to]}"
            found.append(f"{late}: {_story(evidence, head)}; {_story(evidence, latest[arrival.to])}")
        latest[arrival.to] = max(latest[arrival.to], head)
    return found


def _story(evidence: Evidence, head: int) -> str:
    """What became of a question and of its reply, and when."""
    ids = [head, *(reply for reply, question in evidence.heads.items() if question == head)]
    rows = evidence.query(
        "SELECT to_char(at, 'MI:SS.MS') AS at, what, row_id, coalesce(after, '') AS after, engine FROM journal"
        " WHERE row_id = ANY (%s) AND what <> 'owner' ORDER BY id",
        ids,
    )
    return ", ".join(
        f"{row['at']} {row['what']} {row['row_id']} {row['after']} {row['engine']}" for row in rows
    )


def doubled(evidence: Evidence) -> list[str]:
    """5: no customer gets a message twice, or two replies to one question."""
    counts = Counter(arrival.message_id for arrival in evidence.arrivals if arrival.part == 0)
    found = [f"message {message} was delivered {n} times" for message, n in counts.items() if n > 1]
    answers = Counter(evidence.heads[message] for message in counts if evidence.heads.get(message))
    return found + [f"message {head} was answered {n} times" for head, n in answers.items() if n > 1]


def unmarked(evidence: Evidence) -> list[str]:
    """5: nothing is sent that was not marked as started, and nothing that is not ours."""
    started = {row["row_id"] for row in evidence.query("SELECT row_id FROM journal WHERE what = 'start'")}
    delivered = {arrival.message_id for arrival in evidence.arrivals}
    found = [f"message {message} is delivered, not stored" for message in delivered - evidence.heads.keys()]
    return found + [f"message {message} was sent without a mark" for message in delivered - started]


def untrue(evidence: Evidence) -> list[str]:
    """5: what is said to be sent has arrived once, what is said to be refused or cancelled has not."""
    counts = Counter(arrival.message_id for arrival in evidence.arrivals if arrival.part == 0)
    found = []
    for row in evidence.query("SELECT message_id AS id, status, outcome FROM et_outbound_queue"):
        arrived = counts[row["id"]]
        if row["status"] in ("sent", "accepted") and not arrived:
            found.append(f"message {row['id']} is {row['status']} but never arrived")
        elif row["outcome"] in ("rejected", "cancelled") and arrived:
            found.append(f"message {row['id']} is {row['outcome']} but arrived {arrived} times")
    return found


def resent_unknowns(evidence: Evidence) -> list[str]:
    """5: a failed send is queued again by a person only, and there is none here."""
    rows = evidence.query(
        "SELECT row_id FROM journal WHERE what = 'send' AND before = 'failed' AND after = 'queued'"
    )
    return [f"message {row['row_id']} was failed and queued again" for row in rows]


def illegal(evidence: Evidence) -> list[str]:
    """6: only legal transitions, and the queue's status mirrored in the message."""
    found = []
    for row in evidence.query(
        "SELECT what, before, after, count(*) AS n, min(row_id) AS id FROM journal"
        " WHERE what IN ('inbound', 'outbound', 'send') GROUP BY 1, 2, 3"
    ):
        if (row["before"], row["after"]) not in LEGAL[row["what"]]:
            found.append(f"{row['n']} × {row['what']} {row['before']} to {row['after']}, e.g. {row['id']}")
    for row in evidence.query(
        "SELECT m.id, m.delivery_status, q.status FROM et_messages m JOIN et_outbound_queue q ON q.message_id = m.id"
        " WHERE m.delivery_status <> q.status"
    ):
        found.append(f"message {row['id']} is {row['delivery_status']}, its queue row {row['status']}")
    return found


Check = Callable[[Evidence], list[str]]
AT_ANY_TIME: tuple[Check, ...] = (
    stored_twice,
    replies,
    stale_writers,
    started_after_takeover,
    doubled,
    unmarked,
    resent_unknowns,
    illegal,
)
AT_REST: tuple[Check, ...] = (lost, *AT_ANY_TIME, out_of_order, untrue)


def verdict(evidence: Evidence, checks: tuple[Check, ...] = AT_REST) -> dict[str, list[str]]:
    """All violations, by the name of their check."""
    return {check.__name__: check(evidence) for check in checks}
