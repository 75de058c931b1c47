"""The simulated channel and its far end, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
import queue
import random
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from engine.channels.base import (
    Channel,
    Outgoing,
    Receipt,
    ReceiptStatus,
    SendError,
    SendFailure,
    Sent,
    WebhookRefused,
)
from engine.channels.simulator import SIGNATURE_HEADER, SimulatorChannel
from engine.channels.webhook import signature
from engine.demo.channel_far_end import ChannelFarEnd, Conduct

SECRET = SecretStr("simulated-secret")


@pytest.fixture
def far() -> Iterator[ChannelFarEnd]:
    with ChannelFarEnd(rng=random.Random(1)) as running:
        yield running


@pytest.fixture
async def channel(far: ChannelFarEnd) -> AsyncIterator[SimulatorChannel]:
    opened = SimulatorChannel(base_url=far.base_url, webhook_secrets=(SECRET,))
    yield opened
    await opened.aclose()


def message(message_id: int = 7, text: str = "hello") -> Outgoing:
    return Outgoing(message_id, 70, 1, "default", "+49151", text, reply_to="in-1", attempt=2)


async def failure(channel: Channel, timeout: float = 5.0, **kwargs: object) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(message(), timeout=timeout)
    return caught.value


async def test_a_message_reaches_the_customer_once(far: ChannelFarEnd, channel: SimulatorChannel) -> None:
    sent = await channel.send(message(), timeout=5)
    (arrival,) = far.arrivals()
    assert sent == Sent(arrival.provider_message_id)
    assert (arrival.message_id, arrival.to, arrival.text) == (7, "+49151", "hello")
    assert (far.count(7), far.duplicates(), far.received(), far.requests) == (1, {}, {7}, 1)


async def test_the_far_end_counts_duplicates(far: ChannelFarEnd, channel: SimulatorChannel) -> None:
    await channel.send(message(), timeout=5)
    await channel.send(message(), timeout=5)
    await channel.send(message(8), timeout=5)
    assert far.duplicates() == {7: 2}


async def test_a_long_text_arrives_in_parts_and_is_no_duplicate(
    far: ChannelFarEnd, channel: SimulatorChannel
) -> None:
    sent = await channel.send(message(text="word " * 1500), timeout=5)
    assert [arrival.part for arrival in far.arrivals()] == [0, 1]
    assert len(sent.other_ids) == 1
    assert far.duplicates() == {}


@pytest.mark.parametrize(
    ("conduct", "kind", "arrives"),
    [
        (Conduct.REJECT, SendFailure.PERMANENT, False),
        (Conduct.LOCKED_OUT, SendFailure.CHANNEL_DOWN, False),
        (Conduct.RATE, SendFailure.RATE, False),
        (Conduct.BUSY, SendFailure.TRANSIENT, False),
        (Conduct.ERROR, SendFailure.UNKNOWN, True),
        (Conduct.HANG, SendFailure.UNKNOWN, True),
        (Conduct.RESET, SendFailure.UNKNOWN, True),
        (Conduct.TRUNCATED, SendFailure.UNKNOWN, True),
        (Conduct.GARBAGE, SendFailure.UNKNOWN, True),
    ],
)
async def test_each_conduct_has_its_class(
    far: ChannelFarEnd, channel: SimulatorChannel, conduct: Conduct, kind: SendFailure, arrives: bool
) -> None:
    far.retry_after = 12
    far.next(conduct)
    error = await failure(channel, timeout=0.5)
    assert error.kind is kind
    assert (far.count(7) == 1) is arrives
    assert error.retry_after == (12 if kind in {SendFailure.RATE, SendFailure.TRANSIENT} else None)
    assert (error.blocker is not None) is (kind is SendFailure.CHANNEL_DOWN)
    assert (await channel.send(message(8), timeout=5)).provider_message_id  # one-shot: the next one is fine


async def test_an_answer_without_an_id_is_accepted(far: ChannelFarEnd, channel: SimulatorChannel) -> None:
    far.next(Conduct.NO_ID)
    assert await channel.send(message(), timeout=5) == Sent(None, accepted=True)


async def test_a_slow_far_end_is_waited_for(far: ChannelFarEnd, channel: SimulatorChannel) -> None:
    far.slow_seconds = 0.3
    far.next(Conduct.SLOW)
    started = asyncio.get_running_loop().time()
    await channel.send(message(), timeout=5)
    assert asyncio.get_running_loop().time() - started >= 0.29


async def test_refused_connections_sent_nothing_and_come_back(
    far: ChannelFarEnd, channel: SimulatorChannel
) -> None:
    await channel.send(message(), timeout=5)
    far.refuse_connections()
    assert (await failure(channel)).kind is SendFailure.NOT_SENT
    down = await channel.health()
    assert down.state == "down"
    assert down.blocker is not None
    assert down.blocker.remedy
    far.accept_connections()
    assert (await channel.health()).state == "up"
    await channel.send(message(8), timeout=5)
    assert far.received() == {7, 8}


async def test_a_mix_of_conducts_follows_its_probabilities(
    far: ChannelFarEnd, channel: SimulatorChannel
) -> None:
    far.mix({Conduct.REJECT: 0.5})
    refused = 0
    for number in range(100):
        try:
            await channel.send(message(number), timeout=5)
        except SendError:
            refused += 1
    assert 30 <= refused <= 70
    assert len(far.received()) == 100 - refused
    with pytest.raises(ValueError, match="sum up"):
        far.mix({Conduct.OK: 0.8, Conduct.RATE: 0.4})


async def test_receipts_come_back() -> None:
    receipts: queue.Queue[Receipt] = queue.Queue()
    with ChannelFarEnd(receipts_to=receipts.put, delivered_after=0.0, read_after=0.05) as far:
        channel = SimulatorChannel(base_url=far.base_url)
        sent = await channel.send(message(), timeout=5)
        await channel.aclose()
        first = await asyncio.to_thread(receipts.get, timeout=5)
        second = await asyncio.to_thread(receipts.get, timeout=5)
    assert [first.status, second.status] == [ReceiptStatus.DELIVERED, ReceiptStatus.READ]
    assert (first.message_id, first.provider_message_id) == (7, sent.provider_message_id)


async def test_without_a_far_end_messages_are_delivered_in_process() -> None:
    channel = SimulatorChannel()
    first = await channel.send(message(), timeout=1)
    second = await channel.send(message(), timeout=1)
    assert first.provider_message_id
    assert first.provider_message_id != second.provider_message_id
    assert not first.accepted
    health = await channel.health()
    assert (health.state, health.simulated) == ("up", True)
    await channel.aclose()


def signed(body: object) -> tuple[dict[str, str], bytes]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {SIGNATURE_HEADER: signature(raw, SECRET, "sha256")}, raw


async def test_webhooks_bring_messages_and_receipts(channel: SimulatorChannel) -> None:
    headers, raw = signed(
        {
            "messages": [
                {"id": "m1", "from": "+49151", "text": "hi\x00", "timestamp": 1771509600, "name": "Ann"},
                {"id": "m2"},
                {"id": "m3", "from": 12, "from_me": True, "by_api": False},
            ],
            "receipts": [
                {"id": "s1", "message_id": 7, "status": "read", "at": 1771509600},
                {"id": "s2", "status": "exploded"},
            ],
        }
    )
    found = channel.parse_webhook("default", headers, raw)
    first, third = found.inbounds
    assert (first.address, first.text, first.profile_name, first.raw["from"]) == (
        "+49151",
        "hi",
        "Ann",
        "+49151",
    )
    assert first.provider_timestamp is not None
    assert (third.address, third.from_me, third.by_api) == ("12", True, False)
    (receipt,) = found.receipts
    assert (receipt.message_id, receipt.status) == (7, ReceiptStatus.READ)
    assert len(found.quarantined) == 2


async def test_a_webhook_is_authenticated_before_it_is_read(channel: SimulatorChannel) -> None:
    _, raw = signed({"messages": []})
    with pytest.raises(WebhookRefused):
        channel.parse_webhook("default", {}, raw)
    with pytest.raises(WebhookRefused):
        channel.parse_webhook("default", {SIGNATURE_HEADER: "0" * 64}, b"not json")
    headers, raw = signed(b"not json")
    assert len(channel.parse_webhook("default", headers, raw).quarantined) == 1
