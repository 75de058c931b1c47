"""The floor and the peers: other programs doing the same work, from a directory that is given at the command line.

That directory holds `floor.py` (pgbench), `peer_bench.py` and a `peers_*.py` for each job queue. A peer that is
not installed here is left out and named.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.bench.server import Measured

CLIENTS = 4
FLOOR_SECONDS = 3


@dataclass(frozen=True)
class Peer:
    """A contender of the directory: module, variant, and the packages it needs."""

    name: str
    module: str
    variant: str
    needs: tuple[str, ...]


PEERS = (
    Peer("Procrastinate", "peers_procrastinate", "c20", ("procrastinate", "asyncpg")),
    Peer("PgQueuer", "peers_pgqueuer", "apg-b50", ("pgqueuer", "asyncpg")),
    Peer("graphile-worker", "peers_node", "graphile", ("asyncpg",)),
)
FLOORS = {"drain": {"cte": "drain-cte", "batch50": "drain-batch50"}, "full": {"cte": "cte"}, "trickle": {}}


class Beside:
    """Runs them, on a database of their own on the same server."""

    def __init__(
        self, folder: Path, server: Measured, *, node: Path | None, tell: Callable[[str], None]
    ) -> None:
        """`node` is a folder whose `node_modules` hold the peers written in JavaScript."""
        if not (folder / "peer_bench.py").is_file():
            raise SystemExit(f"{folder} holds no peer_bench.py: name the directory of floor and peers.")
        sys.path.insert(0, str(folder))
        if node:
            os.environ["NODE_PATH_DIR"] = str(node.resolve())
        self._server = server
        self._tell = tell
        self._database = server.empty_database()
        self._dsn = server.dsn(self._database)
        self.peers = list(self._installed(node is not None))

    def _installed(self, node: bool) -> Iterator[Peer]:
        for peer in PEERS:
            missing = [name for name in peer.needs if find_spec(name) is None]
            if peer.module == "peers_node" and not node:
                missing.append("node_modules (--node)")
            if missing:
                self._tell(f"{peer.name} is left out: {', '.join(missing)} is not installed")
            else:
                yield peer

    def floor(self, kind: str, name: str) -> float:
        """Messages a second of the floor."""
        floor, common = importlib.import_module("floor"), importlib.import_module("common")
        with contextlib.redirect_stdout(sys.stderr):
            cpu = common.ServerCPU(self._url())
            done = floor.run(self._url(), FLOORS[kind][name], CLIENTS, "on", FLOOR_SECONDS, cpu, "pgbench")
        return float(done["rate"])

    def peer(self, peer: Peer, kind: str, messages: int) -> dict[str, Any] | None:
        """Its figures, or None when it failed."""
        module = importlib.import_module(peer.module)
        variant = next(v for v in module.VARIANTS if v["tag"] == peer.variant)
        bench = importlib.import_module("peer_bench")
        with contextlib.redirect_stdout(sys.stderr):
            rows = bench.run_one(peer.module, self._url(), variant, kind, "on", messages, 0, 0)
        return rows[0] if rows else None

    def _url(self) -> str:
        """As a URL, which is what every peer understands."""
        return self._server.admin_dsn.rpartition("/")[0] + f"/{self._database}"

    def close(self) -> None:
        self._server.drop(self._database)
