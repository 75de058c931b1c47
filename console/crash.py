"""An error of the console itself: what is told of it holds nothing of the screen, and no secret."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from textual.worker import WorkerFailed

if TYPE_CHECKING:
    from console.session import Session

FRAMES = 8
log = logging.getLogger("console.app")


def crash_note(error: BaseException, session: Session) -> str:
    """Log the error, and give what the terminal shows of it once it is restored.

    Type and lines of source only: an error's message and its variables may hold a customer's words or a key.
    The log has the message, too, with secrets masked.
    """
    if isinstance(error, WorkerFailed):
        error = error.error
    lines = ["The console ended on an error of its own. All messages are in the database; start it again.\n"]
    lines += traceback.format_tb(error.__traceback__, limit=-FRAMES)
    lines.append(f"{type(error).__name__}\n")
    if session.settings is not None and session.journal is not None:
        log.critical("the console ended on an error", exc_info=error)
        lines.append(f"Its message is in {session.settings.data_dir / 'console.log'}.\n")
    return "".join(lines)
