"""Routing, settings, policies and the configuration file: refused in words that name what is wrong, or they work."""

from __future__ import annotations

import json
import tempfile
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tomlkit

from engine.llm.routing import parse_routing
from engine.model import PROVIDERS
from engine.operator.audit import BadInput
from engine.operator.configuration import check_routing
from engine.operator.in_words import parse_policy, policy_text, policy_words, routing_text, routing_words
from engine.operator.routing_form import put_together, take_apart
from engine.runtime.policy import AgentPolicy
from engine.settings import SettingsError, load_settings
from tests.fuzz.targets.target import Target, storable, words_of
from tests.fuzz.test_settings import FILE, PLATFORM, POLICY, ROUTING, SHORT, checked, names


def routing(data: bytes) -> None:
    text = words_of(data)
    try:
        stored = check_routing(text)
    except BadInput as refused:
        names(refused, "llm_routing_config", "Z.ai")
        return
    storable(stored)
    assert check_routing(stored) == stored
    config = parse_routing(stored, PROVIDERS)
    assert config.routes("conversation")
    assert all(routing_words(stored))
    assert parse_routing(routing_text(stored), PROVIDERS) == config


def routing_form(data: bytes) -> None:
    """Taken apart into fields and put together, it asks for the same; prices are as exact as JSON's numbers."""
    try:
        stored = check_routing(words_of(data))
    except BadInput:
        return
    again = parse_routing(put_together(take_apart(stored)), PROVIDERS)
    assert _in_floats(again.model_dump()) == _in_floats(parse_routing(stored, PROVIDERS).model_dump())


def _in_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_floats(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def setting(data: bytes) -> None:
    """The first byte chooses which."""
    key = sorted(PLATFORM)[data[0] % len(PLATFORM)] if data else ""
    try:
        value = json.loads(data[1:])
    except (ValueError, RecursionError):
        return
    checked(key, value)


def policy(data: bytes) -> None:
    try:
        stored = parse_policy(words_of(data))
    except BadInput as refused:
        assert refused.what
        assert refused.remedy
        return
    storable(stored)
    assert policy_words(words_of(data))
    assert parse_policy(policy_text(stored)) == {**AgentPolicy().model_dump(mode="json"), **stored}


@cache
def _folder() -> Path:
    """Where the file is written, for as long as the process lives."""
    return Path(tempfile.mkdtemp(prefix="switchboard-fuzz-"))


def file(data: bytes) -> None:
    path = _folder() / "switchboard.toml"
    path.write_bytes(data)
    with patch.dict("os.environ", {"SWITCHBOARD_CONFIG": str(path)}):
        try:
            settings = load_settings()
        except SettingsError as refused:
            names(refused, "switchboard.toml", "Setting refused", "channel")
            return
    storable(settings.model_dump(mode="json"))


def written(values: Any) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def settings_seeds() -> list[bytes]:
    return [
        bytes([place]) + body for place, body in enumerate(written(PLATFORM[key] for key in sorted(PLATFORM)))
    ]


TARGETS = [
    Target("config-routing", routing, partial(written, [ROUTING, *SHORT])),
    Target("config-form", routing_form, partial(written, [ROUTING, *SHORT])),
    Target("config-setting", setting, settings_seeds, head=1),
    Target("config-policy", policy, partial(written, [POLICY, {}])),
    Target("config-file", file, lambda: [tomlkit.dumps(FILE).encode(), b"lease_seconds = 30\n[channels]\n"]),
]
