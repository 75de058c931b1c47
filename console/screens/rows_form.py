"""A form of rows: judged while it is typed, what is wrong is told at its field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.widgets.lines import fit
from console.widgets.quiet import Quiet
from console.words import BAD, KEY, MUTED, STRONG

if TYPE_CHECKING:
    from engine.operator.routing_form import Problem, Texts

NUMBER = 3
"""Columns of a row's number."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the form."""

    name: str
    title: str
    width: int = 0
    """0 takes what is left."""
    how: str = ""
    """How it is filled in, shown while it is empty."""
    known: tuple[str, ...] = ()
    """What is offered while one types; → takes it."""


class RowsForm(Dialog["list[Texts] | None"]):
    """`rows = await app.push_screen_wait(RowsForm(…))`: as typed and without a problem; None: left as it was."""

    CSS_PATH: ClassVar[list[str]] = ["dialog.tcss", "rows_form.tcss"]  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close"),
        Binding("ctrl+s", "keep", "Take", priority=True),
        Binding("ctrl+n", "add", "Add", priority=True),
        Binding("ctrl+r", "remove", "Remove", priority=True),
        Binding("ctrl+up,alt+up", "move(-1)", "Earlier", priority=True),
        Binding("ctrl+down,alt+down", "move(1)", "Later", priority=True),
        Binding("ctrl+t", "test", "Test call", priority=True),
        Binding("down", "row(1)", "Below", show=False),
        Binding("up", "row(-1)", "Above", show=False),
    ]

    def __init__(
        self,
        title: str,
        about: str,
        fields: Sequence[Field],
        rows: Sequence[Texts],
        judge: Callable[[list[Texts]], list[Problem]],
        *,
        new: Callable[[], Texts] | None = None,
        test: Callable[[list[Texts]], None] | None = None,
    ) -> None:
        """`new` makes a further row, where rows come and go; `test` tries what is typed."""
        super().__init__()
        self._title, self._about, self._fields = title, about, tuple(fields)
        self._rows = [dict(row) for row in rows]
        self._before = self._rows
        self._judge, self._new, self._test = judge, new, test
        self._warned = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog sheet rows-form"):
            yield Quiet(cell(self._title, STRONG), id="title")
            yield Quiet(Content.styled(self._about, MUTED))
            with Horizontal(classes="heads"):
                yield Quiet(classes="number")
                for field in self._fields:
                    yield _sized(Quiet(Content.styled(field.title, MUTED)), field)
            with VerticalScroll(id="page", can_focus=False):
                yield from self._drawn()
            yield Quiet(self._keys(), id="note")

    def _drawn(self) -> list[FormRow]:
        return [FormRow(number, self._fields, row) for number, row in enumerate(self._rows)]

    def _keys(self) -> Content:
        keys = [("ctrl+s", "takes it"), ("tab", "next field")]
        if self._new is not None:
            keys += [("ctrl+n", "adds a row"), ("ctrl+r", "removes it"), ("ctrl+↑ ↓", "moves it")]
        if self._test is not None:
            keys.append(("ctrl+t", "test call"))
        keys.append(("esc", "leaves it"))
        return Content("  ").join(Content.assemble((key, KEY), (f" {word}", MUTED)) for key, word in keys)

    def on_mount(self) -> None:
        self._focus(0, 0)
        self.show_problems()

    @property
    def rows(self) -> list[Texts]:
        """What is typed."""
        return [row.texts for row in self.query(FormRow)]

    @on(Input.Changed)
    def judged(self) -> None:
        self._warned = False
        self.show_problems()

    def show_problems(self) -> list[Problem]:
        """Tell at each field what is wrong with it; returns that."""
        problems = self._judge(self.rows)
        for number, row in enumerate(self.query(FormRow)):
            row.show([problem for problem in problems if problem.row == number])
        return problems

    # Moving

    def _place(self) -> tuple[int, int]:
        """Row and column of the focus."""
        focused = self.focused
        for number, row in enumerate(self.query(FormRow)):
            entries = list(row.query(Input))
            if focused in entries:
                return number, entries.index(focused)
        return 0, 0

    def _focus(self, number: int, column: int) -> None:
        rows = list(self.query(FormRow))
        if rows:
            row = rows[max(0, min(number, len(rows) - 1))]
            self.set_focus(list(row.query(Input))[column])  # now: the next key may be here already

    def action_row(self, step: int) -> None:
        number, column = self._place()
        self._focus(number + step, column)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input is self.query(Input).last():
            self.action_keep()
        else:
            self.focus_next()

    # Acts

    async def _redraw(self, rows: list[Texts], number: int, column: int) -> None:
        self._rows = rows
        page = self.query_one("#page")
        await page.remove_children()
        await page.mount(*self._drawn())
        self._focus(number, column)
        self.show_problems()

    async def action_add(self) -> None:
        if self._new is not None:
            number = self._place()[0] + 1 if self.rows else 0
            rows = self.rows
            await self._redraw([*rows[:number], self._new(), *rows[number:]], number, 0)

    async def action_remove(self) -> None:
        rows, (number, column) = self.rows, self._place()
        if self._new is not None and rows:
            await self._redraw(rows[:number] + rows[number + 1 :], number, column)

    async def action_move(self, step: int) -> None:
        rows, (number, column) = self.rows, self._place()
        if self._new is not None and 0 <= number + step < len(rows):
            rows.insert(number + step, rows.pop(number))
            await self._redraw(rows, number + step, column)

    def action_test(self) -> None:
        if self._test is None:
            return
        if not self._to_first(self.show_problems()):
            self._test(self.rows)

    def action_keep(self) -> None:
        """Take it, when nothing is wrong; else go to the first field that is."""
        problems = self.show_problems()
        if not self._to_first(problems):
            self.dismiss(self.rows)

    def _to_first(self, problems: list[Problem]) -> bool:
        """Go to the first field with a problem; whether there is one."""
        if not problems:
            return False
        first = problems[0]
        names = [field.name for field in self._fields]
        self._focus(first.row, names.index(first.field))
        if not self.rows:
            self.say(f"{first.message[:1].upper()}{first.message[1:]}; ctrl+n adds one.", bad=True)
        return True

    def action_leave(self) -> None:
        """Close; what was typed is thrown away only when that is asked for twice."""
        if self.rows == self._before or self._warned:
            self.dismiss(None)
            return
        self._warned = True
        self.say("Not taken yet. Press escape again to throw it away, or ctrl+s to take it.", bad=True)


