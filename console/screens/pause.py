"""Where the AI is paused: every channel with its switch, and what a switch did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.screens.overview_panes import paused_channels
from console.widgets.lines import Line, Lines, fit
from console.widgets.quiet import Quiet
from console.words import GOOD, KEY, MUTED, STRONG, WARN

if TYPE_CHECKING:
    from engine.observe.health import SystemHealth
    from engine.operator.pause import Switched


class ChannelSwitches(Dialog["tuple[str, bool] | None"]):
    """Its result is the chosen channel and whether the AI is paused there; None when none was chosen."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = [Binding("escape,q,K", "dismiss(None)", "Close")]  # noqa: RUF012 - Textual's way

    def __init__(self, health: SystemHealth | None) -> None:
        super().__init__()
        self._paused = paused_channels(health) if health else frozenset()
        running = {c.name.partition("/")[0] for c in health.channels} if health else set()
        self._names = sorted({*running, *self._paused})

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Quiet(Content.styled("The AI, channel by channel", STRONG))
            yield Lines(id="channels")
            yield Quiet(
                Content.assemble(
                    ("enter", KEY), (" pauses or resumes  ", MUTED), ("esc", KEY), (" closes", MUTED)
                )
            )

    def on_mount(self) -> None:
        lines = self.query_one(Lines)
        lines.show([self._line(name) for name in self._names] or [Content.styled("None is set up.", MUTED)])
        lines.focus()

    def _line(self, name: str) -> Line:
        paused = name in self._paused
        look = ("‖ paused    ", WARN) if paused else ("● answering ", GOOD)
        return Line(Content.assemble(look, fit(cell(name), 24)), (name, paused))

    def on_lines_opened(self, event: Lines.Opened) -> None:
        self.dismiss(event.target)


def told(done: Switched) -> str:
    """What a switch did, in words."""
    waits = f"{done.waiting} message{' waits' if done.waiting == 1 else 's wait'}"
    if done.paused:
        state = "is paused" if done.changed else "was paused already"
        return f"The AI {state}; {waits if done.waiting else 'what comes waits'} until it is resumed."
    state = "answers again" if done.changed else "was not paused"
    return f"The AI {state}{f'; {waits} for it' if done.waiting else ''}."
