"""What two versions of an agent differ in, as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.diff import diff_content
from console.sanitise import cell
from console.words import BAD, GOOD, MUTED, STRONG

if TYPE_CHECKING:
    from engine.operator.agent_versions import VersionDiff


def diff_body(diff: VersionDiff) -> Content:
    """Prompt, policy and routing, each with its old and new."""
    parts = [diff_content(diff.prompt) if diff.prompt else Content.styled("The prompts are the same.", MUTED)]
    if diff.policy:
        parts.append(Content.styled("\nPolicy", STRONG))
    for key, (old, new) in diff.policy.items():
        parts += [_value("- ", key, old, BAD), _value("+ ", key, new, GOOD)]
    if diff.routing is not None:
        parts.append(Content.styled("\nRouting", STRONG))
        parts += [_value("- ", "", diff.routing[0], BAD), _value("+ ", "", diff.routing[1], GOOD)]
    return Content("\n").join(parts)


def _value(mark: str, key: str, value: Any, style: str) -> Content:
    told = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return Content.assemble((mark, style), cell(f"{key} {told}".strip(), style, 2000))