class FormRow(Vertical):
    """One row, and below it what is wrong with it."""

    def __init__(self, number: int, fields: Sequence[Field], texts: Texts) -> None:
        super().__init__()
        self._number, self._fields, self._texts = number, fields, texts

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Quiet(fit(Content.styled(f"{self._number + 1}", MUTED), NUMBER - 1), classes="number")
            for field in self._fields:
                entry = Input(
                    cell(self._texts.get(field.name, ""), limit=2000).plain,
                    placeholder=field.how,
                    compact=True,
                    suggester=SuggestFromList(field.known) if field.known else None,
                    name=field.name,
                    select_on_focus=False,
                )
                entry.cursor_blink = False
                yield _sized(entry, field)
        yield Quiet(classes="wrong")

    @property
    def texts(self) -> Texts:
        """What is typed, by field."""
        if not self.query(Input):
            return dict(self._texts)
        return {entry.name or "": entry.value for entry in self.query(Input)}

    def show(self, problems: Sequence[Problem]) -> None:
        """Tell what is wrong."""
        titles = {field.name: field.title for field in self._fields}
        told = [
            Content.assemble((f"✗ {titles[problem.field]}: ", BAD), cell(problem.message, BAD, 300))
            for problem in problems
        ]
        wrong = {problem.field for problem in problems}
        for entry in self.query(Input):
            entry.set_class(entry.name in wrong, "-wrong")
        line = self.query_one(".wrong", Quiet)
        line.display = bool(told)
        line.show(Content("\n").join(told))


def _sized(widget: Widget, field: Field) -> Widget:
    """As wide as its column."""
    widget.add_class("column")
    widget.styles.width = field.width or "1fr"
    return widget
