"""The demonstration's faults: switch one on, look what happens, switch it off, or all that are on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content

from console.screens.guarded import Dialog
from console.widgets.lines import Line, Lines, fit
from console.widgets.quiet import Quiet
from console.words import BAD, KEY, MUTED, STRONG

REFRESH_SECONDS = 1.0


class Fault(Protocol):
    """Something that can go wrong on purpose."""

    key: str
    title: str
    tooltip: str
    on: bool
    once: bool
    """It happens when it is chosen, and is over."""


class Demonstration(Protocol):
    """What runs behind `switchboard demo`."""

    @property
    def faults(self) -> Sequence[Fault]: ...

    def toggle(self, key: str) -> Fault: ...


class FaultSwitches(Dialog[None]):
    """Every fault with its state; Enter switches. What is on is under the cursor first."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("escape,q,F", "dismiss(None)", "Close"),
        Binding("0", "all_off", "All off"),
    ]

    def __init__(self, demo: Demonstration) -> None:
        super().__init__()
        self._demo = demo

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Quiet(Content.styled("Faults of the demonstration", STRONG))
            yield Lines(id="faults")
            yield Quiet(id="about", classes="detail")
            yield Quiet(
                Content.assemble(
                    ("enter", KEY),
                    (" switches  ", MUTED),
                    ("0", KEY),
                    (" switches off all that is on  ", MUTED),
                    ("esc", KEY),
                    (" closes", MUTED),
                )
            )

    def on_mount(self) -> None:
        self.set_interval(REFRESH_SECONDS, self._tell)
        self._tell()
        lines = self.query_one(Lines)
        lines.cursor = next((y for y, fault in enumerate(self._demo.faults) if fault.on), 0)
        lines.focus()
        self.watch(lines, "cursor", self._about)

    def _tell(self) -> None:
        self.query_one(Lines).show(
            Line(
                Content.assemble(
                    (
                        "▸ once " if fault.once else "● on   " if fault.on else "○ off  ",
                        BAD if fault.on else MUTED,
                    ),
                    fit(Content(fault.title), 22),
                    (fault.tooltip, MUTED),
                ),
                fault,
            )
            for fault in self._demo.faults
        )

    def _about(self) -> None:
        """The whole explanation of the fault under the cursor; its line may have no room for it."""
        fault = self.query_one(Lines).target()
        if fault is not None:
            self.query_one("#about", Quiet).show(Content(fault.tooltip))

    def on_lines_opened(self, event: Lines.Opened) -> None:
        self._switch(event.target)

    @work(exclusive=True, exit_on_error=False, group="fault")
    async def action_all_off(self) -> None:
        for fault in [fault for fault in self._demo.faults if fault.on]:
            await asyncio.to_thread(self._demo.toggle, fault.key)
        self._tell()

    @work(exclusive=True, exit_on_error=False, group="fault")
    async def _switch(self, fault: Fault) -> None:
        now = await asyncio.to_thread(self._demo.toggle, fault.key)  # one of them waits for a lock
        if now.once:
            self.say(f"{now.title}: it happens now, once.")
        self._tell()
