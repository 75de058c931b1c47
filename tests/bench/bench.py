"""What every part of the measurement gets: the server, how often, who stands beside, and a place for progress."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.bench.messages import Ground
from tests.bench.peers import Beside
from tests.bench.server import Measured


@dataclass
class Bench:
    """One run of `python -m tests.bench`."""

    server: Measured
    repetitions: int
    messages: int
    """Messages an engine drains; peers, which are slower, get a quarter."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the engine, besides its defaults."""
    beside: Beside | None = None
    sizes: tuple[int, ...] = (10_000, 200_000)
    """Messages of the pasts that `growth` compares."""
    raw: dict[str, Any] = field(default_factory=dict)
    """Everything measured, by part."""
    began: float = field(default_factory=time.monotonic)

    @cached_property
    def ground(self) -> Ground:
        """Databases for engines; made once."""
        self.tell("planting a past of 40,000 messages")
        return Ground(self.server)

    @property
    def config(self) -> dict[str, Any]:
        return {"settings": self.settings}

    def close(self) -> None:
        """Drop what was made on the server."""
        if "ground" in self.__dict__:
            self.ground.close()
        if self.beside:
            self.beside.close()
        self.server.drop_template()

    def tell(self, what: str) -> None:
        """Progress, on stderr."""
        tell(f"[{time.monotonic() - self.began:5.0f} s] {what}")

    def note(self, part: str, row: Any) -> None:
        self.raw.setdefault(part, []).append(row)


def tell(what: str) -> None:
    sys.stderr.write(what + "\n")
    sys.stderr.flush()
