"""What people write: routing, platform settings, agent policies, the configuration file, the environment.

Bad input is refused with what is wrong and what to do; what is accepted survives being stored and read again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from engine.database.directory import PlatformSettings
from engine.llm.routing import RoutingError, parse_routing
from engine.model import PROVIDERS, SwitchboardError
from engine.operator.agent_versions import check_policy
from engine.operator.audit import BadInput
from engine.operator.configuration import check_setting
from engine.runtime.policy import AgentPolicy
from engine.settings import Settings, SettingsError, load_settings
from tests.fuzz.mutation import ANY_TEXT, mutated, nested
from tests.fuzz.profile import fuzz

ROUTING = {
    "default": [
        {
            "provider": "uniapi",
            "model": "m",
            "timeout_seconds": 3,
            "max_tokens": 4,
            "temperature": 1,
            "params": {"thinking": {"type": "enabled"}, "stop": ["a"]},
        }
    ],
    "tasks": {"conversation": [{"provider": "zai", "model": "glm-4.7"}]},
    "price_multiplier": {"uniapi": 0.8},
    "price_overrides": {"uniapi/gpt-4o": {"input_per_m": 2, "cached_per_m": 1, "output_per_m": 8}},
}
SHORT = [{"provider": "zai", "model": "glm-4.7"}, {"conversation": {"provider": "uniapi", "model": "m"}}]
PLATFORM: dict[str, Any] = {
    "record_context_prompt": True,
    "quiet_window": {"seconds": 1, "max_seconds": 9},
    "ai_paused": False,
    "paused_channels": ["telegram"],
    "daily_budget_usd": 3.5,
    "max_message_age_hours": 12,
    "retention": {
        "prompts": 9.5,
        "traces": 30,
        "payloads": 0,
        "quarantine": 7,
        "incidents": 90,
        "engines": 7,
        "audit": 365,
    },
    "alerts": {
        "blockers": True,
        "queue_seconds": 120,
        "error_share": 0.2,
        "spend_share": 1,
        "balance_days": 3,
        "takeover_minutes": 15,
    },
}
ENVIRONMENT = {
    field.validation_alias.choices[0]  # type: ignore[union-attr]
    if field.validation_alias
    else f"SWITCHBOARD_{name.upper()}": name
    for name, field in Settings.model_fields.items()
    if name != "channels"
}
BAD_VALUES = ["inf", "nan", "-1", "1e300", "9" * 40, "[", "{", '["', "http://", "http://[", "http://h:99999"]
BAD_VALUES += ["http://a b", "http://\u0661.\u0662", "postgresql://[", "\n", "x" * 3000, "\x7f", "\udcff"]
UNBOUNDED = {"inf", "1e300", "9" * 40}
FILE = {
    "lease_seconds": 30,
    "allowed_hosts": ["shop.example"],
    "alert_blockers": False,
    "log_format": "text",
    "channels": {
        "telegram": [{"account": "shop", "bot_token": "123456:ABC"}],
        "waha": [{"account": "branch", "base_url": "http://127.0.0.1:3000", "session": "s"}],
        "evolution": [{"base_url": "http://127.0.0.1:1", "api_key": "k", "instance": "i"}],
        "whatsapp_cloud": [{"token": "t", "phone_number_id": "1", "app_secret": "s"}],
    },
}


def names(refused: SwitchboardError, *of: str) -> None:
    """It says what is wrong, by a name that can be looked for, and what to do."""
    assert any(name in refused.what for name in of), refused.what
    assert refused.remedy


def checked(key: str, value: Any) -> Any:
    """The value as stored, or None when it was refused in words."""
    try:
        stored = check_setting(key, value)
    except BadInput as refused:
        names(refused, key, "Z.ai")
        return None
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert check_setting(key, stored) == stored, "what is stored can be stored again"
    return stored


@given(mutated(st.sampled_from([ROUTING, *SHORT])))
@example(nested(5000))
@example({"default": [{"provider": "uniapi", "model": "m", "params": {"top_p": float("nan")}}]})
@fuzz(200)
def test_any_routing_is_refused_in_words_or_works(value: Any) -> None:
    stored = checked("llm_routing_config", value)
    if stored is not None:
        assert parse_routing(stored, PROVIDERS).routes("conversation")


@given(st.one_of(ANY_TEXT, mutated(st.just(ROUTING)).map(lambda value: json.dumps(value)[:-1])))
@example("[" * 100_000)
@example('{"default": ' * 900)
@fuzz(150)
def test_routing_that_is_no_json_is_refused_in_words(text: str) -> None:
    try:
        parse_routing(text, PROVIDERS)
    except RoutingError as refused:
        names(refused, "llm_routing_config", "Z.ai")


@given(st.data(), st.sampled_from(sorted(PLATFORM)))
@fuzz(150)
def test_any_platform_setting_is_refused_in_words_or_works(data: st.DataObject, key: str) -> None:
    checked(key, data.draw(mutated(st.just(PLATFORM[key]))))


def test_every_platform_setting_is_fuzzed_and_the_good_ones_are_taken() -> None:
    assert PLATFORM.keys() | {"llm_routing_config"} == PlatformSettings.model_fields.keys()
    for key, value in PLATFORM.items():
        assert checked(key, value) == value
    for value in (ROUTING, *SHORT):
        assert checked("llm_routing_config", value) == value


@pytest.mark.parametrize("model", ["\x00", "\ud83d"])
def test_a_routing_of_which_nothing_is_left_when_stored_is_refused(model: str) -> None:
    with pytest.raises(BadInput, match="model"):
        check_setting("llm_routing_config", {"provider": "zai", "model": model})


POLICY = {
    "max_reply_chars": 900,
    "blocked_phrases": ["refund"],
    "allowed_link_hosts": ["shop.example"],
    "human_phrases": ["a colleague"],
    "replies_per_hour": 9,
}


@given(mutated(st.just(POLICY)))
@example(POLICY)
@fuzz(100)
def test_any_policy_of_an_agent_is_refused_in_words_or_works(value: Any) -> None:
    try:
        stored = check_policy(value)
    except BadInput as refused:
        names(refused, "policy")
        return
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert check_policy(stored) == stored
    AgentPolicy.model_validate(stored)


@pytest.mark.parametrize("hours", [1e300, 10**6])
def test_an_age_that_no_clock_can_tell_is_refused(hours: float) -> None:
    with pytest.raises(BadInput, match="max_message_age_hours"):
        check_setting("max_message_age_hours", hours)


def loaded(*of: str) -> Settings | None:
    """Settings in force, or None when they were refused in words that hold one of `of`, and a remedy."""
    try:
        return load_settings()
    except SettingsError as refused:
        names(refused, *of)
        return None


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
def test_any_value_in_the_environment_is_refused_by_name_or_works(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    field = ENVIRONMENT[name]
    for value in BAD_VALUES:
        monkeypatch.setenv(name, value)
        family = name.partition("_")[0] + "_"  # an account may be refused for what it lacks beside this
        settings = loaded(name, field, family)
        if settings is None:
            continue
        held = getattr(settings, field)
        if isinstance(held, int | float) and not isinstance(held, bool):
            assert value not in UNBOUNDED, f"{name}={value} was taken"
        if field in ("uniapi_base_url", "zai_base_url", "simulator_base_url") and held:
            assert httpx.URL(held).host


@given(mutated(st.just(FILE)))
@fuzz(60)
def test_any_configuration_file_is_refused_in_words_or_works(tmp_path_factory: Any, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "switchboard.toml"
    try:
        path.write_text(tomlkit.dumps(value))
    except Exception:  # it cannot be written as TOML at all
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWITCHBOARD_CONFIG", str(path))
        loaded("switchboard.toml", "Setting refused", "channel")


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"a",
        b"a =",
        b"[",
        b"a=1\na=2",
        b"\x00",
        b"a=" + b"[" * 5000,
        b"lease_seconds = inf",
        b"channels=3",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_a_file_that_is_no_toml_is_named(raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHBOARD_CONFIG")
    (tmp_path / "switchboard.toml").write_bytes(raw)
    with pytest.raises(SettingsError, match=r"switchboard\.toml|SWITCHBOARD_") as refused:
        load_settings()
    assert refused.value.remedy


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_CONFIG", str(tmp_path))
    with pytest.raises(SettingsError, match=f"{tmp_path} is a folder"):
        load_settings()
