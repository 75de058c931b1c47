"""SwitchboardApp: areas as modes, one session behind them, and a way out that loses nothing."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.keys import format_key
from textual.reactive import var
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from console.actions import BY_ID, bindings
from console.areas import AREAS, area
from console.clock import Clock
from console.leaving import Exit
from console.memory import give_back, share_one_heap
from console.sanitise import cell
from console.session import Session
from console.themes import THEMES, starting_theme
from console.widgets.status_bar import Status

if TYPE_CHECKING:
    from console.screens.faults import Demonstration
    from engine.observe.feed import Pool
    from engine.observe.health import SystemHealth
    from engine.observe.reading import OpenIncident
    from engine.settings import Settings

AGAIN_SECONDS = 3.0
"""Between two tries to open what could not be opened."""
WARM_UP_SECONDS = 1.0
"""After the first view: by then it has been drawn."""
PULSE_SECONDS = 2.0
"""How often the status bar looks."""


class SwitchboardApp(App[int], inherit_bindings=False):
    """The console."""

    TITLE = "Switchboard"
    CSS_PATH = "app.tcss"
    MODES = {a.id: a.open for a in AREAS}  # noqa: RUF012 - Textual's way
    DEFAULT_MODE = AREAS[0].id
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-broad")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-tall")]  # noqa: RUF012
    SUSPENDED_SCREEN_CLASS = ""
    COMMANDS: ClassVar[set[Any]] = {*App.COMMANDS, lambda: _palette()}

    status: var[Status] = var(Status(), init=False)

    def __init__(
        self,
        session: Session,
        *,
        clock: Clock | None = None,
        low_bandwidth: bool = False,
        demo: Demonstration | None = None,
    ) -> None:
        theme, ansi = starting_theme(low_bandwidth)
        super().__init__(ansi_color=ansi)
        for own in THEMES:
            self.register_theme(own)
        self.theme = theme
        self.session = session
        self.clock = clock or Clock()
        self.low_bandwidth = low_bandwidth
        self.demo = demo
        self._incidents: dict[int, OpenIncident] | None = None
        self.animation_level = "none"

    # What the areas ask

    @property
    def read_only(self) -> bool:
        return self.session.read_only

    @property
    def connected(self) -> bool:
        return self.session.feed is not None

    def pace(self, seconds: float) -> float:
        """An interval, doubled where bytes are dear."""
        return seconds * 2 if self.low_bandwidth else seconds

    def key_name(self, key: str) -> str:
        """A key as people write it."""
        return format_key(key)

    def subject(self, kind: str) -> Any:
        """The app itself has nothing to act on; its areas do."""
        return None

    # Opening and staying up to date

    def on_mount(self) -> None:
        self.set_interval(2, self._tick, name="clock")
        self.call_after_refresh(self.open_session)

    @work(exclusive=True, exit_on_error=False, group="session")
    async def open_session(self) -> None:
        """Reach the database and start the engine, after the first paint; again and again until it works."""
        share_one_heap()
        if not gc.isenabled():  # as `open_console` left it
            gc.freeze()
            gc.enable()
        while True:
            await self.session.open(self._phase_changed)
            if self.session.feed is not None:
                break
            await asyncio.sleep(AGAIN_SECONDS)
        self._prefer()
        self.pulse()
        for screen in self.screen_stack:
            screen.post_message(events.ScreenResume())
        self.first_set_up()
        self.set_timer(WARM_UP_SECONDS, self.warm_up)

    @work(exclusive=True, exit_on_error=False, group="warm up")
    async def warm_up(self) -> None:
        """Load what the areas that are opened most are made of, so that their first opening takes no longer."""
        for often in (a for a in AREAS if a.id in ("inbox", "messages")):
            screen = await asyncio.to_thread(often.load)
            self.stylesheet.read(Path(inspect.getfile(screen)).with_suffix(".tcss"))
        self.stylesheet.reparse()
        give_back()

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def first_set_up(self) -> None:
        """A fresh installation is asked for a language model and a channel."""
        session = self.session
        if not session.with_engine or session.read_only or self.demo is not None:
            return
        from console.screens.setup import SetupMenu, is_fresh

        if await is_fresh(session):
            await self.push_screen_wait(SetupMenu(first=True))

    def _phase_changed(self) -> None:
        session = self.session
        self._status(phase=session.phase, place=session.place, failure=session.failure)

    def _prefer(self) -> None:
        """Take over theme and keys of switchboard.toml."""
        preferences = self.session.preferences
        if preferences.theme in self.available_themes and not self.no_color and not self.low_bandwidth:
            self.theme = preferences.theme
        if preferences.theme not in (None, *self.available_themes):
            known = ", ".join(self.available_themes)
            self.notify(
                f"[console] names no theme there is: {preferences.theme}. Known: {known}", markup=False
            )
        if preferences.unknown:
            self.notify(f"[console] has unknown keys: {', '.join(preferences.unknown)}", markup=False)
        unknown = sorted(set(preferences.keys) - set(BY_ID))
        if unknown:
            self.notify(f"[console.keys] names unknown actions: {', '.join(unknown)}", markup=False)
        if preferences.keys:
            self.set_keymap(preferences.keys)

    @work(exclusive=True, exit_on_error=False, group="pulse")
    async def pulse(self) -> None:
        """Keep the status bar and the tabs up to date, in every area."""
        feed = self.session.feed
        assert feed is not None
        async for beat in feed.watch(_health, every=self.pace(PULSE_SECONDS)):
            if beat.view is None:
                self._status(trouble=beat.trouble)
                continue
            self.clock.sync(beat.view.checked_at)
            self._ring(beat.view)
            self._status(health=beat.view, trouble=None)

    def _ring(self, health: SystemHealth) -> None:
        """Bell and toast for an incident that has begun since this console looks, and a toast when it is over."""
        if health.schema_compatibility is None:
            return  # the database is away, and with it what it knows of incidents
        now = {incident.id: incident for incident in health.incidents}
        before, self._incidents = self._incidents, now
        if before is None:
            return
        begun = [now[number] for number in now.keys() - before.keys()]
        for incident in sorted(begun, key=lambda one: one.id):
            self.notify(cell(incident.what, limit=300).plain, title="Alert", severity="warning", markup=False)
        for number in sorted(before.keys() - now.keys()):
            self.notify(cell(before[number].what, limit=300).plain, title="Over", markup=False)
        if begun:
            self.bell()

    def _status(self, **changes: Any) -> None:
        health: SystemHealth | None = changes.get("health", self.status.health)
        self.status = replace(
            self.status,
            **changes,
            ai_paused=health is not None and any(w.code == "ai.paused" for w in health.warnings),
            held=_held(health),
            read_only=self.read_only,
            minute=self.clock.minute(),
        )

    def watch_status(self, status: Status) -> None:
        for screen in self.screen_stack:  # an area shows through the dialogs over it
            tell = getattr(screen, "tell", None)
            if tell is not None:
                with suppress(NoMatches):  # a screen that is being left
                    tell(status)

    def _tick(self) -> None:
        if self.clock.minute() != self.status.minute:
            self._status()

    def on_resize(self, event: events.Resize) -> None:
        from console.screens import too_small

        fits = event.size.width >= too_small.WIDTH and event.size.height >= too_small.HEIGHT
        covered = isinstance(self.screen, too_small.TooSmall)
        if fits and covered:
            self.pop_screen()
        elif not fits and not covered:
            self.push_screen(too_small.TooSmall())

    def on_delivery_complete(self, event: events.DeliveryComplete) -> None:
        where = f"Written to {event.path}." if event.path else "The browser has it."
        self.notify(cell(where, limit=500).plain, title="Export", markup=False)

    def on_delivery_failed(self, event: events.DeliveryFailed) -> None:
        from console.screens.guarded import not_written

        what = not_written(event.exception, event.name or "The file")
        self.notify(cell(what, limit=500).plain, title="Not exported", severity="error", markup=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            from console.screens.guarded import failed

            failed(self, event.worker)
            if event.worker.group == "pulse":
                self.set_timer(PULSE_SECONDS, self.pulse)

    def _fatal_error(self) -> None:
        """In place of Textual's traceback, which shows variables, and with them customers' words and keys."""
        from rich.segment import Segment, Segments

        from console.crash import crash_note

        if self._exception is not None and not self._exit_renderables:
            note = crash_note(self._exception, self.session)
            self._exit_renderables.append(Segments([Segment(note)]))
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        """The first error, its lines as long as they are: a path in it can be copied."""
        for first in self._exit_renderables[:1]:
            self.error_console.print(first, soft_wrap=True)
        self._exit_renderables.clear()

    def _load_screen_css(self, screen: Screen[Any]) -> None:
        """A new screen is styled as it is mounted: without this, Textual styles all the others twice for it."""
        super()._load_screen_css(screen)
        screen._css_update_count = self._css_update_count

    # Acts of the app itself

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "act":
            return None if BY_ID[str(parameters[0])].why_not(self) else True
        return True

    async def action_act(self, action_id: str) -> None:
        """Run `act_<name>` of an action of the app's scope."""
        from textual._callback import invoke

        await invoke(getattr(self, f"act_{BY_ID[action_id].name}"))

    def action_area(self, name: str) -> None:
        """Go to an area."""
        if name in self.MODES:
            self.switch_mode(name)

    def act_help(self) -> None:
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    def act_pause_updates(self) -> None:
        feed = self.session.feed
        if feed is not None:
            feed.pause(not feed.paused)
            self._status(paused=feed.paused)

    def act_jump(self) -> None:
        """At once, so that what is typed after the key goes nowhere else."""
        from console.screens.jump import Jump

        def go(wanted: str | None) -> None:
            if wanted:
                self.jump(wanted)

        self.push_screen(Jump(), go)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def jump(self, wanted: str) -> None:
        """Go where somebody typed to."""
        found = area(wanted)
        if found is not None:
            self.switch_mode(found.id)
            return
        from console.jumping import go

        await go(self, wanted)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def migrate(self) -> None:
        """Bring the schema up to date, in the Schema area where there is one."""
        if "schema" in self.MODES:
            await self.switch_mode("schema")
            getattr(self.screen, "act_migrate")()  # noqa: B009 - of that area
            return
        from console.screens.migrate import Migrate

        await self.push_screen_wait(Migrate())
        if self.session.feed is not None:
            self.session.feed.wake()

    def act_faults(self) -> None:
        """Switch faults of the demonstration on and off."""
        from console.screens.faults import FaultSwitches

        if self.demo is not None:
            self.push_screen(FaultSwitches(self.demo), lambda _: self.screen.refresh_bindings())

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_quit(self) -> None:
        back = getattr(self.screen, "back", None)
        if back is not None and back():
            return
        if self.session.engine is not None or self.demo is not None:
            from console.screens.confirm import Confirm

            detail = "The engine in this console stops with it; messages wait until one runs again."
            if self.demo is not None:
                detail = "The demonstration ends, and its database is thrown away."
            if not await self.push_screen_wait(Confirm("Leave Switchboard?", detail, yes="Leave", no="Stay")):
                return
        self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Of Textual's own palette entries those that our actions do not cover."""
        wanted = {"Theme", "Screenshot", "Maximize", "Minimize"}
        return (command for command in super().get_system_commands(screen) if command.title in wanted)

    async def action_quit(self) -> None:
        """Textual's own quit, from its palette."""
        self.act_quit()

    async def on_unmount(self) -> None:
        await self.session.close_feed()


