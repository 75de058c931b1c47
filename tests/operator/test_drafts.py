"""Drafts of the AI: asked for, gone stale, superseded, discarded; and threads that are only drafted for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.demo.far_end import FarEnd
from engine.model import TurnOutcome
from engine.observe.threads import thread_draft, thread_rows
from engine.operator.audit import BadInput, NotFound, ReadOnly, Refused
from engine.operator.configuration import set_setting
from engine.operator.drafts import discard_draft, draft_now, set_thread_mode
from engine.operator.rehearsal import OutOfMoney
from engine.operator.reply import accept_draft, send_reply
from engine.operator.takeover import NotOwned, take_over
from engine.settings import Settings, load_settings
from tests.operator.world import ANNA, GUEST, World


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd(reply=lambda messages: f"draft for: {messages[-1]['content'].splitlines()[-1]}") as running:
        yield running


@pytest.fixture
def settings(far: FarEnd, tmp_path: Path) -> Settings:
    return load_settings(data_folder=tmp_path, uniapi_api_key="key", uniapi_base_url=far.uniapi_url)


async def owned(w: World, text: str = "how much is it?") -> int:
    """A thread that Anna answers, with a customer who waits; its id."""
    thread_id = await w.thread_of(await w.insert(text))
    await take_over(w.pool, ANNA, thread_id)
    assert await w.claim() == []
    return thread_id


async def test_a_draft_on_demand_is_paid_for_recorded_and_sent_only_by_a_person(
    w: World, settings: Settings
) -> None:
    thread_id = await owned(w)
    made = await draft_now(w.pool, ANNA, settings, thread_id)
    assert made.text == "draft for: how much is it?"
    turn = await w.one("SELECT * FROM et_turns WHERE id = %s", made.turn_id)
    assert (turn["kind"], turn["outcome"], turn["draft"]) == ("draft", "drafted", made.text)
    used = await w.one("SELECT task, turns, cost_usd FROM et_usage_hourly")
    assert (used["task"], used["turns"]) == ("draft", 1) and used["cost_usd"] > 0
    assert await w.query("SELECT FROM et_outbound_queue") == []
    assert [audit["act"] for audit in await w.audits()] == ["takeover", "draft.ask"]

    shown = await thread_draft(w.pool, thread_id)
    assert shown is not None and (shown.turn_id, shown.stale) == (made.turn_id, False)
    (row,) = await thread_rows(w.pool, [thread_id])
    assert row.drafted
    sent = await accept_draft(w.pool, ANNA, made.turn_id, "It is 5 EUR.")
    assert (await w.message(sent.message_id))["text_content"] == "It is 5 EUR."
    assert await thread_draft(w.pool, thread_id) is None
    (row,) = await thread_rows(w.pool, [thread_id])
    assert not row.drafted
    with pytest.raises(Refused, match="Nobody waits"):
        await draft_now(w.pool, ANNA, settings, thread_id)


async def test_a_customer_who_wanted_a_person_can_be_drafted_for(w: World, settings: Settings) -> None:
    thread_id = await owned(w, "I want to talk to a human")
    assert (await draft_now(w.pool, ANNA, settings, thread_id)).text.endswith("talk to a human")
    opted_out = await owned(w, "STOP")
    with pytest.raises(Refused, match="not to be written to"):
        await draft_now(w.pool, ANNA, settings, opted_out)


async def test_a_draft_goes_stale_when_the_customer_writes_again_and_gives_way_to_a_newer_one(
    w: World, settings: Settings
) -> None:
    thread_id = await owned(w)
    first = await draft_now(w.pool, ANNA, settings, thread_id)
    await w.insert("and in red?")
    await w.claim()
    stale = await thread_draft(w.pool, thread_id)
    assert stale is not None and (stale.turn_id, stale.stale) == (first.turn_id, True)
    second = await draft_now(w.pool, ANNA, settings, thread_id)
    fresh = await thread_draft(w.pool, thread_id)
    assert fresh is not None and (fresh.turn_id, fresh.stale) == (second.turn_id, False)
    with pytest.raises(Refused, match="drafted anew"):
        await accept_draft(w.pool, ANNA, first.turn_id)


async def test_a_burst_that_was_drafted_for_whole_is_not_stale(w: World) -> None:
    await w.insert("two rolls")
    await w.insert("and a bun")
    claim = await w.claim_one()
    await w.complete(claim, TurnOutcome.TAKEOVER, reason="suggested", text="Gladly")
    draft = await thread_draft(w.pool, claim.thread_id)
    assert draft is not None and not draft.stale
    await w.insert("hello?")
    draft = await thread_draft(w.pool, claim.thread_id)
    assert draft is not None and draft.stale


async def test_a_discarded_draft_is_gone_for_good_and_on_record(w: World, settings: Settings) -> None:
    thread_id = await owned(w)
    made = await draft_now(w.pool, ANNA, settings, thread_id)
    await discard_draft(w.pool, ANNA, made.turn_id)
    assert await thread_draft(w.pool, thread_id) is None
    assert (await w.one("SELECT draft FROM et_turns"))["draft"] == made.text
    for again in (discard_draft(w.pool, ANNA, made.turn_id), accept_draft(w.pool, ANNA, made.turn_id)):
        with pytest.raises(Refused, match=r"discarded|waits"):
            await again
    assert (await w.audits())[-1]["act"] == "draft.discard"


async def test_a_draft_keeps_within_the_budget_and_needs_the_thread_to_be_sent(
    w: World, settings: Settings, far: FarEnd
) -> None:
    thread_id = await owned(w)
    made = await draft_now(w.pool, ANNA, settings, thread_id)
    await set_setting(w.pool, ANNA, "daily_budget_usd", 0.0000001)
    with pytest.raises(OutOfMoney):
        await draft_now(w.pool, ANNA, settings, thread_id)
    assert far.uniapi.total == 1
    await w.query("UPDATE et_threads SET owner = 'ai', epoch = epoch + 1")
    with pytest.raises(NotOwned):
        await accept_draft(w.pool, ANNA, made.turn_id)


async def test_a_thread_is_set_to_drafts_and_back(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await set_thread_mode(w.pool, ANNA, thread_id, "suggest")
    await set_thread_mode(w.pool, ANNA, thread_id, "suggest")
    claim = await w.claim_one()
    assert claim.mode == "suggest"
    await w.complete(claim)
    await set_thread_mode(w.pool, ANNA, thread_id, None)
    await w.insert("again")
    assert (await w.claim_one()).mode is None
    changes = [(audit["before"], audit["after"]) for audit in await w.audits("thread.mode")]
    assert changes == [({"mode": None}, {"mode": "suggest"}), ({"mode": "suggest"}, {"mode": None})]
    with pytest.raises(BadInput):
        await set_thread_mode(w.pool, ANNA, thread_id, "loud")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await set_thread_mode(w.pool, ANNA, 999, None)
    with pytest.raises(ReadOnly):
        await send_reply(w.pool, GUEST, thread_id, "hello")
