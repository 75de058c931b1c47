"""A migration, run before one's eyes: the six steps of start-up, each with its time, then the verdict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.widgets.lines import Line, Lines
from console.widgets.quiet import Quiet
from console.words import BAD, BUSY, GOOD, MUTED, STRONG, Look, span

if TYPE_CHECKING:
    from engine.supervisor import MigrationRun, Step

STEPS = {
    "planned": Look("·", "", MUTED),
    "running": Look("◐", "running", BUSY),
    "done": Look("✓", "", GOOD),
    "unchanged": Look("✓", "nothing to do", MUTED),
    "failed": Look("✗", "failed", BAD),
}


def step_line(step: Step) -> Line:
    """One step as a line."""
    shown = STEPS[step.status]
    note = cell(step.error, BAD) if step.error else Content.styled(shown.word, MUTED)
    took = span(step.ms) if step.status in ("done", "failed") else ""
    return Line(
        Content.assemble((f"{shown.glyph} ", shown.style), f"{step.name:<26}", (f"{took:>9}  ", MUTED), note)
    )


@dataclass
class StepTold(Message):
    """A step has begun or ended."""

    step: Step


class Migrate(Dialog[bool]):
    """Runs as soon as it opens; closes when it is through and a key is pressed."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,escape,q,space", "close", "Close")]

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[str, Step] = {}
        self._run: MigrationRun | None = None
        self._over = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Quiet(Content.styled("Migrating the schema", STRONG), id="title")
            yield Lines(id="steps")
            yield Quiet(
                Content.styled("Waiting for the migration lock …", MUTED), id="verdict", classes="detail"
            )

    def on_mount(self) -> None:
        self.migrate()

    @work(exclusive=True, exit_on_error=False, group="migrate")
    async def migrate(self) -> None:
        """Run the six steps in a thread; they are recorded with the operator's name."""
        session = self.switchboard.session
        assert session.feed is not None
        dsn, actor = session.feed.dsn, session.operator.name if session.operator else "console"
        try:
            self._run = await asyncio.to_thread(self._migrate, dsn, actor)
        except Exception:
            self.query_one("#verdict", Quiet).show(Content.styled("✗ It was not run to its end.", BAD))
            raise
        finally:
            self._over = True
        self._show_verdict(self._run)

    def _migrate(self, dsn: str, actor: str) -> MigrationRun:
        from engine.supervisor import migrate

        # Posted, not waited for: a slow terminal must not hold the migration's locks.
        return migrate(dsn, actor=actor, on_step=lambda step: self._tell(StepTold(step.model_copy())))

    def _tell(self, message: StepTold) -> None:
        self.post_message(message)

    def on_step_told(self, event: StepTold) -> None:
        self._steps[event.step.name] = event.step
        self.query_one("#steps", Lines).show(step_line(known) for known in self._steps.values())
        self.query_one("#verdict", Quiet).show(Content(""))

    def _show_verdict(self, run: MigrationRun) -> None:
        self.query_one("#steps", Lines).show(step_line(step) for step in run.steps)
        if run.ok:
            verdict = Content.styled(f"✓ The schema is what this program needs ({span(run.ms)}).", GOOD)
        else:
            first, *others = run.blockers
            more = f"\n… and {len(others)} more" if others else ""
            verdict = Content.assemble(
                ("✗ ", BAD), cell(first.what), "\n→ ", cell(first.remedy, MUTED), (more, MUTED)
            )
        self.query_one("#verdict", Quiet).show(
            Content.assemble(verdict, "\n\n", ("Enter closes this.", MUTED))
        )

    def action_close(self) -> None:
        """Only when it is over: a migration is not left alone halfway."""
        if self._over:
            self.dismiss(self._run is not None and self._run.ok)
