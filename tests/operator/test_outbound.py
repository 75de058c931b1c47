"""Acts on sends: retry, resend, cancel, mark sent. What may have arrived is never sent again unasked."""

from __future__ import annotations

import pytest

from engine.model import OutboundStatus, Outcome
from engine.operator.audit import BadInput, ReadOnly, Refused
from engine.operator.outbound import (
    Act,
    SendFilter,
    act_on_matching,
    act_on_sends,
    cancel_send,
    count_sends,
    mark_sent,
    retry_send,
)
from engine.operator.reply import send_reply
from engine.operator.takeover import release, take_over
from tests.operator.world import ANNA, GUEST, World


async def rejected(w: World, sender: str = "bob") -> int:
    await w.answered(sender=sender)
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "failed", "rejected", error_class="permanent", error="no such number")
    return send.queue_id


async def test_a_failed_send_is_tried_again_from_the_start(w: World) -> None:
    queue_id = await rejected(w)
    await w.query("UPDATE et_outbound_queue SET attempts = 6")

    await retry_send(w.pool, ANNA, queue_id)

    send = await w.send(queue_id)
    assert (send["status"], send["outcome"], send["attempts"], send["error_class"]) == (
        "queued",
        None,
        0,
        None,
    )
    assert (send["send_started_at"], send["finished_at"]) == (None, None)
    message = await w.message(send["message_id"])
    assert (message["delivery_status"], message["reason"], message["last_error"]) == ("queued", None, None)
    again = await w.claim_send()
    assert again.queue_id == queue_id and again.attempts == 1
    assert await w.start(again)
    (audit,) = await w.audits()
    assert (audit["act"], audit["subject"]) == ("send.retry", f"send:{queue_id}")
    assert audit["before"][str(queue_id)]["outcome"] == "rejected"


async def test_an_unknown_outcome_needs_an_explicit_resend(w: World) -> None:
    queue_id = await w.unknown_send()
    with pytest.raises(Refused, match="may have arrived"):
        await retry_send(w.pool, ANNA, queue_id)
    assert (await w.send(queue_id))["status"] == "failed"
    await retry_send(w.pool, ANNA, queue_id, resend=True)
    assert (await w.send(queue_id))["status"] == "queued"
    assert (await w.audits())[0]["act"] == "send.resend"


async def test_what_a_takeover_cancelled_goes_out_after_the_hand_back_when_asked_for(w: World) -> None:
    done = await w.answered()
    assert done.queue_id is not None
    thread_id = (await w.send(done.queue_id))["thread_id"]
    await take_over(w.pool, ANNA, thread_id)
    with pytest.raises(Refused, match="anna answers thread"):
        await retry_send(w.pool, ANNA, done.queue_id)
    await release(w.pool, ANNA, thread_id)
    await retry_send(w.pool, ANNA, done.queue_id)
    assert await w.start(await w.claim_send()), "the dispatcher does not cancel it again"


async def test_what_a_person_wrote_can_be_tried_again_during_the_takeover(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    sent = await send_reply(w.pool, ANNA, thread_id, "hello")
    await cancel_send(w.pool, ANNA, sent.queue_id)
    await retry_send(w.pool, ANNA, sent.queue_id)
    assert await w.start(await w.claim_send())


@pytest.mark.parametrize("waiting", ["queued", "retry_scheduled"])
async def test_what_waits_can_be_cancelled(w: World, waiting: str) -> None:
    done = await w.answered()
    assert done.queue_id is not None and done.reply_id is not None
    if waiting == "retry_scheduled":
        send = await w.claim_send()
        await w.start(send)
        await w.record(send, "retry_scheduled", retry_seconds=60.0)
    await cancel_send(w.pool, ANNA, done.queue_id)
    row, message = await w.send(done.queue_id), await w.message(done.reply_id)
    assert (row["status"], row["outcome"]) == ("failed", "cancelled")
    assert (message["delivery_status"], message["reason"]) == ("failed", "cancelled.operator")
    assert (await w.audits())[0]["act"] == "send.cancel"


async def test_what_is_under_way_or_over_cannot_be_cancelled(w: World) -> None:
    await w.answered()
    send = await w.claim_send()
    with pytest.raises(Refused, match="being sent just now"):
        await cancel_send(w.pool, ANNA, send.queue_id)
    await w.start(send)
    await w.record(send, "sent", "confirmed", provider_message_id="x")
    with pytest.raises(Refused, match="it is sent already"):
        await cancel_send(w.pool, ANNA, send.queue_id)
    with pytest.raises(Refused, match="no such send"):
        await cancel_send(w.pool, ANNA, 999)


async def test_an_unknown_outcome_can_be_settled(w: World) -> None:
    queue_id = await w.unknown_send()
    await mark_sent(w.pool, ANNA, queue_id)
    send = await w.send(queue_id)
    assert (send["status"], send["outcome"]) == ("sent", "confirmed")
    message = await w.message(send["message_id"])
    assert (message["delivery_status"], message["sent_at"]) == ("sent", send["send_started_at"])
    with pytest.raises(Refused, match="it is sent"):
        await mark_sent(w.pool, ANNA, queue_id)


async def test_a_known_outcome_is_not_up_for_discussion(w: World) -> None:
    with pytest.raises(Refused, match="its outcome is known: rejected"):
        await mark_sent(w.pool, ANNA, await rejected(w))


async def test_bulk_acts_take_what_they_may(w: World) -> None:
    unknown = [await w.unknown_send(f"u{n}") for n in range(2)]
    refused = await rejected(w, "r")
    everything = SendFilter()
    assert await count_sends(w.pool, everything) == 3
    assert await count_sends(w.pool, SendFilter(outcome=Outcome.UNKNOWN)) == 2
    assert await count_sends(w.pool, SendFilter(status=frozenset({OutboundStatus.SENT}))) == 0
    for nothing in (
        SendFilter(channel="telegram"),
        SendFilter(account="x"),
        SendFilter(tenant_id=2),
        SendFilter(thread_id=999),
        SendFilter(error_class="rate"),
    ):
        assert await count_sends(w.pool, nothing) == 0, nothing

    acted = await act_on_matching(w.pool, ANNA, "retry", everything)

    assert acted.done == [refused]
    assert list(acted.skipped) == unknown
    (audit,) = await w.audits()
    assert audit["subject"] == f"send:{refused}"
    acted = await act_on_matching(w.pool, ANNA, "mark_sent", SendFilter(outcome=Outcome.UNKNOWN))
    assert acted.done == unknown
    assert (await w.audits())[1]["subject"] == "sends:2"
    with pytest.raises(BadInput):
        await act_on_matching(w.pool, ANNA, "mark_sent", SendFilter(outcome=Outcome.UNKNOWN))


@pytest.mark.parametrize("act", ["retry", "resend", "cancel", "mark_sent"])
async def test_a_guest_acts_on_no_send(w: World, act: Act) -> None:
    queue_id = await w.unknown_send()
    before = await w.send(queue_id)
    with pytest.raises(ReadOnly):
        await act_on_sends(w.pool, GUEST, act, [queue_id])
    with pytest.raises(ReadOnly):
        await act_on_matching(w.pool, GUEST, act, SendFilter())
    assert await w.send(queue_id) == before
    assert await w.audits() == []
