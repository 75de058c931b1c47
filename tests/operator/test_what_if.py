"""What-if: another version answers what was asked before; paid for, recorded, and never sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from engine.demo.far_end import FarEnd
from engine.model import SwitchboardError, TurnOutcome
from engine.operator import what_if_run as module
from engine.operator.agent_versions import new_agent_version
from engine.operator.agents import update_agent
from engine.operator.audit import BadInput, NotFound, ReadOnly, Refused
from engine.operator.configuration import set_setting
from engine.operator.rehearsal import Rehearsed
from engine.operator.what_if import Trial, create, list_what_ifs, read, set_state
from engine.operator.what_if_estimate import eligible, estimate, newest_eligible
from engine.operator.what_if_results import as_csv, report
from engine.operator.what_if_run import carry_out, run
from engine.settings import Settings, load_settings
from tests.operator.test_dry_run import Script
from tests.operator.world import ANNA, GUEST, World


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd(reply=lambda _: "Hello from the AI") as running:
        yield running


@pytest.fixture
def settings(far: FarEnd, tmp_path: Path) -> Settings:
    return load_settings(
        data_folder=tmp_path,
        uniapi_api_key="key",
        uniapi_base_url=far.uniapi_url,
    )


async def written(w: World, number: int) -> list[int]:
    return [await w.insert(f"question {n}", sender=f"c{n}") for n in range(number)]


async def made(w: World, ids: list[int]) -> int:
    await new_agent_version(w.pool, ANNA, 1, prompt="Be brief.", activate=False)
    return (await create(w.pool, ANNA, Trial(1, 2), ids, "status:answered")).id


async def test_a_few_run_at_once_and_what_failed_is_told(w: World) -> None:
    ids = await written(w, 9)
    what_if, runner, heard = await made(w, ids), Script(), list[tuple[int, int]]()
    done = await carry_out(w.pool, ANNA, runner, what_if, progress=lambda *told: heard.append(told))
    assert (done.state, done.done, done.total, done.cost_usd) == ("done", 9, 9, Decimal("0.0108"))
    assert done.finished_at is not None
    assert sorted(runner.ran) == ids
    assert runner.most_at_once == module.AT_ONCE
    assert heard == [(n, 9) for n in range(1, 10)]
    assert await w.query("SELECT FROM et_outbound_queue") == [], "nothing is sent"
    assert {await w.status(message_id) for message_id in ids} == {"received"}, "they stay what they were"
    turns = await w.query("SELECT kind, task, count(*) AS n FROM et_turns GROUP BY 1, 2")
    assert turns == [{"kind": "dry_run", "task": "what_if", "n": 9}]
    used = await w.one("SELECT task, turns, cost_usd FROM et_usage_hourly")
    assert used == {"task": "what_if", "turns": 9, "cost_usd": Decimal("0.0108")}
    assert [audit["act"] for audit in await w.audits()][-1] == "what_if.start"

    failing = await made(w, ids[:2])
    await carry_out(w.pool, ANNA, Script(error=SwitchboardError("No key.", "Set one.")), failing)
    told = await report(w.pool, failing)
    assert [result.problem for result in told.results] == ["No key. Set one."] * 2
    assert told.summary.verdicts["failed"] == 2


async def test_it_is_paused_cancelled_and_gone_on_with_from_anywhere(w: World) -> None:
    what_if, runner = await made(w, await written(w, 20)), Script()

    def after_six(done: int, _of: int) -> None:
        if done == 6:
            asyncio.get_running_loop().create_task(set_state(w.pool, ANNA, what_if, "paused"))

    paused = await carry_out(w.pool, ANNA, runner, what_if, progress=after_six)
    assert paused.state == "paused"
    assert 6 <= paused.done < 20
    await set_state(w.pool, ANNA, what_if, "running")
    done = await carry_out(w.pool, ANNA, runner, what_if)
    assert (done.state, done.done, len(runner.ran)) == ("done", 20, 20), "each one once"
    with pytest.raises(Refused, match="done"):
        await set_state(w.pool, ANNA, what_if, "running")

    other = await made(w, runner.ran)
    await set_state(w.pool, ANNA, other, "cancelled")
    cancelled = await carry_out(w.pool, ANNA, runner, other)
    assert (cancelled.state, cancelled.done) == ("cancelled", 0)
    assert [found.id for found in await list_what_ifs(w.pool, 1)] == [other, what_if]


async def test_a_broken_off_one_pauses_once_what_is_under_way_is_recorded(w: World) -> None:
    what_if, runner = await made(w, await written(w, 12)), Script()
    task = asyncio.create_task(carry_out(w.pool, ANNA, runner, what_if))
    await asyncio.sleep(0.05)
    assert runner.ran
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await read(w.pool, what_if)
    assert (found.state, found.done) == ("paused", len(runner.ran)), "every call is recorded"


async def test_two_programs_share_one_without_running_anything_twice(w: World) -> None:
    ids = await written(w, 16)
    what_if, runner = await made(w, ids), Script()
    await asyncio.gather(*(carry_out(w.pool, ANNA, runner, what_if) for _ in range(2)))
    assert sorted(runner.ran) == ids
    assert (await read(w.pool, what_if)).state == "done"


async def test_it_pauses_when_the_money_is_spent_or_nobody_answers(w: World, settings: Settings) -> None:
    ids = await written(w, 12)
    what_if = await made(w, ids)
    await set_setting(w.pool, ANNA, "daily_budget_usd", 0.0000001)
    found = await run(w.pool, ANNA, settings, await read(w.pool, what_if))
    assert found.state == "paused"
    assert "budget" in (found.note or "")
    assert 1 <= found.done <= module.AT_ONCE
    waiting = await w.query("SELECT FROM et_what_if_items WHERE problem IS NOT NULL")
    assert waiting == [], "what was not tried waits for money"

    silent = await made(w, ids)

    class Silent(Script):
        async def run(self, message_id: int) -> Rehearsed:
            told = await super().run(message_id)
            return Rehearsed(**{**told.__dict__, "outcome": TurnOutcome.RETRY, "text": None})

    runner = Silent()
    found = await carry_out(w.pool, ANNA, runner, silent)
    assert found.state == "paused"
    assert module.FAILURES_IN_A_ROW <= len(runner.ran) < module.FAILURES_IN_A_ROW + module.AT_ONCE
    await set_state(w.pool, ANNA, silent, "running")
    found = await carry_out(w.pool, ANNA, Script(), silent)
    assert (found.state, (await report(w.pool, silent)).summary.verdicts["new"]) == ("done", 12)


async def test_old_and_new_are_told_apart(w: World, settings: Settings, far: FarEnd) -> None:
    for sender, text in (("a", "Hello from the AI"), ("b", "Something else")):
        await w.insert(f"hi from {sender}", sender)
        await w.complete(await w.claim_one(), text=text)
    await w.insert("I want to talk to a human", "c")
    await w.complete(await w.claim_one(), TurnOutcome.TAKEOVER, reason="policy.human_requested")
    await w.query("UPDATE et_turns SET cost_usd = 0.01, answered_at = started_at + interval '2 s'")
    ids = [row["id"] for row in await w.query("SELECT id FROM et_messages WHERE direction = 'inbound'")]
    what_if = await made(w, ids)
    await run(w.pool, ANNA, settings, await read(w.pool, what_if))
    told = await report(w.pool, what_if)
    assert told.summary.verdicts == {"changed": 1, "refused": 1, "failed": 0, "new": 0, "same": 1}
    assert (told.summary.compared_costs, told.summary.old_cost_usd) == (2, Decimal("0.02"))
    assert told.summary.new_cost_usd > 0
    assert told.summary.old_latency_ms == 2000
    assert told.summary.new_latency_ms is not None and told.summary.new_latency_ms < 2000
    changed = told.results[0]
    assert (changed.verdict, changed.customer) == ("changed", "hi from b")
    assert "".join(word.new for word in changed.words()) == "Hello from the AI"
    assert changed.new is not None and changed.new.agent_version == 2
    assert far.uniapi.calls[-1].body["messages"][0]["content"].startswith("Be brief.")
    lines = as_csv(told.results).splitlines()
    assert len(lines) == 4
    assert lines[1].startswith(f"{changed.message_id},changed,hi from b,Something else,Hello from the AI")


async def test_what_a_customer_decided_later_does_not_count(w: World, settings: Settings) -> None:
    lead = (await w.one("INSERT INTO et_leads (tenant_id, name) VALUES (1, 'Bob') RETURNING id"))["id"]
    asked = await w.insert("when do you open?", lead_id=lead)
    await w.complete(await w.claim_one())
    await w.query("UPDATE et_leads SET opted_out_at = now()")
    later = await w.insert("and on Sunday?", lead_id=lead)
    what_if = await made(w, [asked, later])
    await run(w.pool, ANNA, settings, await read(w.pool, what_if))
    told = {result.message_id: result for result in (await report(w.pool, what_if)).results}
    assert told[asked].verdict == "same"
    assert told[later].new is not None and told[later].new.reason == "policy.opt_out"


async def test_only_what_the_agent_would_answer_is_tried_and_a_burst_once(w: World) -> None:
    first, second = await w.insert("two rolls"), await w.insert("and a bun")
    await w.complete(await w.claim_one())
    others = await w.insert("not mine", "z", tenant_id=2)
    assert await eligible(w.pool, 1, [second, first, others]) == [first]
    await w.query("UPDATE et_turns SET agent_id = 7")
    assert await eligible(w.pool, 1, [first]) == []


async def test_the_price_is_estimated_from_what_the_turns_cost(w: World) -> None:
    nothing = await estimate(w.pool, [])
    assert (nothing.messages, nothing.usd) == (0, None)
    for sender in ("a", "b"):
        await w.answered(sender=sender)
    await w.insert(sender="c")
    await w.query("UPDATE et_turns SET cost_usd = 0.001 * id")
    ids = [row["id"] for row in await w.query("SELECT id FROM et_messages WHERE direction = 'inbound'")]
    told = await estimate(w.pool, ids)
    assert (told.messages, told.known, told.usd) == (3, 2, Decimal("0.0045"))


async def test_what_cannot_be_tried_is_refused(w: World) -> None:
    message_id = await w.insert()
    for refused, ids, version in ((BadInput, [], 1), (NotFound, [message_id], 9)):
        with pytest.raises(refused):
            await create(w.pool, ANNA, Trial(1, version), ids)
    with pytest.raises(ReadOnly):
        await create(w.pool, GUEST, Trial(1, 1), [message_id])
    await update_agent(w.pool, ANNA, 1, enabled=False)
    with pytest.raises(Refused, match="off"):
        await create(w.pool, ANNA, Trial(1, 1), [message_id])
    assert await w.query("SELECT FROM et_what_ifs") == []


async def test_a_prompt_and_routes_are_tried_without_a_version_of_them(
    w: World, settings: Settings, far: FarEnd
) -> None:
    ids = await written(w, 3)
    routing = {"default": [{"provider": "uniapi", "model": "gpt-5-mini"}]}
    trial = Trial(1, 1, prompt="Answer like a pirate.", routing=routing)
    what_if = await create(w.pool, ANNA, trial, ids, "all")
    assert what_if.tried == "version 1 with another prompt and other routes"
    done = await run(w.pool, ANNA, settings, what_if)
    assert (done.state, done.done) == ("done", 3)
    bodies = [call.body for call in far.uniapi.calls]
    assert {body["model"] for body in bodies} == {"gpt-5-mini"}
    assert all(body["messages"][0]["content"].startswith("Answer like a pirate.") for body in bodies)
    turns = await w.query("SELECT context FROM et_turns WHERE kind = 'dry_run'")
    assert all({"prompt", "routing"} <= set(turn["context"]["variant"]) for turn in turns)
    assert len(await w.query("SELECT FROM et_agent_versions")) == 1
    (audit,) = await w.audits("what_if.start")
    assert (audit["after"]["own_prompt"], audit["after"]["routing"]) == (True, routing)


async def test_other_routes_are_estimated_by_tokens_and_their_price(w: World) -> None:
    ids = []
    for sender in ("a", "b"):
        await w.answered(sender=sender)
    ids = [row["id"] for row in await w.query("SELECT id FROM et_messages WHERE direction = 'inbound'")]
    await w.query("UPDATE et_turns SET prompt_tokens = 500000, completion_tokens = 100000, cost_usd = 9")
    price = {"zai/m": {"input_per_m": 2, "output_per_m": 10}}
    told = await estimate(
        w.pool, ids, {"default": [{"provider": "zai", "model": "m"}], "price_overrides": price}
    )
    assert (told.usd, told.known) == (Decimal(4), 2)
    unknown = await estimate(w.pool, ids, {"default": [{"provider": "zai", "model": "no-such-model"}]})
    assert unknown.usd is None
    assert (await estimate(w.pool, ids)).usd == Decimal(18)


@pytest.mark.parametrize(
    "trial", [Trial(1, 1, prompt=" "), Trial(1, 1, routing={"default": [{"provider": "acme", "model": "m"}]})]
)
async def test_what_cannot_be_used_is_not_tried(w: World, trial: Trial) -> None:
    message_id = await w.insert()
    with pytest.raises(BadInput):
        await create(w.pool, ANNA, trial, [message_id])
    assert await w.query("SELECT FROM et_what_ifs") == []


async def test_the_newest_of_an_agent_are_found_between_many_of_others(w: World) -> None:
    mine = await written(w, 3)
    others = [await w.insert("not mine", f"o{n}", tenant_id=2) for n in range(9)]
    looked: list[int] = []

    async def find(limit: int) -> list[int]:
        looked.append(limit)
        return sorted([*mine, *others], reverse=True)[:limit]

    assert await newest_eligible(w.pool, 1, find, 2) == mine[-2:]
    assert looked == [2, 8, 32]
    assert await newest_eligible(w.pool, 1, find, 20) == mine
