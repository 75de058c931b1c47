"""Erasure of one customer: afterwards no column of any table holds what named or quoted them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from psycopg.types.json import Jsonb

from engine import arrivals
from engine.channels.base import Channel, Inbound, Parsed
from engine.inbound.intake import store_inbound
from engine.operator.audit import Busy, NotFound, ReadOnly
from engine.operator.erasure import erase, preview
from engine.operator.reply import add_note
from engine.operator.takeover import take_over
from tests.operator.world import ANNA, GUEST, World

WAHA = cast(Channel, SimpleNamespace(name="waha", account="default"))
NUMBER = "4915112345678"
SECRETS = (NUMBER, "Mathilda", "my knee hurts", "poor knee", "wamid.77", "prefers mornings")


async def everywhere(w: World, needle: str) -> dict[str, int]:
    """Rows that hold `needle` in any column, by table."""
    tables = await w.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'et\\_%%'")
    found = {}
    for table in (row["relname"] for row in tables):
        row = await w.one(f"SELECT count(*) AS n FROM {table} t WHERE position(%s IN t::text) > 0", needle)
        if row["n"]:
            found[table] = row["n"]
    return found


def mathilda(text: str = "my knee hurts", *, id: str = "wamid.77") -> Inbound:
    return Inbound(
        account="default",
        address=f"{NUMBER}@c.us",
        aliases=(),
        text=text,
        kind="text",
        profile_name="Mathilda",
        provider_message_id=id,
        provider_timestamp=None,
        raw={"body": text, "contact": f"Mathilda {NUMBER}"},
    )


async def say(w: World, message: Inbound) -> int:
    return await store_inbound(w.connection, tenant_id=1, channel="waha", messages=[message])


@pytest.fixture
async def thread(w: World) -> int:
    """A conversation with Mathilda that has left its traces everywhere, and is over."""
    assert await say(w, mathilda()) == 1
    message = await w.one("SELECT id, thread_id FROM et_messages WHERE provider_message_id = 'wamid.77'")
    thread = int(message["thread_id"])
    (lead,) = await w.query("INSERT INTO et_leads (tenant_id, name) VALUES (1, 'Mathilda') RETURNING id")
    await w.query("UPDATE et_threads SET lead_id = %s WHERE id = %s", lead["id"], thread)
    await w.query(
        "INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id) VALUES (1, 'waha', %s, %s)",
        f"{NUMBER}@c.us",
        lead["id"],
    )
    await w.query("INSERT INTO et_what_ifs (agent_id, version, started_by) VALUES (1, 1, 'anna')")
    await w.query(
        """INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, draft, context_prompt, context, error,
                                cost_usd)
           VALUES (1, %s, %s, 'drafted', 'poor knee', 'my knee hurts', '{"q": "my knee hurts"}', 'poor knee', 0.5)""",
        thread,
        message["id"],
    )
    reply = await w.one(
        """INSERT INTO et_messages (tenant_id, thread_id, channel, direction, delivery_status, author,
                                    text_content,
                                    raw_payload, provider_message_id, llm_total_tokens, last_error)
           VALUES (1, %s, 'waha', 'outbound', 'queued', 'human', 'poor knee',
                   '{"ai_trace": {"context_prompt": "Mathilda"}}',
                   %s, 42, 'not Mathilda') RETURNING id""",
        thread,
        f"true_{NUMBER}@c.us_X",
    )
    await w.query(
        """INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, last_error, other_provider_ids)
           VALUES (%s, 1, %s, 'waha', 'Mathilda is away', '["wamid.77b"]')""",
        reply["id"],
        thread,
    )
    await w.query(
        "INSERT INTO et_pending_receipts (channel, provider_message_id, status) VALUES ('waha', %s, 'read')",
        f"true_{NUMBER}@c.us_X",
    )
    await w.query(
        "INSERT INTO et_intake_quarantine (channel, why, body) VALUES ('waha', 'odd', %s), ('waha', 'odd', 'other')",
        f'{{"from": "{NUMBER}@c.us", "name": "Mathilda"}}',
    )
    await w.query("UPDATE et_threads SET labels = '[\"my knee hurts\"]' WHERE id = %s", thread)
    await w.query(
        "INSERT INTO et_what_if_items (what_if_id, message_id, problem) SELECT id, %s, 'poor knee' FROM et_what_ifs",
        message["id"],
    )
    await add_note(w.pool, ANNA, thread, "prefers mornings")
    await take_over(w.pool, ANNA, thread, reason="Mathilda called")
    await w.insert("my other knee", sender="bob")
    return thread


async def test_nothing_of_the_customer_is_left_anywhere(w: World, thread: int) -> None:
    for secret in SECRETS:
        assert await everywhere(w, secret), f"{secret} was there before"
    counted = await preview(w.pool, address="+49 151 1234-5678")
    assert (counted.thread_ids, counted.messages, counted.turns, counted.sends) == ([thread], 2, 1, 1)
    assert (counted.notes, counted.receipts, counted.quarantined, counted.addresses) == (1, 1, 1, 1)

    erased = await erase(w.pool, ANNA, address="+49 151 1234-5678")
    assert erased == counted
    for secret in SECRETS:
        assert await everywhere(w, secret) == {}, secret
    # What orders, counts and pays stays; so does everybody else.
    kept = await w.query(
        "SELECT delivery_status, llm_total_tokens FROM et_messages WHERE thread_id = %s ORDER BY id", thread
    )
    assert [(row["delivery_status"], row["llm_total_tokens"]) for row in kept] == [
        ("inbound_human_takeover", None),
        ("failed", 42),
    ]
    assert (await w.one("SELECT outcome FROM et_outbound_queue"))["outcome"] == "cancelled"
    assert str((await w.one("SELECT cost_usd FROM et_turns"))["cost_usd"]) == "0.500000"
    assert await everywhere(w, "my other knee") == {"et_messages": 1}
    assert (await w.one("SELECT count(*) AS n FROM et_intake_quarantine"))["n"] == 1
    (entry,) = await w.audits("erase")
    assert (entry["actor"], entry["after"]["messages"]) == ("anna", 2)
    (takeover,) = await w.audits("takeover")
    assert (takeover["subject"], takeover["note"]) == (f"thread:{thread}", None)


async def test_a_redelivery_stays_away_and_a_new_message_begins_anew(w: World, thread: int) -> None:
    await erase(w.pool, ANNA, address=NUMBER)
    assert await say(w, mathilda()) == 0
    assert await everywhere(w, "my knee hurts") == {}
    assert await everywhere(w, NUMBER) == {}, "no thread is made of it either"
    assert await say(w, mathilda("hello again", id="wamid.78")) == 1
    new = await w.one("SELECT thread_id FROM et_messages WHERE provider_message_id = 'wamid.78'")
    assert new["thread_id"] != thread
    # Erased once more, under the same number.
    assert (await erase(w.pool, ANNA, address=NUMBER)).messages == 1
    assert await everywhere(w, "hello again") == {}


async def test_a_turn_or_a_send_under_way_is_waited_for(w: World, thread: int) -> None:
    await w.query("UPDATE et_threads SET owner = 'ai' WHERE id = %s", thread)
    await w.quiet(0)
    await say(w, mathilda("and my back", id="wamid.79"))
    await asyncio.sleep(0.05)
    claimed = [claim for claim in await w.claim() if claim.thread_id == thread]
    assert claimed
    with pytest.raises(Busy, match="at a message"):
        await erase(w.pool, ANNA, address=NUMBER)
    await take_over(w.pool, ANNA, thread)
    with pytest.raises(Busy, match="at a message"):  # its engine may still write a draft
        await erase(w.pool, ANNA, address=NUMBER)
    await w.query(
        "UPDATE et_messages SET claimed_at = now() - interval '10 minutes' WHERE claimed_at IS NOT NULL"
    )
    await w.query(
        """UPDATE et_outbound_queue SET status = 'processing', lease_until = now() + interval '1 minute',
                                        claim_token = 1
            WHERE thread_id = %s AND status = 'queued'""",
        thread,
    )
    with pytest.raises(Busy, match="on its way"):
        await erase(w.pool, ANNA, address=NUMBER)
    assert await everywhere(w, "and my back") == {"et_messages": 1}


async def test_neither_an_alias_nor_an_echo_of_what_was_erased_comes_back(w: World, thread: int) -> None:
    """Both would make a lead or a thread before the row is refused."""
    await erase(w.pool, ANNA, address=NUMBER)
    echo = replace(mathilda("poor knee", id=f"true_{NUMBER}@c.us_X"), from_me=True)
    again = replace(mathilda(), aliases=("99887766@lid",))
    fresh = replace(mathilda("a fresh word", id="wamid.80"), aliases=("99887766@lid",))
    async with w.connection.transaction():
        arrived = await arrivals._store(w.connection, WAHA, Parsed(inbounds=(echo, again)))
    assert arrived == arrivals.Arrived()
    for secret in (*SECRETS, "99887766"):
        assert await everywhere(w, secret) == {}, secret
    async with w.connection.transaction():
        assert (await arrivals._store(w.connection, WAHA, Parsed(inbounds=(fresh,))))[0] == 1


async def test_who_is_not_known_and_who_may_not(w: World, thread: int) -> None:
    for arguments in ({"address": "+1 555 000 0000"}, {"lead_id": 999}, {"address": NUMBER, "tenant_id": 2}):
        with pytest.raises(NotFound):
            await preview(w.pool, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ReadOnly):
        await erase(w.pool, GUEST, address=NUMBER)
    assert await everywhere(w, "Mathilda")


async def test_the_audit_log_stays_append_only_otherwise(w: World, thread: int) -> None:
    import psycopg

    await erase(w.pool, ANNA, address=NUMBER)
    attempts: list[tuple[str, Any]] = [
        ("UPDATE et_audit_log SET note = %s", "x"),
        ("SELECT set_config('switchboard.erasure', 'on', false), %s", None),
        ("UPDATE et_audit_log SET actor = %s", "x"),
    ]
    for query, value in attempts:
        if query.startswith("SELECT"):
            await w.query(query, Jsonb(value))
            continue
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await w.query(query, value)
