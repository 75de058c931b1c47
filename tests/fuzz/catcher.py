"""Runs a target on inputs and keeps, for each way in which it fails, the shortest input that does it."""

from __future__ import annotations

import hashlib
import traceback
from pathlib import Path

from tests.fuzz.targets.target import Target

MOST = 20
"""Ways of failing that are kept of one target."""


class Catcher:
    """Called with an input; never raises what the target raises."""

    def __init__(self, target: Target, folder: Path | None = None) -> None:
        self._target, self._folder = target, folder
        self.found: dict[str, bytes] = {}
        """The shortest input by the failure's name: the kind of exception, and the last two lines of its way."""
        self.executions = 0

    def __call__(self, data: bytes) -> None:
        self.executions += 1
        try:
            self._target.check(data)
        except Exception as error:  # whatever it is, it is what we are here for
            self._keep(data, error)

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)[-2:]
        name = " < ".join([type(error).__name__, *(f"{Path(f.filename).name}:{f.lineno}" for f in frames)])
        known = self.found.get(name)
        if (known is None and len(self.found) >= MOST) or (known is not None and len(known) <= len(data)):
            return
        self.found[name] = data
        if self._folder is not None:
            path = self._folder / f"{self._target.name}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
            path.write_bytes(data)
            path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)), errors="replace")
