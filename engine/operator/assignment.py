"""Whose a conversation is, among several operators; who answers it, the AI or people, is another matter."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool
from engine.operator.audit import NAME_LIMIT, BadInput, Operator, acting, audit, rows
from engine.operator.takeover import lock_thread
from engine.text import one_line


class Assigned(BaseModel):
    """Whose a conversation is now, and was before; None is nobody's."""

    model_config = ConfigDict(frozen=True)

    thread_id: int
    operator: str | None
    previous: str | None
    owner: str
    """Who answers it: `ai` or `human`."""

    @property
    def changed(self) -> bool:
        return self.operator != self.previous


def name_of(word: str) -> str:
    """An operator's name as it is kept. Raises BadInput."""
    name = one_line(word, NAME_LIMIT).strip()
    if not name or len(word.strip()) > NAME_LIMIT:
        raise BadInput("That cannot be an operator's name.", f"Write 1 to {NAME_LIMIT} characters.")
    return name


async def assign(pool: Pool, operator: Operator, thread_id: int, to: str | None) -> Assigned:
    """Make a conversation somebody's, or nobody's; a hand-back to the AI makes it nobody's too.

    It does not stop the AI: that is a takeover, which assigns as well. Raises BadInput, NotFound, ReadOnly.
    """
    name = None if to is None else name_of(to)
    async with acting(pool, operator) as connection:
        thread = await lock_thread(connection, thread_id)
        done = Assigned(
            thread_id=thread_id, operator=name, previous=thread["operator"], owner=thread["owner"]
        )
        if done.changed:
            await rows(connection, "UPDATE et_threads SET operator = %s WHERE id = %s", name, thread_id)
            await audit(
                connection,
                operator,
                "assign",
                f"thread:{thread_id}",
                {"operator": done.previous},
                {"operator": name},
            )
        return done
