"""Two claims of one row in the same batch: an engine that was cut off meets its own earlier self.

While the database is away, a send or a completion waits in its lane; its lease runs out, the same engine claims
the row again, and both go out in one statement. Only the newer claim may hear that it succeeded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.inbound import claims
from engine.inbound.claims import Claim, Completion
from engine.model import OutboundStatus, Outcome, TurnKind, TurnOutcome
from engine.outbound import queue
from engine.outbound.queue import SendResult
from engine.runtime.agent_runtime import TurnResult
from engine.sends import Send
from tests.operator.world import ENGINE, World, world


@pytest.fixture
async def w(dsn: str) -> AsyncIterator[World]:
    async with world(dsn) as whole:
        yield whole


async def claimed_twice(w: World) -> tuple[Send, Send]:
    """A send under its old and under its new claim."""
    await w.answered()
    old = await w.claim_send()
    await w.query("UPDATE et_outbound_queue SET lease_until = now() - interval '1 s'")
    await queue.rescue_sends(w.connection)
    new = await w.claim_send()
    assert (new.queue_id, new.token) == (old.queue_id, old.token + 1)
    return old, new


def completion(claim: Claim, outcome: TurnOutcome, **result: object) -> Completion:
    return Completion(
        claim=claim,
        result=TurnResult(outcome, started_at=claim.claimed_at, **result),  # type: ignore[arg-type]
        kind=TurnKind.LIVE,
        agent_id=1,
        agent_version=1,
        simulated=False,
        restartable=False,
        wasted=None,
        retry_seconds=0,
    )


@pytest.mark.parametrize("old_first", [True, False])
async def test_only_the_newer_claim_may_send(w: World, old_first: bool) -> None:
    old, new = await claimed_twice(w)
    batch = [old, new] if old_first else [new, old]
    started = await queue.start_sends(w.connection, ENGINE, batch)
    assert dict(zip(batch, started, strict=True)) == {old: False, new: True}


@pytest.mark.parametrize("old_first", [True, False])
async def test_only_the_newer_claim_is_recorded(w: World, old_first: bool) -> None:
    old, new = await claimed_twice(w)
    assert await w.start(new)
    late = SendResult(old.queue_id, old.token, OutboundStatus.FAILED, Outcome.REJECTED)
    good = SendResult(new.queue_id, new.token, OutboundStatus.SENT, Outcome.CONFIRMED)
    batch = [late, good] if old_first else [good, late]
    recorded = await queue.record_sends(w.connection, batch)
    assert dict(zip(batch, recorded, strict=True)) == {late: False, good: True}
    assert (await w.send(new.queue_id))["status"] == "sent"


@pytest.mark.parametrize("old_first", [True, False])
async def test_only_the_newer_claim_writes_its_turn(w: World, old_first: bool) -> None:
    message = await w.insert()
    old = await w.claim_one()
    await w.query("UPDATE et_threads SET lease_until = now() - interval '1 s' WHERE holder IS NOT NULL")
    await claims.rescue_turns(w.connection, max_attempts=5)
    new = await w.claim_one()
    stale = completion(
        old, TurnOutcome.TAKEOVER, reason="policy.human_requested", hand_over=True, opt_out=True
    )
    good = completion(new, TurnOutcome.REPLIED, text="Hello")
    batch = [stale, good] if old_first else [good, stale]
    done = await claims.complete_turns(w.connection, ENGINE, batch)
    outcomes = {id(item): result.result if result else None for item, result in zip(batch, done, strict=True)}
    assert outcomes == {id(stale): TurnOutcome.LOST_CLAIM, id(good): TurnOutcome.REPLIED}
    assert await w.status(message) == "inbound_ai_replied"
    thread = await w.thread(await w.thread_of(message))
    assert (thread["owner"], thread["holder"]) == ("ai", None), "the stale turn decides nothing"
    assert await w.query("SELECT id FROM et_leads WHERE opted_out_at IS NOT NULL") == []
    assert len(await w.query("SELECT id FROM et_outbound_queue")) == 1
