"""The rules that every channel keeps, each against a stand-in for its own far end."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.channels.base import (
    Channel,
    Edit,
    Inbound,
    Outgoing,
    Parsed,
    Receipt,
    SendError,
    SendFailure,
    WebhookRefused,
)
from tests.channels.cases import BY_NAME, CASES, PREVIOUS, RETIRED, SECRET, Body, Case, recorded
from tests.support.far_ends import evolution, whatsapp_cloud
from tests.support.far_ends.service import Service

RECORDED = recorded()
FAULTS = {
    "rejected": SendFailure.PERMANENT,
    "locked_out": SendFailure.CHANNEL_DOWN,
    "rate": SendFailure.RATE,
    "reset": SendFailure.UNKNOWN,
    "hang": SendFailure.UNKNOWN,
    "truncated": SendFailure.UNKNOWN,
    "garbage": SendFailure.UNKNOWN,
    "server_error": SendFailure.UNKNOWN,
}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def far(case: Case) -> Iterator[Service]:
    with case.service() as running:
        yield running


@pytest.fixture
async def channel(case: Case, far: Service) -> AsyncIterator[Channel]:
    built = case.build(far.base_url)
    yield built
    await built.aclose()


def message(case: Case, text: str = "We are open until six.", reply_to: str | None = None) -> Outgoing:
    return Outgoing(77, 770, 1, "default", case.to, text, reply_to)


async def failure(case: Case, channel: Channel, timeout: float = 5.0) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(message(case), timeout=timeout)
    return caught.value


# -- sending ---------------------------------------------------------------------------------------


async def test_a_message_arrives_once_as_it_was_written(case: Case, far: Service, channel: Channel) -> None:
    text = "Grüße 👩‍👧\n*not bold* <b>&amp; {x}"
    sent = await channel.send(message(case, text), timeout=5)
    (arrived,) = far.arrived
    assert (arrived.to, arrived.text) == (case.arrives_at, text)
    assert sent.provider_message_id
    assert sent.accepted is not case.final
    assert not sent.accepted or channel.capabilities.receipts
    if case.callback:
        assert "77" in map(str, arrived.body.values())


@pytest.mark.parametrize("fault", list(FAULTS))
async def test_each_failure_has_its_class_and_is_tried_once(
    case: Case, far: Service, channel: Channel, fault: str
) -> None:
    far.next(fault)
    error = await failure(case, channel, timeout=0.6)
    assert error.kind is FAULTS[fault]
    assert len(far.requests) == 1
    assert (error.blocker is not None) is (fault == "locked_out")
    if error.blocker:
        assert error.blocker.where == f"{case.name}/default"
        assert error.blocker.remedy
    assert error.retry_after == (7 if fault == "rate" else None)
    told = f"{error} {error.blocker}"
    assert not any(secret in told for secret in case.secrets)
    assert (await channel.send(message(case), timeout=5)).provider_message_id


async def test_a_refused_connection_sent_nothing(case: Case, far: Service, channel: Channel) -> None:
    far.refuse_connections()
    error = await failure(case, channel)
    assert error.kind is SendFailure.NOT_SENT
    assert not any(secret in str(error) for secret in case.secrets)
    far.accept_connections()
    await channel.send(message(case), timeout=5)
    assert len(far.arrived) == 1


async def test_taken_without_an_id_is_accepted(case: Case, far: Service, channel: Channel) -> None:
    far.next("no_id")
    sent = await channel.send(message(case), timeout=5)
    assert (sent.provider_message_id, sent.accepted) == (None, True)


async def test_a_long_text_is_sent_in_parts_the_far_end_takes(
    case: Case, far: Service, channel: Channel
) -> None:
    limits = channel.capabilities
    text = "Sentence number one. 😀 " * (limits.max_text // 10)
    sent = await channel.send(message(case, text), timeout=10)
    assert len(far.arrived) >= 2
    assert len(sent.other_ids) == len(far.arrived) - 1
    assert "".join("".join(one.text for one in far.arrived).split()) == "".join(text.split())


async def test_an_empty_text_is_never_sent(case: Case, far: Service, channel: Channel) -> None:
    with pytest.raises(SendError) as caught:
        await channel.send(message(case, " "), timeout=5)
    assert caught.value.kind is SendFailure.PERMANENT
    assert far.requests == []


async def test_a_closed_channel_sends_nothing(case: Case, far: Service) -> None:
    closed = case.build(far.base_url)
    await closed.aclose()
    assert (await failure(case, closed)).kind is SendFailure.NOT_SENT


# -- health ----------------------------------------------------------------------------------------


async def test_health_follows_the_far_end_and_names_a_remedy(
    case: Case, far: Service, channel: Channel
) -> None:
    if case.name == "telegram":
        far.webhook_url = "https://example.org/hook"  # type: ignore[attr-defined]
    up = await channel.health()
    assert (up.state, up.kind, up.name) == ("up", "channel", f"{case.name}/default")
    assert up.checked_at is not None

    far.healthy = False
    refused = await channel.health()
    far.refuse_connections()
    gone = await channel.health()
    for health in (refused, gone):
        assert health.state == "down"
        assert health.blocker is not None
        assert health.blocker.code.startswith("channel.")
        assert health.blocker.remedy
        assert not any(secret in health.model_dump_json() for secret in case.secrets)


# -- webhooks --------------------------------------------------------------------------------------


def bodies_of(channel: str) -> list[Body]:
    return [body for body in RECORDED if body.channel == channel]


async def test_only_live_secrets_open_a_webhook(case: Case, channel: Channel) -> None:
    raw = bodies_of(case.name)[0].raw
    for secret in (SECRET, PREVIOUS):
        channel.parse_webhook("default", case.sign(raw, secret), raw)
    forged: list[dict[str, str]] = [{}]
    forged += [{name: value[:-1] for name, value in case.sign(raw, SECRET).items()}]
    forged += [dict.fromkeys(case.sign(raw, SECRET), "")]
    forged += [dict(case.sign(raw, secret)) for secret in (RETIRED, "", SECRET.upper())]
    for headers in forged:
        with pytest.raises(WebhookRefused) as caught:
            channel.parse_webhook("default", headers, raw)
        assert caught.value.status == 401


async def test_a_signed_body_cannot_be_changed(case: Case, channel: Channel) -> None:
    raw = bodies_of(case.name)[0].raw
    headers = case.sign(raw, SECRET)
    if SECRET in headers.values():
        pytest.skip("this far end shows a secret instead of signing")
    with pytest.raises(WebhookRefused):
        channel.parse_webhook("default", headers, raw.replace(b"1", b"2", 1))
    with pytest.raises(WebhookRefused):
        channel.parse_webhook("default", headers, raw + b" ")


async def test_without_a_configured_secret_no_webhook_is_let_in(case: Case, far: Service) -> None:
    bare = case.bare(far.base_url)
    raw = bodies_of(case.name)[0].raw
    for headers in ({}, case.sign(raw, ""), case.sign(raw, "None")):
        with pytest.raises(WebhookRefused) as caught:
            bare.parse_webhook("default", headers, raw)
        assert caught.value.status == 403
    await bare.aclose()


@pytest.fixture(scope="module")
def offline() -> dict[str, Channel]:
    """Channels that only parse."""
    return {case.name: case.build("http://127.0.0.1:9") for case in CASES}


def parse(offline: dict[str, Channel], name: str, raw: bytes) -> Parsed:
    return offline[name].parse_webhook("default", BY_NAME[name].sign(raw, SECRET), raw)


def shown(item: Inbound | Receipt | Edit, keys: Any) -> dict[str, Any]:
    """The named fields of an item, as JSON writes them."""
    return {key: _plain(getattr(item, key)) for key in keys}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("body", RECORDED, ids=lambda body: f"{body.channel}-{body.name}")
def test_recorded_bodies_are_read_as_expected(offline: dict[str, Channel], body: Body) -> None:
    found = parse(offline, body.channel, body.raw)
    nothing = {
        "inbounds": [],
        "receipts": [],
        "edits": [],
        "quarantined": 0,
        "ignored": 0,
        "session_state": None,
    }
    expected: dict[str, Any] = nothing | body.expect
    assert len(found.inbounds) == len(expected["inbounds"]), found
    assert len(found.receipts) == len(expected["receipts"]), found
    for inbound, wanted in zip(found.inbounds, expected["inbounds"], strict=True):
        assert shown(inbound, wanted) == wanted
        assert inbound.raw["from"] == inbound.address
    for receipt, wanted in zip(found.receipts, expected["receipts"], strict=True):
        assert shown(receipt, wanted) == wanted
    assert len(found.edits) == len(expected["edits"]), found
    for edit, wanted in zip(found.edits, expected["edits"], strict=True):
        assert shown(edit, wanted) == wanted
    assert len(found.quarantined) == expected["quarantined"], found.quarantined
    assert found.ignored == expected["ignored"]
    assert found.session_state == expected["session_state"]


def test_every_channel_has_recorded_bodies_of_each_sort() -> None:
    for name in BY_NAME:
        seen = {key for body in bodies_of(name) for key in body.expect}
        assert {"inbounds", "quarantined"} <= seen
        assert "receipts" in seen or name == "telegram"


def check_storable(found: Parsed) -> None:
    """Whatever came in, what goes on is what PostgreSQL takes."""
    texts = [quarantined.body + quarantined.why for quarantined in found.quarantined]
    for inbound in found.inbounds:
        assert inbound.address
        assert inbound.provider_message_id
        texts += [inbound.text, inbound.address, inbound.provider_message_id, inbound.profile_name or ""]
        texts += [json.dumps(inbound.raw, allow_nan=False, ensure_ascii=False), *inbound.aliases]
    for receipt in found.receipts:
        assert receipt.provider_message_id
        assert receipt.message_id is None or 0 < receipt.message_id < 2**63
        texts += [receipt.provider_message_id, receipt.error_text or "", receipt.error_code or ""]
    for text in texts:
        assert "\x00" not in text
        text.encode()


def change(value: Any) -> Any:
    """A change of a WhatsApp body for our number."""
    metadata = {"phone_number_id": whatsapp_cloud.NUMBER_ID}
    return {"entry": [{"changes": [{"field": "messages", "value": {"metadata": metadata} | value}]}]}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("whatsapp_cloud", {"entry": []}),
        ("whatsapp_cloud", {"entry": [7]}),
        ("whatsapp_cloud", {"entry": [{"id": "1"}]}),
        ("whatsapp_cloud", {"entry": [{"changes": {}}]}),
        ("whatsapp_cloud", change({})),
        ("whatsapp_cloud", change({"messages": {"from": "1", "id": "2"}})),
        ("whatsapp_cloud", change({"statuses": "all", "contacts": []})),
        ("waha", {"event": "session.status", "session": "default", "payload": {"state": "WORKING"}}),
        ("evolution", {"event": "connection.update", "instance": evolution.INSTANCE, "data": "open"}),
        ("simulator", {"receipts": {"id": "1"}}),
    ],
)
def test_what_has_not_the_documented_shape_is_kept_aside(
    offline: dict[str, Channel], name: str, body: Any
) -> None:
    (kept,) = parse(offline, name, json.dumps(body).encode()).quarantined
    assert kept.why


def test_a_broken_array_does_not_hide_behind_its_neighbour(offline: dict[str, Channel]) -> None:
    good = {"from": "4915199", "id": "wamid.A", "type": "text", "text": {"body": "Hi"}}
    found = parse(
        offline, "whatsapp_cloud", json.dumps(change({"messages": [good], "statuses": {"id": "1"}})).encode()
    )
    assert len(found.inbounds) == len(found.quarantined) == 1


def test_a_key_of_ours_is_taken_out_of_names_too(offline: dict[str, Channel]) -> None:
    """Evolution puts the instance's key into its bodies."""
    data = {"key": {"remoteJid": "4915199@s.whatsapp.net", "id": "A"}, "message": {evolution.API_KEY: "Hi"}}
    body = {"event": "messages.upsert", "instance": evolution.INSTANCE, "data": data}
    (inbound,) = parse(offline, "evolution", json.dumps(body).encode()).inbounds
    assert evolution.API_KEY not in json.dumps(inbound.raw)


