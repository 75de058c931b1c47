"""Settings, agents, tenants: what is good is live at once, what is bad is refused with its reason."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.database.directory import load_directory
from engine.demo.far_end import FarEnd
from engine.observe import records
from engine.operator.agent_versions import diff_versions, list_versions, new_agent_version, rollback
from engine.operator.agents import create_agent, list_agents, update_agent
from engine.operator.audit import BadInput, NotFound, ReadOnly
from engine.operator.configuration import get_settings, reset_setting, set_setting
from engine.operator.rehearsal import OutOfMoney
from engine.operator.routing_test import try_routing
from engine.operator.tenants import (
    assign_account,
    create_tenant,
    create_workspace,
    list_tenants,
    list_workspaces,
    update_tenant,
    update_workspace,
)
from engine.settings import load_settings
from tests.operator.world import ANNA, GUEST, World

ROUTING = {"default": [{"provider": "zai", "model": "glm-4.7"}]}


async def test_a_setting_is_stored_told_and_taken_over(w: World) -> None:
    await w.query("LISTEN et_settings")
    assert await set_setting(w.pool, ANNA, "ai_paused", True, note="night") is True
    heard = [notice.payload async for notice in w.connection.notifies(timeout=1, stop_after=1)]
    assert heard == ["et_platform_settings"]
    assert (await load_directory(w.connection)).settings.ai_paused is True
    assert await set_setting(w.pool, ANNA, "ai_paused", False) is False
    setting = (await get_settings(w.pool))["ai_paused"]
    assert (setting.value, setting.stored, setting.updated_by, setting.problem) == (False, True, "anna", None)
    first, second = await w.audits("setting.set")
    assert (first["subject"], first["before"], first["after"]) == ("setting:ai_paused", None, {"value": True})
    assert first["note"] == "night"
    assert second["before"] == {"value": True}


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("record_context_prompt", "true", True),
        ("quiet_window", {"seconds": 3}, {"seconds": 3.0, "max_seconds": 10.0}),
        ("quiet_window", {"seconds": 0, "max_seconds": 0}, {"seconds": 0.0, "max_seconds": 0.0}),
        ("daily_budget_usd", 2, 2.0),
        ("daily_budget_usd", None, None),
        ("max_message_age_hours", "48", 48.0),
        ("llm_routing_config", ROUTING, ROUTING),
        (
            "llm_routing_config",
            '{"provider": "zai", "model": "glm-4.7"}',
            {"provider": "zai", "model": "glm-4.7"},
        ),
        ("llm_routing_config", None, None),
    ],
)
async def test_what_is_stored_is_what_engines_understand(w: World, key: str, value: Any, stored: Any) -> None:
    assert await set_setting(w.pool, ANNA, key, value) == stored
    row = await w.one("SELECT value FROM et_platform_settings WHERE key = %s", key)
    assert row["value"] == stored
    directory = await load_directory(w.connection)
    assert directory.bad_settings == {}


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("record_context_prompt", "perhaps", "bool"),
        ("ai_paused", 2, "bool"),
        ("quiet_window", {"seconds": -1}, "seconds"),
        ("quiet_window", {"seconds": 20, "max_seconds": 5}, "less than"),
        ("quiet_window", {"secs": 1}, "secs"),
        ("quiet_window", 3, "quiet_window"),
        ("daily_budget_usd", -1, "daily_budget_usd"),
        ("daily_budget_usd", float("inf"), "less than"),
        ("daily_budget_usd", float("nan"), "daily_budget_usd"),
        ("max_message_age_hours", 0, "max_message_age_hours"),
        ("max_message_age_hours", None, "max_message_age_hours"),
        ("llm_routing_config", "{", "not JSON"),
        ("llm_routing_config", {"default": []}, "default"),
        ("llm_routing_config", {"default": [{"provider": "acme", "model": "m"}]}, "acme"),
        ("llm_routing_config", [1], "object"),
        ("no_such_thing", 1, "no setting"),
    ],
)
async def test_bad_input_is_refused_and_the_last_good_value_kept(
    w: World, key: str, value: Any, why: str
) -> None:
    before = await w.query("SELECT * FROM et_platform_settings ORDER BY key")
    with pytest.raises(BadInput, match=why):
        await set_setting(w.pool, ANNA, key, value)
    assert await w.query("SELECT * FROM et_platform_settings ORDER BY key") == before
    assert await w.audits() == []


async def test_a_bad_value_of_another_program_is_told(w: World) -> None:
    await w.query("""INSERT INTO et_platform_settings (key, value) VALUES ('ai_paused', '"soon"')""")
    setting = (await get_settings(w.pool))["ai_paused"]
    assert setting.problem is not None and "bool" in setting.problem


async def test_a_setting_goes_back_to_its_default(w: World) -> None:
    await set_setting(w.pool, ANNA, "max_message_age_hours", 1)
    assert await reset_setting(w.pool, ANNA, "max_message_age_hours")
    assert not await reset_setting(w.pool, ANNA, "max_message_age_hours")
    setting = (await get_settings(w.pool))["max_message_age_hours"]
    assert (setting.value, setting.stored) == (24.0, False)
    (audit,) = await w.audits("setting.reset")
    assert audit["before"] == {"value": 1.0}


async def test_of_two_changes_at_once_each_sees_what_was_before(w: World) -> None:
    await asyncio.gather(*(set_setting(w.pool, ANNA, "daily_budget_usd", usd) for usd in (1, 2, 3)))
    audits = await w.audits("setting.set")
    befores = [audit["before"] for audit in audits]
    afters = [audit["after"] for audit in audits]
    assert befores == [None, *afters[:-1]]


# Agents


async def test_a_new_version_answers_and_the_old_one_can_return(w: World) -> None:
    version = await new_agent_version(
        w.pool, ANNA, 1, prompt="Be terse.", policy={"max_reply_chars": 200}, note="v2"
    )
    assert version == 2
    agent = (await load_directory(w.connection)).agents[1]
    assert (agent.version, agent.prompt, agent.policy) == (2, "Be terse.", {"max_reply_chars": 200})

    routed = await new_agent_version(w.pool, ANNA, 1, routing=ROUTING, activate=False)
    assert (await load_directory(w.connection)).agents[1].version == 2, "a draft version answers nobody"
    versions = await list_versions(w.pool, 1)
    assert [(v.version, v.active, v.prompt == "Be terse.") for v in versions] == [
        (3, False, True),
        (2, True, True),
        (1, False, False),
    ]
    assert versions[0].routing == ROUTING

    await rollback(w.pool, ANNA, 1, 1)
    assert (await load_directory(w.connection)).agents[1].version == 1
    diff = await diff_versions(w.pool, 1, 1, routed)
    assert "+Be terse." in diff.prompt
    assert diff.policy == {"max_reply_chars": (None, 200)}
    assert diff.routing == (None, ROUTING)
    acts = await w.audits()
    assert [audit["act"] for audit in acts] == ["agent.version", "agent.version", "agent.rollback"]
    assert acts[2]["before"] == {"active_version": 2}
    assert acts[2]["after"] == {"active_version": 1}


async def test_a_bad_version_is_refused(w: World) -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"prompt": "  "}, "empty"),
        ({"policy": {"max_reply_chars": 1}}, "max_reply_chars"),
        ({"policy": {"unknown": 1}}, "unknown"),
        ({"routing": {"default": "x"}}, "default"),
    )
    for given, why in cases:
        with pytest.raises(BadInput, match=why):
            await new_agent_version(w.pool, ANNA, 1, **given)
    with pytest.raises(NotFound, match="Agent 9"):
        await new_agent_version(w.pool, ANNA, 9, prompt="x")
    with pytest.raises(NotFound, match="Version 9"):
        await rollback(w.pool, ANNA, 1, 9)
    with pytest.raises(NotFound):
        await list_versions(w.pool, 9)
    assert len(await list_versions(w.pool, 1)) == 1
    assert await w.audits() == []


async def test_versions_made_at_once_get_numbers_of_their_own(w: World) -> None:
    made = await asyncio.gather(*(new_agent_version(w.pool, ANNA, 1, prompt=f"p{n}") for n in range(4)))
    assert sorted(made) == [2, 3, 4, 5]


async def test_an_agent_is_made_and_switched(w: World) -> None:
    agent_id = await create_agent(w.pool, ANNA, 1, " Night shift ", "Answer at night.", mode="suggest")
    directory = await load_directory(w.connection)
    assert (directory.agents[agent_id].name, directory.agents[agent_id].mode) == ("Night shift", "suggest")
    await update_agent(w.pool, ANNA, agent_id, enabled=False, name="Off")
    assert agent_id not in (await load_directory(w.connection)).agents
    state = next(agent for agent in await list_agents(w.pool, 1) if agent.id == agent_id)
    assert (state.name, state.enabled, state.mode) == ("Off", False, "suggest")
    (audit,) = await w.audits("agent.update")
    assert audit["before"] == {"name": "Night shift", "enabled": True, "mode": "suggest"}
    assert audit["after"] == {"name": "Off", "enabled": False, "mode": "suggest"}
    with pytest.raises(NotFound, match="Workspace 9"):
        await create_agent(w.pool, ANNA, 9, "x", "y")
    with pytest.raises(BadInput, match="mode"):
        await update_agent(w.pool, ANNA, agent_id, mode="loud")  # type: ignore[arg-type]


# Tenants, workspaces, accounts


async def test_a_tenant_with_its_workspace_agent_and_account_answers(w: World) -> None:
    tenant = await create_tenant(w.pool, ANNA, "Bakery", daily_budget_usd=1.5)
    workspace = await create_workspace(
        w.pool, ANNA, tenant.id, "Shop", timezone="Europe/Prague", quiet_from="22:00", quiet_to="06:30"
    )
    agent_id = await create_agent(w.pool, ANNA, workspace.id, "Baker", "Sell bread.")
    account = await assign_account(w.pool, ANNA, "telegram", "", agent_id=agent_id)
    assert (account.account, account.tenant_id, account.workspace_id) == ("default", tenant.id, workspace.id)
    directory = await load_directory(w.connection)
    agent = directory.agent_for(tenant.id, "telegram", "default")
    assert agent is not None and agent.name == "Baker"
    assert str(directory.daily_cap(tenant.id, None)) == "1.500000"

    moved = await assign_account(w.pool, ANNA, "telegram", "default", agent_id=1)
    assert moved.tenant_id == 1
    changed = await update_tenant(w.pool, ANNA, tenant.id, paused=True, daily_budget_usd=None)
    assert (changed.name, changed.paused, changed.daily_budget_usd) == ("Bakery", True, None)
    assert tenant.id in (await load_directory(w.connection)).paused_tenants
    shop = await update_workspace(w.pool, ANNA, workspace.id, quiet_from=None, quiet_to=None)
    assert (shop.quiet_from, shop.timezone) == (None, "Europe/Prague")
    assert changed in await list_tenants(w.pool)
    assert await list_workspaces(w.pool, tenant.id) == [shop]
    acts = [audit["act"] for audit in await w.audits()]
    assert acts == [
        "tenant.create",
        "workspace.create",
        "agent.create",
        "account.assign",
        "account.assign",
        "tenant.update",
        "workspace.update",
    ]
    assert (await w.audits("account.assign"))[1]["before"]["agent_id"] == agent_id


async def test_bad_tenants_and_workspaces_are_refused(w: World) -> None:
    for acts in (
        create_tenant(w.pool, ANNA, " "),
        create_tenant(w.pool, ANNA, "x", daily_budget_usd=-1),
        create_tenant(w.pool, ANNA, "x", daily_budget_usd=float("nan")),
        update_tenant(w.pool, ANNA, 1, daily_budget_usd=float("inf")),
        create_workspace(w.pool, ANNA, 1, "x", timezone="Mars/Olympus"),
        create_workspace(w.pool, ANNA, 1, "x", timezone="../../etc/passwd"),
        create_workspace(w.pool, ANNA, 1, "x", quiet_from="25:00", quiet_to="06:00"),
        create_workspace(w.pool, ANNA, 1, "x", quiet_from="22:00"),
        update_workspace(w.pool, ANNA, 1, quiet_to="06:00"),
    ):
        with pytest.raises(BadInput):
            await acts
    for missing in (
        update_tenant(w.pool, ANNA, 9, paused=True),
        create_workspace(w.pool, ANNA, 9, "x"),
        update_workspace(w.pool, ANNA, 9, name="x"),
        assign_account(w.pool, ANNA, "telegram", "a", agent_id=9),
    ):
        with pytest.raises(NotFound):
            await missing
    assert await w.audits() == []


async def test_a_guest_changes_nothing(w: World) -> None:
    tables = ("et_platform_settings", "et_agents", "et_agent_versions", "et_tenants", "et_workspaces")
    before = [await w.query(f"SELECT * FROM {table}") for table in tables]
    for act in (
        set_setting(w.pool, GUEST, "ai_paused", True),
        reset_setting(w.pool, GUEST, "quiet_window"),
        new_agent_version(w.pool, GUEST, 1, prompt="x"),
        rollback(w.pool, GUEST, 1, 1),
        create_agent(w.pool, GUEST, 1, "x", "y"),
        update_agent(w.pool, GUEST, 1, enabled=False),
        create_tenant(w.pool, GUEST, "x"),
        update_tenant(w.pool, GUEST, 1, paused=True),
        create_workspace(w.pool, GUEST, 1, "x"),
        update_workspace(w.pool, GUEST, 1, name="x"),
        assign_account(w.pool, GUEST, "telegram", "a", agent_id=1),
    ):
        with pytest.raises(ReadOnly):
            await act
    assert [await w.query(f"SELECT * FROM {table}") for table in tables] == before


async def test_a_setting_is_never_changed_without_its_audit_row(w: World) -> None:
    await w.query("ALTER TABLE et_audit_log ADD CONSTRAINT broken CHECK (act <> 'setting.set')")
    with pytest.raises(Exception, match="refuses it"):
        await set_setting(w.pool, ANNA, "ai_paused", True)
    with pytest.raises(psycopg.errors.CheckViolation):
        await w.query("INSERT INTO et_audit_log (actor, act, subject) VALUES ('x', 'setting.set', 'x')")
    assert not (await get_settings(w.pool))["ai_paused"].stored


async def test_the_history_of_a_setting_is_found_behind_any_number_of_other_acts(w: World) -> None:
    await set_setting(w.pool, ANNA, "daily_budget_usd", 5)
    await w.query(
        "INSERT INTO et_audit_log (actor, act, subject)"
        " SELECT 'x', 'replay', 'message:' || n FROM generate_series(1, 25000) n"
    )
    (found,) = await records.acts(w.pool, subject="setting:daily_budget_usd", limit=30)
    assert found.act == "setting.set"
    plan = await w.query(
        "EXPLAIN SELECT id FROM et_audit_log WHERE subject = 'setting:daily_budget_usd' AND id < 99999999"
        " ORDER BY id DESC LIMIT 30"
    )
    assert "et_audit_log_subject" in str(plan)


async def test_test_calls_are_paid_for_and_count_in_the_budget(w: World, tmp_path: Path) -> None:
    routing = {"default": [{"provider": "uniapi", "model": "gemini-3-flash-preview"}]}
    with FarEnd() as far:
        settings = load_settings(data_folder=tmp_path, uniapi_api_key="key", uniapi_base_url=far.uniapi_url)
        (result,) = await try_routing(w.pool, ANNA, settings, routing)
        assert result.ok and result.cost_usd
        used = await w.one("SELECT * FROM et_usage_hourly")
        assert (used["tenant_id"], used["task"], used["turns"]) == (1, "test_call", 1)
        assert used["cost_usd"] == round(result.cost_usd, 6)
        assert used["prompt_tokens"] == result.prompt_tokens
        await set_setting(w.pool, ANNA, "daily_budget_usd", 0.0000001)
        with pytest.raises(OutOfMoney):
            await try_routing(w.pool, ANNA, settings, routing)
        assert far.uniapi.total == 1
