"""Statements that find messages, composed of one source of rows and the conditions of a search.

A source is what keeps a statement flat in history size: a bounded stretch of ids, or the partial index of
work and trouble that the searched statuses have to themselves. Run them unprepared: the planner sees the
values then, and drops the conditions that are not asked for.
"""

from __future__ import annotations

from engine.observe.search import INBOUND, OUTBOUND, MessageSearch

STRETCH = 20_000
"""Ids that one statement looks at, at most, where no index serves the search."""
MOST = 10_000
"""Rows of a status that are searched through its partial index, the newest ones."""

CONDITIONS = """
   AND (%(status)s::text[] IS NULL OR m.delivery_status = ANY(%(status)s))
   AND (%(direction)s::text IS NULL OR m.direction = %(direction)s)
   AND (%(channel)s::text IS NULL OR m.channel = %(channel)s)
   AND (%(tenant_id)s::bigint IS NULL OR m.tenant_id = %(tenant_id)s)
   AND (%(thread_id)s::bigint IS NULL OR m.thread_id = %(thread_id)s)
   AND (%(provider)s::text IS NULL OR m.llm_provider = %(provider)s)
   AND (%(model)s::text IS NULL OR m.llm_model ILIKE %(model)s)
   AND (%(cost_usd)s::numeric IS NULL OR m.llm_estimated_cost_usd >= %(cost_usd)s)
   AND (%(reason)s::text IS NULL OR starts_with(m.reason, %(reason)s))
   AND (%(text)s::text IS NULL OR m.text_content ILIKE %(text)s)
"""

_OPEN = f"""
  FROM (SELECT id FROM et_messages
         WHERE direction = 'inbound' AND delivery_status IN ('received', 'inbound_processing')
         ORDER BY thread_id, id LIMIT {MOST}) s
  JOIN et_messages m ON m.id = s.id
"""  # noqa: S608 - built from constants
_TROUBLE = f"""
  FROM (SELECT id FROM et_messages
         WHERE direction = 'inbound' AND delivery_status = 'inbound_error' ORDER BY id DESC LIMIT {MOST}) s
  JOIN et_messages m ON m.id = s.id
"""  # noqa: S608


#: Statuses of sends that have a partial index, and its order: no statistics can talk the planner out of it.
SEND_ORDER = {
    "queued": "next_attempt_at, id",
    "processing": "lease_until",
    "retry_scheduled": "next_attempt_at",
    "failed": "id DESC",
    "accepted": "finished_at DESC",
}


def of_status(status: str) -> str:
    """The sends of a status in `SEND_ORDER`, as a sub-select of their ids and their messages'."""
    return (
        f"SELECT id, message_id FROM et_outbound_queue WHERE status = '{status}'"  # noqa: S608 - a key of ours
        f" ORDER BY {SEND_ORDER[status]} LIMIT {MOST}"
    )


#: Sources that hold every message of some statuses and hardly any other.
SOURCES: dict[frozenset[str], str] = {
    frozenset({"received", "inbound_processing"}): _OPEN,
    frozenset({"inbound_error"}): _TROUBLE,
} | {
    frozenset({status}): f"  FROM ({of_status(status)}) s JOIN et_messages m ON m.id = s.message_id\n"
    for status in SEND_ORDER
}
_HISTORY = "  FROM et_messages m\n"


def source(search: MessageSearch) -> tuple[str, bool]:
    """Where to look, and whether only a stretch of ids may be looked at in one statement."""
    if search.thread_id is not None:
        return _HISTORY, False
    wanted = frozenset(search.status or ())
    if wanted:
        for statuses, rows in SOURCES.items():
            if wanted <= statuses:
                return rows, False
    return _HISTORY, True


def older(search: MessageSearch) -> str:
    """Ids below `before` and not below `floor`, the highest first."""
    return (
        f"SELECT m.id {source(search)[0]} WHERE m.id < %(before)s AND m.id >= %(floor)s {CONDITIONS}"
        " ORDER BY m.id DESC LIMIT %(limit)s"
    )


def newer(search: MessageSearch) -> str:
    """Ids above `after` and not above `ceiling`, the lowest first."""
    return (
        f"SELECT m.id {source(search)[0]} WHERE m.id > %(after)s AND m.id <= %(ceiling)s {CONDITIONS}"
        " ORDER BY m.id LIMIT %(limit)s"
    )


def values(search: MessageSearch) -> dict[str, object]:
    """The search as parameters; a direction follows from the statuses."""
    direction = search.direction
    wanted = frozenset(search.status or ())
    if wanted and direction is None:
        direction = "inbound" if wanted <= INBOUND else "outbound" if wanted <= OUTBOUND else None
    return {
        "status": sorted(wanted) or None,
        "direction": direction,
        "channel": search.channel,
        "tenant_id": search.tenant_id,
        "thread_id": search.thread_id,
        "provider": search.provider,
        "model": pattern(search.model),
        "cost_usd": search.cost_usd,
        "reason": search.reason,
        "text": pattern(search.text),
    }


def pattern(words: str | None) -> str | None:
    """For ILIKE: somewhere in the text, with nothing in `words` taken for a wildcard."""
    if words is None:
        return None
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