ODD: list[Any] = [
    None,
    True,
    -1,
    1.5,
    10**30,
    "",
    "\ud83d\x00",
    "x" * 30_000,
    [],
    {},
    [[]],
    {"a": {}},
    [None, 3],
]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", list(BY_NAME))
@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": 1e999}', b"1" * 6000]
)
def test_no_body_is_too_odd(offline: dict[str, Channel], name: str, raw: bytes) -> None:
    found = parse(offline, name, raw)
    check_storable(found)
    assert found.quarantined
    assert found.inbounds == ()


@pytest.mark.parametrize("name", list(BY_NAME))
def test_any_json_is_survived(offline: dict[str, Channel], name: str) -> None:
    @given(JSON)
    @settings(max_examples=60, deadline=None)
    def check(value: Any) -> None:
        check_storable(parse(offline, name, json.dumps(value).encode()))

    check()


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inner:
        yield from paths(item, (*path, step))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", list(BY_NAME))
def test_recorded_bodies_with_any_value_replaced_are_survived(offline: dict[str, Channel], name: str) -> None:
    rng = random.Random(name)
    for body in bodies_of(name):
        whole = json.loads(body.raw)
        for path in paths(whole):
            for odd in rng.sample(ODD, 4):
                check_storable(parse(offline, name, json.dumps(replaced(whole, path, odd)).encode()))
