"""Messages, one a line: when, who, which way, how it stands, what the answer cost, and the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell
from console.widgets.lines import fit
from console.widgets.row_list import RowList
from console.words import GOOD, HIT, KEY, MUTED, Look, look, short, usd
from engine.observe.hits import spans

if TYPE_CHECKING:
    from engine.observe.views import MessageRow

AUTHORS = {"customer": ("→", ""), "ai": ("←", KEY), "human": ("⇐", "")}
"""Which way it went: a customer's, the AI's, a person's."""


def message_look(row: MessageRow) -> Look:
    """The state of a message; of a sent one, how far it is known to have come."""
    if row.direction == "outbound" and row.status in ("sent", "accepted"):
        word = "read" if row.read_at else "delivered" if row.delivered_at else row.status
        return Look("✓", word, GOOD)
    return look(row.status, row.outcome)


class MessageList(RowList["MessageRow"]):
    """The list of the Messages area."""

    HELP = """\
# Messages
`/` filters, e.g. `status:error channel:telegram cost>0.01 refund`; words in any order, "one piece" in quotes.
**→** a customer wrote · **←** the AI · **⇐** a person.
Enter opens the trip of a message, `]` the next view of it.
"""

    def __init__(self, clock: Clock, *, id: str | None = None) -> None:
        super().__init__(lambda row: row.id, id=id)
        self._clock = clock
        self._sought: tuple[str, ...] = ()
        self.empty = Content.styled(" No message here yet.", MUTED)

    def seek(self, words: Sequence[str]) -> None:
        """Mark these words wherever they stand in a text."""
        self._sought = tuple(words)

    def draw(self, row: MessageRow, width: int) -> Content:
        state = message_look(row)
        arrow, style = AUTHORS.get(row.author, ("?", ""))
        parts: list[Content | tuple[str, str] | str] = [
            (self._clock.time(row.created_at), MUTED),
            " ",
            (f"{arrow} ", style),
            fit(cell(row.who, limit=40), 18 if width >= 90 else 12),
            " ",
            fit(Content.styled(f"{state.glyph} {state.word}", state.style), 11),
            " ",
        ]
        if width >= 110:
            channel = f"{row.channel}/{row.account}" if row.account != "default" else row.channel
            parts += [fit(cell(channel, MUTED, 40), 11), " ", fit(cell(row.model, MUTED, 40), 20), " "]
        if width >= 90:
            tokens = short(row.tokens) if row.tokens is not None else ""
            cost = usd(row.cost_usd) if row.tokens is not None else ""
            parts += [
                fit(Content.styled(tokens, MUTED), 5, right=True),
                fit(Content.styled(cost, MUTED), 9, right=True),
                "  ",
            ]
        parts.append(self._text(row) if row.text else Content.styled(f"({row.kind or 'empty'})", MUTED))
        return Content.assemble(*parts)

    def _text(self, row: MessageRow) -> Content:
        """The text made safe first, then its hits marked: a mark is never part of it."""
        text = cell(row.text, limit=300)
        for begin, end in spans(text.plain, self._sought) if self._sought else ():
            text = text.stylize(HIT, begin, end)
        return text
