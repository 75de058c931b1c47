"""The configuration checklist: each complaint is made when there is reason to, and comes with its remedy."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from engine.database.connection import Connection
from engine.demo.far_end import FarEnd
from engine.observe import doctor, doctor_database
from engine.observe.doctor import Check, examine
from engine.settings import Settings, SettingsError, load_settings
from tests.support.addresses import url

Examine = Callable[..., Any]


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd() as far:
        yield far


@pytest.fixture
def checks(tmp_path: Path, far: FarEnd) -> Examine:
    """Runs the checklist with all providers well; returns its lines by name."""

    async def run(address: str | None = None, **settings: Any) -> dict[str, Check]:
        given = {
            "data_dir": tmp_path,
            "database_url": SecretStr(address or "postgresql://nobody@127.0.0.1:1/none"),
            "uniapi_api_key": SecretStr("key-of-uniapi"),
            "uniapi_base_url": far.uniapi_url,
            "zai_base_url": far.zai_url,
            "http_port": 0,
        }
        found = await examine(lambda: load_settings(**{**given, **settings}))
        assert found.ok == all(check.state != "fail" for check in found.checks)
        for check in found.checks:
            assert check.remedy or check.state in ("ok", "skip"), check
        return {check.name: check for check in found.checks}

    return run


@pytest.fixture
def address(dsn: str) -> str:
    return url(dsn)


async def states(db: Connection, checks: Examine, address: str, name: str) -> Check:
    found: Check = (await checks(address))[name]
    return found


async def test_a_sound_installation_has_nothing_to_mend(checks: Examine, address: str) -> None:
    found = await checks(address)
    assert {name: check.state for name, check in found.items()} == {
        "settings": "ok",
        "data folder": "ok",
        "database": "ok",
        "schema": "ok",
        "notifications": "ok",
        "clock": "ok",
        "agents": "ok",
        "routing": "ok",
        "record_context_prompt": "ok",
        "engines": "warn",
        "UNIAPI_API_KEY": "ok",
        "ZAI_API_KEY": "skip",
        "channel simulator/default": "ok",
        "channels": "skip",
        "http port": "ok",
        "admin token": "ok",
    }


async def test_settings_that_cannot_be_read_end_it() -> None:
    def load() -> Settings:
        raise SettingsError("Bad.", "Mend it.")

    found = await examine(load)
    assert (found.ok, found.settings_readable) == (False, False)
    assert [(check.what, check.remedy) for check in found.checks] == [("Bad.", "Mend it.")]


async def test_a_missing_column_is_a_matter_of_migration(
    db: Connection, checks: Examine, address: str
) -> None:
    await db.execute("ALTER TABLE et_messages DROP COLUMN llm_model, DROP COLUMN llm_provider")
    check = (await checks(address))["schema"]
    assert check.state == "fail"
    assert "llm_provider is missing. (and 1 more)" in check.what
    assert "switchboard migrate" in check.remedy


async def test_a_tenant_without_an_agent_is_named(db: Connection, checks: Examine, address: str) -> None:
    await db.execute("INSERT INTO et_threads (tenant_id, channel, address) VALUES (7, 'simulator', 'a')")
    assert "tenant 7" in (await states(db, checks, address, "agents")).what
    await db.execute("DELETE FROM et_threads")
    await db.execute("UPDATE et_agents SET enabled = false")
    check = await states(db, checks, address, "agents")
    assert (check.state, "tenant 1:" in check.what) == ("fail", True)


@pytest.mark.parametrize(
    ("key", "value", "state", "said"),
    [
        ("record_context_prompt", True, "ok", "kept with every trace"),
        ("record_context_prompt", "yes", "warn", "neither true nor false"),
        ("llm_routing_config", {"default": [{"provider": "nobody", "model": "m"}]}, "fail", "nobody"),
        ("llm_routing_config", {"provider": "zai", "model": "glm-4.7"}, "ok", "zai/glm-4.7"),
    ],
)
async def test_platform_settings_are_read(
    db: Connection, checks: Examine, address: str, key: str, value: object, state: str, said: str
) -> None:
    await db.execute("INSERT INTO et_platform_settings (key, value) VALUES (%s, %s)", [key, Jsonb(value)])
    check = (await checks(address))["routing" if key == "llm_routing_config" else key]
    assert check.state == state
    assert said in check.what


async def test_a_notification_that_is_lost_is_noticed(
    checks: Examine, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_database, "NOTIFY_SECONDS", 0.1)
    monkeypatch.setattr("psycopg.AsyncConnection.notifies", _deaf)
    check = (await checks(address))["notifications"]
    assert check.state == "warn"
    assert "session mode" in check.remedy


async def _deaf(*_: object, **__: object) -> AsyncIterator[object]:
    return
    yield


async def test_a_clock_far_from_the_databases_is_noticed(
    checks: Examine, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_database, "CLOCK_SECONDS", -1.0)
    assert (await checks(address))["clock"].state == "warn"


async def test_a_refused_key_fails_unless_another_provider_answers(
    checks: Examine, far: FarEnd, address: str
) -> None:
    far.uniapi.mode = "401"
    check = (await checks(address))["UNIAPI_API_KEY"]
    assert check.state == "fail"
    assert "UNIAPI_API_KEY" in check.remedy
    found = await checks(address, zai_api_key=SecretStr("key-of-zai"))
    assert (found["UNIAPI_API_KEY"].state, found["ZAI_API_KEY"].state) == ("warn", "ok")


async def test_without_a_key_there_is_nobody_to_answer(checks: Examine, address: str) -> None:
    found = await checks(address, uniapi_api_key=None)
    assert (found["UNIAPI_API_KEY"].state, found["ZAI_API_KEY"].state) == ("fail", "skip")


async def test_a_channel_whose_far_end_is_gone_fails(checks: Examine, address: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{probe.getsockname()[1]}"
        check = (await checks(address, simulator_base_url=gone))["channel simulator/default"]
    assert check.state == "fail"


async def test_tokens_and_files_that_are_too_open_are_noticed(checks: Examine, tmp_path: Path) -> None:
    assert (await checks(admin_token=SecretStr("short")))["admin token"].state == "warn"
    assert (await checks(admin_token=SecretStr("x" * 43)))["admin token"].state == "ok"
    path = tmp_path / "admin-token"
    path.write_text("x" * 43)
    os.chmod(path, 0o644)  # noqa: PTH101
    assert "chmod 600" in (await checks())["admin token"].remedy


async def test_a_port_of_another_program_is_told_from_our_own(checks: Examine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        found = await checks(http_port=other.getsockname()[1])
    assert found["http port"].state == "fail"
    assert (await checks(http_enabled=False))["http port"].state == "skip"


async def test_a_probe_that_hangs_does_not_hang_the_list(
    checks: Examine, far: FarEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.5)
    far.uniapi.mode = "hang"
    check = (await checks())["UNIAPI_API_KEY"]
    assert (check.state, "does not answer" in check.what) == ("fail", True)
