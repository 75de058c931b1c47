"""The platform settings for people: what each means, how a value reads, and how one is typed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from engine.observe import exact

ROUTING = "llm_routing_config"


@dataclass(frozen=True, slots=True)
class Words:
    """A setting as people know it."""

    title: str
    meaning: str
    how: str = ""
    """How a value is typed."""


SETTINGS = {
    "record_context_prompt": Words(
        "Record context prompt",
        "Keep the whole prompt of each turn with its trace. It holds what customers wrote.",
    ),
    ROUTING: Words(
        "Routing",
        "Which provider and model answers which task, in the order they are tried.",
    ),
    "quiet_window": Words(
        "Quiet window",
        "A burst of messages is answered once: so many seconds after its last message, and at the latest so "
        "many after its first. 0 answers every message at once.",
        "Two numbers, in seconds: 2 10",
    ),
    "ai_paused": Words("AI paused", "The kill switch: while it is on nothing is answered, messages wait."),
    "paused_channels": Words(
        "Paused channels",
        "Channels on which the AI answers nothing, messages wait. K on Overview switches one.",
        "Names of channels, e.g. telegram waha; nothing for none",
    ),
    "daily_budget_usd": Words(
        "Daily budget",
        "What each tenant may spend in a UTC day. A tenant's own cap counts where it is less.",
        "US dollars, e.g. 5 or 0.50; nothing for no cap",
    ),
    "max_message_age_hours": Words(
        "Oldest message",
        "A message that has waited longer is not answered by itself: a person decides.",
        "Hours, e.g. 24",
    ),
}
UNKNOWN = Words("", "")


def words_of(key: str) -> Words:
    """The words for a setting; one that is not known here goes by its key."""
    return SETTINGS.get(key) or Words(key, UNKNOWN.meaning)


def read_out(key: str, value: Any) -> str:
    """A value in words."""
    match key, value:
        case _, bool():
            return "on" if value else "off"
        case "quiet_window", {"seconds": int() | float() as seconds, "max_seconds": int() | float() as most}:
            return f"{seconds:g} s, at most {most:g} s" if seconds else "none: each message at once"
        case "paused_channels", list() as names:
            return ", ".join(map(str, names)) or "none"
        case "daily_budget_usd", None:
            return "no cap"
        case "daily_budget_usd", int() | float():
            return f"${value:,.2f}"
        case "max_message_age_hours", int() | float():
            return f"{value:g} hours"
        case "llm_routing_config", None:
            return "the default"
        case "llm_routing_config", _:
            return "own routes"
    return json.dumps(value, ensure_ascii=False)


def typed(key: str, value: Any) -> str:
    """A value as somebody would type it."""
    match key, value:
        case "quiet_window", {"seconds": int() | float() as seconds, "max_seconds": int() | float() as most}:
            return f"{exact(seconds)} {exact(most)}"
        case "paused_channels", list() as names:
            return " ".join(map(str, names))
        case _, int() | float():
            return exact(value)
        case _, None:
            return ""
    return json.dumps(value, ensure_ascii=False)


def parse(key: str, text: str) -> Any:
    """What was typed, as a value; whether it is allowed the engine says. Raises ValueError in words."""
    text = text.strip()
    if key == "daily_budget_usd":
        return None if text.casefold() in ("", "none", "no cap", "-") else _number(text.removeprefix("$"))
    if key == "paused_channels":
        return sorted(set(text.replace(",", " ").split()))
    if key == "quiet_window":
        numbers = [_number(part) for part in text.replace(",", " ").split()]
        if len(numbers) != 2:
            raise ValueError("Give two numbers, in seconds: the window and its maximum.")
        return {"seconds": numbers[0], "max_seconds": numbers[1]}
    return _number(text)


def _number(text: str) -> float:
    try:
        return float(text.removesuffix("s").removesuffix("h"))
    except ValueError:
        raise ValueError(f"“{text[:40]}” is not a number.") from None
