"""What `switchboard routing` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.observe.records import Act
    from engine.operator.configuration import Setting
    from engine.operator.routing_test import RouteResult


def routing_lines(setting: Setting) -> Iterator[str]:
    """The routing in words, and who set it."""
    from engine.operator.audit import BadInput
    from engine.operator.in_words import routing_words

    try:
        yield from routing_words(setting.value)
    except BadInput as error:
        yield f"✗ engines refuse what is stored and keep the last good one: {_line(error.what)}"
        yield f"    → {_line(error.remedy)}"
    if setting.updated_at is not None:
        yield f"set {setting.updated_at:%Y-%m-%d %H:%M} UTC by {_line(setting.updated_by or '')}"
    else:
        yield "never set: the default is in force"


def result_lines(result: RouteResult) -> Iterator[str]:
    """One route's call."""
    mark = "✓" if result.ok else "✗"
    tokens = "no tokens told"
    if result.prompt_tokens is not None:
        tokens = f"{result.prompt_tokens} + {result.completion_tokens or 0} tokens"
    cost = "unpriced" if result.cost_usd is None else f"{result.cost_usd:.6f} USD"
    time = f"{result.latency_ms} ms" if result.calls else "not called"
    yield f"{mark} {result.provider}/{_line(result.model)}  {time}  {tokens}  {cost}  ({', '.join(result.tasks)})"
    yield f"    {_line(result.answer) if result.ok else _line(f'{result.failure}: {result.error}')}"


def change_line(act: Act) -> str:
    """One change or test call: number, when, who, why, what to."""
    after = act.after if isinstance(act.after, dict) else {}
    if act.act == "routing.test":
        routes = [route for route in after.get("routes", []) if isinstance(route, dict)]
        what = (
            f"test call: {sum(route.get('ok') is True for route in routes)} of {len(routes)} routes answered"
        )
    elif act.act == "setting.reset" or after.get("value") is None:
        what = "→ the default"
    else:
        what = f"→ {json.dumps(after.get('value'), ensure_ascii=False)}"
    note = f"{act.note}  " if act.note else ""
    return _line(f"#{act.id:<7} {act.at:%Y-%m-%d %H:%M} UTC  {act.actor:<12} {note}{what}", 600)


def _line(text: str, limit: int = 300) -> str:
    from engine.observe import one_line

    return one_line(text, limit)
