"""The top line: ready or the first blocker in words, then engines, database and the time of day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from console.sanitise import cell
from console.widgets.lines import Line, Lines, fit
from console.words import BAD, BUSY, GOOD, MUTED, STOPPED, STRONG, WARN

if TYPE_CHECKING:
    from engine.observe.health import SystemHealth


@dataclass(frozen=True, slots=True)
class Status:
    """What the status bar tells."""

    phase: str = "starting"
    place: str = ""
    failure: str | None = None
    health: SystemHealth | None = None
    trouble: str | None = None
    paused: bool = False
    ai_paused: bool = False
    held: tuple[str, ...] = ()
    """Where else the AI is paused: `on telegram`, `in 2 conversations`."""
    read_only: bool = False
    minute: str = ""


class StatusBar(Lines):
    """One line; what matters most stays when the terminal is narrow."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 1; }
    """

    def tell(self, status: Status) -> None:
        """Show `status`."""
        verdict, room = _verdict(status), max(10, self.size.width)
        facts = _facts(status)
        while facts and sum(f.cell_length + 3 for f in facts) > room // 2:
            facts.pop(0)
        right = Content(" · ").join(facts)
        self.show([Line(Content.assemble(fit(verdict, max(1, room - right.cell_length - 1)), " ", right))])


def _verdict(status: Status) -> Content:
    if status.failure:
        return Content.assemble(("✗ ", BAD), cell(status.failure, BAD))
    if status.trouble:
        return Content.assemble(("✗ ", BAD), cell(status.trouble, BAD))
    health = status.health
    if health is None:
        return Content.assemble(("◐ ", BUSY), (f"{status.phase} …", MUTED))
    if health.blockers:
        more = f"  (+{len(health.blockers) - 1} more)" if len(health.blockers) > 1 else ""
        return Content.assemble(("✗ not ready ", BAD), cell(health.blockers[0].what), (more, MUTED))
    if status.ai_paused:
        return Content.assemble(
            (" ‖ AI PAUSED ", STOPPED), ("k on Overview resumes; nothing is answered", MUTED)
        )
    if status.held:
        return Content.assemble(
            ("● ready ", GOOD), (" ‖ AI PAUSED ", STOPPED), cell(", ".join(status.held), WARN)
        )
    if health.warnings:
        return Content.assemble(("● ready ", GOOD), cell(health.warnings[0].what, MUTED))
    return Content.styled("● ready", GOOD)


def _facts(status: Status) -> list[Content]:
    """From the least to the most important."""
    facts = []
    health = status.health
    if status.place:
        facts.append(cell(status.place, MUTED, 40))
    if health is not None:
        alive = sum(engine.alive for engine in health.engines)
        if health.engines or health.queues:  # else the database is away, and nobody knows
            facts.append(
                Content.styled(f"{alive} engine{'' if alive == 1 else 's'}", MUTED if alive else BAD)
            )
        if (status.ai_paused or status.held) and health.blockers:  # else the verdict says so
            facts.append(Content.styled(" ‖ AI PAUSED ", STOPPED))
        if health.simulated:
            facts.append(Content.styled("SIMULATED", WARN))
    if status.read_only:
        facts.append(Content.styled("read-only", WARN))
    if status.paused:
        facts.append(Content.styled("‖ updates held", WARN))
    facts.append(Content.styled(status.minute, STRONG))
    return facts
