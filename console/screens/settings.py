"""Settings: what a person may change while everything runs, who changed it when, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from console.actions import bindings
from console.screens.settings_acts import SettingsActs
from console.screens.settings_details import detail_lines
from console.screens.settings_rows import SettingsView, index_lines
from console.screens.settings_versions import SettingsVersions
from console.screens.settings_what_if import SettingsWhatIf
from console.screens.settings_words import ROUTING
from console.widgets.index import Index
from console.widgets.lines import Lines
from console.widgets.status_bar import Status
from console.words import MUTED

if TYPE_CHECKING:
    from engine.model import ComponentHealth
    from engine.observe.feed import Pool

CHANGES = 30


class SettingsScreen(SettingsActs, SettingsVersions, SettingsWhatIf):
    """The Settings area."""

    AREA = "settings"
    EVERY = 2.0
    CSS_PATH = "settings.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("settings")

    def compose_area(self) -> ComposeResult:
        with Horizontal(id="both"):
            with VerticalScroll(id="left", can_focus=False):
                yield Index(id="index")
            with VerticalScroll(id="right", can_focus=False):
                yield Index(id="detail")

    def on_mount(self) -> None:
        self.index.show([Content.styled("Reading the settings …", MUTED)])

    @property
    def index(self) -> Index:
        return self.query_one("#index", Index)

    @property
    def detail(self) -> Index:
        return self.query_one("#detail", Index)

    async def load(self, pool: Pool) -> SettingsView:
        from engine.observe import records, setup
        from engine.operator.audit import BadInput
        from engine.operator.configuration import get_settings
        from engine.operator.in_words import routing_words
        from engine.operator.tenants import list_tenants

        about = self.chosen or ("setting", "record_context_prompt")
        settings = await get_settings(pool)
        try:
            routing = tuple(routing_words(settings[ROUTING].value))
        except BadInput:
            routing = ()
        kind, key = about
        changes: tuple[records.Act, ...] = ()
        versions: tuple[setup.VersionRow, ...] = ()
        if kind in ("setting", "tenant"):
            changes = await records.acts(pool, subject=f"{kind}:{key}", limit=CHANGES)
        elif kind == "agent":
            versions = await setup.versions(pool, int(key))
            changes = await records.acts(pool, subject=f"agent:{key}", limit=CHANGES)
        tenants = tuple(await list_tenants(pool))
        upkeep = await self.load_upkeep(pool, key if kind == "upkeep" else None)
        return SettingsView(
            settings, tenants, await setup.read_setup(pool), routing, about, changes, versions, upkeep
        )

    def show(self, view: SettingsView) -> None:
        first = self.view is None
        self.view = view
        self._draw()
        if first:
            self.index.focus()

    def _draw(self) -> None:
        if self.view is None:
            return
        self.index.show(
            index_lines(self.view, self._channels(), self.index.size.width, self.switchboard.clock)
        )
        self._draw_detail()

    def _draw_detail(self) -> None:
        if self.view is None:
            return
        width = self.query_one("#right").size.width - 3
        self.detail.show(
            detail_lines(self.about_chosen, self._channels(), self.chosen, self.switchboard.clock, width)
        )
        self.refresh_bindings()

    def _channels(self) -> list[ComponentHealth]:
        health = self.switchboard.status.health
        return health.channels if health else []

    def tell(self, status: Status) -> None:
        super().tell(status)
        if self.is_mounted:
            self.call_after_refresh(self._draw)

    # Choosing

    def on_index_chosen(self, event: Index.Chosen) -> None:
        if event.index is self.detail:
            self.refresh_bindings()
        elif event.target != self.chosen:
            self.chosen = event.target
            self.query_one("#right").scroll_home(animate=False)
            self._draw_detail()
            self._read_now()

    @work(exclusive=True, exit_on_error=False, group="read")
    async def _read_now(self) -> None:
        """What is chosen now, without waiting for the next look."""
        feed = self.switchboard.session.feed
        if feed is not None and not feed.paused:
            self.show(await self.load(feed.pool))

    async def on_lines_opened(self, event: Lines.Opened) -> None:
        match event.target:
            case ("agent", _) | ("upkeep", "retention" | "alerts"):
                self.detail.focus()
            case ("kept" | "rule", _):
                await self.perform("settings.edit")
            case ("setting" | "tenant" | "canned", _):
                await self.perform("settings.edit")
            case ("change", _):
                await self.perform("settings.roll_back")
            case ("version", int(number)):
                self.read_version(number)

    def back(self) -> bool:
        if self.detail.has_focus:
            self.index.focus()
            return True
        return False

    def subject(self, kind: str) -> Any:
        match kind, self.chosen:
            case "editable", ("setting" | "agent" | "tenant" | "canned", _):
                return self.chosen
            case "agent", ("agent", agent_id):
                return agent_id
            case "switchable", ("agent" | "tenant", _):
                return self.chosen
            case "routing" | "testable", ("setting", "llm_routing_config"):
                return self.chosen
            case "canned reply", ("canned", key):
                return key
            case "version" | "former", ("agent", _):
                return self.version_under_cursor
            case "former", ("setting", _):
                return self.former_change
        return self.upkeep_subject(kind)
