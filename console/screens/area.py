"""The frame of every area: status bar, tabs, the area itself, its keys.

An area's screen says what it wants to know and how to show it:

    class JournalScreen(AreaScreen):
        AREA = "journal"
        BINDINGS = bindings("journal")
        CSS_PATH = "journal.tcss"

        def compose_area(self) -> ComposeResult: ...
        async def load(self, pool: Pool) -> JournalView: ...   # a frozen dataclass; every second, and on NOTIFY
        def show(self, view: JournalView) -> None: ...          # only when it differs from the last one
        def subject(self, kind: str) -> object | None: ...      # what actions act on
        async def act_export(self) -> None: ...                 # one method for each of its actions

`load` runs in the console's event loop and must only read, through `engine.observe`. It runs while the area
is on the screen, under a dialog too. Acts go through `self.do`, which shows refusals as toasts.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual import events, work
from textual._callback import invoke
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen

from console.actions import BY_ID, Action
from console.screens.guarded import Guarded
from console.widgets.area_tabs import AreaTabs
from console.widgets.footer import KeyBar
from console.widgets.status_bar import Status, StatusBar

if TYPE_CHECKING:
    from engine.observe.feed import Pool

Done = TypeVar("Done")
TROUBLE_SECONDS = 3.0
"""Longer than the status bar takes to look again."""


class AreaScreen(Guarded[None]):
    """One area."""

    AREA: ClassVar[str]
    """Its id in `areas.AREAS`, and the scope of its actions."""
    EVERY: ClassVar[float] = 1.0
    """Seconds between two looks at the database."""

    def __init__(self) -> None:
        super().__init__()
        self._bars = (StatusBar(), AreaTabs(self.AREA), KeyBar(self.AREA))

    def compose(self) -> ComposeResult:
        self._fit()
        status, tabs, keys = self._bars
        yield status
        yield tabs
        with Vertical(id="area"):
            yield from self.compose_area()
        yield keys

    def _fit(self) -> None:
        """Take the classes of the terminal's size before there are widgets: after, each would be styled twice."""
        breakpoints = (self.app.HORIZONTAL_BREAKPOINTS or [], self.app.VERTICAL_BREAKPOINTS or [])
        for cells, steps in zip(self.app.size, breakpoints, strict=True):
            self.set_classes([*self.classes, *[name for least, name in steps if cells >= least][-1:]])

    def compose_area(self) -> ComposeResult:
        """The widgets between tabs and keys."""
        raise NotImplementedError

    async def load(self, pool: Pool) -> Any:
        """What the area shows, read from the database."""
        return None

    def show(self, view: Any) -> None:
        """Show what `load` returned."""

    def subject(self, kind: str) -> Any:
        """What an action on a `kind` would act on, or None."""
        return None

    def back(self) -> bool:
        """Close what is open in the area; False when nothing is."""
        return False

    # Live

    @work(exclusive=True, exit_on_error=False, group="poll")
    async def poll(self) -> None:
        """Keep the area live until it is left."""
        feed = self.switchboard.session.feed
        if feed is None:
            return
        async for beat in feed.watch(self.load, every=self.switchboard.pace(self.EVERY)):
            if beat.trouble is None:
                self.show(beat.view)
            else:
                self.trouble(beat.trouble)

    def trouble(self, what: str) -> None:
        """The area cannot be read now; what it shows stays.

        The status bar tells of a lost database and of a schema that lacks something, as soon as it has looked
        itself; that is not said twice.
        """
        self.set_timer(TROUBLE_SECONDS, partial(self._tell_trouble, what))

    def _tell_trouble(self, what: str) -> None:
        status = self.switchboard.status
        lacking = status.health is not None and any(
            b.code.startswith("schema") for b in status.health.blockers
        )
        if self.switchboard.connected and status.trouble is None and not lacking:
            self.say(what, title="Not up to date", bad=True)

    def on_screen_resume(self) -> None:
        self.tell(self.switchboard.status)
        self.poll()

    def on_screen_suspend(self) -> None:
        if not self._behind_a_dialog:
            self.workers.cancel_group(self, "poll")

    @property
    def _behind_a_dialog(self) -> bool:
        """It still shows, and stays live: what is there when the dialog closes is current."""
        stack = self.app.screen_stack
        return self in stack[:-1] and all(isinstance(screen, ModalScreen) for screen in stack[1:])

    @property
    def composed(self) -> bool:
        """Its widgets are there: neither still to come nor gone already."""
        return self._bars[-1].is_attached

    def tell(self, status: Status) -> None:
        """Show how the installation does."""
        if not self.composed:
            return
        bar, tabs, _ = self._bars
        bar.tell(status)
        if status.health is not None:
            tabs.tell(status.health)

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.tell(self.switchboard.status))

    # Actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "act":
            return None if BY_ID[str(parameters[0])].why_not(self) else True
        return True

    async def action_act(self, action_id: str) -> None:
        await self.perform(action_id)

    async def perform(self, action_id: str) -> None:
        """Do what an action says, or say why not. For keys, footer, palette and help alike."""
        action = BY_ID[action_id]
        reason = action.why_not(self)
        if reason:
            self.say(reason, title=action.title, bad=True)
        elif action.run:
            await self.run_action(action.run if action.scope != "app" else f"app.{action.run}")
        else:
            await invoke(getattr(self.app if action.scope == "app" else self, f"act_{action.name}"))

    def on_key(self, event: events.Key) -> None:
        """A key that did nothing: when its action is greyed out, say why."""
        active = self.active_bindings.get(event.key)
        if active is not None and not active.enabled and active.binding.id in BY_ID:
            action = BY_ID[active.binding.id]
            self.say(action.why_not(self) or "", title=action.title, bad=True)
            event.stop()

    def keys_of(self, action: Action) -> list[str]:
        """The keys of an action by Textual's names, remapped or not."""
        return self.switchboard.session.preferences.keys.get(action.id, action.key).split(",")

    def key_of(self, action: Action) -> str:
        """The first key of an action as it is shown."""
        return self.switchboard.key_name(self.keys_of(action)[0])

    def title_of(self, action: Action) -> str:
        """What it is called now: faults of a demonstration with how many are on."""
        on = (
            sum(fault.on for fault in self.switchboard.demo.faults)
            if action.demo and self.switchboard.demo
            else 0
        )
        return f"{action.title}: {on} on" if on else action.title

    async def do(self, act: Awaitable[Done]) -> Done | None:
        """Await an act; a refusal becomes a toast and None. Whatever is on the screen is read again."""
        try:
            return await act
        except Exception as error:
            what, remedy = getattr(error, "what", None), getattr(error, "remedy", None)
            if what is None or remedy is None:
                raise
            self.say(f"{what} {remedy}", title="Not done", bad=True)
            return None
        finally:
            if self.switchboard.session.feed is not None:
                self.switchboard.session.feed.wake()
