"""The form of one language model or channel: what is typed is tried at its far end, then kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input

from console.sanitise import cell
from console.screens.ask import refusal
from console.screens.guarded import Dialog
from console.widgets.quiet import Quiet
from console.words import BAD, GOOD, KEY, MUTED, STRONG, WARN

if TYPE_CHECKING:
    from engine.observe.setup_check import Check
    from engine.operator.setup import Draft, Part

STYLES = {"ok": ("✓ ", GOOD), "warn": ("! ", WARN), "fail": ("✗ ", BAD)}


class SetupForm(Dialog[Content | None]):
    """`done = await app.push_screen_wait(SetupForm(part))`: what was done and what comes next; None: nothing."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close"),
        Binding("ctrl+t", "try", "Try", priority=True),
        Binding("ctrl+s", "keep", "Keep", priority=True),
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Previous", show=False),
    ]

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = part
        self._failed: str | None = None
        """The file whose values were tried last and did not work."""

    def compose(self) -> ComposeResult:
        kept = self._kept()
        with Vertical(classes="dialog wide form"):
            yield Quiet(Content.assemble((self._part.title, STRONG), (f"  {self._part.about}", MUTED)))
            for question in self._part.questions:
                with Horizontal(classes="field"):
                    yield Quiet(Content(question.title), classes="label")
                    value = kept.get(question.name, question.default)
                    yield Input(
                        cell(value, limit=500).plain,
                        placeholder=question.how,
                        password=question.secret,
                        compact=True,
                        id=question.name.replace("_", "-"),
                    )
            yield Quiet(id="verdict")
            yield Quiet(
                Content.assemble(
                    ("ctrl+t", KEY),
                    (" tries it  ", MUTED),
                    ("ctrl+s", KEY),
                    (" tries and keeps it  ", MUTED),
                    ("esc", KEY),
                    (" leaves it", MUTED),
                )
            )

    def _kept(self) -> dict[str, str]:
        from engine.operator.setup import kept_values
        from engine.settings import SettingsError

        try:
            return kept_values(self._part)
        except SettingsError:  # said when it is tried
            return {}

    def on_mount(self) -> None:
        entries = self.query(Input)
        for entry in entries:
            entry.cursor_blink = False
        next(iter(entries)).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input is self.query(Input).last():
            self.action_keep()
        else:
            self.focus_next()

    def _verdict(self, content: Content) -> None:
        self.query_one("#verdict", Quiet).show(content)

    def _draft(self) -> Draft | None:
        """What is typed, or None once it is said what is wrong with it."""
        from engine.operator.setup import draft

        typed = {
            q.name: self.query_one(f"#{q.name.replace('_', '-')}", Input).value for q in self._part.questions
        }
        try:
            return draft(self._part.id, typed)
        except Exception as error:
            self._verdict(refusal(error))
            return None

    @work(exclusive=True, exit_on_error=False, group="form")
    async def action_try(self) -> None:
        made = self._draft()
        if made is not None:
            await self._try(made)

    @work(exclusive=True, exit_on_error=False, group="form")
    async def action_keep(self) -> None:
        made = self._draft()
        if made is None:
            return
        if made.text != self._failed and (await self._try(made)).state == "fail":
            return
        await self._keep(made)

    async def _try(self, made: Draft) -> Check:
        from engine.observe.setup_check import check_account, check_provider

        self._verdict(Content.styled("Asking …", MUTED))
        if made.part.channel:
            check = await check_account(made.settings, made.part.id, made.account)
        else:
            check = await check_provider(made.settings, made.part.id)
        self._failed = made.text if check.state == "fail" else None
        mark, style = STYLES.get(check.state, STYLES["fail"])
        told = [Content.assemble((mark, style), cell(check.what, limit=400))]
        if check.remedy:
            told.append(Content.assemble("→ ", cell(check.remedy, MUTED, 400)))
        if self._failed:
            told.append(Content.styled("ctrl+s now keeps it all the same.", MUTED))
        self._verdict(Content("\n").join(told))
        return check

    async def _keep(self, made: Draft) -> None:
        from engine.operator.setup import keep, what_then

        session = self.switchboard.session
        assert session.operator is not None
        self._verdict(Content.styled("Keeping it …", MUTED))
        try:
            path = await keep(made, session.operator, session.feed.pool if session.feed else None)
        except Exception as error:
            self._verdict(refusal(error))
            return
        if session.engine is not None:
            self._verdict(Content.styled("The engine starts anew with it …", MUTED))
        failure = await session.restart_engine()
        if failure:
            took = f"The engine did not start again: {failure}"
        elif session.engine is not None:
            took = "The engine here has taken it up."
        else:
            took = "Engines that run elsewhere read their own settings, when they start."
        said = f"{made.part.title} is kept. {took} {what_then(made.part, made.account)}"
        self.dismiss(Content.assemble(cell(said, limit=1000), "\n", cell(str(path), MUTED)))
