"""The systemd unit of an engine, for `switchboard service`."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.settings import Settings

STOP_SECONDS = 45
"""Longer than an engine takes to drain."""

HARDENING = """\
UMask=0077
NoNewPrivileges=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native"""


def unit_lines(settings: Settings, *, workers: int, environment_file: Path) -> Iterator[str]:
    """A unit that finds the settings, the data and the program found here. It holds no secret."""
    from engine.settings import config_file

    folder, data = Path.cwd(), settings.data_dir.absolute()
    file = environment_file.absolute()
    keys = "UNIAPI_API_KEY, …" if settings.database_url is None else "DATABASE_URL, UNIAPI_API_KEY, …"
    config, user = config_file(), _user()
    yield f"# Put {keys} into {file}, owned by root, mode 0600."
    yield f"# The folder {data} must exist and belong to {user}."
    yield "[Unit]"
    yield "Description=Switchboard engine"
    yield "Wants=network-online.target"
    yield "After=network-online.target postgresql.service"
    yield "StartLimitIntervalSec=0"
    yield ""
    yield "[Service]"
    yield "Type=exec"
    yield f"User={user}"
    yield f"WorkingDirectory={_escaped(folder)}"
    # With an .env in the folder, which the engine reads by itself, the file may be missing.
    yield f"EnvironmentFile={'-' if (folder / '.env').is_file() else ''}{_escaped(file)}"
    yield f"Environment={_quoted(f'SWITCHBOARD_DATA_DIR={data}')}"
    if config is not None:
        yield f"Environment={_quoted(f'SWITCHBOARD_CONFIG={config.absolute()}')}"
    yield f"ExecStart={' '.join(_quoted(word, command=True) for word in _program())} engine --workers {workers}"
    yield "Restart=on-failure"
    yield "RestartSec=2"
    # Only the engine is told to stop: it drains, and stops what it has started itself.
    yield "KillMode=mixed"
    yield f"TimeoutStopSec={STOP_SECONDS}"
    yield from HARDENING.splitlines()
    yield from _files(settings, data)
    yield ""
    yield "[Install]"
    yield "WantedBy=multi-user.target"


def _files(settings: Settings, data: Path) -> Iterator[str]:
    """What it may write. The embedded PostgreSQL is shared with consoles through the temporary folder."""
    if settings.database_url is None:
        yield "ProtectSystem=full"
        return
    yield "CapabilityBoundingSet="
    yield "PrivateTmp=yes"
    yield "ProtectSystem=strict"
    yield "ProtectHome=read-only"
    yield f"ReadWritePaths={_quoted(str(data))}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no environment and no passwd entry, as in some containers
        return str(os.getuid())


def _program() -> list[str]:
    """The installed command; it is not resolved, since a link into an environment is what selects it."""
    beside = Path(sys.executable).with_name("switchboard")
    if beside.is_file():
        return [str(beside)]
    found = shutil.which("switchboard")
    return [found] if found else [sys.executable, "-c", "from console.main import main; main()"]


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(text: str, *, command: bool = False) -> str:
    """A word as systemd reads it; in a command `$` stands for a variable, too."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text.replace("$", "$$") if command else text}"'
