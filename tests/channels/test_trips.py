"""Whole trips through the real channels: from the far end's own request to its own API, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime

import pytest

from engine import polling
from engine.supervisor import engine as supervisor
from tests.channels.cases import PREVIOUS, RETIRED
from tests.channels.world import World, body, settle, world
from tests.support.postgres import Server

BY_WEBHOOK = ["telegram by webhook", "whatsapp_cloud", "waha", "evolution"]
WITH_RECEIPTS = ["whatsapp_cloud", "waha", "evolution"]
AT = 1_772_366_400  # 2026-03-01 12:00 UTC


@pytest.fixture(scope="module", autouse=True)
def _impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "RECEIPTS_SECONDS", 0.2)
        patch.setattr(polling, "TRY_LOCK_SECONDS", 0.2)
        patch.setattr(polling, "AFTER_TROUBLE_SECONDS", 0.2)
        patch.setattr(polling, "AFTER_NOTHING_SECONDS", 0.05)
        yield


@pytest.fixture(scope="module")
def worlds(embedded: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], World]]:
    """The engine of each channel, which all tests share that leave it as it was."""
    with ExitStack() as stack:
        running: dict[str, World] = {}

        def of(kind: str) -> World:
            if kind not in running:
                dsn = embedded.dsn(embedded.migrated_database())
                running[kind] = stack.enter_context(world(kind, dsn, tmp_path_factory.mktemp("data")))
            return running[kind]

        yield of


@pytest.fixture
def here(request: pytest.FixtureRequest, worlds: Callable[[str], World]) -> Iterator[World]:
    shared = worlds(request.param)
    yield shared
    shared.reset()


def through(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("here", kinds, indirect=True)


@through("telegram", *BY_WEBHOOK)
def test_a_message_is_answered_once_however_often_it_comes(here: World) -> None:
    message = here.message("Are you open?")
    here.deliver(message)
    stored = here.trip.until(here.inbound)[0]
    reply = here.trip.until_sent(stored["id"])
    assert (stored["text_content"], stored["raw_payload"]["from"]) == ("Are you open?", here.customer)
    (arrived,) = here.far.arrived
    assert (arrived.to, arrived.text) == (here.case.arrives_at, reply["text_content"])
    assert reply["provider_message_id"]
    here.deliver(message, **({} if here.kind == "telegram" else {"secret": PREVIOUS}))
    settle()
    assert len(here.inbound()) == 1
    assert len(here.far.arrived) == 1
    assert "evolution-key" not in str(stored["raw_payload"])


@through(*BY_WEBHOOK)
def test_what_is_not_the_far_ends_stores_nothing(here: World) -> None:
    message = here.message("Are you open?")
    assert here.post(message, secret=None) in (401, 403)
    assert here.post(message, secret=RETIRED) in (401, 403)
    assert here.post(message, path="/nobody") == 404
    assert here.trip.query("SELECT FROM et_messages") == []
    assert here.trip.query("SELECT FROM et_intake_quarantine") == []


@through(*WITH_RECEIPTS)
def test_receipts_move_a_message_forward_only(here: World) -> None:
    sent = here.converse()
    assert sent["delivery_status"] == "accepted"
    provider_id = sent["provider_message_id"]
    for status, at in (("read", AT + 9), ("delivered", AT + 5), ("sent", AT + 1)):
        here.deliver(here.receipt(provider_id, status, at))
    row = here.trip.message(sent["id"])
    assert row["delivery_status"] == "sent"
    told: list[datetime] = [row["delivered_at"], row["read_at"]]
    assert [int(at.timestamp()) for at in told] == [AT + 5, AT + 9]
    here.deliver(here.receipt(provider_id, "failed", AT + 11))
    assert here.trip.message(sent["id"])["delivery_status"] == "sent"


@through(*WITH_RECEIPTS)
def test_a_failure_told_by_receipt_fails_the_message(here: World) -> None:
    sent = here.converse()
    here.deliver(here.receipt(sent["provider_message_id"], "failed", AT))
    row = here.send()
    assert (row["status"], row["outcome"]) == ("failed", "rejected")
    assert here.trip.message(sent["id"])["reason"] == "receipt.failed"
    assert here.thread()["owner"] == "ai"


@through(*WITH_RECEIPTS)
def test_the_phone_takes_over_and_our_echo_does_not(here: World) -> None:
    sent = here.converse()
    if here.channel != "whatsapp_cloud":  # which echoes only what the app sent
        here.deliver(here.own(sent["text_content"], sent["provider_message_id"], echo=True))
        here.deliver(here.own(sent["text_content"], "SEEN-BEFORE-ITS-ID", echo=True))
    assert here.thread()["owner"] == "ai"
    typed = here.own("I'll take over", "TYPED1", echo=False)
    here.deliver(typed)
    here.deliver(typed)
    assert here.thread()["owner"] == "human"
    rows = here.trip.query("SELECT text_content FROM et_messages WHERE author = 'human'")
    assert [row["text_content"] for row in rows] == ["I'll take over"]
    here.deliver(here.message("And tomorrow?", 2))
    here.trip.until_status(here.inbound()[1]["id"], "inbound_human_takeover")
    assert len(here.far.arrived) == 1


@through("waha", "evolution")
def test_lid_and_number_are_one_conversation(here: World) -> None:
    here.converse()
    lid = body(here.channel, "lid_with_number" if here.channel == "waha" else "lid")
    if here.channel == "waha":
        lid["payload"]["id"] = "false_998877@lid_LID1"
    else:
        lid["data"]["key"]["id"] = "LID1"
    here.deliver(lid)
    if here.channel == "waha":  # later messages name the LID alone
        lid["payload"] |= {"id": "false_998877@lid_LID2", "_data": {}}
    else:
        lid["data"]["key"] = {"remoteJid": "998877@lid", "fromMe": False, "id": "LID2"}
    here.deliver(lid)
    assert len(here.inbound()) == 3
    assert here.trip.one("SELECT count(DISTINCT thread_id) AS n FROM et_messages")["n"] == 1


@through("waha")
def test_a_lid_that_waha_can_look_up_is_one_conversation(here: World) -> None:
    here.far.lids["998877@lid"] = "4915199@c.us"
    lid = body("waha", "lid_alone")
    lid["payload"]["id"] = "false_998877@lid_LID1"
    here.deliver(lid)
    here.deliver(here.message("By number now", 2))
    assert here.trip.one("SELECT count(DISTINCT thread_id) AS n FROM et_messages")["n"] == 1


@through(*WITH_RECEIPTS, "telegram")
def test_nothing_of_unknown_outcome_is_sent_again(here: World) -> None:
    here.far.next("reset")
    here.deliver(here.message("Are you open?"))
    row = here.until_send(outcome="unknown")
    if here.channel == "whatsapp_cloud":
        (arrived,) = here.far.arrived
        ours = int(arrived.body["biz_opaque_callback_data"])
        assert ours == row["message_id"]
        here.deliver(here.receipt("wamid.LOST", "delivered", AT, ours))
        settled = here.until_send(outcome="confirmed")
        assert (settled["status"], settled["provider_message_id"]) == ("sent", "wamid.LOST")
    settle()
    assert len(here.far.arrived) == 1
    if here.channel != "whatsapp_cloud":
        assert here.send()["outcome"] == "unknown"


@through("whatsapp_cloud")
def test_a_refusal_told_by_receipt_settles_an_unknown_outcome(here: World) -> None:
    here.far.next("reset")
    here.deliver(here.message("Are you open?"))
    row = here.until_send(outcome="unknown")
    here.deliver(here.receipt("wamid.LOST", "failed", AT, row["message_id"]))
    assert here.send()["outcome"] == "rejected"


@through("whatsapp_cloud")
def test_a_receipt_of_an_earlier_try_says_nothing_of_a_later_one(here: World) -> None:
    sent = here.converse()
    here.deliver(here.receipt("wamid.EARLIER", "failed", AT, sent["id"]))
    assert here.send()["status"] == "accepted"


@through("whatsapp_cloud")
def test_a_long_text_is_settled_by_its_last_part_only(here: World) -> None:
    here.converse()
    here.far.arrived.clear()
    here.far.next("ok", "reset")
    here.say("Long. " * 900)
    row = here.until_send(outcome="unknown")
    first, last = (arrived.body for arrived in here.far.arrived)
    assert "biz_opaque_callback_data" not in first
    (earlier,) = row["other_provider_ids"]
    here.deliver(here.receipt(earlier, "delivered", AT))
    assert here.send()["outcome"] == "unknown"
    here.deliver(here.receipt("wamid.LAST", "sent", AT, int(last["biz_opaque_callback_data"])))
    assert here.send()["outcome"] == "confirmed"


@pytest.mark.parametrize("order", ["failed first", "failed last", "before the send is recorded"])
@through("whatsapp_cloud")
def test_a_part_of_a_long_text_that_fails_fails_the_message(here: World, order: str) -> None:
    here.converse()
    here.far.arrived.clear()
    message_id = here.say("Long. " * 900)
    row = here.until_send(message_id=message_id, status="accepted")
    (earlier,) = row["other_provider_ids"]
    failed = here.receipt(earlier, "failed", AT)
    failed["entry"][0]["changes"][0]["value"]["statuses"][0]["errors"] = [{"code": 131026, "title": "No"}]
    if order == "before the send is recorded":
        here.trip.connection.execute(
            "UPDATE et_outbound_queue SET other_provider_ids = NULL WHERE id = %s", [row["id"]]
        )
        here.deliver(failed)
        here.trip.connection.execute(
            "UPDATE et_outbound_queue SET other_provider_ids = %s WHERE id = %s",
            [json.dumps([earlier]), row["id"]],
        )
        row = here.until_send(status="failed")
    elif order == "failed first":
        here.deliver(failed)
        here.deliver(here.receipt(row["provider_message_id"], "sent", AT))
        row = here.send()
    else:
        here.deliver(here.receipt(row["provider_message_id"], "sent", AT))
        here.deliver(here.receipt(earlier, "read", AT))
        here.deliver(failed)
        assert here.send()["status"] == "sent", "what has left cannot be unsent, but it is told"
    message = here.trip.message(message_id)
    assert "a part of this text did not arrive: 131026" in message["last_error"]
    assert message["reason"] == "receipt.failed"
    assert message["read_at"] is None
    if order != "failed last":
        assert (row["status"], row["outcome"], row["error_class"]) == ("failed", "rejected", "receipt")
    assert here.trip.query("SELECT FROM et_pending_receipts") == []


@through("evolution")
def test_the_earlier_parts_of_a_long_text_are_no_takeover(here: World) -> None:
    sent = here.converse()
    here.trip.connection.execute(
        "UPDATE et_outbound_queue"
        "   SET other_provider_ids = '[\"PART1\"]', send_started_at = now() - interval '1 h'"
    )
    here.deliver(here.own("The first part", "PART1", echo=True))
    assert here.thread()["owner"] == "ai"
    here.deliver(here.own(sent["text_content"], "TYPED1", echo=False))
    assert here.thread()["owner"] == "human"


@pytest.mark.parametrize("told", ["before", "by the answer", "by receipt"])
@through("whatsapp_cloud")
def test_a_closed_window_fails_the_message_and_a_person_takes_over(here: World, told: str) -> None:
    if told == "by the answer":
        here.far.error = (400, 131047)
    if told == "before":
        here.far.error = (503, 131016)  # not taken, tried again later …
        here.deliver(here.message("Are you open?"))
        here.until_send(error_class="transient")
        here.trip.connection.execute("UPDATE et_threads SET last_inbound_at = now() - interval '25 h'")
        here.far.error = None  # … when the window has closed
    else:
        here.deliver(here.message("Are you open?"))
    if told == "by receipt":
        late = body("whatsapp_cloud", "statuses")
        value = late["entry"][0]["changes"][0]["value"]
        value["statuses"] = [value["statuses"][2]]
        value["statuses"][0]["id"] = here.until_send(status="accepted")["provider_message_id"]
        here.deliver(late)
    row = here.until_send(status="failed")
    assert row["outcome"] == "rejected"
    here.trip.until(lambda: here.thread()["owner"] == "human")
    assert len(here.far.arrived) == (told == "by receipt")
    audit = here.trip.query("SELECT * FROM et_audit_log WHERE act = 'takeover'")[-1]
    assert (audit["actor"], audit["subject"]) == ("dispatcher", f"thread:{here.thread()['id']}")
    assert (audit["before"]["owner"], audit["after"]["owner"]) == ("ai", "human")
    assert audit["after"]["message_id"] == row["message_id"]
    assert audit["origin"]
    assert "24 h" in audit["note"] or "24 hours" in audit["note"]
    here.far.error = None


@through("telegram", "telegram by webhook", "waha", "evolution")
def test_an_edited_message_is_answered_as_it_reads_now(here: World) -> None:
    here.trip.quiet(1.5)
    try:
        here.deliver(here.message("Are you open on Sundy?"))
        first = here.trip.until(here.inbound)[0]
        here.deliver(here.edit("Are you open on Sunday?"))
        here.trip.until(lambda: here.inbound()[0]["text_content"] == "Are you open on Sunday?")
        here.trip.until_sent(first["id"])
    finally:
        here.trip.quiet(0)
    asked = str(here.trip.llm.uniapi.calls[-1].body)
    assert "Are you open on Sunday?" in asked
    assert "Sundy" not in asked
    here.deliver(here.edit("old news", at=1_771_509_600))
    here.deliver(here.edit("Are you open on Monday?", at=1_771_509_720))
    here.trip.until(lambda: here.inbound()[0]["text_content"] == "Are you open on Monday?")
    (row,) = here.inbound()
    assert row["raw_payload"]["text_before_edit"] == "Are you open on Sundy?"
    assert row["delivery_status"] == "inbound_ai_replied", "what was answered is not answered again"
    assert len(here.far.arrived) == 1
