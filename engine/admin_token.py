"""The bearer token of the admin endpoints: the one in the settings, or one kept beside the data."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from engine.settings import Settings, SettingsError

FILE = "admin-token"
STRONG_CHARACTERS = 43
"""256 bits in base64url."""


def admin_token(settings: Settings) -> str:
    """The token in force, made on first use and then kept in `data_dir`, for its owner only.

    Raises SettingsError when it can be neither read nor kept.
    """
    if settings.admin_token is not None:
        return settings.admin_token.get_secret_value()
    path = settings.data_dir / FILE
    try:
        if not path.exists():
            _keep(path, secrets.token_urlsafe(32))
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "not readable as text"
        raise SettingsError(
            f"The admin token in {path} cannot be used: {said}.",
            "Make the data folder writable (SWITCHBOARD_DATA_DIR), or set SWITCHBOARD_ADMIN_TOKEN.",
        ) from None
    if not token:
        raise SettingsError(f"The admin token in {path} is empty.", "Delete the file; a new one is made.")
    return token


def _keep(path: Path, token: str) -> None:
    """Write it whole or not at all; when another process was first, its token stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{token}\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
