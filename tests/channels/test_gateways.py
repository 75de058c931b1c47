"""WAHA's and Evolution's own ways: session states, LIDs, keys in bodies, errors that hide a send."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from engine.channel_accounts import EvolutionAccount, WahaAccount
from engine.channels import jid
from engine.channels.base import Outgoing, ResolvingChannel, SendError, SendFailure, WebhookRefused
from engine.channels.evolution import AUTH_HEADER, EvolutionChannel
from engine.channels.waha import WahaChannel
from engine.channels.waha_webhook import bare_id
from tests.support.far_ends import evolution, waha
from tests.support.far_ends.evolution import EvolutionService
from tests.support.far_ends.waha import WahaService

HMAC, SECRET = SecretStr("hmac-key-of-the-test"), SecretStr("hook-secret-of-the-test")
MESSAGE = Outgoing(77, 1, 1, "default", "+4915199", "hi", reply_to="3EB0A1")


@pytest.fixture
def waha_far() -> Iterator[WahaService]:
    with WahaService() as running:
        yield running


@pytest.fixture
async def session(waha_far: WahaService) -> AsyncIterator[WahaChannel]:
    account = WahaAccount(base_url=waha_far.base_url, api_key=SecretStr(waha.API_KEY), hmac_key=HMAC)
    channel = WahaChannel(account)
    yield channel
    await channel.aclose()


@pytest.fixture
def evolution_far() -> Iterator[EvolutionService]:
    with EvolutionService() as running:
        yield running


def instance_on(far: EvolutionService, **changes: Any) -> EvolutionChannel:
    known = {"base_url": far.base_url, "api_key": evolution.API_KEY, "instance": evolution.INSTANCE}
    return EvolutionChannel(EvolutionAccount.model_validate(known | {"webhook_secret": SECRET} | changes))


@pytest.fixture
async def instance(evolution_far: EvolutionService) -> AsyncIterator[EvolutionChannel]:
    channel = instance_on(evolution_far)
    yield channel
    await channel.aclose()


async def failure(channel: WahaChannel | EvolutionChannel, message: Outgoing = MESSAGE) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(message, timeout=5)
    return caught.value


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("4915199@c.us", "4915199@c.us"),
        ("4915199@s.whatsapp.net", "4915199@c.us"),
        ("4915199:12@s.whatsapp.net", "4915199@c.us"),
        ("+4915199", "4915199@c.us"),
        ("4915199", "4915199@c.us"),
        ("998877@lid", "998877@lid"),
        ("998877:3@lid", "998877@lid"),
        ("120363@g.us", ""),
        ("status@broadcast", ""),
        ("120@newsletter", ""),
        ("abc@c.us", ""),
        ("٤٥@c.us", ""),
        ("", ""),
        (None, ""),
        ({}, ""),
        ("0@c.us", ""),
    ],
)
def test_an_address_has_one_spelling(written: object, address: str) -> None:
    assert jid.canonical(written) == address
    assert jid.canonical(jid.canonical(written)) == address


def test_a_person_is_called_by_phone_number_if_it_is_known() -> None:
    assert jid.person(["998877@lid", None, "4915199@s.whatsapp.net", "4915199@c.us"]) == (
        "4915199@c.us",
        ("998877@lid",),
    )
    assert jid.person(["998877@lid", ""]) == ("998877@lid", ())
    assert jid.person([None, "120@g.us"]) == ("", ())


def test_an_id_means_the_same_with_and_without_its_chat() -> None:
    assert bare_id("true_4915199@c.us_3EB0A1") == bare_id("false_998877@lid_3EB0A1") == bare_id("3EB0A1")
    assert bare_id("true_120@g.us_3EB0A1_4915199@c.us") == "3EB0A1"
    assert bare_id({}) == ""


@pytest.mark.parametrize("to", ["120363@g.us", "nobody", ""])
async def test_what_is_no_address_is_never_asked_for(
    session: WahaChannel,
    instance: EvolutionChannel,
    waha_far: WahaService,
    evolution_far: EvolutionService,
    to: str,
) -> None:
    message = Outgoing(1, 1, 1, "default", to, "hi")
    assert (await failure(session, message)).kind is SendFailure.PERMANENT
    assert (await failure(instance, message)).kind is SendFailure.PERMANENT
    assert waha_far.requests == []
    assert evolution_far.requests == []


# -- WAHA ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("STOPPED", "Start"),
        ("STARTING", "Wait"),
        ("SCAN_QR_CODE", "QR code"),
        ("FAILED", "Restart"),
        ("PASSKEY_REQUIRED", "passkey"),
        ("SOMETHING_NEW", "dashboard"),
    ],
)
async def test_anything_but_working_stops_the_session_and_says_what_to_do(
    waha_far: WahaService, session: WahaChannel, state: str, remedy: str
) -> None:
    waha_far.state = state
    health, error = await session.health(), await failure(session)
    assert health.state == "down"
    assert health.blocker is not None
    assert state in health.blocker.what
    assert remedy in health.blocker.remedy
    assert (error.kind, error.blocker) == (SendFailure.CHANNEL_DOWN, health.blocker)
    assert waha_far.arrived == []


async def test_a_session_that_does_not_exist_is_named(waha_far: WahaService) -> None:
    lost = WahaChannel(
        WahaAccount(base_url=waha_far.base_url, api_key=SecretStr(waha.API_KEY), session="elsewhere")
    )
    health, error = await lost.health(), await failure(lost)
    await lost.aclose()
    assert error.kind is SendFailure.CHANNEL_DOWN
    for blocker in (health.blocker, error.blocker):
        assert blocker is not None
        assert blocker.code == "channel.no_session"


async def test_a_reply_quotes_the_message_in_its_chat(waha_far: WahaService, session: WahaChannel) -> None:
    sent = await session.send(MESSAGE, timeout=5)
    assert sent.provider_message_id == "3EB0000000000001"
    assert waha_far.arrived[0].body == {
        "session": "default",
        "chatId": "4915199@c.us",
        "text": "hi",
        "reply_to": "false_4915199@c.us_3EB0A1",
    }


async def test_whatsapps_own_refusal_of_new_contacts_is_no_riddle(
    waha_far: WahaService, session: WahaChannel
) -> None:
    waha_far.next("new_contact")
    assert (await failure(session)).kind is SendFailure.PERMANENT


async def test_a_lid_is_resolved_if_waha_knows_it(waha_far: WahaService, session: WahaChannel) -> None:
    assert isinstance(session, ResolvingChannel)
    waha_far.lids["998877@lid"] = "4915199@c.us"
    assert await session.resolve("998877@lid", timeout=5) == "4915199@c.us"
    assert await session.resolve("112233@lid", timeout=5) is None
    assert await session.resolve("4915199@c.us", timeout=5) is None
    waha_far.refuse_connections()
    assert await session.resolve("998877@lid", timeout=5) is None


async def test_a_working_session_without_hmac_cannot_receive(waha_far: WahaService) -> None:
    deaf = WahaChannel(WahaAccount(base_url=waha_far.base_url, api_key=SecretStr(waha.API_KEY)))
    health = await deaf.health()
    assert health.state == "down"
    assert health.blocker is not None
    assert "WAHA_HMAC_KEY" in health.blocker.remedy
    await deaf.aclose()


# -- Evolution -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "remedy"), [("close", "QR code"), ("connecting", "Wait"), ("odd", "manager")]
)
async def test_a_closed_instance_says_what_to_do(
    evolution_far: EvolutionService, instance: EvolutionChannel, state: str, remedy: str
) -> None:
    assert (await instance.health()).state == "up"
    evolution_far.state = state
    health = await instance.health()
    assert health.blocker is not None
    assert remedy in health.blocker.remedy


async def test_an_instance_that_does_not_exist_stops_the_account(evolution_far: EvolutionService) -> None:
    lost = instance_on(evolution_far, instance="elsewhere")
    health, error = await lost.health(), await failure(lost)
    await lost.aclose()
    assert error.kind is SendFailure.CHANNEL_DOWN
    assert error.blocker == health.blocker
    assert "elsewhere" in str(error.blocker)


async def test_an_exception_dressed_as_a_bad_request_leaves_the_outcome_open(
    evolution_far: EvolutionService, instance: EvolutionChannel
) -> None:
    evolution_far.next("connection_closed")
    error = await failure(instance)
    assert error.kind is SendFailure.UNKNOWN
    assert error.blocker is not None
    assert error.blocker.code == "channel.session"


async def test_a_reply_quotes_and_a_lid_is_written_to_as_it_is(
    evolution_far: EvolutionService, instance: EvolutionChannel
) -> None:
    await instance.send(MESSAGE, timeout=5)
    await instance.send(Outgoing(1, 1, 1, "default", "998877@lid", "hi"), timeout=5)
    first, second = (one.body for one in evolution_far.arrived)
    assert first == {"number": "4915199", "text": "hi", "quoted": {"key": {"id": "3EB0A1"}}}
    assert second == {"number": "998877@lid", "text": "hi"}


def upsert(**message: Any) -> bytes:
    key = {"remoteJid": "4915199@s.whatsapp.net", "fromMe": False, "id": "3EB0A1"}
    data = {"key": key, "message": {"conversation": "hi"}, "messageTimestamp": 1771509600} | message
    whole = {
        "event": "messages.upsert",
        "instance": evolution.INSTANCE,
        "data": data,
        "apikey": "other-key-1",
    }
    return json.dumps(whole).encode()


async def test_the_secret_may_come_in_a_header_a_bearer_token_or_the_path(instance: EvolutionChannel) -> None:
    secret = SECRET.get_secret_value()
    for headers, path_secret in (
        ({AUTH_HEADER.lower(): secret}, None),
        ({"Authorization": f"Bearer {secret}"}, None),
        ({}, secret),
    ):
        found = instance.parse_webhook("default", headers, upsert(), path_secret=path_secret)
        assert len(found.inbounds) == 1
    for headers, path_secret in (
        ({"Authorization": f"Basic {secret}"}, None),
        ({AUTH_HEADER: "wrong"}, secret),
        ({}, "wrong"),
        ({}, ""),
    ):
        with pytest.raises(WebhookRefused):
            instance.parse_webhook("default", headers, upsert(), path_secret=path_secret)


async def test_no_key_and_no_bulk_gets_into_what_is_kept(instance: EvolutionChannel) -> None:
    key, headers = evolution.API_KEY, {AUTH_HEADER: SECRET.get_secret_value()}
    bulky = {"imageMessage": {"caption": f"see {key}", "jpegThumbnail": "AAAA"}, "base64": "BBBB"}
    nested = {"webhook": {"apiKey": "other-key-2", "token": "other-key-3"}}
    (inbound,) = instance.parse_webhook("default", headers, upsert(message=bulky, **nested)).inbounds
    kept = json.dumps(inbound.raw) + inbound.text
    for secret in (key, "other-key-1", "other-key-2", "other-key-3", "AAAA", "BBBB"):
        assert secret not in kept
    broken = f'{{"apikey": "other-key-1", "x": "{key}", '.encode()
    strange = json.dumps(
        {"event": "messages.upsert", "instance": "?", "apikey": "other-key-1", "x": key}
    ).encode()
    for raw in (broken, strange):
        (quarantined,) = instance.parse_webhook("default", headers, raw).quarantined
        assert key not in quarantined.body
        assert "other-key-1" not in quarantined.body
