"""Usage: what was used, by whom, what it cost, what it may cost, and how the providers do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from console.actions import BY_ID, bindings
from console.screens import usage_panes as panes
from console.screens import usage_plots as plots
from console.screens.area import AreaScreen
from console.widgets.lines import Line, Lines
from console.widgets.page import Page
from console.words import MUTED

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.spending import Spending

GAP = Line(Content(""))
HEIGHTS = ((50, 12), (36, 8), (0, 5))
"""Rows of a plot, by the rows of the terminal."""
LEAST_WIDTH = 30


class UsageScreen(AreaScreen):
    """The Usage area."""

    AREA = "usage"
    EVERY = 5.0
    CSS_PATH = "usage.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("usage")

    def __init__(self) -> None:
        super().__init__()
        self.view: Spending | None = None
        self.period, self.measure, self.by = 0, plots.MEASURES[0], panes.VIEWS[0]

    def compose_area(self) -> ComposeResult:
        yield Lines(id="summary")
        with Page(id="page"):
            yield Lines(id="left")
            yield Lines(id="right")

    def on_mount(self) -> None:
        self.query_one("#summary", Lines).show([Content.styled("Adding up …", MUTED)])
        self.query_one("#page").focus()

    async def load(self, pool: Pool) -> Spending:
        from engine.observe.spending import spending

        if not self.switchboard.low_bandwidth:
            await asyncio.to_thread(plots.load)
        settings = self.switchboard.session.settings
        cap = settings.daily_budget_usd if settings else None
        days, by = panes.PERIODS[self.period][0], self.by if self.by != "all" else None
        return await spending(pool, self.switchboard.clock.now(), days, cap, self.view, by)

    def show(self, view: Spending) -> None:
        asked = self.by if self.by != "all" else None
        if view.by != asked:
            return  # of a view that was left meanwhile
        self.view = view
        self._draw()

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view = self.view
        if view is None:
            return

        left, right = self.query_one("#left", Lines), self.query_one("#right", Lines)
        summary = panes.summary(view, self.period, self.measure, self.by, self.size.width)
        self.query_one("#summary", Lines).show(summary)
        narrow = self.has_class("-narrow")
        plotted = self._plots(view, (left if narrow else right).size.width)
        tables = panes.tables(view, left.size.width)
        state = self._state(view, right.size.width)
        left.show([*plotted, *tables] if narrow else tables)
        right.show([GAP, *state] if narrow else [*plotted, *state])

    def _state(self, view: Spending, width: int) -> list[Line]:
        """Budgets, what has no price, and how the providers do; these first where they are looked at."""
        from engine.observe.spending import TURNS

        unpriced = panes.unpriced(view.unpriced, self.key_of(BY_ID["go.settings"]))
        money = [*panes.budgets(view.outlooks, width), *([GAP, *unpriced] if unpriced else [])]
        providers = panes.providers(view.calls, view.accounts, TURNS, width)
        return [*providers, GAP, *money] if view.by == "provider" else [*money, GAP, *providers]

    def _plots(self, view: Spending, width: int) -> list[Line]:
        if self.switchboard.low_bandwidth or width < LEAST_WIDTH:
            return []
        high = next(rows for lines, rows in HEIGHTS if self.size.height >= lines)
        if view.by is not None and view.by not in ("day", "hour"):
            return [*plots.by_name(panes.TITLES[view.by], view.used, self.measure, width), GAP]
        lines: list[Line] = []
        if view.by != "day":
            labels = [f"{datetime.fromisoformat(hour.name):%H}:00" for hour in view.hours]
            lines += [*plots.over_time("Hours", view.hours, labels, self.measure, width, high), GAP]
        if view.by != "hour":
            days = [day.name[5:] for day in view.days]
            lines += [*plots.over_time("Days", view.days, days, self.measure, width, high), GAP]
        return lines

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
        """The other period or view, at once."""
        feed = self.switchboard.session.feed
        if feed is not None:
            self.show(await self.load(feed.pool))

    def act_next_view(self) -> None:
        self._choose_view(1)

    def act_last_view(self) -> None:
        self._choose_view(-1)

    def _choose_view(self, step: int) -> None:
        self.by = panes.VIEWS[(panes.VIEWS.index(self.by) + step) % len(panes.VIEWS)]
        self.query_one("#page").scroll_home(animate=False)
        self.read_now()

    def act_measure(self) -> None:
        """Plot something else."""
        at = plots.MEASURES.index(self.measure)
        self.measure = plots.MEASURES[(at + 1) % len(plots.MEASURES)]
        self._draw()

    @work(exclusive=True, exit_on_error=False, group="export")
    async def act_export(self) -> None:
        """The period by hour, tenant, agent, task and model, as CSV."""
        from engine.observe.spending import first_midnight, usage_csv

        feed, now = self.switchboard.session.feed, self.switchboard.clock.now()
        if feed is None:
            return
        since = first_midnight(now, panes.PERIODS[self.period][0])
        text = await usage_csv(feed.pool, since, now + timedelta(hours=1))
        name = f"switchboard-usage-{since:%Y-%m-%d}-to-{now.astimezone(UTC):%Y-%m-%d}.csv"
        self.deliver(text, name)
