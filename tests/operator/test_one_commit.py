"""Every act and its row in the audit log are one commit: where nothing can be written down, nothing is done."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import engine.operator
from engine.database.connection import transaction
from engine.demo.far_end import FarEnd
from engine.operator.agent_versions import new_agent_version, rollback
from engine.operator.agents import create_agent, update_agent
from engine.operator.assignment import assign
from engine.operator.audit import ReadOnly, Refused
from engine.operator.canned import delete_canned, save_canned
from engine.operator.configuration import change_setting, put_back, reset_setting, set_setting
from engine.operator.drafts import discard_draft, draft_now, set_thread_mode
from engine.operator.dry_run import dry_run
from engine.operator.erasure import erase
from engine.operator.labels import change_labels
from engine.operator.outbound import (
    SendFilter,
    act_on_matching,
    act_on_sends,
    cancel_send,
    mark_sent,
    retry_send,
)
from engine.operator.pause import pause, resume
from engine.operator.phone import take_over_from_phone
from engine.operator.replay import ReplayFilter, requeue, requeue_filter
from engine.operator.reply import accept_draft, add_note, send_reply
from engine.operator.retention import BATCH, retain
from engine.operator.routing_test import try_routing
from engine.operator.setup import draft, file_to_write, keep
from engine.operator.snooze import snooze, wake
from engine.operator.takeover import extend, release, release_due, take_over
from engine.operator.tenants import (
    assign_account,
    create_tenant,
    create_workspace,
    update_tenant,
    update_workspace,
)
from engine.operator.what_if import Trial, create, set_state
from engine.settings import Settings, load_settings
from tests.operator.test_dry_run import Script
from tests.operator.world import ANNA, GUEST, World

NO_INK = """
CREATE FUNCTION no_ink() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no ink'; END $$;
CREATE TRIGGER no_ink BEFORE INSERT ON et_audit_log FOR EACH ROW EXECUTE FUNCTION no_ink()"""
INK = "DROP TRIGGER no_ink ON et_audit_log; DROP FUNCTION no_ink"
ROUTING = {"default": [{"provider": "uniapi", "model": "gemini-3-flash-preview"}]}
LATER = datetime.now(UTC) + timedelta(hours=3)


class Scene:
    """A world, a model that answers, and what an act needs to begin with."""

    def __init__(self, w: World, settings: Settings) -> None:
        self.w, self.pool, self.settings = w, w.pool, settings
        self.who = ANNA

    async def thread(self) -> int:
        """A conversation with a customer who waits."""
        return await self.w.thread_of(await self.w.insert("how much is it?"))

    async def owned(self) -> int:
        """The same, taken over by Anna."""
        thread_id = await self.thread()
        await take_over(self.pool, ANNA, thread_id)
        return thread_id

    async def drafted(self) -> int:
        """A turn that left a draft."""
        return (await draft_now(self.pool, ANNA, self.settings, await self.owned())).turn_id

    async def what_if(self) -> int:
        return (await create(self.pool, ANNA, Trial(1, 1), [await self.w.insert()], "all")).id

    async def old_prompts(self) -> None:
        """More of them than go in one batch."""
        await self.w.query(
            "INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, context_prompt, finished_at)"
            " SELECT 1, 1, n, 'error', 'prompt', now() - interval '90 days' FROM generate_series(1, %s) n",
            BATCH + 1,
        )

    async def everything(self) -> dict[str, list[str]]:
        """Every row of every table, and the file that set-up writes."""
        names = await self.w.query("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
        held = {}
        for name in sorted(row["name"] for row in names):
            rows = await self.w.query(f'SELECT t::text AS row FROM "{name}" t ORDER BY 1')
            held[name] = [row["row"] for row in rows]
        file = file_to_write()
        return held | {"file": [file.read_text()] if file.exists() else []}


Act = Callable[[], Awaitable[Any]]
CASES: dict[str, Callable[[Scene], Awaitable[Act]]] = {}


def case(act: Callable[..., Any]) -> Callable[[Callable[[Scene], Awaitable[Act]]], None]:
    """What is prepared for an act, and the act itself."""

    def keep_it(prepare: Callable[[Scene], Awaitable[Act]]) -> None:
        CASES[act.__name__] = prepare

    return keep_it


def plain(act: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """An act that needs nothing to begin with."""

    async def prepare(s: Scene) -> Act:
        return lambda: act(s.pool, s.who, *arguments, **options)

    CASES[act.__name__] = prepare


def on_thread(act: Callable[..., Any], *arguments: Any, owned: bool = False, **options: Any) -> None:
    """An act on a conversation."""

    async def prepare(s: Scene) -> Act:
        thread_id = await (s.owned() if owned else s.thread())
        return lambda: act(s.pool, s.who, thread_id, *arguments, **options)

    CASES[act.__name__] = prepare


plain(create_tenant, "Second")
plain(update_tenant, 1, daily_budget_usd=3.0)
plain(create_workspace, 1, "Night shift")
plain(update_workspace, 1, timezone="Europe/Berlin")
plain(create_agent, 1, "Otto", "You are Otto.")
plain(update_agent, 1, enabled=False)
plain(new_agent_version, 1, prompt="Be brief.")
plain(assign_account, "telegram", "night", agent_id=1)
plain(save_canned, 1, "hours", "We open at nine.")
plain(set_setting, "daily_budget_usd", 5)
plain(change_setting, "retention", {"prompts": 3})
plain(pause)
on_thread(take_over)
on_thread(release, owned=True, answer_waiting=True)
on_thread(extend, 90, owned=True)
on_thread(send_reply, "It is 5 EUR.", owned=True)
on_thread(add_note, "A regular.")
on_thread(assign, "otto")
on_thread(change_labels, add=["vip"])
on_thread(snooze, LATER)
on_thread(set_thread_mode, "suggest")


@case(rollback)
async def _(s: Scene) -> Act:
    await new_agent_version(s.pool, ANNA, 1, prompt="Be brief.")
    return lambda: rollback(s.pool, s.who, 1, 1)


@case(delete_canned)
async def _(s: Scene) -> Act:
    await save_canned(s.pool, ANNA, 1, "hours", "We open at nine.")
    return lambda: delete_canned(s.pool, s.who, 1, "hours")


@case(reset_setting)
async def _(s: Scene) -> Act:
    await set_setting(s.pool, ANNA, "daily_budget_usd", 5)
    return lambda: reset_setting(s.pool, s.who, "daily_budget_usd")


@case(put_back)
async def _(s: Scene) -> Act:
    for value in (5, 6):
        await set_setting(s.pool, ANNA, "daily_budget_usd", value)
    return lambda: put_back(s.pool, s.who, "daily_budget_usd")


@case(resume)
async def _(s: Scene) -> Act:
    thread_id = await s.thread()
    await pause(s.pool, ANNA, thread_id=thread_id)
    return lambda: resume(s.pool, s.who, thread_id=thread_id)


@case(wake)
async def _(s: Scene) -> Act:
    thread_id = await s.thread()
    await snooze(s.pool, ANNA, thread_id, LATER)
    return lambda: wake(s.pool, s.who, thread_id)


@case(release_due)
async def _(s: Scene) -> Act:
    thread_id = await s.owned()
    await s.w.query("UPDATE et_threads SET auto_release_at = now() WHERE id = %s", thread_id)
    return lambda: release_due(s.pool)


@case(take_over_from_phone)
async def _(s: Scene) -> Act:
    thread_id = await s.thread()

    async def typed() -> None:
        async with transaction(s.pool) as connection:
            await take_over_from_phone(connection, thread_id, "I will call you.", by_hand=True)

    return typed


@case(draft_now)
async def _(s: Scene) -> Act:
    thread_id = await s.owned()
    return lambda: draft_now(s.pool, s.who, s.settings, thread_id)


@case(accept_draft)
async def _(s: Scene) -> Act:
    turn_id = await s.drafted()
    return lambda: accept_draft(s.pool, s.who, turn_id)


@case(discard_draft)
async def _(s: Scene) -> Act:
    turn_id = await s.drafted()
    return lambda: discard_draft(s.pool, s.who, turn_id)


@case(dry_run)
async def _(s: Scene) -> Act:
    message_id = await s.w.insert()
    return lambda: dry_run(s.pool, s.who, Script(), message_id)


@case(try_routing)
async def _(s: Scene) -> Act:
    return lambda: try_routing(s.pool, s.who, s.settings, ROUTING)


@case(requeue)
async def _(s: Scene) -> Act:
    message_id = await s.w.failed()
    return lambda: requeue(s.pool, s.who, [message_id])


@case(requeue_filter)
async def _(s: Scene) -> Act:
    await s.w.failed()
    return lambda: requeue_filter(s.pool, s.who, ReplayFilter())


@case(cancel_send)
async def _(s: Scene) -> Act:
    await s.w.answered()
    queue_id = (await s.w.one("SELECT id FROM et_outbound_queue"))["id"]
    return lambda: cancel_send(s.pool, s.who, queue_id)


@case(retry_send)
async def _(s: Scene) -> Act:
    queue_id = await s.w.unknown_send()
    return lambda: retry_send(s.pool, s.who, queue_id, resend=True)


@case(mark_sent)
async def _(s: Scene) -> Act:
    queue_id = await s.w.unknown_send()
    return lambda: mark_sent(s.pool, s.who, queue_id)


@case(act_on_sends)
async def _(s: Scene) -> Act:
    queue_ids = [await s.w.unknown_send(sender) for sender in ("bob", "eve")]
    return lambda: act_on_sends(s.pool, s.who, "mark_sent", queue_ids)


@case(act_on_matching)
async def _(s: Scene) -> Act:
    await s.w.unknown_send()
    return lambda: act_on_matching(s.pool, s.who, "resend", SendFilter(outcome="unknown"))


@case(erase)
async def _(s: Scene) -> Act:
    queue_id = await s.w.unknown_send()
    await mark_sent(s.pool, ANNA, queue_id)
    return lambda: erase(s.pool, s.who, address="bob")


@case(retain)
async def _(s: Scene) -> Act:
    await s.old_prompts()
    return lambda: retain(s.pool, s.who, s.settings)


@case(create)
async def _(s: Scene) -> Act:
    message_id = await s.w.insert()
    return lambda: create(s.pool, s.who, Trial(1, 1), [message_id], "all")


@case(set_state)
async def _(s: Scene) -> Act:
    what_if = await s.what_if()
    return lambda: set_state(s.pool, s.who, what_if, "paused")


@case(keep)
async def _(s: Scene) -> Act:
    made = draft("uniapi", {"uniapi_api_key": "another key"})
    return lambda: keep(made, s.who, s.pool)


#: No operator asks for these.
BY_ITSELF = {"take_over_from_phone", "release_due"}


@pytest.fixture
async def scene(w: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setenv("SWITCHBOARD_CONFIG", str(tmp_path / "switchboard.toml"))
    with FarEnd(reply=lambda _: "It is 5 EUR.") as far:
        settings = load_settings(data_folder=tmp_path, uniapi_api_key="key", uniapi_base_url=far.uniapi_url)
        yield Scene(w, settings)


@pytest.mark.parametrize("name", CASES)
async def test_what_cannot_be_written_down_is_not_done(scene: Scene, name: str) -> None:
    act = await CASES[name](scene)
    await scene.w.query(NO_INK)
    before = await scene.everything()
    with pytest.raises((Refused, psycopg.errors.RaiseException), match="no ink"):
        await act()
    assert await scene.everything() == before
    await scene.w.query(INK)
    await act()
    after = await scene.everything()
    changed = {table for table in after if after[table] != before[table]}
    assert "et_audit_log" in changed
    assert len(changed) > 1, "it has done something"


@pytest.mark.parametrize("name", sorted(CASES.keys() - BY_ITSELF))
async def test_who_may_only_look_changes_nothing(scene: Scene, name: str) -> None:
    act = await CASES[name](scene)
    before = await scene.everything()
    scene.who = GUEST
    with pytest.raises(ReadOnly):
        await act()
    assert await scene.everything() == before


#: Acts whose rows in the audit log are not theirs: they carry out what `create` and `set_state` have noted.
CARRIED_OUT = {"run", "carry_out"}


def test_every_act_is_among_them() -> None:
    """Whatever takes an operator and a pool is an act."""
    acts = set()
    for module in pkgutil.iter_modules(engine.operator.__path__, "engine.operator."):
        for name, found in inspect.getmembers(
            importlib.import_module(module.name), inspect.iscoroutinefunction
        ):
            parameters = inspect.signature(found).parameters
            if not name.startswith("_") and {"pool", "operator"} <= set(parameters):
                acts.add(name)
    assert acts - CARRIED_OUT == CASES.keys() - BY_ITSELF
