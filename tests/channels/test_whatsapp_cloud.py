"""The Cloud API's own ways: error codes, the webhook's challenge, several numbers behind one webhook."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from engine.channel_accounts import WhatsAppCloudAccount
from engine.channels.base import ChallengedChannel, Outgoing, SendError, SendFailure, WebhookRefused
from engine.channels.webhook import signature
from engine.channels.whatsapp_cloud import SIGNATURE_HEADER, WhatsAppCloudChannel
from tests.support.far_ends.whatsapp_cloud import NUMBER_ID, TOKEN, WhatsAppCloudService

APP_SECRET, VERIFY = SecretStr("app-secret-of-the-test"), SecretStr("verify-me-please")
MESSAGE = Outgoing(77, 1, 1, "default", "+4915199", "hi", reply_to="wamid.theirs")


@pytest.fixture
def far() -> Iterator[WhatsAppCloudService]:
    with WhatsAppCloudService() as running:
        yield running


def account(far: WhatsAppCloudService, **changes: object) -> WhatsAppCloudAccount:
    known: dict[str, object] = {
        "token": TOKEN,
        "phone_number_id": NUMBER_ID,
        "app_secret": APP_SECRET,
        "verify_token": VERIFY,
        "graph_base": far.base_url,
    }
    return WhatsAppCloudAccount.model_validate(known | changes)


@pytest.fixture
async def number(far: WhatsAppCloudService) -> AsyncIterator[WhatsAppCloudChannel]:
    channel = WhatsAppCloudChannel(account(far), {"222222": "second"})
    yield channel
    await channel.aclose()


async def failure(channel: WhatsAppCloudChannel) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(MESSAGE, timeout=5)
    return caught.value


CODES = [
    *(
        (status, code, SendFailure.RATE)
        for status, code in [(429, 130429), (400, 4), (400, 80007), (400, 131056)]
    ),
    *(
        (400, code, SendFailure.CHANNEL_DOWN)
        for code in (131048, 368, 131031, 131042, 10, 200, 230, 299, 133010)
    ),
    (401, 190, SendFailure.CHANNEL_DOWN),
    (401, 0, SendFailure.CHANNEL_DOWN),
    *((400, code, SendFailure.PERMANENT) for code in (131026, 131051, 131030, 131047, 131009, 100, 300)),
    (500, 131000, SendFailure.TRANSIENT),
    (503, 131016, SendFailure.TRANSIENT),
    (400, 131000, SendFailure.TRANSIENT),
    (500, 1, SendFailure.UNKNOWN),
    (503, 2, SendFailure.UNKNOWN),
]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
async def test_the_code_decides_not_the_status(
    far: WhatsAppCloudService, number: WhatsAppCloudChannel, status: int, code: int, kind: SendFailure
) -> None:
    far.error = (status, code)
    error = await failure(number)
    assert (error.kind, error.code) == (kind, str(code))
    assert (error.blocker is not None) is (kind is SendFailure.CHANNEL_DOWN)
    assert "Read the documentation" in error.message or code == 131047
    assert error.needs_human is (code == 131047)
    assert error.scope == ("recipient" if code == 131056 else "account")
    assert error.retry_after == (6 if code == 131056 else None)


async def test_a_wrong_number_id_stops_the_account(far: WhatsAppCloudService) -> None:
    wrong = WhatsAppCloudChannel(account(far, phone_number_id="999999"))
    error = await failure(wrong)
    health = await wrong.health()
    await wrong.aclose()
    assert error.blocker is not None
    assert error.blocker.code == "channel.phone_number"
    assert "999999" in error.blocker.what
    assert health.blocker == error.blocker


async def test_the_request_is_the_documented_one(
    far: WhatsAppCloudService, number: WhatsAppCloudChannel
) -> None:
    await number.send(MESSAGE, timeout=5)
    assert far.requests[0].path == f"/{NUMBER_ID}/messages"
    assert far.arrived[0].body == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "4915199",
        "type": "text",
        "text": {"body": "hi"},
        "context": {"message_id": "wamid.theirs"},
        "biz_opaque_callback_data": "77",
    }


def challenge(**changes: str) -> dict[str, str]:
    known = {"hub.mode": "subscribe", "hub.verify_token": "verify-me-please", "hub.challenge": "1158201444"}
    return known | {f"hub.{name}": value for name, value in changes.items()}


async def test_the_challenge_is_echoed_to_who_knows_the_token(
    far: WhatsAppCloudService, number: WhatsAppCloudChannel
) -> None:
    assert isinstance(number, ChallengedChannel)
    assert number.answer_challenge(challenge()) == "1158201444"
    for query in (challenge(verify_token="wrong"), challenge(mode="unsubscribe"), {}):
        with pytest.raises(WebhookRefused) as caught:
            number.answer_challenge(query)
        assert caught.value.status == 403
    unset = WhatsAppCloudChannel(account(far, verify_token=None))
    with pytest.raises(WebhookRefused):
        unset.answer_challenge(challenge(verify_token=""))
    await unset.aclose()


async def test_one_webhook_serves_every_number_of_the_app(number: WhatsAppCloudChannel) -> None:
    def change(phone_number_id: str) -> dict[str, object]:
        message = {"from": "4915199", "id": f"wamid.{phone_number_id}", "type": "text", "text": {"body": "x"}}
        value = {"metadata": {"phone_number_id": phone_number_id}, "messages": [message]}
        return {"field": "messages", "value": value}

    entry = {"changes": [change(NUMBER_ID), change("222222"), change("333333")]}
    raw = json.dumps({"entry": [entry]}).encode()
    headers = {SIGNATURE_HEADER: f"sha256={signature(raw, APP_SECRET, 'sha256')}"}
    found = number.parse_webhook("default", headers, raw)
    assert [one.account for one in found.inbounds] == ["default", "second"]
    assert len(found.quarantined) == 1


async def test_a_signature_of_another_kind_is_refused(number: WhatsAppCloudChannel) -> None:
    raw = b"{}"
    for told in (signature(raw, APP_SECRET, "sha256"), f"sha512={signature(raw, APP_SECRET, 'sha512')}"):
        with pytest.raises(WebhookRefused):
            number.parse_webhook("default", {SIGNATURE_HEADER: told}, raw)


async def test_health_tells_quality_and_a_missing_secret(
    far: WhatsAppCloudService, number: WhatsAppCloudChannel
) -> None:
    assert (await number.health()).state == "up"
    far.quality = "RED"
    assert (await number.health()).state == "degraded"
    far.quality = "GREEN"
    deaf = WhatsAppCloudChannel(account(far, app_secret=None))
    health = await deaf.health()
    await deaf.aclose()
    assert health.blocker is not None
    assert health.blocker.code == "channel.no_app_secret"
