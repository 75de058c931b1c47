"""Dry runs: then and now side by side, paid for and recorded, and never sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.demo.far_end import FarEnd
from engine.model import TurnOutcome
from engine.operator.agent_versions import new_agent_version
from engine.operator.audit import NotFound, ReadOnly, Refused
from engine.operator.configuration import set_setting
from engine.operator.dry_run import compare_words, dry_run
from engine.operator.rehearsal import Rehearsed, Variant, rehearsal
from engine.settings import Settings, load_settings
from tests.operator.world import ANNA, GUEST, World


class Script:
    """A runner that says what it is told to say."""

    def __init__(self, text: str = "Hello from the model", **changes: Any) -> None:
        self.text, self.changes, self.ran = text, changes, list[int]()
        self.at_once = self.most_at_once = 0

    async def run(self, message_id: int) -> Rehearsed:
        self.ran.append(message_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if "error" in self.changes:
            raise self.changes["error"]
        at = datetime(2026, 1, 1, tzinfo=UTC)
        record = {
            "provider": "zai",
            "model": "glm-4.7",
            "attempts": [
                {"provider": "uniapi", "model": "m", "ok": False, "failure": "rate"},
                {"provider": "zai", "model": "glm-4.7", "ok": True},
            ],
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "cost_usd": Decimal("0.0012"),
            "started_at": at,
            "answered_at": at.replace(microsecond=250_000),
        }
        return Rehearsed(
            message_id, 1, 1, "replied", text=self.text, agent_id=1, agent_version=1, record=record
        )


async def test_old_and_new_stand_side_by_side(w: World) -> None:
    message_id = await w.insert()
    await w.complete(await w.claim_one(), text="Hello from the AI")
    await w.query("UPDATE et_turns SET thread_id = 1, cost_usd = 0.002")

    run = await dry_run(w.pool, ANNA, Script(), message_id)

    assert run.old is not None
    assert (run.old.text, run.new.text) == ("Hello from the AI", "Hello from the model")
    assert (run.old.cost_usd, run.new.cost_usd) == (Decimal("0.002"), Decimal("0.0012"))
    assert (run.old.outcome, run.new.outcome) == ("replied", "replied")
    assert (run.new.total_tokens, run.new.latency_ms) == (15, 250)
    assert run.new.route == ["uniapi/m (rate)", "zai/glm-4.7"]
    assert not run.same_text
    assert [(word.op, word.old, word.new) for word in run.words] == [
        ("equal", "Hello from the ", "Hello from the "),
        ("replace", "AI", "model"),
    ]
    turn = await w.one("SELECT * FROM et_turns WHERE kind = 'dry_run'")
    assert (turn["outcome"], turn["replay_of"], turn["draft"]) == (
        "dry_run",
        run.old.turn_id,
        "Hello from the model",
    )
    assert turn["reply_message_id"] is None
    usage = await w.one("SELECT turns, prompt_tokens, cost_usd FROM et_usage_hourly WHERE provider = 'zai'")
    assert usage == {"turns": 1, "prompt_tokens": 10, "cost_usd": Decimal("0.0012")}
    assert len(await w.query("SELECT id FROM et_outbound_queue")) == 1, "nothing more is sent"
    (audit,) = await w.audits()
    assert (audit["act"], audit["subject"]) == ("dry_run", f"message:{message_id}")
    assert audit["after"]["turn_id"] == turn["id"]


async def test_a_dry_run_is_compared_with_the_last_real_turn(w: World) -> None:
    message_id = await w.failed()
    first = await dry_run(w.pool, ANNA, Script(), message_id)
    second = await dry_run(w.pool, ANNA, Script("Something else"), message_id)
    assert first.old is not None and second.old is not None
    assert first.old.turn_id == second.old.turn_id
    assert (second.old.outcome, second.old.text) == ("error", None)


async def test_a_message_that_never_had_a_turn_has_no_other_side(w: World) -> None:
    message_id = await w.insert()
    run = await dry_run(w.pool, ANNA, Script(), message_id)
    assert run.old is None
    assert [word.op for word in run.words] == ["insert"]
    assert await w.status(message_id) == "received"
    assert len(await w.claim()) == 1, "it is answered for real as if nothing had happened"


async def test_a_guest_spends_no_money(w: World) -> None:
    message_id, runner = await w.insert(), Script()
    with pytest.raises(ReadOnly):
        await dry_run(w.pool, GUEST, runner, message_id)
    assert runner.ran == []


def test_words_are_compared_word_by_word() -> None:
    changes = compare_words("We open at 9.", "We open at 10, always.")
    assert "".join(change.old for change in changes) == "We open at 9."
    assert "".join(change.new for change in changes) == "We open at 10, always."
    assert changes[0].op == "equal" and changes[0].old == "We open at "
    assert compare_words("", "") == []


# With the real context, policy and router, and a stand-in far end


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd(reply=lambda messages: f"answer to: {messages[-1]['content'].splitlines()[-1]}") as running:
        yield running


@pytest.fixture
def settings(far: FarEnd, tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path,
        uniapi_base_url=far.uniapi_url,
        uniapi_api_key="key-of-uniapi",
        zai_base_url=far.zai_url,
        zai_api_key="key-of-zai",
    )


async def test_the_engine_s_own_context_and_route_are_used(w: World, settings: Settings, far: FarEnd) -> None:
    await w.answered("what I said before")
    message_id = await w.insert("how much is it?")
    await w.query("UPDATE et_messages SET created_at = now() - interval '3 days'")
    async with rehearsal(w.pool, settings) as runner:
        run = await dry_run(w.pool, ANNA, runner, message_id)
    assert run.new.outcome == "replied", "it is not too old for a dry run"
    assert run.new.text == "answer to: how much is it?"
    assert run.new.route == ["uniapi/gemini-3-flash-preview"]
    assert run.new.cost_usd is not None and run.new.cost_usd > 0
    assert run.new.agent_version == 1
    said = [message["content"] for message in far.uniapi.calls[-1].body["messages"]]
    assert any("what I said before" in text for text in said)
    turn = await w.one("SELECT * FROM et_turns WHERE kind = 'dry_run'")
    assert turn["started_at"] <= turn["context_at"] <= turn["answered_at"]
    assert turn["verdicts"] and turn["context"]["history_kept"] == 2
    assert turn["simulated"], "the channel is the simulated one"


async def test_a_variant_is_tried_without_being_put_in_force(
    w: World, settings: Settings, far: FarEnd
) -> None:
    message_id = await w.failed()
    await new_agent_version(w.pool, ANNA, 1, prompt="Second instructions.", activate=False)
    routing = {"default": [{"provider": "zai", "model": "glm-4.7-flash"}]}
    for variant, expected in (
        (Variant(version=2), "Second instructions."),
        (Variant(prompt="Third instructions.", routing=routing), "Third instructions."),
    ):
        async with rehearsal(w.pool, settings, variant=variant) as runner:
            run = await dry_run(w.pool, ANNA, runner, message_id)
        script = far.uniapi if variant.version else far.zai
        assert script.calls[-1].body["messages"][0]["content"].startswith(expected)
        assert run.new.agent_version == (variant.version or 1)
    turn = await w.one("SELECT context FROM et_turns WHERE provider = 'zai'")
    assert turn["context"]["variant"] == ["prompt", "routing"]
    async with rehearsal(w.pool, settings, variant=Variant(version=9)) as runner:
        with pytest.raises(NotFound, match="Version 9"):
            await dry_run(w.pool, ANNA, runner, message_id)


async def test_a_burst_is_rehearsed_whole_whichever_message_is_named(
    w: World, settings: Settings, far: FarEnd
) -> None:
    first, second = await w.insert("two rolls"), await w.insert("and a bun")
    await w.complete(await w.claim_one())
    async with rehearsal(w.pool, settings) as runner:
        run = await dry_run(w.pool, ANNA, runner, second)
    assert run.message_id == first
    assert run.old is not None
    last = far.uniapi.calls[-1].body["messages"][-1]["content"]
    assert "two rolls" in last and "and a bun" in last


async def test_a_dry_run_keeps_within_the_budget(w: World, settings: Settings, far: FarEnd) -> None:
    message_id = await w.failed()
    await set_setting(w.pool, ANNA, "daily_budget_usd", 0.0000001)
    async with rehearsal(w.pool, settings) as runner:
        await dry_run(w.pool, ANNA, runner, message_id)
        with pytest.raises(Refused, match="budget"):
            await dry_run(w.pool, ANNA, runner, message_id)
    assert far.uniapi.total == 1


async def test_what_a_rule_forbids_is_told(w: World, settings: Settings, far: FarEnd) -> None:
    message_id = await w.insert("I want to talk to a human")
    done = await w.complete(await w.claim_one(), TurnOutcome.TAKEOVER, reason="policy.human_requested")
    assert done is not None
    async with rehearsal(w.pool, settings) as runner:
        run = await dry_run(w.pool, ANNA, runner, message_id)
        assert (run.new.outcome, run.new.reason) == ("takeover", "policy.human_requested")
        assert far.uniapi.total == 0
        with pytest.raises(NotFound, match="Inbound message 999"):
            await dry_run(w.pool, ANNA, runner, 999)
