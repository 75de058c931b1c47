"""One message: its trip, its trace as a tree and as JSON, the prompt the model was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from console.clock import Clock
from console.sanitise import cell, foreign
from console.widgets import detail_text
from console.widgets.lines import Line, Lines, heading
from console.widgets.page import Page
from console.widgets.quiet import Quiet
from console.widgets.trace_tree import TraceTree
from console.widgets.waterfall import Waterfall
from console.words import MUTED, span

if TYPE_CHECKING:
    from engine.observe.explain import Explanation
    from engine.observe.timeline import Timeline
    from engine.observe.views import MessageDetail

VIEWS = ("trip", "trace", "json", "prompt")
NO_PROMPT = (
    "The prompt of this turn was not recorded.\n"
    "It is kept from then on when the platform setting record_context_prompt is on (Settings)."
)


@dataclass(frozen=True)
class Told:
    """All that is shown of one message."""

    detail: MessageDetail
    explained: Explanation

    @property
    def why(self) -> str | None:
        """Why it has no reply, and what to do; None when the AI replied and the reply was sent."""
        sent = self.detail.outbound is not None and self.detail.outbound.status in ("sent", "accepted")
        if self.detail.message.direction != "inbound" or sent:
            return None
        return f"{self.explained.why} {self.explained.remedy or ''}".rstrip()


class DetailPane(Widget):
    """The views of a message, one at a time."""

    HELP = """\
# A message
`[` and `]` change the view: trip, trace, JSON, prompt. `y` copies what is shown, `e` writes it all to a file.
`tab` leads to the text, which then scrolls.
"""
    DEFAULT_CSS = """
    DetailPane { layout: vertical; }
    DetailPane #views { height: 1; padding: 0 1; }
    DetailPane ContentSwitcher { height: 1fr; }
    DetailPane Page { padding: 0 1; scrollbar-size-vertical: 1; }
    DetailPane Quiet, DetailPane Lines { margin-bottom: 1; }
    DetailPane #views, DetailPane #trip-title { margin-bottom: 0; }
    """

    view = var("trip")

    def __init__(self, clock: Clock, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self.told: Told | None = None
        self._entering = False
        """The keys are wanted, but nothing is made yet that could take them."""

    def compose(self) -> ComposeResult:
        yield Lines(id="views")
        with ContentSwitcher(initial=self.view):
            with Page(id="trip"):
                yield Quiet(id="header")
                yield Quiet(id="said")
                yield Quiet(id="why")
                yield Lines(id="trip-title")
                yield Waterfall(id="waterfall")
                yield Quiet(id="because")
                for name in ("calls", "rules", "figures", "history"):
                    yield Lines(id=name)
            yield TraceTree(id="trace")
            with Page(id="json"):
                yield Quiet(id="raw")
            with Page(id="prompt"):
                yield Quiet(id="text")

    def on_mount(self) -> None:
        self.tell(self.told)
        if self._entering:
            self.enter()

    def watch_view(self, view: str) -> None:
        if not self.is_mounted:
            return
        entered = any(shown.has_focus for shown in self._views)
        self.query_one(ContentSwitcher).current = view
        self._tell_views()
        self._fill()
        if entered:
            self.enter()

    def enter(self) -> None:
        """Have the keys scroll what is shown, at once or when it is made."""
        shown = self.query(f"#{self.view}")  # none yet, or none any more: the console may be closing
        self._entering = not shown
        if shown:
            shown.first().focus()

    @property
    def _views(self) -> list[Widget]:
        """What takes the keys, of all views."""
        return [*self.query(Page), self.query_one(TraceTree)]

    def _tell_views(self) -> None:
        tabs = [Content.styled(f" {name} ", ".tab--chosen" if name == self.view else MUTED) for name in VIEWS]
        self.query_one("#views", Lines).show([Line(Content.assemble(*tabs, ("  [ ] change", MUTED)))])

    def turn_view(self, step: int) -> None:
        """The next view, or the one before."""
        self.view = VIEWS[(VIEWS.index(self.view) + step) % len(VIEWS)]

    def tell(self, told: Told | None) -> None:
        """Show a message; another one is shown from its top."""
        before, self.told = self.told, told
        if told is None or not self.children:
            return
        self._tell_views()
        self._fill()
        if before is None or before.detail.chosen != told.detail.chosen:
            for shown in self._views:
                shown.scroll_home(animate=False)

    def _fill(self) -> None:
        """Only the view that is seen."""
        if self.told is None:
            return
        detail = self.told.detail
        match self.view:
            case "trip":
                self._fill_trip(self.told)
            case "trace":
                self.query_one(TraceTree).tell(detail_text.records(detail))
            case "json":
                self.query_one("#raw", Quiet).show(foreign(detail_text.raw_json(detail)))
            case "prompt":
                text = detail_text.prompt(detail)
                shown = foreign(text) if text else Content.styled(NO_PROMPT, MUTED)
                self.query_one("#text", Quiet).show(shown)

    def _fill_trip(self, told: Told) -> None:
        detail, clock = told.detail, self._clock
        self.query_one("#header", Quiet).show(detail_text.header(detail, clock))
        self.query_one("#said", Quiet).show(detail_text.said(detail))
        why = self.query_one("#why", Quiet)
        why.display = told.why is not None
        if told.why is not None:
            why.show(Content.assemble(("Why no reply? ", ".warn"), cell(told.why, limit=900)))
        self.query_one("#trip-title", Lines).show(_trip_title(told.explained.timeline))
        self.query_one(Waterfall).tell(told.explained.timeline)
        self.query_one("#because", Quiet).show(because(told.explained))
        for name, lines in (
            ("calls", detail_text.calls(detail)),
            ("rules", detail_text.rules(detail)),
            ("figures", detail_text.figures(detail, clock)),
            ("history", detail_text.history(detail, clock)),
        ):
            pane = self.query_one(f"#{name}", Lines)
            pane.display = bool(lines)
            pane.show(lines)

    def plain(self) -> str:
        """What is shown, as text for the clipboard."""
        if self.told is None or not self.children:
            return ""
        detail = self.told.detail
        match self.view:
            case "json":
                return foreign(detail_text.raw_json(detail)).plain
            case "prompt":
                return foreign(detail_text.prompt(detail) or "").plain
            case "trace":
                import json

                return foreign(
                    json.dumps(detail_text.records(detail), indent=2, ensure_ascii=False, default=str)
                ).plain
        parts = [
            detail_text.header(detail, self._clock),
            detail_text.said(detail),
            because(self.told.explained),
        ]
        lines = [line.content for pane in self.query_one("#trip").query(Lines) for line in pane.lines]
        return "\n".join(content.plain.rstrip() for content in [*parts, *lines])


def because(explained: Explanation) -> Content:
    """Why this route, so slow, so dear: a paragraph each."""
    told = (
        ("Why this route? ", explained.route),
        ("Why so slow? ", explained.slow),
        ("Why so dear? ", explained.dear),
    )
    lines = [Content.assemble((ask, "bold"), cell(answer.sentence, limit=900)) for ask, answer in told]
    return Content("\n").join(lines)


def _trip_title(timeline: Timeline) -> list[Line]:
    return [
        heading("Where the time went", f"{span(timeline.total_ms)}{'' if timeline.ended else ', going on'}")
    ]
