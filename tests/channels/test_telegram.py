"""Telegram's own ways: long polling and its offset, who else may hold the bot, quoting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from engine.channel_accounts import TelegramAccount
from engine.channels.base import (
    ChallengedChannel,
    Outgoing,
    PollError,
    PollingChannel,
    SendError,
    SendFailure,
)
from engine.channels.telegram import TelegramChannel
from engine.demo.loopback import Fault, Reply
from tests.support.far_ends.telegram import TOKEN, USERNAME, TelegramService, failure


@pytest.fixture
def far() -> Iterator[TelegramService]:
    with TelegramService() as running:
        yield running


@pytest.fixture
async def bot(far: TelegramService) -> AsyncIterator[TelegramChannel]:
    channel = TelegramChannel(TelegramAccount(bot_token=SecretStr(TOKEN), api_base=far.base_url))
    yield channel
    await channel.aclose()


def update(number: int, text: str = "hi", **more: Any) -> dict[str, Any]:
    chat = {"id": 7001, "type": "private"}
    message = {
        "message_id": number,
        "chat": chat,
        "from": {"first_name": "Ada"},
        "date": 1771509600,
        "text": text,
    }
    return {"update_id": number, "message": message | more}


async def poll_error(bot: TelegramChannel) -> PollError:
    with pytest.raises(PollError) as caught:
        await bot.poll(None, timeout=0)
    return caught.value


async def test_polling_goes_on_from_the_offset(far: TelegramService, bot: TelegramChannel) -> None:
    far.updates = [update(number) for number in range(11, 14)]
    first = await bot.poll(None, timeout=0)
    assert [one.provider_message_id for one in first.parsed.inbounds] == [
        "123456:7001:11",
        "123456:7001:12",
        "123456:7001:13",
    ]
    assert first.next_offset == 14
    far.updates.append(update(14))
    second = await bot.poll(first.next_offset, timeout=0)
    assert [one.raw["message_id"] for one in second.parsed.inbounds] == [14]
    third = await bot.poll(second.next_offset, timeout=0)
    assert (third.parsed.inbounds, third.next_offset) == ((), 15)
    asked = far.requests[1].json()
    assert (asked["offset"], asked["limit"], asked["allowed_updates"]) == (
        14,
        100,
        ["message", "edited_message"],
    )


async def test_an_update_that_cannot_be_read_does_not_stop_the_queue(
    far: TelegramService, bot: TelegramChannel
) -> None:
    far.updates = [{"update_id": 20, "message": "?"}, update(21), {"update_id": 22, "channel_post": {}}]
    far.updates.append({"update_id": 10**30})
    found, offset = await bot.poll(None, timeout=0)
    assert (len(found.inbounds), len(found.quarantined), found.ignored, offset) == (1, 2, 1, 23)


async def test_a_second_poller_and_a_webhook_are_named(far: TelegramService, bot: TelegramChannel) -> None:
    text = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
    far.poll_failure = failure(409, text)
    other = (await poll_error(bot)).blocker
    far.poll_failure, far.webhook_url = None, "https://example.org/hook"
    hook = (await poll_error(bot)).blocker
    assert other is not None
    assert "Another program" in other.what
    assert hook is not None
    assert "deleteWebhook" in hook.remedy
    assert (await bot.health()).blocker == hook


@pytest.mark.parametrize(
    ("answer", "retry_after", "blocker"),
    [
        (failure(429, "Too Many Requests: retry after 9", retry_after=9), 9, None),
        (failure(401, "Unauthorized"), None, "channel.auth"),
        (failure(500, "Internal Server Error"), None, None),
        (Reply(502, b"<html>Bad Gateway</html>"), None, None),
        (Reply(200, b'{"ok": true, "result": "?"}'), None, None),
        (Reply(fault=Fault.RESET), None, None),
    ],
    ids=["rate", "auth", "500", "502", "odd", "reset"],
)
async def test_a_failed_poll_says_what_to_do(
    far: TelegramService, bot: TelegramChannel, answer: Reply, retry_after: float | None, blocker: str | None
) -> None:
    far.poll_failure = answer
    error = await poll_error(bot)
    assert error.retry_after == retry_after
    assert (error.blocker.code if error.blocker else None) == blocker
    assert TOKEN not in f"{error} {error.blocker}"


async def test_a_poll_waits_on_the_far_end_not_on_the_clock(
    far: TelegramService, bot: TelegramChannel
) -> None:
    far.poll_failure = Reply(200, b'{"ok": true, "result": []}', delay=0.3)
    started = asyncio.get_running_loop().time()
    assert (await bot.poll(5, timeout=25)).next_offset == 5
    assert asyncio.get_running_loop().time() - started < 5
    assert far.requests[0].json()["timeout"] == 25


async def test_a_reply_quotes_within_its_chat(far: TelegramService, bot: TelegramChannel) -> None:
    quoting = Outgoing(1, 1, 1, "default", "7001", "yes", reply_to="123456:7001:55")
    sent = await bot.send(quoting, timeout=5)
    assert sent.provider_message_id == "123456:7001:1001"
    parameters = far.arrived[0].body["reply_parameters"]
    assert parameters == {"message_id": 55, "allow_sending_without_reply": True}
    await bot.send(Outgoing(1, 1, 1, "default", "7001", "yes", reply_to="nonsense"), timeout=5)
    assert "reply_parameters" not in far.arrived[1].body


async def test_a_customer_who_blocked_the_bot_does_not_stop_it(
    far: TelegramService, bot: TelegramChannel
) -> None:
    far.next("blocked")
    with pytest.raises(SendError) as caught:
        await bot.send(Outgoing(1, 1, 1, "default", "7001", "hi"), timeout=5)
    assert (caught.value.kind, caught.value.code, caught.value.blocker) == (
        SendFailure.PERMANENT,
        "403",
        None,
    )


async def test_health_knows_how_updates_come(far: TelegramService, bot: TelegramChannel) -> None:
    up = await bot.health()
    assert (up.state, up.detail) == ("up", f"@{USERNAME}")
    secret = SecretStr("hook-secret")
    account = TelegramAccount(bot_token=SecretStr(TOKEN), api_base=far.base_url, webhook_secret=secret)
    hooked = TelegramChannel(account)
    missing = await hooked.health()
    assert missing.blocker is not None
    assert missing.blocker.code == "channel.no_webhook"
    far.webhook_url, far.last_error = "https://example.org/hook", "Wrong response: 503"
    failing = await hooked.health()
    assert failing.state == "degraded"
    assert "503" in failing.detail
    await hooked.aclose()


def test_what_the_channel_can_do_follows_the_secret() -> None:
    polled = TelegramChannel(TelegramAccount(bot_token=SecretStr(TOKEN)))
    hooked = TelegramChannel(TelegramAccount(bot_token=SecretStr(TOKEN), webhook_secret=SecretStr("secret")))
    assert (polled.capabilities.polling, polled.capabilities.webhook) == (True, False)
    assert (hooked.capabilities.polling, hooked.capabilities.webhook) == (False, True)
    assert isinstance(polled, PollingChannel)
    assert not isinstance(polled, ChallengedChannel)
