"""Set-up: a language model and a channel, each tried before it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.screens.setup_form import SetupForm
from console.widgets.lines import Line, Lines, fit
from console.widgets.quiet import Quiet
from console.words import GOOD, KEY, MUTED, STRONG

if TYPE_CHECKING:
    from console.session import Session
    from engine.operator.setup import PartState

WELCOME = (
    "Switchboard needs a language model that answers, and a channel that customers write through. Each is tried "
    "before it is kept. To look around without either: switchboard demo"
)
LATER = "Connect another channel, or give one of these a new key."


async def is_fresh(session: Session) -> bool:
    """Whether nothing has been set up yet, and nobody has ever written."""
    from engine.observe.setup import has_messages
    from engine.operator.setup import nothing_is_set_up

    if session.settings is None or session.feed is None or not nothing_is_set_up(session.settings):
        return False
    return not await has_messages(session.feed.pool)


class SetupMenu(Dialog[None]):
    """What can be set up, and what is."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Close")]

    def __init__(self, *, first: bool = False) -> None:
        super().__init__()
        self._first = first

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide setup"):
            yield Quiet(Content.styled("Welcome" if self._first else "Set up", STRONG))
            yield Quiet(Content(WELCOME if self._first else LATER), id="about", classes="detail")
            yield Lines(id="parts")
            yield Quiet(
                Content.assemble(
                    ("enter", KEY),
                    (" sets it up  ", MUTED),
                    ("esc", KEY),
                    (" later (Settings, key s)" if self._first else " closes", MUTED),
                )
            )

    def on_mount(self) -> None:
        self._tell()
        for lines in self.query(Lines):
            lines.focus()

    def _tell(self) -> None:
        from engine.operator.setup import states

        settings = self.switchboard.session.settings
        if settings is not None and self.is_current:  # a quick Esc may have closed it already
            self.query_one(Lines).show(_line(state) for state in states(settings))

    @work(exclusive=True, exit_on_error=False, group="form")
    async def on_lines_opened(self, event: Lines.Opened) -> None:
        done = await self.app.push_screen_wait(SetupForm(event.target))
        self._tell()
        if done is not None:
            self.query_one("#about", Quiet).show(Content.assemble(("✓ ", GOOD), done))


def _line(state: PartState) -> Line:
    part = state.part
    if state.by:
        how = f"set by {state.by}"
    elif state.accounts:
        how = ", ".join(state.accounts)
    else:
        how = "set" if state.ready else part.about
    return Line(
        Content.assemble(
            ("✓ " if state.ready else "○ ", GOOD if state.ready else MUTED),
            fit(Content(part.title), 16),
            cell(how, MUTED, 200),
        ),
        part,
    )
