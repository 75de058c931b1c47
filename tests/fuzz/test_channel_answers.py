"""What channels' far ends answer to a send, a health check and a poll, in any shape: the outcome is by the rules."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given

from engine.channels.base import Channel, Outgoing, PollError, PollingChannel, SendError
from engine.demo.loopback import Reply
from engine.model import OutboundStatus, Outcome
from engine.outbound.holds import Holds
from engine.outbound.judge import Judge
from engine.outbound.queue import SendResult
from engine.outbound.retry import LONGEST_WAIT
from engine.sends import Send
from engine.settings import Settings, load_settings
from tests.channels.cases import CASES, Case
from tests.fuzz.far import HUGE, Far, replies, written
from tests.fuzz.profile import fuzz

JID = "4915199@c.us"
ANSWERS: dict[str, tuple[Any, ...]] = {
    "simulator": ({"id": "s1"}, {"error": {"code": "rate", "message": "Slower."}}),
    "telegram": (
        {"ok": True, "result": {"message_id": 5, "date": 1, "chat": {"id": 7001, "type": "private"}}},
        {
            "ok": True,
            "result": [{"update_id": 1, "message": {"message_id": 2, "chat": {"id": 3}, "text": "a"}}],
        },
        {"ok": True, "result": {"id": 1, "is_bot": True, "username": "b", "url": ""}},
        {"ok": False, "error_code": 429, "description": "Too Many", "parameters": {"retry_after": 7}},
        {"ok": False, "error_code": 400, "description": "upgraded", "parameters": {"migrate_to_chat_id": -1}},
        {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"},
    ),
    "whatsapp_cloud": (
        {"messaging_product": "whatsapp", "contacts": [{"wa_id": "1"}], "messages": [{"id": "wamid.x"}]},
        *(
            {
                "error": {
                    "message": "m",
                    "type": "OAuthException",
                    "code": code,
                    "error_data": {"details": "d"},
                }
            }
            for code in (131047, 131056, 130429, 190, 131026, 131000)
        ),
    ),
    "waha": (
        {"id": {"fromMe": True, "remote": JID, "id": "A", "_serialized": f"true_{JID}_A"}, "timestamp": 1},
        {"name": "default", "status": "WORKING", "me": {"id": JID}},
        {"statusCode": 422, "message": "Session status is not as expected", "status": "STOPPED"},
    ),
    "evolution": (
        {"key": {"remoteJid": "1@s.whatsapp.net", "fromMe": True, "id": "A"}, "status": "PENDING"},
        {"instance": {"instanceName": "i", "state": "open"}},
        {"status": 400, "error": "Bad Request", "response": {"message": [{"exists": False, "jid": JID}]}},
    ),
}


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    with Far.serving() as far:
        yield far


@pytest.fixture
def channel(far: Far, case: Case) -> Iterator[Channel]:
    channel = case.build(far.url)
    yield channel
    far.run(channel.aclose())


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@cache
def _settings() -> Settings:
    return load_settings()


async def judgement(case: Case, channel: Channel) -> SendResult:
    """One send through the channel and the dispatcher's judgement of it."""
    text = "We are open."
    now = datetime.now(UTC)
    send = Send(
        queue_id=7,
        message_id=77,
        token=1,
        attempts=1,
        author="ai",
        tenant_id=1,
        thread_id=1,
        lead_id=1,
        channel=case.name,
        account="default",
        text=text,
        address=case.to,
        reply_to=None,
        last_inbound_at=now,
        claimed_at=now,
    )
    judge = Judge(Holds(), _settings(), resumed=lambda: None, rng=random.Random(1))
    try:
        return judge.sent(send, await channel.send(Outgoing(77, 7, 1, "default", case.to, text), timeout=5))
    except SendError as error:
        check_wait(error)
        return judge.failed(send, error)


def judged(far: Far, case: Case, channel: Channel) -> SendResult:
    return far.run(judgement(case, channel))


def check_wait(error: SendError | PollError) -> None:
    """Whatever a far end asks for, it is asked again."""
    assert error.retry_after is None or 0 <= error.retry_after <= LONGEST_WAIT


