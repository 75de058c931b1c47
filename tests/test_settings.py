"""A configuration file in which a key is misspelt is refused, by the key and with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.observe.doctor import _variables
from engine.operator.audit import BadInput
from engine.operator.setup import _settings_of
from engine.settings import SettingsError, load_settings


def written(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = path / "switchboard.toml"
    file.write_text(text)
    monkeypatch.setenv("SWITCHBOARD_CONFIG", str(file))


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("uniapi_api_kye", "Write uniapi_api_key in its place, or take it out."),
        ("daily_budget", "Write daily_budget_usd in its place, or take it out."),
        ("chanels", "Write channels in its place, or take it out."),
        ("SWITCHBOARD_HTTP_PORT", "Write http_port in its place, or take it out."),
        ("HTTP_PORT", "Write http_port in its place, or take it out."),
        ("zebra_crossing", "Take it out, or correct its spelling."),
    ],
)
def test_a_misspelt_key_is_refused_by_name_with_the_nearest(
    key: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, f"lease_seconds = 30\n{key} = 1\n", monkeypatch)
    with pytest.raises(SettingsError, match=rf"switchboard\.toml: {key} is not a setting\.") as refused:
        load_settings()
    assert refused.value.remedy == remedy


def test_every_key_that_is_read_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'UNIAPI_API_KEY = "k"\nzai_api_key = "z"\nlease_seconds = 31\n[console]\ntheme = "nord"\n'
    written(tmp_path, text, monkeypatch)
    settings = load_settings()
    assert settings.lease_seconds == 31
    assert settings.uniapi_api_key is not None


def test_set_up_does_not_keep_a_file_that_no_start_would_take() -> None:
    with pytest.raises(BadInput, match="lease_second is not a setting"):
        _settings_of("lease_second = 30\n")


def test_a_misspelt_variable_is_warned_of_by_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _variables() == []
    monkeypatch.setenv("SWITCHBOARD_HTP_PORT", "1")
    (check,) = _variables()
    assert (check.state, check.what) == (
        "warn",
        "SWITCHBOARD_HTP_PORT in the environment is read by nothing.",
    )
    assert check.remedy == "Write SWITCHBOARD_HTTP_PORT in its place, or take it out."
