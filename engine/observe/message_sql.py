"""Statements that find messages, composed of one source of rows and the conditions of a search.

A source is what keeps a statement flat in history size: a bounded stretch of ids, or the partial index of
work and trouble that the searched statuses have to themselves. Run them unprepared: the planner sees the
values then, and drops the conditions that are not asked for.
"""

from __future__ import annotations

import re

from engine.database.search_index import SETTLED, SIGNS, SPLIT, TEXT, Way
from engine.observe.search import INBOUND, OUTBOUND, MessageSearch

STRETCH = 20_000
"""Ids that one statement looks at, at most, where no index serves the search."""
MOST = 10_000
"""Rows of a status that are searched through its partial index, the newest ones."""
SHORTEST = 3
"""Letters of a piece that its index can look up."""
NEAR = 5_000
"""Ids at the near end that are looked at without the index: words that are common are found there."""

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

_LEAVING = f"""
  FROM (SELECT message_id AS id FROM et_outbound_queue
         WHERE status IN ('queued', 'processing', 'retry_scheduled') ORDER BY thread_id, id LIMIT {MOST}) s
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


_TEXT, _SPLIT = (text.replace("text_content", "m.text_content") for text in (TEXT, SPLIT))


def _words(search: MessageSearch, way: Way) -> str:
    """What the words of a search ask of a message, as an index serves it."""
    pieces = search.pieces
    if not pieces:
        return ""
    if search.how == "similar":
        return "".join(f" AND %(piece{n})s <%% {_TEXT}" for n in range(len(pieces)))
    if served(search, way) == "words":
        return f" AND to_tsvector('simple', {_SPLIT}) @@ to_tsquery('simple', %(words)s)"
    return "".join(f" AND {_TEXT} ILIKE %(piece{n})s" for n in range(len(pieces)))


def served(search: MessageSearch, way: Way) -> Way:
    """How this search goes: three letters are what the index of pieces needs at least."""
    if not search.pieces or search.how == "scan" or way == "scan":
        return "scan"
    if search.how == "similar":
        return "pieces"
    if not any(any(character.isalnum() for character in piece) for piece in search.pieces):
        return "scan"  # an index of words holds no signs
    if way == "pieces" and not any(len(piece) >= SHORTEST for piece in search.pieces):
        return "words"
    return way


def source(search: MessageSearch, way: Way = "scan") -> tuple[str, bool]:
    """Where to look, and whether only a stretch of ids may be looked at in one statement."""
    if search.thread_id is not None:
        return _HISTORY, False
    wanted = frozenset(search.status or ())
    if wanted:
        for statuses, rows in SOURCES.items():
            if wanted <= statuses:
                return rows, False
    return _HISTORY, served(search, way) == "scan"


def older(search: MessageSearch, way: Way = "scan", *, indexed: bool = False) -> str:
    """Ids below `before` and not below `floor`, the highest first.

    `indexed` keeps the planner from going down the ids for words that are rare: it cannot know how rare.
    """
    bounds = "m.id < %(before)s AND m.id >= %(floor)s"
    if indexed:
        return f"{_through_index(search, way, bounds)} ORDER BY u.id + 0 DESC LIMIT %(limit)s"
    return f"{_matching(source(search, way)[0], search, way, bounds)} ORDER BY m.id DESC LIMIT %(limit)s"


def of_all(search: MessageSearch, way: Way = "scan") -> str:
    """Like `older`, among all messages however many have the status: for a stretch of ids, not for a list."""
    bounds = "m.id < %(before)s AND m.id >= %(floor)s"
    return f"{_matching(_HISTORY, search, way, bounds)} ORDER BY m.id DESC LIMIT %(limit)s"


def newer(search: MessageSearch, way: Way = "scan", *, indexed: bool = False) -> str:
    """Ids above `after` and not above `ceiling`, the lowest first."""
    bounds = "m.id > %(after)s AND m.id <= %(ceiling)s"
    if indexed:
        return f"{_through_index(search, way, bounds)} ORDER BY u.id + 0 LIMIT %(limit)s"
    return f"{_matching(source(search, way)[0], search, way, bounds)} ORDER BY m.id LIMIT %(limit)s"


def _matching(rows: str, search: MessageSearch, way: Way, bounds: str) -> str:
    return f"SELECT m.id {rows} WHERE {bounds} {CONDITIONS}{_words(search, way)}"


def _through_index(search: MessageSearch, way: Way, bounds: str) -> str:
    """Settled messages through the index of their words, and those under way through the indexes of those."""
    settled = SETTLED.replace("delivery_status", "m.delivery_status")
    parts = [f"{_matching(source(search, way)[0], search, way, bounds)} AND {settled}"]
    parts += [f"{_matching(rows, search, way, bounds)} AND NOT {settled}" for rows in (_OPEN, _LEAVING)]
    return f"SELECT u.id FROM ({' UNION ALL '.join(parts)}) u"  # noqa: S608


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
        "words": " & ".join(_query_word(piece) for piece in search.pieces),
        **{
            f"piece{n}": piece if search.how == "similar" else pattern(piece)
            for n, piece in enumerate(search.pieces)
        },
    }


def _query_word(piece: str) -> str:
    """For to_tsquery: words that begin like this, one after the other."""
    escaped = re.sub(f"[{re.escape(SIGNS)}]", " ", piece).replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}':*"


def pattern(words: str | None) -> str | None:
    """For ILIKE: somewhere in the text, with nothing in `words` taken for a wildcard."""
    if words is None:
        return None
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
