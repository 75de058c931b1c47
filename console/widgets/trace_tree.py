"""JSON as a tree that folds: the AI trace, and everything recorded of the turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from console.sanitise import fold
from engine.observe import one_line

MOST = 500
"""Children shown of one node."""
DEPTH = 30


class TraceTree(Tree[None]):
    """A tree of JSON values. Labels are built from text, never parsed."""

    DEFAULT_CSS = """
    TraceTree { background: transparent; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g,home", "first", "First", show=False),
        Binding("G,end", "last", "Last", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            Text(), id=id
        )  # as a str it would be markup, whose parser loads every emoji there is
        self.show_root = False
        self.guide_depth = 2
        self._shown: Any = None

    def tell(self, records: Mapping[str, Any]) -> None:
        """Show these records, each a branch of its own; what was folded open stays as it is."""
        if records == self._shown:
            return
        self._shown = dict(records)
        self.clear()
        for name, value in records.items():
            self._add(self.root, name, value, opened=True)
        self.root.expand()

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(self.last_line)

    def _go(self, line: int) -> None:
        self.cursor_line = line
        self.scroll_to_line(line, animate=False)

    def _add(
        self, parent: TreeNode[None], key: str, value: Any, *, opened: bool = False, depth: int = 0
    ) -> None:
        children = _children(value)
        if children is None or depth >= DEPTH:
            parent.add_leaf(Text.assemble((f"{_safe(key)} ", "dim"), _leaf(value)))
            return
        size = f" {len(children)}" if isinstance(value, Sequence) else _hint(value) if key.isdigit() else ""
        node = parent.add(Text.assemble((_safe(key), "bold"), (size, "dim")), expand=opened)
        for name, child in children[:MOST]:
            self._add(node, name, child, opened=depth < 1, depth=depth + 1)
        if len(children) > MOST:
            node.add_leaf(Text(f"… {len(children) - MOST} more", "dim"))


def _children(value: Any) -> list[tuple[str, Any]] | None:
    """What a value holds; None of one that holds nothing."""
    if isinstance(value, Mapping) and value:
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, list | tuple) and value:
        return [(str(index), item) for index, item in enumerate(value, 1)]
    return None


def _hint(value: Any) -> str:
    """What an item of a list is about: its first words."""
    words = [item for item in value.values() if isinstance(item, str) and item]
    return f"  {_safe(' '.join(words[:2]))[:60]}"


def _leaf(value: Any) -> str:
    if isinstance(value, str):
        return _safe(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _safe(str(value))


def _safe(text: str) -> str:
    return fold(one_line(text, 300))
