"""The demonstration's faults: each explained in full, and a sign when one happens once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from console.screens.faults import FaultSwitches
from engine.demo.faults import CATALOGUE, ONCE
from tests.support.consoles import screen_text, shows, until

LONG = "A first sentence that is far too long for the line of its fault: its very end is readable."


@dataclass
class Switch:
    key: str
    title: str
    tooltip: str
    on: bool = False
    once: bool = False


class Stage:
    """A switch that stays, and one that happens once."""

    def __init__(self) -> None:
        self.faults = [Switch("stays", "Outage", LONG), Switch("once", "Burst", "All at once.", once=True)]

    def toggle(self, key: str) -> Switch:
        fault = next(one for one in self.faults if one.key == key)
        fault.on = not fault.once and not fault.on
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
        faults = [Switch(*words, once=words[0] in ONCE) for words in CATALOGUE]  # noqa: RUF012

        def toggle(self, key: str) -> Switch:
            raise AssertionError

    async with console(size=(80, 24)) as pilot:
        await pilot.app.push_screen(FaultSwitches(Real()))
        for fault in Real.faults:
            await shows(pilot, f"▌▸ once {fault.title}" if fault.once else f"▌○ off  {fault.title}")
            await shows(pilot, fault.tooltip.split()[-1])
            await shows(pilot, "esc closes")
            await pilot.press("j")


async def test_what_is_on_is_counted_below_found_first_and_switched_off_together(console: Any) -> None:
    stage = Stage()
    stage.faults[1:1] = [Switch("slow", "Slow", "It takes its time."), Switch("lost", "Lost", "It is gone.")]
    async with console(size=(80, 24), demo=stage) as pilot:
        await shows(pilot, "F Faults")
        await pilot.press("F", "j", "enter", "j", "enter", "escape")
        await shows(pilot, "F Faults: 2 on")
        await pilot.press("F")
        await shows(pilot, "▌● on   Slow")
        await pilot.press("0")
        await shows(pilot, "○ off  Lost")
        assert not any(fault.on for fault in stage.faults)
        await pilot.press("escape")
        await until(pilot, lambda: "2 on" not in screen_text(pilot.app), "the footer still counts them")
