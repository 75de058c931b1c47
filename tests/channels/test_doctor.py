"""What `switchboard doctor` says of each channel: nothing configured, a wrong key, a session that is gone, all well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from engine.observe.doctor import Check, examine
from engine.settings import load_settings
from tests.channels.cases import BY_NAME
from tests.channels.world import account
from tests.support.far_ends.service import Service

KEYS = {"telegram": "bot_token", "whatsapp_cloud": "token", "waha": "api_key", "evolution": "api_key"}
VARIABLES = {
    "telegram": "TELEGRAM_BOT_TOKEN",
    "whatsapp_cloud": "WHATSAPP_TOKEN",
    "waha": "WAHA_API_KEY",
    "evolution": "EVOLUTION_API_KEY",
}
WRONG = "999:a-wrong-key-of-the-test"


async def checks(tmp_path: Path, **settings: Any) -> dict[str, Check]:
    given = {
        "data_dir": tmp_path,
        "database_url": SecretStr("postgresql://nobody@127.0.0.1:1/none"),
        "http_port": 0,
        **settings,
    }
    found = await examine(lambda: load_settings(**given))
    return {check.name: check for check in found.checks}


async def of(channel: str, far: Service, tmp_path: Path, **fields: Any) -> Check:
    """The channel's line."""
    accounts = {channel: [account(channel, far.base_url, **fields)]}
    return (await checks(tmp_path, channels=accounts))[f"channel {channel}/default"]


async def test_without_a_channel_it_says_how_to_begin(tmp_path: Path) -> None:
    found = await checks(tmp_path)
    assert found["channels"].state == "skip"
    assert "setup telegram" in found["channels"].what
    assert "webhooks" not in found


@pytest.mark.parametrize("channel", list(KEYS))
async def test_a_good_account_and_a_wrong_key(tmp_path: Path, channel: str) -> None:
    with BY_NAME[channel].service() as far:
        good = await of(channel, far, tmp_path)
        assert (good.state, good.remedy) == ("ok", None)
        wrong = await of(channel, far, tmp_path, **{KEYS[channel]: WRONG})
        assert wrong.state == "fail"
        assert VARIABLES[channel] in (wrong.remedy or "")
        assert WRONG not in wrong.model_dump_json()
        far.refuse_connections()
        gone = await of(channel, far, tmp_path)
        assert gone.state == "fail"
        assert "not reached" in gone.what


@pytest.mark.parametrize(
    ("channel", "state", "remedy"),
    [
        ("waha", "SCAN_QR_CODE", "scan the QR code"),
        ("waha", "STOPPED", "Start the session"),
        ("evolution", "close", "scan the QR code"),
        ("evolution", "connecting", "Wait a minute"),
    ],
)
async def test_a_session_that_does_not_work_is_named_with_its_remedy(
    tmp_path: Path, channel: str, state: str, remedy: str
) -> None:
    with BY_NAME[channel].service() as far:
        far.state = state  # type: ignore[attr-defined]
        check = await of(channel, far, tmp_path)
    assert check.state == "fail"
    assert state in check.what
    assert remedy in (check.remedy or "")


@pytest.mark.parametrize(
    ("channel", "secret", "variable"),
    [
        ("whatsapp_cloud", "app_secret", "WHATSAPP_APP_SECRET"),
        ("waha", "hmac_key", "WAHA_HMAC_KEY"),
        ("evolution", "webhook_secret", "EVOLUTION_WEBHOOK_SECRET"),
    ],
)
async def test_an_account_that_refuses_every_webhook_is_no_good(
    tmp_path: Path, channel: str, secret: str, variable: str
) -> None:
    with BY_NAME[channel].service() as far:
        check = await of(channel, far, tmp_path, **{secret: None, f"{secret}_previous": None})
    assert check.state == "fail"
    assert "nothing can come in" in check.what
    assert variable in (check.remedy or "")


async def test_webhooks_need_a_way_in(tmp_path: Path) -> None:
    with BY_NAME["whatsapp_cloud"].service() as far:
        channels = {"whatsapp_cloud": [account("whatsapp_cloud", far.base_url)]}
        assert (await checks(tmp_path, channels=channels, http_enabled=False))["webhooks"].state == "fail"
        alone = (await checks(tmp_path, channels=channels))["webhooks"]
        assert (alone.state, "SWITCHBOARD_ALLOWED_HOSTS" in (alone.remedy or "")) == ("warn", True)
        named = await checks(tmp_path, channels=channels, allowed_hosts=["shop.example"])
        assert named["webhooks"].state == "ok"
