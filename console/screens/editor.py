"""A text over the whole area, to be edited: checked while it is typed, kept with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Label, TextArea

from console.sanitise import cell
from console.screens.ask import refusal
from console.screens.guarded import Dialog
from console.widgets.composer import Composer, typeable
from console.widgets.quiet import Quiet
from console.words import GOOD, KEY, MUTED, STRONG

PAUSE_SECONDS = 0.3
"""A text is checked this long after the last key."""
Check = Callable[[str], list[str]]
"""What a text means, a line each; runs in a thread. Raises ValueError or a SwitchboardError."""


@dataclass(frozen=True)
class Edited:
    """What somebody wants kept."""

    text: str
    note: str | None
    tried: bool = False
    """It is to be tried first, and then edited on."""


class Editor(Dialog[Edited | None]):
    """`edited = await app.push_screen_wait(Editor("Routing", text, check))`; None: closed."""

    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Of a subclass: key and word, for the line at the bottom."""
    CSS_PATH: ClassVar[list[str]] = ["dialog.tcss", "editor.tcss"]  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Keep", priority=True),
        Binding("escape", "leave", "Close", show=False),
    ]

    def __init__(
        self,
        title: str,
        text: str,
        check: Check,
        *,
        code: bool = False,
        why: str = "",
        before: str | None = None,
    ) -> None:
        """`code` shows line numbers. `why` asks for a note, with this as its placeholder. `before` is what is
        kept already, where that is not `text`."""
        super().__init__()
        self._title, self._check, self._code, self._why = title, check, code, why
        self._text = typeable(text)
        self._before = self._text if before is None else typeable(before)
        self._warned = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog sheet editor"):
            yield Quiet(cell(self._title, STRONG), id="title")
            yield Composer(id="text")
            yield Quiet(id="verdict")
            if self._why:
                with Horizontal(id="why"):
                    yield Label(Content.styled("Why ", MUTED), markup=False)
                    yield Input(placeholder=self._why, compact=True, max_length=300, id="reason")
            yield Quiet(self._keys(), id="note")

    def _keys(self) -> Content:
        keys = (("ctrl+s", " keeps it  "), *self.MORE_KEYS, ("tab", " next field  "), ("esc", " closes"))
        return Content("").join(Content.assemble((key, KEY), (word, MUTED)) for key, word in keys)

    def on_mount(self) -> None:
        area = self.query_one(Composer)
        area.show_line_numbers = self._code
        area.load_text(self._text)
        area.focus()
        for entry in self.query(Input):
            entry.cursor_blink = False
        self.judge(at_once=True)

    @property
    def text(self) -> str:
        return self.query_one(Composer).text

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        self._warned = False
        self.judge()

    @work(exclusive=True, exit_on_error=False, group="judge")
    async def judge(self, at_once: bool = False) -> None:
        """Say what the text means, or why it cannot be used."""
        if not at_once:
            await asyncio.sleep(PAUSE_SECONDS)
        self._show(await self._verdict())

    async def _verdict(self) -> tuple[bool, Content]:
        try:
            meaning = await asyncio.to_thread(self._check, self.text)
        except Exception as error:
            return False, refusal(error)
        lines = [cell(line, limit=400) for line in meaning]
        return True, Content("\n").join(
            [Content.assemble(("✓ ", GOOD), lines[0]), *lines[1:]] if lines else []
        )

    def _show(self, verdict: tuple[bool, Content]) -> None:
        self.query_one("#verdict", Quiet).show(verdict[1])

    @work(exclusive=True, exit_on_error=False, group="judge")
    async def action_save(self) -> None:
        """Take the text, when it can be used."""
        await self._take()

    async def _take(self, *, tried: bool = False) -> None:
        good, verdict = await self._verdict()
        self._show((good, verdict))
        if not good:
            self.query_one(Composer).focus()
            return
        note = self.query_one("#reason", Input).value.strip() if self._why else ""
        self.dismiss(Edited(self.text, note or None, tried))

    def on_composer_left(self) -> None:
        self.action_leave()

    def on_input_submitted(self) -> None:
        self.action_save()

    def action_leave(self) -> None:
        """Close; what was changed is thrown away only when that is asked for twice."""
        if self.text == self._before or self._warned:
            self.dismiss(None)
            return
        self._warned = True
        self.say(
            "Not kept yet. Press escape again to throw the changes away, or ctrl+s to keep them.", bad=True
        )


class TrialEditor(Editor):
    """Edits what can be tried over past messages before it is kept: `ctrl+t`."""

    MORE_KEYS = (("ctrl+t", " what if  "),)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+t", "try", "What if", priority=True)]

    @work(exclusive=True, exit_on_error=False, group="judge")
    async def action_try(self) -> None:
        await self._take(tried=True)
