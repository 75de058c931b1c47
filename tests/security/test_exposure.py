"""The HTTP side is this machine's alone unless it is opened with a token worth the name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.settings import SettingsError, load_settings

STRONG = SecretStr("k" * 43)
"""As long as 256 bits are in base64url."""


def test_it_listens_on_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    assert load_settings(data_dir=tmp_path).http_host == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "shop.example", ""])
@pytest.mark.parametrize("token", [None, SecretStr(""), SecretStr("k" * 42)], ids=["none", "empty", "short"])
def test_an_open_address_is_refused_without_a_strong_token(
    tmp_path: Path, host: str, token: SecretStr | None
) -> None:
    with pytest.raises(SettingsError, match=r"SWITCHBOARD_ADMIN_TOKEN.*256 bits.*token_urlsafe"):
        load_settings(data_dir=tmp_path, http_host=host, admin_token=token)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "::1", "localhost"])
def test_a_strong_token_opens_it_and_is_not_shown(tmp_path: Path, host: str) -> None:
    settings = load_settings(data_dir=tmp_path, http_host=host, admin_token=STRONG)
    assert settings.http_host == host
    assert STRONG.get_secret_value() not in repr(settings)
