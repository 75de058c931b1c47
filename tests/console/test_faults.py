"""The demonstration's faults: each explained in full, and a sign when one happens once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from console.screens.faults import FaultSwitches
from engine.demo.faults import CATALOGUE
from tests.support.consoles import screen_text, shows

LONG = "A first sentence that is far too long for the line of its fault: its very end is readable."


@dataclass
class Switch:
    key: str
    title: str
    tooltip: str
    on: bool = False


class Stage:
    """A switch that stays, and one that happens once."""

    def __init__(self) -> None:
        self.faults = [Switch("stays", "Outage", LONG), Switch("once", "Burst", "Customers write at once.")]

    def toggle(self, key: str) -> Switch:
        fault = next(one for one in self.faults if one.key == key)
        fault.on = key == "stays" and not fault.on
        return fault


async def test_each_fault_is_explained_in_full_and_one_that_happens_once_gives_a_sign(console: Any) -> None:
    async with console(size=(80, 24)) as pilot:
        await pilot.app.push_screen(FaultSwitches(Stage()))
        await shows(pilot, "readable.")
        assert "▌○ off  Outage" in screen_text(pilot.app), "the cursor is seen without colours"
        await pilot.press("enter")
        await shows(pilot, "● on   Outage")
        assert "it happens now" not in screen_text(pilot.app)
        await pilot.press("enter")
        await shows(pilot, "○ off  Outage")
        assert "it happens now" not in screen_text(pilot.app)
        await pilot.press("j", "enter")
        await shows(pilot, "Burst: it happens now")


async def test_the_real_faults_and_the_way_out_fit_a_small_terminal(console: Any) -> None:
    class Real:
        faults = [Switch(*words) for words in CATALOGUE]  # noqa: RUF012

        def toggle(self, key: str) -> Switch:
            raise AssertionError

    async with console(size=(80, 24)) as pilot:
        await pilot.app.push_screen(FaultSwitches(Real()))
        for fault in Real.faults:
            await shows(pilot, f"▌○ off  {fault.title}")
            await shows(pilot, fault.tooltip.split()[-1])
            await shows(pilot, "esc closes")
            await pilot.press("j")
