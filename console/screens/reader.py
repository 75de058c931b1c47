"""A long text over the whole area: to read, scroll and copy."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content

from console.screens.guarded import Dialog
from console.widgets.lines import fit
from console.widgets.quiet import Quiet
from console.words import MUTED, STRONG

HELP = "↑ ↓ scroll · y copy · esc close"


class Reader(Dialog[bool]):
    """Shows `body`, wrapped. The answer is whether its own act, if it has one, was asked for."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "Close"),
        Binding("y", "copy", "Copy"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        Binding("ctrl+d,pagedown,space", "page(1)", "Page down", show=False),
        Binding("ctrl+u,pageup", "page(-1)", "Page up", show=False),
        Binding("g,home", "end(False)", "Top", show=False),
        Binding("G,end", "end(True)", "Bottom", show=False),
    ]

    def __init__(self, title: Content | str, body: Content | None = None, *, note: str = HELP) -> None:
        super().__init__()
        self._title = title if isinstance(title, Content) else Content.styled(title, STRONG)
        self._body = body or Content("")
        self._note = note

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog sheet"):
            yield Quiet(self._title, id="title")
            with VerticalScroll(id="page", can_focus=False):
                yield Quiet(self._body, id="body")
            yield Quiet(Content.styled(self._note, MUTED), id="note")

    def fill(self, body: Content) -> None:
        """Show another text."""
        self._body = body
        self.query_one("#body", Quiet).show(body)

    @property
    def _page(self) -> VerticalScroll:
        return self.query_one("#page", VerticalScroll)

    def action_scroll(self, lines: int) -> None:
        self._page.scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        self._page.scroll_relative(y=pages * max(1, self._page.size.height - 1), animate=False)

    def action_end(self, bottom: bool) -> None:
        if bottom:
            self._page.scroll_end(animate=False)
        else:
            self._page.scroll_home(animate=False)

    async def action_copy(self) -> None:
        from console.clipboard import copy

        try:
            self.say(await copy(self.app, self._body.plain))
        except ValueError as error:
            self.say(str(error), title="Not copied", bad=True)

    def action_close(self) -> None:
        self.dismiss(False)


def entries(*pairs: tuple[str, Content | str], width: int = 12) -> Content:
    """Name and value, a line each."""
    return Content("\n").join(
        Content.assemble(fit(Content.styled(name, MUTED), width), value) for name, value in pairs
    )
