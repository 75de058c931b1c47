"""Acts on many rows: what was done, what was left out and why, in batches of one commit each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Row
from engine.operator.audit import BadInput, Refused

BATCH = 200
"""Rows a commit; small enough that nobody waits long for their locks."""
LIMIT = 100_000

Progress = Callable[[int, int], None]
"""Hears how many rows are through, and of how many. To stop an act after that, it raises Stop."""


class Stop(Exception):
    """Raised by a Progress: the batches that are through stay done, the others are left as they are."""


class Acted(BaseModel):
    """What an act on many rows did."""

    model_config = ConfigDict(frozen=True)

    done: list[int]
    skipped: dict[int, str]
    """By id: why it was left as it was."""
    not_reached: int = 0
    """Rows the act did not come to, because it was stopped."""

    @property
    def count(self) -> int:
        return len(self.done)

    @property
    def reasons(self) -> dict[str, int]:
        """How many were skipped for each reason, the most frequent first."""
        return dict(Counter(self.skipped.values()).most_common())

    def only(self, what: str) -> None:
        """For an act on a single row: raises Refused when it was skipped."""
        for reason in self.skipped.values():
            raise Refused(f"{what} is left as it is: {reason}.", "Look at it again.")


def sorted_out(rows: Iterable[Row]) -> tuple[Acted, dict[str, Any]]:
    """What a statement that judged each row has done, and the former state of those it changed."""
    done: list[int] = []
    skipped: dict[int, str] = {}
    before: dict[str, Any] = {}
    for row in rows:
        if row["obstacle"] is not None:
            skipped[row["id"]] = row["obstacle"]
            continue
        done.append(row["id"])
        before[str(row["id"])] = {key: value for key, value in row.items() if key not in {"id", "obstacle"}}
    return Acted(done=done, skipped=skipped), before


def named(kind: str, ids: Sequence[int]) -> str:
    """How the audit log names one or several rows, e.g. `message:7` or `messages:3`."""
    return f"{kind}:{ids[0]}" if len(ids) == 1 else f"{kind}s:{len(ids)}"


async def in_batches(
    ids: Sequence[int], act: Callable[[list[int]], Awaitable[Acted]], progress: Progress | None = None
) -> Acted:
    """Run `act` on `ids`, a batch at a time, until `progress` raises Stop. What is done stays done."""
    ids = list(dict.fromkeys(ids))
    if not ids:
        raise BadInput("Nothing matches.", "Widen the filter.")
    done: list[int] = []
    skipped: dict[int, str] = {}
    for start in range(0, len(ids), BATCH):
        acted = await act(ids[start : start + BATCH])
        done += acted.done
        skipped |= acted.skipped
        through = min(start + BATCH, len(ids))
        try:
            if progress:
                progress(through, len(ids))
        except Stop:
            return Acted(done=done, skipped=skipped, not_reached=len(ids) - through)
    return Acted(done=done, skipped=skipped)
