"""Every act, and what is told of a message, on a database that an older program has made and filled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from engine.database.connection import transaction
from engine.database.migrations import migrate
from engine.demo.far_end import FarEnd
from engine.model import OutboundStatus
from engine.observe.no_reply import why_no_reply
from engine.observe.timeline import turn_timeline
from engine.operator.dry_run import dry_run
from engine.operator.outbound import SendFilter, act_on_matching
from engine.operator.phone import take_over_from_phone
from engine.operator.rehearsal import rehearsal
from engine.operator.replay import MessageFilter, ReplayFilter, matching, requeue_filter
from engine.operator.reply import accept_draft, send_reply
from engine.operator.takeover import release, take_over
from engine.operator.what_if_estimate import estimate
from engine.settings import load_settings
from tests.operator.world import ANNA, World, world
from tests.support.postgres import Server

OLDER = """
CREATE TABLE et_messages (
    id serial PRIMARY KEY, tenant_id integer NOT NULL, lead_id integer, thread_id integer,
    channel varchar NOT NULL, direction varchar NOT NULL, text_content varchar, raw_payload json,
    delivery_status varchar NOT NULL, created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now());
CREATE TABLE et_outbound_queue (
    id serial PRIMARY KEY, message_id integer NOT NULL, status varchar(32) NOT NULL DEFAULT 'queued',
    attempts integer NOT NULL DEFAULT 0, next_attempt_at timestamp DEFAULT now(), last_error varchar,
    created_at timestamp DEFAULT now(), updated_at timestamp DEFAULT now());
"""


@pytest.fixture
async def w(embedded: Server) -> AsyncIterator[World]:
    name = embedded.empty_database()
    with psycopg.connect(embedded.dsn(name), autocommit=True) as connection:
        connection.execute(OLDER.encode())
    assert migrate(embedded.dsn(name)).ok
    async with world(embedded.dsn(name)) as made:
        yield made
    embedded.drop(name)


async def test_every_act_works_on_columns_of_older_types(w: World, tmp_path: Path) -> None:
    message_id = await w.failed()
    assert "failed to answer" in await why_no_reply(w.pool, message_id)
    assert (await requeue_filter(w.pool, ANNA, ReplayFilter())).done == [message_id]
    claim = await w.claim_one()
    await take_over(w.pool, ANNA, claim.thread_id)
    await w.complete(claim)
    turn = await w.one("SELECT id FROM et_turns WHERE outcome = 'drafted'")
    await accept_draft(w.pool, ANNA, turn["id"])
    await send_reply(w.pool, ANNA, claim.thread_id, "hello")
    queued = SendFilter(status=frozenset({OutboundStatus.QUEUED}))
    assert (await act_on_matching(w.pool, ANNA, "cancel", queued)).count == 2
    assert (await act_on_matching(w.pool, ANNA, "retry", SendFilter())).count == 2
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "failed", "unknown", error="timeout")
    assert (await act_on_matching(w.pool, ANNA, "mark_sent", SendFilter())).done == [send.queue_id]
    assert "A person replied" in await why_no_reply(w.pool, message_id)
    found = await turn_timeline(w.pool, message_id)
    assert found is not None
    assert [span.name for span in found.spans] == [
        *("waiting", "policy", "waiting", "policy", "with a person", "queued", "sending")
    ]
    async with transaction(w.pool) as connection:
        assert (
            await take_over_from_phone(connection, claim.thread_id, "me", provider_message_id="p") is not None
        )
    waiting = await w.insert("and now?")
    assert (await release(w.pool, ANNA, claim.thread_id, answer_waiting=True)).answered_by_ai == 1
    with FarEnd() as far:
        settings = load_settings(
            data_dir=tmp_path, uniapi_base_url=far.uniapi_url, uniapi_api_key="a-long-key"
        )
        async with rehearsal(w.pool, settings) as runner:
            run = await dry_run(w.pool, ANNA, runner, waiting)
    assert run.new.outcome == "replied"
    assert (await estimate(w.pool, await matching(w.pool, MessageFilter()))).known == 1
