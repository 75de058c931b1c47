"""From a version and a filter to a what-if: which messages, what it is likely to cost, and a yes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content

from console.sanitise import cell
from console.screens.ask import Ask
from console.screens.confirm import Confirm
from console.screens.guarded import Dialog
from console.screens.what_if import WhatIfDialog
from console.widgets.index import Index
from console.widgets.lines import Line, Lines, fit
from console.widgets.quiet import Quiet
from console.words import KEY, MUTED, STRONG, usd

if TYPE_CHECKING:
    from console.screens.area import AreaScreen
    from engine.operator.what_if import Trial, WhatIf

USUAL = "status:answered"
MANY = 100


async def ask_filter(screen: AreaScreen, trial: Trial) -> str | None:
    """Which messages, in the words of the Messages area; None: given up."""
    from engine.observe.search import parse_search

    def check(text: str) -> str:
        search = parse_search(text)
        return f"Messages that match {search.words()}" if search else "Every message"

    title = f"Which messages should {trial.words} answer?"
    how = "status: channel: tenant: thread: provider: model: reason: cost> words"
    words: str | None = await screen.app.push_screen_wait(Ask(title, how, USUAL, check))
    return words


async def ask_version(screen: AreaScreen) -> Trial | None:
    """Which version of which agent; None: given up."""
    from engine.observe.setup import read_setup, versions
    from engine.operator.what_if import Trial

    feed = screen.switchboard.session.feed
    assert feed is not None
    agents = {agent.id: agent for agent in (await read_setup(feed.pool)).agents}
    newest = {agent_id: (await versions(feed.pool, agent_id))[0].version for agent_id in agents}

    def read(text: str) -> tuple[int, int]:
        agent, _, version = text.strip().partition(" ")
        version = version.strip().removeprefix("v")
        if not agent.isdecimal() or not version.isdecimal():
            raise ValueError("Write the agent's number and the version, like 1 v3.")
        if int(agent) not in agents:
            raise ValueError(f"There is no agent {agent}; there are {', '.join(map(str, sorted(agents)))}.")
        if not 1 <= int(version) <= newest[int(agent)]:
            raise ValueError(f"Its versions go from 1 to {newest[int(agent)]}.")
        return int(agent), int(version)

    def check(text: str) -> str:
        agent, version = read(text)
        active = " (the active one)" if agents[agent].version == version else ""
        return f"{agents[agent].name}, version {version}{active}"

    first = min(newest, default=None)
    if first is None:
        screen.say("There is no agent.", bad=True)
        return None
    text = await screen.app.push_screen_wait(
        Ask("Which version?", "The agent's number and the version.", f"{first} v{newest[first]}", check)
    )
    return None if text is None else Trial(*read(text))


async def start(screen: AreaScreen, trial: Trial, words: str) -> None:
    """Ask how many, tell the likely cost, and after a yes store the what-if and run it."""
    from engine.observe.search import parse_search
    from engine.observe.views import matching_ids
    from engine.operator.what_if import MOST, create
    from engine.operator.what_if_estimate import estimate, newest_eligible

    session = screen.switchboard.session
    assert session.feed is not None
    assert session.operator is not None
    pool, operator = session.feed.pool, session.operator

    def number(text: str) -> str:
        if not text.strip().isdecimal() or not 1 <= int(text) <= MOST:
            raise ValueError(f"Write a number from 1 to {MOST}.")
        return f"The newest {int(text):,} that match {words or 'every message'}"

    limit = await screen.app.push_screen_wait(
        Ask("How many, at most?", "The newest ones that the agent could answer.", str(MANY), number)
    )
    if limit is None:
        return
    search = parse_search(words)
    ids = await newest_eligible(
        pool, trial.agent_id, lambda reach: matching_ids(pool, search, reach), int(limit)
    )
    if not ids:
        screen.say("No customer's message matches that this agent could answer.", title="What if", bad=True)
        return
    expected = await estimate(pool, ids, trial.routing)
    cost = "The cost cannot be estimated: no earlier cost is known."
    if expected.usd is not None:
        cost = f"It will cost about {usd(float(expected.usd))}, by what {expected.known} of them used before."
    question = f"Have {trial.words} answer {len(ids):,} message{'' if len(ids) == 1 else 's'}?"
    detail = cell(f"{cost} Nothing is sent to customers. {words}", limit=400)
    if await screen.app.push_screen_wait(Confirm(question, detail, yes="Try it")):
        made = await screen.do(create(pool, operator, trial, ids, words))
        if made is not None:
            await screen.app.push_screen_wait(WhatIfDialog(made, begin=True))


class WhatIfPicker(Dialog["WhatIf | None"]):
    """Its result is the chosen one."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Close")]

    def __init__(self, found: Sequence[WhatIf]) -> None:
        super().__init__()
        self._found = tuple(found)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog sheet"):
            yield Quiet(Content.styled("What was tried", STRONG), id="title")
            with VerticalScroll(id="page", can_focus=False):
                yield Index(id="tried")
            yield Quiet(
                Content.assemble(("enter", KEY), (" opens it  ", MUTED), ("esc", KEY), (" closes", MUTED))
            )

    def on_mount(self) -> None:
        clock = self.switchboard.clock
        index = self.query_one("#tried", Index)
        index.show(
            Line(
                Content.assemble(
                    (f"#{one.id:<4}", MUTED),
                    f"{clock.local(one.created_at):%m-%d %H:%M}  v{one.version:<4}",
                    fit(Content(one.state), 10),
                    fit(Content(f"{one.done} of {one.total}"), 14),
                    fit(Content(usd(float(one.cost_usd))), 10),
                    cell(f"{one.started_by}  {one.filter}", MUTED, 200),
                ),
                target=one.id,
            )
            for one in self._found
        )
        index.focus()

    def on_lines_opened(self, event: Lines.Opened) -> None:
        event.stop()
        self.dismiss(next(one for one in self._found if one.id == event.target))
