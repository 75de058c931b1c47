"""To the operator's clipboard: through tmux where it runs, else by OSC 52, which terminals pass on over SSH."""

from __future__ import annotations

import asyncio
import os
from typing import Any

LONGEST = 50_000
"""Characters; terminals drop longer OSC 52 sequences without a word. A file serves better."""


async def copy(app: Any, text: str) -> str:
    """Copy sanitised `text`; what was done, in words. Raises ValueError when it is too long."""
    if len(text) > LONGEST:
        raise ValueError(
            f"{len(text):,} characters are too many for a terminal's clipboard; export them (e)."
        )
    if os.environ.get("TMUX") and await _to_tmux(text):
        return f"Copied {len(text):,} characters to tmux and the clipboard."
    app.copy_to_clipboard(text)
    return f"Copied {len(text):,} characters."


async def _to_tmux(text: str) -> bool:
    """Whether tmux took it; `-w` hands it on to the terminal's clipboard."""
    try:
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "load-buffer",
            "-w",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(2):
            await process.communicate(text.encode())
    except (OSError, TimeoutError):
        return False
    return process.returncode == 0
