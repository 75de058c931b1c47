"""Guards taken out of the engine's SQL, one gate at a time: the harness must notice each.

A mutation edits the statements of a child process and, where a guard of the database would step in, the
database of that run. Nothing of the kind can be switched on in the engine itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.database import connection


@dataclass(frozen=True)
class Edit:
    """A piece of a named statement, and what stands there instead."""

    statement: str
    old: str
    new: str

    def apply(self, sql: bytes) -> bytes:
        """The edited statement. Raises ValueError when the piece is not there (any more)."""
        text = sql.decode()
        if self.old not in text:
            raise ValueError(
                f"{self.statement}.sql no longer holds {self.old!r}: adapt tests/faults/mutations.py"
            )
        return text.replace(self.old, self.new).encode()


@dataclass(frozen=True)
class Mutation:
    """A guard that is taken out."""

    name: str
    edits: tuple[Edit, ...]
    harm: str
    """The check that must find what comes of it."""
    sql: str = ""
    """Run on the database of the mutated run."""

    def check(self) -> None:
        """Raises ValueError when an edit does not fit the engine's SQL."""
        for edit in self.edits:
            edit.apply(connection.statement(edit.statement))


# A worker whose claim was lost is believed: neither its token nor the message's status are looked at.
_NO_FENCE = (
    Edit(
        "complete_turns",
        "WHEN t.claim_token <> d.token OR t.holder IS DISTINCT FROM $2 THEN 'lost_claim'",
        "",
    ),
    Edit(
        "complete_turns",
        "AND (m.claim_token = v.token AND m.delivery_status = 'inbound_processing') IS TRUE",
        "AND m.delivery_status IN ('inbound_processing', 'inbound_ai_replied')",
    ),
)

FENCE_OFF = Mutation("fence off", _NO_FENCE, harm="stale_writers")
# An index of that name stays, or the engine would refuse to work: this one is unique to no purpose.
FENCE_AND_KEY_OFF = Mutation(
    "fence and unique key off",
    _NO_FENCE,
    harm="doubled",
    sql="DROP INDEX et_messages_one_reply;"
    "CREATE UNIQUE INDEX et_messages_one_reply ON et_messages (in_reply_to, id) WHERE author = 'ai'",
)
# A send that left with its engine looks as if it had never begun.
MARKER_OFF = Mutation(
    "send marker off",
    (
        Edit("start_sends", "send_started_at = CASE WHEN v.allowed THEN now() END", "send_started_at = NULL"),
        Edit("complete_turns", "CASE WHEN e.direct AND e.leaves THEN now() END", "NULL"),
    ),
    harm="doubled",
)
MUTATIONS = {mutation.name: mutation for mutation in (FENCE_OFF, FENCE_AND_KEY_OFF, MARKER_OFF)}


def edit_statements(edits: tuple[Edit, ...]) -> None:
    """From now on this process uses the edited statements."""
    original = connection.statement

    def edited(name: str) -> bytes:
        sql = original(name)
        for edit in edits:
            if edit.statement == name:
                sql = edit.apply(sql)
        return sql

    connection.statement = edited  # type: ignore[assignment]
