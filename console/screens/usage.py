"""Usage: what was used, by whom, what it cost, what it may cost, and how the providers do."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from console.actions import bindings
from console.screens import usage_panes as panes
from console.screens.area import AreaScreen
from console.widgets.lines import Line, Lines
from console.words import MUTED

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.spending import Spending

GAP = Line(Content(""))


class UsageScreen(AreaScreen):
    """The Usage area."""

    AREA = "usage"
    EVERY = 5.0
    CSS_PATH = "usage.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("usage")

    def __init__(self) -> None:
        super().__init__()
        self.view: Spending | None = None
        self.period, self.measure = 0, panes.MEASURES[0]

    def compose_area(self) -> ComposeResult:
        yield Lines(id="summary")
        with VerticalScroll(id="page"):
            yield Lines(id="left")
            yield Lines(id="right")

    def on_mount(self) -> None:
        self.query_one("#summary", Lines).show([Content.styled("Adding up …", MUTED)])
        self.query_one("#page").focus()

    async def load(self, pool: Pool) -> Spending:
        from engine.observe.spending import spending

        settings = self.switchboard.session.settings
        cap = settings.daily_budget_usd if settings else None
        return await spending(
            pool, self.switchboard.clock.now(), panes.PERIODS[self.period][0], cap, self.view
        )

    def show(self, view: Spending) -> None:
        first, self.view = self.view is None, view
        self._draw()
        if first:  # a scroll bar may have come, and taken a column
            self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view = self.view
        if view is None:
            return
        from engine.observe.spending import TURNS

        left, right = self.query_one("#left", Lines), self.query_one("#right", Lines)
        self.query_one("#summary", Lines).show(panes.summary(view, self.period, self.measure))
        plots = self._plots(view, (left if self.has_class("-narrow") else right).size.width)
        state = [*panes.budgets(view.outlooks, right.size.width), GAP, *panes.providers(view.calls, TURNS)]
        tables = panes.tables(view, left.size.width)
        if self.has_class("-narrow"):
            left.show([*plots, *tables])
            right.show(state)
        else:
            left.show(tables)
            right.show([*plots, *state])

    def _plots(self, view: Spending, width: int) -> list[Line]:
        if self.switchboard.low_bandwidth:
            return []
        high = 2 if self.has_class("-low") else 5
        first, last = (
            self.switchboard.clock.local(datetime.fromisoformat(view.hours[at].name)) for at in (0, -1)
        )
        by_hour = panes.plot(
            "Hours", view.hours, (f"{first:%H}:00", f"{last:%H}:00"), self.measure, width, high
        )
        ends = view.days[0].name[5:], view.days[-1].name[5:]
        by_day = panes.plot("Days", view.days, ends, self.measure, width, high)
        return [*by_hour, GAP, *by_day, GAP]

    # Acts

    def act_next_period(self) -> None:
        self._choose_period(1)

    def act_last_period(self) -> None:
        self._choose_period(-1)

    def _choose_period(self, step: int) -> None:
        self.period = (self.period + step) % len(panes.PERIODS)
        self.read_now()

    @work(exclusive=True, exit_on_error=False, group="read")
    async def read_now(self) -> None:
        """The other period, at once."""
        feed = self.switchboard.session.feed
        if feed is not None:
            self.show(await self.load(feed.pool))

    def act_measure(self) -> None:
        """Plot something else."""
        at = panes.MEASURES.index(self.measure)
        self.measure = panes.MEASURES[(at + 1) % len(panes.MEASURES)]
        self._draw()

    @work(exclusive=True, exit_on_error=False, group="export")
    async def act_export(self) -> None:
        """The period by hour, tenant, agent, task and model, as CSV."""
        from engine.observe.spending import usage_csv

        feed, view = self.switchboard.session.feed, self.view
        if feed is None or view is None:
            return
        until = self.switchboard.clock.now() + timedelta(hours=1)
        text = await usage_csv(feed.pool, view.since, until)
        name = f"switchboard-usage-{view.since:%Y-%m-%d}-to-{until:%Y-%m-%d}.csv"
        self.app.deliver_text(StringIO(text), save_filename=name)
        self.say(f"{name} goes to the download folder.", title="Export")
