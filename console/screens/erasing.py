"""Erasing a customer on request, from wherever one is chosen."""

from __future__ import annotations

from textual.content import Content

from console.sanitise import cell
from console.screens.area import AreaScreen
from console.screens.confirm import Confirm
from console.words import WARN, count


async def erase_customer(area: AreaScreen, thread_id: int, who: str) -> None:
    """Ask with what there is of each kind, No unless somebody says Yes; then erase it for good."""
    from engine.operator.erasure import erase, preview

    pool, operator = area._hands()
    there = await area.do(preview(pool, thread_id=thread_id))
    if there is None:
        return
    who = cell(who, limit=60).plain
    detail = Content.assemble(
        f"Erased for good: {counts(there.model_dump())}.\n",
        ("Counts, times and cost stay. Backups made before are not reached.", WARN),
    )
    if await area.app.push_screen_wait(Confirm(f"Erase everything of {who}?", detail, yes="Erase it")):
        gone = await area.do(erase(pool, operator, thread_id=thread_id))
        if gone is not None:
            area.say(f"{counts(gone.model_dump())}.", title="Erased")


def counts(told: dict[str, object]) -> str:
    """`2 conversations, 14 messages`, without what there is none of."""
    threads = told.get("thread_ids")
    named = {"conversations": len(threads) if isinstance(threads, list) else 0}
    named |= {kind.replace("_", " "): many for kind, many in told.items() if isinstance(many, int)}
    return ", ".join(f"{count(many)} {kind}" for kind, many in named.items() if many) or "nothing"
