"""Overview: whether messages are answered, by whom, how fast, for how much, and which are on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from console.actions import bindings
from console.screens.area import AreaScreen
from console.screens.overview_panes import (
    awaited,
    components,
    engine_facts,
    engines,
    paused_channels,
    queue_facts,
    queues,
    readiness,
    spark_key,
    spending,
    traffic,
)
from console.screens.trips import TripsPane
from console.widgets.lines import Line, Lines
from console.widgets.status_bar import Status
from console.words import sparkline

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.health import SystemHealth
    from engine.observe.usage import Arrivals, Today
    from engine.observe.views import TripRow

TRIPS = 40
"""Messages read before it is known how many there is room for."""
MINUTES = 60
SAMPLE_SECONDS = 10.0
SAMPLES = 18
TODAY_EVERY = 5
"""Looks at the database for one at today's usage, which changes slowly."""


@dataclass(frozen=True)
class OverviewView:
    """What the Overview reads beside health."""

    trips: tuple[TripRow, ...]
    today: Today
    series: tuple[int, ...]
    """Messages a minute, the running one last."""

    @property
    def under_way(self) -> bool:
        """Whether a message is waiting or being answered."""
        return any(trip.status in ("received", "inbound_processing") for trip in self.trips)


class OverviewScreen(AreaScreen):
    """The first screen."""

    AREA = "overview"
    CSS_PATH = "overview.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")

    def __init__(self) -> None:
        super().__init__()
        self._view: OverviewView | None = None
        self._today: Today | None = None
        self._arrivals: Arrivals | None = None
        self._looks = 0
        self._samples: dict[str, deque[float]] = {}
        self._sampled_at = 0.0
        self._told: dict[str, tuple[Any, ...]] = {}

    def compose_area(self) -> ComposeResult:
        yield Lines(id="readiness")
        with Horizontal(id="state"):
            with Vertical(id="left"):
                yield Lines(id="engines")
                yield Lines(id="providers")
                yield Lines(id="channels")
            with Vertical(id="right"):
                yield Lines(id="queues")
        with Horizontal(id="figures"):
            yield Lines(id="traffic")
            yield Lines(id="spending")
        yield TripsPane(id="trips")

    # Reading

    async def load(self, pool: Pool) -> OverviewView:
        from engine.observe import usage, views

        room = len(self.query_one(TripsPane).board.lines) or TRIPS
        async with pool.connection() as connection:
            newest = await views.newest_message(connection)
            trips = await views.read_trips(connection, room, newest)
            if self._today is None or self._looks % TODAY_EVERY == 0:
                self._today = await usage.read_today(connection, self._engine_cap())
            before = self._arrivals or usage.Arrivals()
            if newest > before.newest:
                newer = await usage.read_arrivals(connection, before.newest)
                before = before.with_newer(newer, MINUTES + 1)
            self._arrivals = before
        self._looks += 1
        series = self._arrivals.series(self.switchboard.clock.now(), MINUTES)
        return OverviewView(trips, self._today, tuple(series))

    def _engine_cap(self) -> float | None:
        settings = self.switchboard.session.settings
        return settings.daily_budget_usd if settings else None

    # Showing

    @property
    def _brief(self) -> bool:
        return self.has_class("-low")

    def show(self, view: OverviewView) -> None:
        self._view = view
        self._show_view()

    def _show_view(self) -> None:
        view = self._view
        if view is None or not self.composed:
            return
        sparks = not self.switchboard.low_bandwidth
        figures = self.query_one("#traffic", Lines)
        figures.show(traffic(view.series, figures.size.width, sparks=sparks))
        self.query_one("#spending", Lines).show(spending(view.today, brief=self._brief))
        self.query_one(TripsPane).tell(view.trips, self.switchboard.clock)

    def tell(self, status: Status) -> None:
        super().tell(status)
        health = status.health
        if not self.composed:
            return
        if health is None:
            waiting = status.failure or f"{status.phase.capitalize()} …"
            self.query_one("#readiness", Lines).show(awaited(waiting, self.size.width - 2))
            return
        brief, sparks, paused = self._brief, self._sparks(health), paused_channels(health)
        heard = any(engine.alive for engine in health.engines)
        self._tell_pane(
            "readiness",
            (brief, health.blockers, health.warnings),
            lambda: readiness(health, brief=brief),
        )
        self._tell_pane(
            "engines",
            (brief, bool(health.queues), *engine_facts(health)),
            lambda: engines(health, brief=brief, most=2 if brief else 4),
        )
        self._tell_pane(
            "providers",
            (brief, heard, health.llm_providers),
            lambda: components("Language models", health.llm_providers, 3, brief=brief, heard=heard),
        )
        self._tell_pane(
            "channels",
            (brief, heard, health.channels, status.held),
            lambda: components(
                "Channels", health.channels, 2 if brief else 4, brief=brief, held=paused, heard=heard
            ),
        )
        self._tell_pane(
            "queues", (brief, sparks, *queue_facts(health)), lambda: queues(health, sparks, brief=brief)
        )
        if self._view is None or self._view.under_way:
            self._show_view()  # how long it has taken so far

    def _tell_pane(self, name: str, facts: tuple[Any, ...], build: Callable[[], list[Line]]) -> None:
        """Build and show a pane's lines when the facts they tell have changed."""
        if self._told.get(name) != facts:
            self._told[name] = facts
            self.query_one(f"#{name}", Lines).show(build())

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_view)

    def _sparks(self, health: SystemHealth) -> dict[str, str]:
        """Each queue's last minutes, as far as this screen has seen them."""
        if self.switchboard.low_bandwidth or self.has_class("-narrow"):
            return {}
        now = self.switchboard.clock.now().timestamp()
        step = now - self._sampled_at >= SAMPLE_SECONDS
        if step:
            self._sampled_at = now
        for queue in health.queues:
            # What stands still looks as if it had always been so, and is not drawn again.
            start = [float(queue.count)] * SAMPLES
            samples = self._samples.setdefault(spark_key(queue), deque(start, maxlen=SAMPLES))
            if step:
                samples.append(queue.count)
            samples[-1] = max(samples[-1], queue.count)
        return {
            key: sparkline(list(samples), SAMPLES) for key, samples in self._samples.items() if any(samples)
        }

    # Acting

    async def on_lines_opened(self, event: Lines.Opened) -> None:
        """Go where a line leads: a message, what is in a queue, conversations, or the remedy of a blocker."""
        match event.target:
            case ("act", str(action)):
                await self.perform(action)
            case ("message", int(message_id)):
                from console.jumping import open_message

                await open_message(self.switchboard, message_id)
            case ("inbox", str(words)):
                from console.jumping import open_inbox

                await open_inbox(self.switchboard, words)
            case ("queue", (str(status), outcome)):
                from console.jumping import open_queue

                await open_queue(self.switchboard, status, outcome)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_pause_ai(self) -> None:
        """The kill switch."""
        from console.screens.confirm import Confirm
        from engine.operator.pause import pause as stop
        from engine.operator.pause import resume

        pause = not self.switchboard.status.ai_paused
        if pause:
            question, detail = (
                "Stop the AI everywhere?",
                "Messages wait as received until it is let on again.",
            )
        else:
            question, detail = (
                "Let the AI answer again?",
                "It answers what has waited meanwhile, oldest first.",
            )
            if held := self.switchboard.status.held:
                detail += f" It stays paused {', '.join(held)}: that is switched by itself."
        if await self.app.push_screen_wait(Confirm(question, detail, yes="Stop it" if pause else "Let it")):
            feed, operator = self.switchboard.session.feed, self.switchboard.session.operator
            assert feed is not None
            assert operator is not None
            await self.do((stop if pause else resume)(feed.pool, operator))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_pause_channel(self) -> None:
        """The kill switch of one channel."""
        from console.screens.confirm import Confirm
        from console.screens.pause import ChannelSwitches, told
        from engine.operator.pause import pause, resume

        chosen = await self.app.push_screen_wait(ChannelSwitches(self.switchboard.status.health))
        if chosen is None:
            return
        name, paused = chosen
        if paused:
            question, detail, yes = (
                f"Let the AI answer on {name} again?",
                "It answers what has waited.",
                "Let it",
            )
        else:
            question, detail, yes = (
                f"Stop the AI on {name}?",
                "Messages wait there until it is let on.",
                "Stop it",
            )
        if await self.app.push_screen_wait(Confirm(question, detail, yes=yes)):
            feed, operator = self.switchboard.session.feed, self.switchboard.session.operator
            assert feed is not None
            assert operator is not None
            done = await self.do((resume if paused else pause)(feed.pool, operator, channel=name))
            if done is not None:
                self.say(told(done), title=name)

    def act_migrate(self) -> None:
        """Bring the schema up to date: in the Schema area, where there is one."""
        self.switchboard.migrate()
