"""The routing editor, and test calls of the routes it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content

from console.sanitise import cell
from console.screens.ask import refusal
from console.screens.editor import Editor
from console.screens.reader import Reader
from console.widgets.lines import fit
from console.words import BAD, GOOD, MUTED, STRONG, span, usd

if TYPE_CHECKING:
    from engine.operator.routing_test import RouteResult


class RoutingEditor(Editor):
    """Edits the routing; `ctrl+t` calls the routes as they are typed, before they are kept."""

    MORE_KEYS = (("ctrl+t", " test call  "),)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+t", "test", "Test call", priority=True)]

    def action_test(self) -> None:
        self.app.push_screen(TestCalls(self.text))


class TestCalls(Reader):
    """Calls every route when it opens, and shows each answer as it comes."""

    __test__ = False

    def __init__(self, routing: Any) -> None:
        super().__init__("Test calls", Content.styled("Calling …", MUTED))
        self._routing = routing
        self._results: list[RouteResult] = []

    @work(exclusive=True, exit_on_error=False, group="calls")
    async def on_mount(self) -> None:
        from engine.operator.routing_test import try_routing

        session = self.switchboard.session
        assert session.feed is not None
        assert session.operator is not None
        assert session.settings is not None
        try:
            await try_routing(
                session.feed.pool, session.operator, session.settings, self._routing, on_result=self._came
            )
        except Exception as error:
            self.fill(refusal(error))
            return
        self._show("")

    def _came(self, result: RouteResult) -> None:
        self._results.append(result)
        self._show("\nCalling the others …")

    def _show(self, waiting: str) -> None:
        parts = [_result(result) for result in self._results]
        self.fill(Content.assemble(Content("\n\n").join(parts), (waiting, MUTED)))


def _result(result: RouteResult) -> Content:
    mark, style = ("✓", GOOD) if result.ok else ("✗", BAD)
    tokens = "no tokens told"
    if result.prompt_tokens is not None:
        tokens = f"{result.prompt_tokens} + {result.completion_tokens or 0} tokens"
    cost = "unpriced" if result.cost_usd is None else usd(float(result.cost_usd))
    calls = "not called" if not result.calls else span(result.latency_ms)
    if result.calls > 1:
        calls += f" in {result.calls} calls"
    return Content.assemble(
        (f"{mark} ", style),
        fit(cell(f"{result.provider} {result.model}", STRONG, 200), 44),
        cell(", ".join(result.tasks), MUTED, 200),
        "\n  ",
        (f"{calls} · {tokens} · {cost}", MUTED),
        "\n  ",
        cell(result.answer, limit=500) if result.ok else cell(f"{result.failure}: {result.error}", BAD, 600),
    )
