"""A TCP proxy in front of a PostgreSQL socket that can stop forwarding without anybody being told."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK = 65536


class BlackHole:
    """Forwards between 127.0.0.1 and the server of a DSN, until told to swallow everything."""

    def __init__(self, dsn: str) -> None:
        self._parts = conninfo_to_dict(dsn)
        folder, port = str(self._parts["host"]), self._parts.get("port") or 5432
        self._target = str(Path(folder) / f".s.PGSQL.{port}")
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        self._listener.close()
        self.reset()

    @property
    def dsn(self) -> str:
        """The same database, through the proxy."""
        port = self._listener.getsockname()[1]
        return make_conninfo(**{**self._parts, "host": "127.0.0.1", "port": port})

    def swallow(self) -> None:
        """From now on nothing gets through; connections stay open, new ones are accepted and say nothing."""
        self._open.clear()

    def forward(self) -> None:
        """What was held up arrives after all."""
        self._open.set()

    def reset(self) -> None:
        """Every connection breaks."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self._target)
            except OSError:
                near.close()
                continue
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._open.wait()
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
