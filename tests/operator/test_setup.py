"""Set-up writes what a start would read, keeps what stands there, and leaves the file to its owner alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from engine.database.connection import open_pool
from engine.observe.setup_check import check_account, check_provider
from engine.operator.audit import BadInput, Operator, ReadOnly, Refused
from engine.operator.setup import (
    BY_ID,
    PARTS,
    draft,
    keep,
    kept_values,
    nothing_is_set_up,
    part_of,
    states,
    what_then,
)
from engine.settings import SettingsError, load_settings
from tests.channels.cases import BY_NAME
from tests.channels.world import account
from tests.support.kept_file import KeptFile

ANNA = Operator("anna", "here")
TOKEN = "123456:AAF-telegram-token-of-the-test"
KEPT = """# our shop
uniapi_api_key = "old"   # from the boss

[console]
theme = "nord"

[[channels.telegram]]
account = "night"
bot_token = "1:night"  # the night bot
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptFile:
    path = tmp_path / "config" / "switchboard.toml"
    monkeypatch.setenv("SWITCHBOARD_CONFIG", str(path))
    return KeptFile(path)


async def test_a_fresh_installation_gets_a_file_that_only_its_owner_can_read(file: KeptFile) -> None:
    assert nothing_is_set_up(load_settings())
    await keep(draft("uniapi", {"uniapi_api_key": " key "}), ANNA, None)
    await keep(draft("telegram", {"bot_token": TOKEN, "api_base": "https://api.telegram.org"}), ANNA, None)
    assert file.mode == 0o600
    settings = load_settings()
    assert settings.uniapi_api_key is not None
    assert settings.uniapi_api_key.get_secret_value() == "key"
    assert [one.account for one in settings.channels.telegram] == ["default"]
    assert tomllib.loads(file.text) == {
        "uniapi_api_key": "key",
        "channels": {"telegram": [{"bot_token": TOKEN}]},
    }, "what is the default anyhow is not written down"
    assert not nothing_is_set_up(settings)
    assert {state.part.id for state in states(settings) if state.ready} == {"uniapi", "telegram"}
    assert file.alone


async def test_what_stands_in_the_file_stays(file: KeptFile) -> None:
    file.put(KEPT)
    await keep(draft("telegram", {"bot_token": TOKEN}), ANNA, None)
    await keep(draft("telegram", {"account": "night", "api_base": "http://127.0.0.1:81"}), ANNA, None)
    text = file.text
    for comment in ("# our shop", "# from the boss", "# the night bot", 'theme = "nord"'):
        assert comment in text
    assert file.mode == 0o600
    night, default = load_settings().channels.telegram
    assert (night.account, night.bot_token.get_secret_value()) == ("night", "1:night")
    assert (night.api_base, default.account) == ("http://127.0.0.1:81", "default")
    assert kept_values(BY_ID["telegram"], "night") == {"account": "night", "api_base": "http://127.0.0.1:81"}


@pytest.mark.parametrize("part", [part.id for part in PARTS if part.channel])
async def test_every_channel_is_tried_at_its_far_end_before_it_is_kept(file: KeptFile, part: str) -> None:
    with BY_NAME[part].service() as far:
        values = {k: v for k, v in account(part, far.base_url).items() if not k.endswith("_previous")}
        made = draft(part, values | {"account": "shop"})
        check = await check_account(made.settings, part, made.account)
        assert (check.state, check.remedy) == ("ok", None), check
        far.refuse_connections()
        check = await check_account(made.settings, part, made.account)
        assert check.state == "fail"
        assert check.remedy
        assert not file.there, "nothing is written before it is kept"
    await keep(made, ANNA, None)
    (kept,) = getattr(load_settings().channels, part)
    assert kept.account == "shop"
    assert kept == getattr(made.settings.channels, part)[0]
    assert (
        kept_values(BY_ID[part], "shop")
        .keys()
        .isdisjoint({question.name for question in BY_ID[part].questions if question.secret})
    )
    assert "/shop" in what_then(BY_ID[part], "shop") or part == "telegram"


async def test_a_language_model_is_tried_too(file: KeptFile) -> None:
    made = draft("zai", {"zai_api_key": "k", "zai_base_url": "http://127.0.0.1:9"})
    check = await check_provider(made.settings, "zai")
    assert (check.name, check.state) == ("ZAI_API_KEY", "fail")
    assert check.remedy


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("telegram", {}, "bot token is missing"),
        ("telegram", {"bot_token": "nonsense"}, "123456:ABC"),
        ("telegram", {"bot_token": TOKEN, "api_base": "ftp://x"}, "http"),
        ("telegram", {"bot_token": TOKEN, "account": "a b"}, "account"),
        ("whatsapp_cloud", {"phone_number_id": "+49 151"}, "token is missing"),
        ("evolution", {"api_key": "k", "instance": "a/b", "webhook_secret": "s"}, "instance"),
        ("uniapi", {"uniapi_api_key": "  "}, "API key is missing"),
        ("carrier pigeon", {}, "nothing to set up"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_is_written(
    file: KeptFile, part: str, values: dict[str, str], said: str
) -> None:
    with pytest.raises(BadInput) as refused:
        draft(part, values)
    assert said in str(refused.value)
    assert not file.there
    assert TOKEN not in str(refused.value)


def test_what_the_environment_sets_is_left_to_it(file: KeptFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIAPI_API_KEY", "of the environment")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "1:x")
    by = {state.part.id: state.by for state in states(load_settings())}
    assert (by["uniapi"], by["telegram"], by["waha"]) == ("UNIAPI_API_KEY", "TELEGRAM_BOT_TOKEN", None)
    with pytest.raises(BadInput, match="environment"):
        draft("uniapi", {"uniapi_api_key": "k"})
    with pytest.raises(BadInput, match="same name"):
        draft("telegram", {"bot_token": TOKEN})
    assert len(draft("telegram", {"bot_token": TOKEN, "account": "two"}).settings.channels.telegram) == 2


async def test_a_file_changed_meanwhile_or_broken_is_not_written_over(file: KeptFile) -> None:
    made = draft("uniapi", {"uniapi_api_key": "k"})
    file.put("# mine\n")
    with pytest.raises(Refused, match="changed"):
        await keep(made, ANNA, None)
    file.put("= broken")
    with pytest.raises(SettingsError):
        draft("uniapi", {"uniapi_api_key": "k"})
    assert file.text == "= broken"


async def test_it_is_audited_without_its_secrets_and_refused_read_only(dsn: str, file: KeptFile) -> None:
    pool = open_pool(dsn, size=1)
    await pool.open(wait=True)
    try:
        made = draft("telegram", {"bot_token": TOKEN})
        with pytest.raises(ReadOnly):
            await keep(made, Operator("guest", "here", read_only=True), pool)
        assert not file.there
        await keep(made, ANNA, pool)
        async with pool.connection() as connection:
            found = await (await connection.execute("SELECT * FROM et_audit_log")).fetchall()
        assert [(row["actor"], row["act"], row["subject"]) for row in found] == [
            ("anna", "setup.keep", "setup:telegram/default")
        ]
        assert TOKEN not in str(found)
        assert "bot_token" in str(found)
    finally:
        await pool.close()


def test_parts_are_known_by_their_ids() -> None:
    assert part_of("waha").title == "WAHA"
