"""Where channel accounts come from: the environment, the file, both; and what is refused."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from engine.channels.base import ChallengedChannel, WebhookRefused
from engine.channels.registry import build_channels
from engine.settings import Settings, SettingsError, load_settings
from tests.channels.cases import CASES

FILE = """
[[channels.telegram]]
account = "shop"
bot_token = "99:SHOPTOKEN"

[[channels.whatsapp_cloud]]
account = "one"
token = "cloud-token-1"
phone_number_id = "11111"
app_secret = "shared-app-secret"

[[channels.whatsapp_cloud]]
account = "two"
token = "cloud-token-2"
phone_number_id = "22222"
app_secret = "shared-app-secret"

[[channels.whatsapp_cloud]]
account = "apart"
token = "cloud-token-3"
phone_number_id = "33333"
app_secret = "another-app-secret"
"""


@pytest.fixture(autouse=True)
def _nothing_else_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        if name.startswith(("telegram_", "whatsapp_", "waha_", "evolution_", "simulator_")):
            monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "switchboard.toml"
    path.write_text(FILE)
    monkeypatch.setenv("SWITCHBOARD_CONFIG", str(path))
    return path


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


EVERYTHING = {
    "TELEGRAM_BOT_TOKEN": "12:bot-token",
    "TELEGRAM_API_BASE": "http://127.0.0.1:1/",
    "WHATSAPP_TOKEN": "cloud-token",
    "WHATSAPP_PHONE_NUMBER_ID": "106540352242922",
    "WHATSAPP_APP_SECRET": "app-secret",
    "WHATSAPP_APP_SECRET_PREVIOUS": "app-secret-before",
    "WHATSAPP_VERIFY_TOKEN": "verify-token",
    "WHATSAPP_GRAPH_BASE": "http://127.0.0.1:2",
    "WAHA_BASE_URL": "http://127.0.0.1:3",
    "WAHA_API_KEY": "waha-key",
    "WAHA_HMAC_KEY": "waha-hmac",
    "WAHA_SESSION": "main",
    "EVOLUTION_BASE_URL": "http://127.0.0.1:4",
    "EVOLUTION_API_KEY": "evolution-key",
    "EVOLUTION_INSTANCE": "shop",
    "EVOLUTION_WEBHOOK_SECRET": "evolution-secret",
}
SECRETS = {
    "12:bot-token",
    "cloud-token",
    "app-secret",
    "app-secret-before",
    "verify-token",
    "waha-key",
    "waha-hmac",
    "evolution-key",
    "evolution-secret",
}


def test_the_environment_makes_the_default_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **EVERYTHING)
    settings = load_settings()
    (telegram,), (cloud,) = settings.channels.telegram, settings.channels.whatsapp_cloud
    (waha,), (evolution,) = settings.channels.waha, settings.channels.evolution
    assert (telegram.account, telegram.api_base, telegram.bot_id) == ("default", "http://127.0.0.1:1", "12")
    assert [one.get_secret_value() for one in cloud.webhook_secrets] == ["app-secret", "app-secret-before"]
    assert (waha.session, evolution.instance) == ("main", "shop")
    assert set(settings.secrets()) >= SECRETS


async def test_every_account_becomes_a_channel(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    set_all(monkeypatch, **EVERYTHING)
    settings = load_settings()
    registry = build_channels(settings)
    assert sorted((channel.name, channel.account) for channel in registry) == [
        ("evolution", "default"),
        ("simulator", "default"),
        ("telegram", "default"),
        ("telegram", "shop"),
        ("waha", "default"),
        ("whatsapp_cloud", "apart"),
        ("whatsapp_cloud", "default"),
        ("whatsapp_cloud", "one"),
        ("whatsapp_cloud", "two"),
    ]
    assert set(settings.secrets()) >= SECRETS | {"99:SHOPTOKEN", "cloud-token-3", "shared-app-secret"}
    await registry.aclose()


async def test_only_accounts_that_share_a_secret_share_a_webhook(config: Path) -> None:
    registry = build_channels(load_settings())
    numbers = registry.get("whatsapp_cloud", "one")._numbers  # type: ignore[attr-defined]
    assert numbers == {"11111": "one", "22222": "two"}
    await registry.aclose()


def test_blank_variables_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **dict.fromkeys(EVERYTHING, " "))
    assert not any(accounts for _, accounts in load_settings().channels)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"WHATSAPP_TOKEN": "cloud-token"}, "WHATSAPP_PHONE_NUMBER_ID missing beside WHATSAPP_TOKEN"),
        ({"EVOLUTION_INSTANCE": "shop"}, "EVOLUTION_BASE_URL and EVOLUTION_API_KEY missing"),
        ({"TELEGRAM_BOT_TOKEN": "my-secret-token"}, "TELEGRAM_BOT_TOKEN"),
        ({"WAHA_BASE_URL": "waha:3000"}, "WAHA_BASE_URL"),
        ({"WAHA_BASE_URL": "http://waha", "WAHA_SESSION": "a/../b"}, "WAHA_SESSION"),
    ],
)
def test_what_cannot_work_is_refused_by_name_and_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    set_all(monkeypatch, **variables)
    with pytest.raises(SettingsError, match=told) as caught:
        load_settings()
    assert "my-secret-token" not in str(caught.value)


EMPTY = """
[[channels.telegram]]
bot_token = "123456:ABC"
webhook_secret = ""
[[channels.whatsapp_cloud]]
token = "t"
phone_number_id = "12345"
app_secret = " "
app_secret_previous = ""
verify_token = ""
[[channels.waha]]
base_url = "http://waha:3000"
hmac_key = ""
[[channels.evolution]]
base_url = "http://evolution:8080"
api_key = "k"
instance = "shop"
webhook_secret = "\\t"
"""


def test_an_empty_secret_in_the_file_lets_nobody_in(config: Path) -> None:
    """With it anybody could sign."""
    config.write_text(EMPTY)
    registry = build_channels(load_settings())
    for case in CASES:
        channel = registry.get(case.name)
        for secret in ("", " ", "\t"):
            with pytest.raises(WebhookRefused) as caught:
                channel.parse_webhook("default", case.sign(b"{}", secret), b"{}")
            assert caught.value.status == 403
    cloud = registry.get("whatsapp_cloud")
    assert isinstance(cloud, ChallengedChannel)
    with pytest.raises(WebhookRefused):
        cloud.answer_challenge({"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "7"})
    asyncio.run(registry.aclose())


def test_an_empty_key_is_refused(config: Path) -> None:
    config.write_text('[[channels.evolution]]\nbase_url = "http://e"\napi_key = ""\ninstance = "i"\n')
    with pytest.raises(SettingsError, match=r"evolution\.0\.api_key.*empty"):
        load_settings()


def test_the_file_is_checked_too(config: Path) -> None:
    config.write_text(FILE + '[[channels.telegram]]\naccount = "shop"\nbot_token = "98:OTHER"\n')
    with pytest.raises(SettingsError, match="two accounts of telegram"):
        load_settings()
    config.write_text('[[channels.telegram]]\naccount = "x"\nbot_token = "my-secret-token"\n')
    with pytest.raises(SettingsError, match=r"channels\.telegram\.0\.bot_token") as caught:
        load_settings()
    assert "my-secret-token" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('[[channels.telegram]]\nbot_tokn = "1:a"\n', "channels.telegram.0.bot_tokn is not a setting"),
        ('[[channels.telegramm]]\nbot_token = "1:a"\n', "channels.telegramm is not a setting"),
        ('[[channels.waha]]\nbase_url = "http://w"\nhmac = "x"\n', "channels.waha.0.hmac is not a setting"),
    ],
)
def test_a_misspelt_key_of_the_file_is_refused_by_name(config: Path, table: str, told: str) -> None:
    config.write_text(table)
    with pytest.raises(SettingsError, match=told.replace(".", r"\.")):
        load_settings()


def test_public_names_come_beside_this_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ["127.0.0.1", "localhost", "[::1]"]
    assert load_settings().allowed_hosts == own
    for given in ("shop.example, www.shop.example", '["shop.example", "www.shop.example"]'):
        monkeypatch.setenv("SWITCHBOARD_ALLOWED_HOSTS", given)
        assert load_settings().allowed_hosts == [*own, "shop.example", "www.shop.example"]


README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readmes_file_loads(config: Path) -> None:
    config.write_text(README.partition("```toml\n")[2].partition("```")[0])
    found = {channel: [one.account for one in accounts] for channel, accounts in load_settings().channels}
    assert found == {
        "telegram": ["shop"],
        "whatsapp_cloud": ["repairs"],
        "waha": ["branch"],
        "evolution": ["night"],
    }


def test_the_readme_names_only_variables_there_are() -> None:
    section = README.partition("## Channels")[2].partition("\n## ")[0]
    named = set(re.findall(r"\b(?:TELEGRAM|WHATSAPP|WAHA|EVOLUTION|SWITCHBOARD)_[A-Z_]+[A-Z]\b", section))
    known = {name.upper() for name in Settings.model_fields}
    assert {name.removeprefix("SWITCHBOARD_") for name in named} <= known
    assert len(named) >= 20