def _held(health: SystemHealth | None) -> tuple[str, ...]:
    """Where the AI is paused, short of everywhere: `on telegram`, `in 2 conversations`."""
    warnings = health.warnings if health is not None else []
    told = [w.what for w in warnings if w.code in ("channel.paused", "thread.paused")]
    return tuple(what.removeprefix("The AI is paused ").partition(":")[0] for what in told)


async def _health(pool: Pool) -> SystemHealth:
    from engine.observe.health import system_health

    return await system_health(pool)


def _palette() -> Any:
    from console.palette import ActionCommands

    return ActionCommands


def run_console(
    settings: Settings | Callable[[], Settings],
    *,
    with_engine: bool,
    read_only: bool,
    low_bandwidth: bool = False,
    survive_hangup: bool = False,
    demo: Demonstration | None = None,
) -> int:
    """Run the console until the person leaves it; returns the exit code.

    `settings` may be a function that loads them: it is then called after the first paint, in a thread.
    With `survive_hangup` an embedded engine outlives a lost terminal, until it gets a signal to end.
    """
    load = settings if callable(settings) else lambda: settings
    session = Session(load, with_engine=with_engine, read_only=read_only)
    app = SwitchboardApp(session, low_bandwidth=low_bandwidth, demo=demo)
    with Exit(app, session, survive_hangup=survive_hangup) as leaving:
        code = app.run()
    return leaving.code if leaving.code is not None else code or app.return_code or 0
