"""The routing as a form: routes by task, prices; each part in fields of its own, kept together with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from console.sanitise import cell
from console.screens.ask import Ask
from console.screens.guarded import Dialog
from console.screens.rows_form import Field, RowsForm
from console.widgets.lines import Line, Lines, fit
from console.widgets.quiet import Quiet
from console.words import KEY, MUTED, STRONG, WARN

if TYPE_CHECKING:
    from engine.operator.routing_form import RoutingFields, Texts

MULTIPLIERS, OVERRIDES = ("prices", "multipliers"), ("prices", "overrides")
NAME = 20


@dataclass(frozen=True)
class RoutingChange:
    """What somebody wants kept."""

    value: Any
    """None: no routing of its own."""
    note: str | None
    tried: bool = False
    """It is to be tried first, and then edited on."""


class RoutingMenu(Dialog["RoutingChange | None"]):
    """`change = await app.push_screen_wait(RoutingMenu("Routing", value))`; None: left as it was.

    Raises BadInput for a value that is no routing.
    """

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Close"),
        Binding("n", "new", "New task"),
        Binding("x", "remove", "Remove"),
        Binding("t,ctrl+t", "test", "Test calls"),
        Binding("J", "json", "JSON"),
        Binding("ctrl+s", "keep", "Keep"),
        Binding("u", "unset", "The platform's"),
        Binding("w", "try", "What if"),
    ]

    def __init__(
        self, title: str, value: Any, *, of_agent: bool = False, own: bool = False, before: Any = ...
    ) -> None:
        """`of_agent`: it can be tried over past messages; `own`: it can be taken away, and the platform's counts.
        `before` is what is kept already, where that is not `value`."""
        from engine.operator.routing_form import put_together, take_apart

        super().__init__()
        self._title, self._of_agent, self._own = title, of_agent, own
        self._fields = take_apart(value)
        self._before = put_together(take_apart(value if before is ... else before))
        self._warned = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog sheet"):
            yield Quiet(cell(self._title, STRONG), id="title")
            yield Quiet(
                Content.styled(
                    "Routes are tried in their order; a task without its own has the default ones.", MUTED
                )
            )
            yield Lines(id="parts")
            yield Quiet(id="about", classes="detail")
            yield Quiet(self._keys(), id="note")

    def _keys(self) -> Content:
        keys = [("enter", "edit"), ("n", "task"), ("x", "remove"), ("t", "test calls"), ("J", "JSON")]
        if self._of_agent:
            keys.append(("w", "what if"))
        if self._own:
            keys.append(("u", "the platform's"))
        keys += [("ctrl+s", "keep"), ("esc", "close")]
        return Content("  ").join(Content.assemble((key, KEY), (f" {word}", MUTED)) for key, word in keys)

    def on_mount(self) -> None:
        self._tell()
        self.query_one(Lines).focus()

    def _tell(self) -> None:
        self.query_one(Lines).show(_lines(self._fields))
        changed = self._value() != self._before
        note = Content.styled("● changed, not kept yet: ctrl+s", WARN) if changed else Content("")
        self.query_one("#about", Quiet).show(note)

    def _value(self) -> Any:
        from engine.operator.routing_form import put_together

        return put_together(self._fields)

    # Editing

    @work(exclusive=True, exit_on_error=False, group="form")
    async def on_lines_opened(self, event: Lines.Opened) -> None:
        self._warned = False
        match event.target:
            case ("task", str(name)):
                await self._edit_task(name)
            case ("prices", "multipliers"):
                await self._edit_multipliers()
            case _:
                await self._edit_overrides()
        self._tell()

    async def _edit_task(self, name: str) -> None:
        from engine.operator.routing_form import PROVIDERS, new_route, read_routes

        fields = (
            Field("provider", "provider", 9, known=tuple(PROVIDERS)),
            Field("model", "model", how="as the provider calls it"),
            Field("timeout_seconds", "timeout s", 9, "20"),
            Field("max_tokens", "tokens", 8, "no limit"),
            Field("temperature", "temp.", 6, "own"),
            Field("params", "further", 14, "none"),
        )
        rows = self._fields.tasks.get(name, self._fields.tasks["default"])
        title = f"Routes of {_task(self._fields, name)}"
        about = 'The first that answers counts. Further fields are JSON, like {"top_p": 0.9}.'
        made = await self.app.push_screen_wait(
            RowsForm(
                title, about, fields, rows, lambda typed: read_routes(typed)[1], new=new_route, test=self._test_rows
            )
        )  # fmt: skip
        if made is not None:
            self._fields.tasks[name] = made

    async def _edit_multipliers(self) -> None:
        from engine.operator.routing_form import PROVIDERS, read_multipliers

        fields = [Field(name, f"{name} ×", 12, "1") for name in PROVIDERS]
        row = {name: self._fields.multipliers.get(name, "") for name in PROVIDERS}
        about = "What a provider charges of its list price: 0.8 is a fifth off, empty is all of it."
        made = await self.app.push_screen_wait(
            RowsForm("Price multipliers", about, fields, [row], lambda typed: read_multipliers(typed[0])[1])
        )
        if made is not None:
            self._fields.multipliers = {name: text for name, text in made[0].items() if text.strip()}

    async def _edit_overrides(self) -> None:
        from engine.operator.routing_form import OVERRIDE_FIELDS, PROVIDERS, read_overrides

        fields = (
            Field("model", "provider/model", known=tuple(f"{name}/" for name in PROVIDERS)),
            Field("input_per_m", "input $", 10),
            Field("cached_per_m", "cached $", 10, "as input"),
            Field("output_per_m", "output $", 10),
        )
        about = "What a model really costs, in US dollars per million tokens; list price and multiplier do not count."
        made = await self.app.push_screen_wait(
            RowsForm(
                "Prices of your own", about, fields, self._fields.overrides,
                lambda typed: read_overrides(typed)[1], new=lambda: dict.fromkeys(OVERRIDE_FIELDS, ""),
            )
        )  # fmt: skip
        if made is not None:
            self._fields.overrides = made

    @work(exclusive=True, exit_on_error=False, group="form")
    async def action_new(self) -> None:
        """Routes of its own for a task."""
        from engine.operator.routing_form import TASKS

        def check(text: str) -> str:
            name = text.strip()
            if not name or not name.isidentifier():
                raise ValueError(f"Write a task's name: {', '.join(TASKS)}.")
            if name in self._fields.tasks:
                raise ValueError(f"{name} has routes of its own already; enter edits them.")
            return name if name in TASKS else f"{name}: nothing asks for this task today"

        free = [name for name in TASKS if name not in self._fields.tasks]
        how = f"Tasks are {', '.join(TASKS)}; tab completes."
        name = await self.app.push_screen_wait(
            Ask("Which task gets routes of its own?", how, free[0] if free else "", check, known=free)
        )
        if name is not None:
            await self._edit_task(name.strip())
            self._tell()

    def action_remove(self) -> None:
        match self.query_one(Lines).target():
            case ("task", "default"):
                self.say("The default routes can only be changed.", bad=True)
            case ("task", str(name)):
                del self._fields.tasks[name]
            case ("prices", "multipliers"):
                self._fields.multipliers = {}
            case ("prices", "overrides"):
                self._fields.overrides = []
        self._tell()

    @work(exclusive=True, exit_on_error=False, group="form")
    async def action_json(self) -> None:
        """All of it as text."""
        from console.screens.routing import RoutingEditor
        from engine.operator.in_words import routing_text, routing_words
        from engine.operator.routing_form import take_apart

        edited = await self.app.push_screen_wait(
            RoutingEditor(self._title, routing_text(self._value()), routing_words, code=True)
        )
        if edited is not None:
            self._fields = take_apart(edited.text)
            self._tell()

    # Test calls, keeping

    def action_test(self) -> None:
        self._call(self._fields)

    def _test_rows(self, rows: list[Texts]) -> None:
        """The routes of one task as typed, with the prices of all."""
        self._call(type(self._fields)({"default": rows}, self._fields.multipliers, self._fields.overrides))

    def _call(self, fields: RoutingFields) -> None:
        from console.screens.routing import TestCalls
        from engine.operator.routing_form import put_together

        self.app.push_screen(TestCalls(put_together(fields)))

    @work(exclusive=True, exit_on_error=False, group="form")
    async def action_keep(self) -> None:
        value = self._value()
        if value == self._before:
            self.say("Nothing has changed.")
            self.dismiss(None)
            return
        await self._keep(value)

    @work(exclusive=True, exit_on_error=False, group="form")
    async def action_unset(self) -> None:
        if self._own:
            await self._keep(None)

    def action_try(self) -> None:
        """Over past messages, before it is kept."""
        if self._of_agent:
            self.dismiss(RoutingChange(self._value(), None, tried=True))

    async def _keep(self, value: Any) -> None:
        why = await self.app.push_screen_wait(
            Ask("Why?", "What it is changed for; kept with the change.", "", lambda _: "enter keeps it")
        )
        if why is not None:
            self.dismiss(RoutingChange(value, why.strip() or None))

    def action_leave(self) -> None:
        """Close; what was changed is thrown away only when that is asked for twice."""
        if self._value() == self._before or self._warned:
            self.dismiss(None)
            return
        self._warned = True
        self.say(
            "Not kept yet. Press escape again to throw the changes away, or ctrl+s to keep them.", bad=True
        )


def _lines(fields: RoutingFields) -> Iterator[Line]:
    for task, routes in fields.tasks.items():
        order = " → ".join(f"{route['provider']} {route['model']}" for route in routes)
        yield _line(_task(fields, task), order, ("task", task))
    factors = " · ".join(f"{name} × {text}" for name, text in fields.multipliers.items())
    yield _line("price multipliers", factors or "list prices", MULTIPLIERS)
    models = ", ".join(row["model"] for row in fields.overrides)
    yield _line("prices of your own", models or "none", OVERRIDES)


def _task(fields: RoutingFields, name: str) -> str:
    if name != "default":
        return name
    return "every other task" if len(fields.tasks) > 1 else "every task"


def _line(name: str, told: str, target: Any) -> Line:
    return Line(Content.assemble("  ", fit(cell(name), NAME), cell(told, MUTED, 300)), target)