def check(status: int, case: Case, result: SendResult) -> None:
    """The outcome that the rules give an answer with that status."""
    storable = [
        result.provider_message_id or "",
        result.error or "",
        result.error_class or "",
        *result.other_ids,
    ]
    for text in storable:
        text.encode()
        assert "\x00" not in text
        assert len(text) <= 1000
        assert not any(secret in text for secret in case.secrets)
    match result.status:
        case OutboundStatus.SENT | OutboundStatus.ACCEPTED:
            assert status < 300, "nobody said that it was taken"
            assert result.provider_message_id or result.status is OutboundStatus.ACCEPTED
        case OutboundStatus.RETRY_SCHEDULED:
            assert math.isfinite(result.retry_seconds)
            assert 0 <= result.retry_seconds <= LONGEST_WAIT * 1.5
            assert result.error
        case OutboundStatus.FAILED:
            assert result.outcome in (Outcome.UNKNOWN, Outcome.REJECTED)
            assert result.error
        case _:
            raise AssertionError(result)


def test_any_answer_to_a_send_has_an_outcome_by_the_rules(far: Far, case: Case, channel: Channel) -> None:
    @given(replies(*ANSWERS[case.name]))
    @example(Reply(200, HUGE))
    @example(Reply(200, b"<html>Just a moment</html>"))
    @fuzz(70)
    def hold(reply: Reply) -> None:
        far.reply, far.asked = reply, 0
        result = judged(far, case, channel)
        check(reply.status, case, result)
        assert far.asked <= 1, "it is never asked twice"

    hold()


@pytest.mark.parametrize(
    "body", [b"<html>", HUGE, b"", b"[1", b'"ok"', b"7"], ids=lambda body: repr(body[:6])
)
def test_an_unreadable_yes_is_neither_sent_nor_tried_again(
    far: Far, case: Case, channel: Channel, body: bytes
) -> None:
    """It went out and nobody can tell: a person decides."""
    far.reply = Reply(200, body)
    result = judged(far, case, channel)
    assert (result.status, result.outcome) == (OutboundStatus.FAILED, Outcome.UNKNOWN)


def test_any_answer_to_a_health_check_or_a_poll_is_survived(far: Far, case: Case, channel: Channel) -> None:
    @given(replies(*ANSWERS[case.name]))
    @example(Reply(200, HUGE))
    @fuzz(40)
    def hold(reply: Reply) -> None:
        far.reply = reply

        async def ask() -> None:
            health = await channel.health()
            assert health.state in {"up", "degraded", "down", "unknown"}
            health.model_dump_json()
            if isinstance(channel, PollingChannel):
                try:
                    await channel.poll(None, timeout=0.2)
                except PollError as error:
                    check_wait(error)

        far.run(ask())

    hold()


@pytest.mark.parametrize("wait", ["1e300", "9" * 12, "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_far_end_that_asks_for_ages_is_asked_again_within_a_day(
    far: Far, case: Case, channel: Channel, wait: str
) -> None:
    far.reply = Reply(429, b"{}", {"retry-after": wait})
    result = judged(far, case, channel)
    assert result.status is OutboundStatus.RETRY_SCHEDULED
    assert result.retry_seconds <= LONGEST_WAIT


def escaped(body: Any) -> bytes:
    """Letters within texts as JSON may write them, too."""
    return re.sub(r'"[^"]*"', lambda text: re.sub("[A-Za-z]", _escape, text[0]), json.dumps(body)).encode()


def _escape(letter: re.Match[str]) -> str:
    return f"\\u{ord(letter[0]):04x}"


@pytest.mark.parametrize("spelled", [written, escaped])
@pytest.mark.parametrize("status", [200, 400, 401, 429, 503])
def test_a_key_of_ours_that_the_far_end_quotes_is_passed_on_to_nobody(
    far: Far, case: Case, channel: Channel, status: int, spelled: Callable[[Any], bytes]
) -> None:
    keys = [secret for secret in case.secrets if "webhook" not in secret]
    said = f"no, not with {' or '.join(keys)}"
    for body in (
        {"ok": False, "error_code": status, "description": said},
        {"error": {"message": said, "code": 131000}},
        {"message": said, "id": keys and keys[0], "status": "STOPPED"},
        said,
    ):
        far.reply = Reply(status, spelled(body))
        check(status, case, judged(far, case, channel))
        health = far.run(channel.health())
        assert not any(key in health.model_dump_json() for key in keys)


def test_telegrams_yes_counts_with_a_good_status_only(far: Far) -> None:
    telegram = next(case for case in CASES if case.name == "telegram")
    channel = telegram.build(far.url)
    for status, outcome in ((200, Outcome.CONFIRMED), (502, Outcome.UNKNOWN)):
        far.reply = Reply(status, written(ANSWERS["telegram"][0]))
        assert judged(far, telegram, channel).outcome is outcome
    far.run(channel.aclose())
