"""The areas: one line each, one screen each.

To add an area: write `screens/<id>.py` with a subclass of `screens.area.AreaScreen` (and `<id>.tcss` beside
it), add its line to `AREAS` and its actions to `actions.ACTIONS`. Its key, tab, palette entries, help and
`:`-jump follow from that. The screen's module is imported when the area is first opened, or
before, when nobody waits (`app.warm_up`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from console.screens.area import AreaScreen
    from engine.observe.health import SystemHealth

Badge = Callable[["SystemHealth"], int]


@dataclass(frozen=True, slots=True)
class Area:
    """One area of the console."""

    id: str
    key: str
    title: str
    screen: str
    """`module:Class` of its screen."""
    tooltip: str
    badge: Badge | None = None
    """How many things in it want a person; shown on its tab unless 0."""
    brief: str = ""
    """A shorter word for its title, where the tabs have little room."""

    def load(self) -> type[AreaScreen]:
        """Import its screen."""
        module, _, name = self.screen.partition(":")
        return cast("type[AreaScreen]", getattr(import_module(module), name))

    def open(self) -> AreaScreen:
        """Its screen, new."""
        return self.load()()


def _queued(health: SystemHealth, *wanted: tuple[str, str | None]) -> int:
    """Rows in these (status, outcome) queues."""
    return sum(queue.count for queue in health.queues if (queue.status, queue.outcome) in wanted)


AREAS: tuple[Area, ...] = (
    Area(
        "overview",
        "1",
        "Overview",
        "console.screens.overview:OverviewScreen",
        "Whether messages are answered, and what is on its way.",
        lambda health: len(health.blockers),
    ),
    Area(
        "inbox",
        "2",
        "Inbox",
        "console.screens.inbox:InboxScreen",
        "Conversations: who waits for a person, what was said, and a composer to answer in.",
        lambda health: _queued(health, ("inbound_human_takeover", None)),
    ),
    Area(
        "messages",
        "3",
        "Messages",
        "console.screens.messages:MessagesScreen",
        "Every message, live, with its trip, trace and cost.",
        lambda health: _queued(health, ("inbound_error", None)),
        brief="Msgs",
    ),
    Area(
        "outbound",
        "4",
        "Outbound",
        "console.screens.outbound:OutboundScreen",
        "What is on its way to customers, what failed, and what nobody knows the outcome of.",
        lambda health: _queued(health, ("failed", "unknown")),
        brief="Out",
    ),
    Area(
        "usage",
        "5",
        "Usage",
        "console.screens.usage:UsageScreen",
        "Tokens and cost by day, hour, model, provider, agent, tenant and task; budgets; what providers have left.",
    ),
    Area(
        "schema",
        "6",
        "Schema",
        "console.screens.schema:SchemaScreen",
        "Whether the database is what this program needs, and the migration that makes it so.",
        lambda health: len(health.schema_compatibility.blockers) if health.schema_compatibility else 0,
    ),
    Area(
        "settings",
        "7",
        "Settings",
        "console.screens.settings:SettingsScreen",
        "Platform settings, routing, agents with their prompts, canned replies, channels.",
    ),
    Area(
        "journal",
        "8",
        "Journal",
        "console.screens.journal:JournalScreen",
        "The engine's log, what people did, failed LLM calls and schema runs.",
        brief="Log",
    ),
)


def area(name: str) -> Area | None:
    """The area of this id, title (in short, too) or key, as somebody types it."""
    wanted = name.strip().casefold()
    return next(
        (a for a in AREAS if wanted in (a.id, a.title.casefold(), a.key, a.brief.casefold() or a.id)), None
    )
