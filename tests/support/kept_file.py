"""A file that the program under test writes, looked at from outside."""

from __future__ import annotations

import stat
from pathlib import Path


class KeptFile:
    """One file; its folder is made when it is put there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def there(self) -> bool:
        return self.path.exists()

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)

    @property
    def alone(self) -> bool:
        """Nothing lies beside it."""
        return list(self.path.parent.iterdir()) == [self.path]

    def put(self, text: str) -> None:
        """As a person would write it: others may read it."""
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(text)
        self.path.chmod(0o644)
