"""What conversations are about: labels, added and removed by people; each change is one audited commit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool, to_json
from engine.operator.audit import BadInput, Operator, acting, audit, rows
from engine.operator.takeover import lock_thread

LENGTH = 30
"""Characters of a label."""
MOST = 20
"""Labels of one conversation."""
_LABEL = re.compile(r"\w[\w.-]*")


class Labelled(BaseModel):
    """What a conversation is labelled with, and what has changed."""

    model_config = ConfigDict(frozen=True)

    thread_id: int
    labels: tuple[str, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def label_of(word: str) -> str:
    """A label as it is kept: in small letters, one word. Raises BadInput."""
    label = re.sub(r"\s+", "-", word.strip().removeprefix("#")).casefold()
    if not _LABEL.fullmatch(label) or len(label) > LENGTH:
        raise BadInput(
            f"“{label[:LENGTH]}” cannot be a label.",
            f"Use letters, digits, - _ and . and at most {LENGTH} of them.",
        )
    return label


def labels_of(words: str | Iterable[str]) -> tuple[str, ...]:
    """Each label once, as they were typed. Raises BadInput."""
    parts = re.split(r"[\s,]+", words.strip()) if isinstance(words, str) else words
    return tuple(dict.fromkeys(label_of(part) for part in parts if part))


async def change_labels(
    pool: Pool, operator: Operator, thread_id: int, *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> Labelled:
    """Add and remove labels; what is there or gone already is left alone. Raises BadInput, NotFound, ReadOnly."""
    adding, removing = labels_of(add), set(labels_of(remove))
    async with acting(pool, operator) as connection:
        before: list[str] = (await lock_thread(connection, thread_id))["labels"]
        after = [label for label in dict.fromkeys([*before, *adding]) if label not in removing]
        if len(after) > MOST and len(after) > len(before):
            raise BadInput(f"A conversation has at most {MOST} labels.", "Remove one first.")
        done = Labelled(
            thread_id=thread_id,
            labels=tuple(after),
            added=tuple(label for label in after if label not in before),
            removed=tuple(label for label in before if label not in after),
        )
        if done.added or done.removed:
            await rows(
                connection,
                "UPDATE et_threads SET labels = %s::jsonb WHERE id = %s",
                to_json(after),
                thread_id,
            )
            await audit(
                connection, operator, "label", f"thread:{thread_id}", {"labels": before}, {"labels": after}
            )
        return done
