"""Overview: whether messages are answered, by whom, how fast, for how much, and which are on their way."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from console.actions import bindings
from console.screens.area import AreaScreen
from console.screens.overview_panes import components, engines, queues, readiness
from console.widgets.lines import Lines
from console.widgets.status_bar import Status


class OverviewScreen(AreaScreen):
    """The first screen."""

    AREA = "overview"
    CSS_PATH = "overview.tcss"
    BINDINGS = bindings("overview")

    def compose_area(self) -> ComposeResult:
        yield Lines(id="readiness")
        with Horizontal(id="state"):
            with Vertical(id="left"):
                yield Lines(id="engines")
                yield Lines(id="providers")
                yield Lines(id="channels")
            with Vertical(id="right"):
                yield Lines(id="queues")

    def tell(self, status: Status) -> None:
        super().tell(status)
        health = status.health
        if health is None or not self.is_mounted:
            return
        self.query_one("#readiness", Lines).show(readiness(health))
        self.query_one("#engines", Lines).show(engines(health))
        self.query_one("#providers", Lines).show(components("Language models", health.llm_providers))
        self.query_one("#channels", Lines).show(components("Channels", health.channels))
        self.query_one("#queues", Lines).show(queues(health, {}))
