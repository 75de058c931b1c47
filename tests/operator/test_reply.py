"""What a person says: replies, drafts, notes, canned replies, and words typed on the phone."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from engine.database.connection import transaction
from engine.model import TurnOutcome
from engine.operator.audit import BadInput, NotFound, Operator, ReadOnly, Refused
from engine.operator.canned import delete_canned, list_canned, save_canned
from engine.operator.phone import take_over_from_phone
from engine.operator.reply import accept_draft, add_note, send_reply
from engine.operator.takeover import NotOwned, take_over
from tests.operator.world import ANNA, GUEST, World


async def test_a_reply_is_stored_queued_announced_and_sent(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    await w.query("LISTEN et_outbound")

    sent = await send_reply(w.pool, ANNA, thread_id, "  Hello\x00 Bob \n")

    message, send = await w.message(sent.message_id), await w.send(sent.queue_id)
    thread = await w.thread(thread_id)
    assert (message["text_content"], message["author"], message["delivery_status"]) == (
        "Hello Bob",
        "human",
        "queued",
    )
    assert message["raw_payload"] == {"operator": "anna"}
    assert (message["lead_id"], message["account"], message["thread_id"]) == (
        thread["lead_id"],
        "default",
        thread_id,
    )
    assert (send["author"], send["thread_epoch"], send["message_id"]) == (
        "human",
        thread["epoch"],
        sent.message_id,
    )
    assert thread["last_message_at"] == message["created_at"]
    heard = [notice.payload async for notice in w.connection.notifies(timeout=1, stop_after=1)]
    assert heard == [str(sent.queue_id)]
    claimed = await w.claim_send()
    assert (claimed.queue_id, claimed.text) == (sent.queue_id, "Hello Bob")
    assert await w.start(claimed)
    (audit,) = await w.audits("reply")
    assert (audit["subject"], audit["after"]["message_id"]) == (f"thread:{thread_id}", sent.message_id)


async def test_the_ai_s_thread_is_taken_over_first(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    with pytest.raises(NotOwned, match="Take it over first"):
        await send_reply(w.pool, ANNA, thread_id, "hello")
    assert await w.query("SELECT id FROM et_messages WHERE direction = 'outbound'") == []


@pytest.mark.parametrize("text", ["", " \n\t ", "\x00", "\u200b\u2060", "x" * 20_001])
async def test_an_unreadable_reply_is_refused(w: World, text: str) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    with pytest.raises(BadInput):
        await send_reply(w.pool, ANNA, thread_id, text)
    assert await w.audits("reply") == []


async def test_a_thread_handed_over_by_a_rule_gets_its_operator_with_the_first_reply(w: World) -> None:
    message_id = await w.insert("a human please")
    await w.complete(
        await w.claim_one(), TurnOutcome.TAKEOVER, reason="policy.human_requested", hand_over=True
    )
    thread_id = await w.thread_of(message_id)
    assert (await w.thread(thread_id))["operator"] is None
    await send_reply(w.pool, ANNA, thread_id, "here I am")
    await send_reply(w.pool, Operator("ben", "desk"), thread_id, "me too")
    thread = await w.thread(thread_id)
    assert (thread["operator"], thread["auto_release_at"]) == ("anna", None)


async def test_a_reply_and_its_audit_row_are_one_commit(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    await w.query("ALTER TABLE et_audit_log ADD CONSTRAINT no_replies CHECK (act <> 'reply')")
    with pytest.raises(Refused):
        await send_reply(w.pool, ANNA, thread_id, "hello")
    assert await w.query("SELECT id FROM et_outbound_queue") == []
    assert await w.query("SELECT id FROM et_messages WHERE direction = 'outbound'") == []


# Drafts


async def drafted(w: World) -> tuple[int, int]:
    """A turn that a takeover has made a draft; its thread and id."""
    await w.insert()
    claim = await w.claim_one()
    await take_over(w.pool, ANNA, claim.thread_id)
    await w.complete(claim, text=" the draft ")
    return claim.thread_id, int((await w.one("SELECT id FROM et_turns"))["id"])


async def test_a_draft_is_sent_once_as_the_person_s_reply(w: World) -> None:
    thread_id, turn_id = await drafted(w)
    sent = await accept_draft(w.pool, ANNA, turn_id)
    message = await w.message(sent.message_id)
    assert (message["text_content"], message["author"]) == ("the draft", "human")
    assert message["raw_payload"] == {"operator": "anna", "turn_id": turn_id, "edited": False}
    assert (await w.one("SELECT reply_message_id AS id FROM et_turns"))["id"] == sent.message_id
    with pytest.raises(Refused, match=f"sent as message {sent.message_id}"):
        await accept_draft(w.pool, ANNA, turn_id)
    (audit,) = await w.audits("draft.accept")
    assert (audit["subject"], audit["after"]["edited"]) == (f"thread:{thread_id}", False)


async def test_a_draft_can_be_edited(w: World) -> None:
    _, turn_id = await drafted(w)
    sent = await accept_draft(w.pool, ANNA, turn_id, "better")
    message = await w.message(sent.message_id)
    assert (message["text_content"], message["raw_payload"]["edited"]) == ("better", True)


async def test_a_draft_of_an_owned_thread_needs_its_owner(w: World) -> None:
    thread_id, turn_id = await drafted(w)
    await w.query("UPDATE et_threads SET owner = 'ai', epoch = epoch + 1 WHERE id = %s", thread_id)
    with pytest.raises(NotOwned):
        await accept_draft(w.pool, ANNA, turn_id)


async def test_a_suggestion_is_sent_without_a_takeover(w: World) -> None:
    message_id = await w.insert()
    claim = await w.claim_one()
    await w.complete(claim, TurnOutcome.TAKEOVER, reason="suggested", text="I suggest this")
    assert (await w.thread(claim.thread_id))["owner"] == "ai"
    turn = await w.one("SELECT id FROM et_turns WHERE message_id = %s", message_id)
    sent = await accept_draft(w.pool, ANNA, turn["id"])
    send = await w.claim_send()
    assert (send.queue_id, send.text) == (sent.queue_id, "I suggest this")
    assert await w.start(send)
    thread = await w.thread(claim.thread_id)
    assert (thread["owner"], thread["operator"]) == ("ai", None)


async def test_no_draft_no_reply(w: World) -> None:
    await w.failed()
    turn = await w.one("SELECT id FROM et_turns")
    with pytest.raises(Refused, match="left no draft"):
        await accept_draft(w.pool, ANNA, turn["id"])
    with pytest.raises(NotFound):
        await accept_draft(w.pool, ANNA, 999)


# Notes and canned replies


async def test_notes_are_kept_with_the_thread_and_never_sent(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    note = await add_note(w.pool, ANNA, thread_id, "call back on Monday")
    row = await w.one("SELECT * FROM et_notes")
    assert (row["id"], row["author"], row["text_content"]) == (note, "anna", "call back on Monday")
    assert await w.query("SELECT id FROM et_outbound_queue") == []
    (audit,) = await w.audits("note")
    assert audit["after"] == {"note_id": note}
    with pytest.raises(BadInput):
        await add_note(w.pool, ANNA, thread_id, " ")
    with pytest.raises(NotFound):
        await add_note(w.pool, ANNA, 999, "hello")


async def test_canned_replies_are_saved_replaced_listed_and_deleted(w: World) -> None:
    first = await save_canned(w.pool, ANNA, 1, "/hours", "We are open 9 to 17.")
    second = await save_canned(w.pool, ANNA, 1, "hours", "We are open 9 to 18.")
    await save_canned(w.pool, ANNA, 1, "address", "Main street 1")
    assert first.id == second.id
    assert [(c.shortcut, c.text) for c in await list_canned(w.pool, 1)] == [
        ("address", "Main street 1"),
        ("hours", "We are open 9 to 18."),
    ]
    assert await list_canned(w.pool, 2) == []
    await delete_canned(w.pool, ANNA, 1, "hours")
    with pytest.raises(NotFound):
        await delete_canned(w.pool, ANNA, 1, "hours")
    created, replaced, _ = await w.audits("canned.save")
    assert created["before"] is None
    assert replaced["before"]["text"] == "We are open 9 to 17."
    assert (await w.audits("canned.delete"))[0]["before"]["shortcut"] == "hours"
    for shortcut in ("", "two words", "-x", "x" * 41):
        with pytest.raises(BadInput):
            await save_canned(w.pool, ANNA, 1, shortcut, "text")
    with pytest.raises(NotFound, match="Tenant 7"):
        await save_canned(w.pool, ANNA, 7, "hours", "text")


async def test_a_guest_says_nothing(w: World) -> None:
    thread_id, turn_id = await drafted(w)
    acts = (
        send_reply(w.pool, GUEST, thread_id, "hello"),
        accept_draft(w.pool, GUEST, turn_id),
        add_note(w.pool, GUEST, thread_id, "hello"),
        save_canned(w.pool, GUEST, 1, "x", "hello"),
        delete_canned(w.pool, GUEST, 1, "x"),
    )
    before = len(await w.audits())
    for act in acts:
        with pytest.raises(ReadOnly):
            await act
    assert len(await w.audits()) == before


# The phone


async def test_words_from_the_phone_take_the_thread_over(w: World) -> None:
    message_id = await w.insert()
    claim = await w.claim_one()
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    async with transaction(w.pool) as connection:
        reply = await take_over_from_phone(
            connection, claim.thread_id, "I'll do it", provider_message_id="p1", at=at, raw={"from": "bob"}
        )
    assert reply is not None
    assert reply.took_over
    thread = await w.thread(claim.thread_id)
    assert (thread["owner"], thread["operator"]) == ("human", "phone")
    assert thread["auto_release_at"] is not None
    stored = await w.message(reply.message_id)
    assert (stored["author"], stored["delivery_status"], stored["text_content"]) == (
        "human",
        "sent",
        "I'll do it",
    )
    assert (stored["provider_message_id"], stored["provider_timestamp"]) == ("p1", at)
    assert stored["sent_at"] is not None
    parked = await w.message(message_id)
    assert (parked["delivery_status"], parked["reason"]) == ("inbound_human_takeover", "takeover.phone")
    done = await w.complete(claim)
    assert done is not None and done.result is TurnOutcome.DRAFTED
    (audit,) = await w.audits()
    assert (audit["act"], audit["actor"]) == ("takeover", "phone")


async def test_words_from_the_phone_leave_the_operator_who_has_it(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id, auto_release_minutes=1)
    before = await w.thread(thread_id)
    async with transaction(w.pool) as connection:
        reply = await take_over_from_phone(connection, thread_id, "on my way", provider_message_id="p1")
        again = await take_over_from_phone(connection, thread_id, "on my way", provider_message_id="p1")
    assert reply is not None
    assert not reply.took_over
    assert again is None, "the provider tells things twice"
    after = await w.thread(thread_id)
    assert (after["operator"], after["epoch"]) == ("anna", before["epoch"])
    assert after["auto_release_at"] > before["auto_release_at"]
    assert len(await w.audits("reply.phone")) == 1


@pytest.mark.parametrize("recorded", [False, True], ids=["in flight", "recorded"])
async def test_our_own_echo_is_no_takeover(w: World, recorded: bool) -> None:
    long = "A long answer. " * 40
    await w.insert()
    await w.complete(await w.claim_one(), text=long)
    send = await w.claim_send()
    await w.start(send)
    assert send.thread_id is not None
    echoes = [(long, "its id is not known yet"), (long[:300], "its first part")]
    if recorded:
        await w.record(send, "sent", "confirmed", provider_message_id="last")
        echoes.append(("as the provider wrote it", "last"))
    async with transaction(w.pool) as connection:
        for text, name in echoes:
            echo = await take_over_from_phone(connection, send.thread_id, text, provider_message_id=name)
            assert echo is None, name
    assert (await w.thread(send.thread_id))["owner"] == "ai"
    assert await w.audits() == []


async def test_the_same_words_by_hand_or_much_later_are_a_takeover(w: World) -> None:
    await w.answered()
    send = await w.claim_send()
    await w.start(send)
    assert send.thread_id is not None and send.text is not None
    async with transaction(w.pool) as connection:
        by_hand = await take_over_from_phone(connection, send.thread_id, send.text, by_hand=True)
        assert by_hand is not None and by_hand.took_over
        raise psycopg.Rollback
    await w.query("UPDATE et_outbound_queue SET send_started_at = now() - interval '3 minutes'")
    async with transaction(w.pool) as connection:
        later = await take_over_from_phone(connection, send.thread_id, send.text)
    assert later is not None and later.took_over


async def test_short_words_are_no_echo_of_a_long_text_that_holds_them(w: World) -> None:
    await w.insert()
    await w.complete(await w.claim_one(), text="Is that ok for you? " * 20)
    send = await w.claim_send()
    await w.start(send)
    assert send.thread_id is not None
    async with transaction(w.pool) as connection:
        reply = await take_over_from_phone(connection, send.thread_id, "ok", provider_message_id="p9")
    assert reply is not None and reply.took_over
