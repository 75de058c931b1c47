"""What every screen of ours shares: looks for text, and workers that fail without taking the console down."""

from __future__ import annotations

import logging
from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.screen import ModalScreen, Screen
from textual.worker import Worker, WorkerState

from console.sanitise import cell
from console.words import LOOKS

if TYPE_CHECKING:
    from console.app import SwitchboardApp
    from engine.observe.feed import Pool
    from engine.operator.audit import Operator

log = logging.getLogger("console.workers")
Answer = TypeVar("Answer")


class Guarded(Screen[Answer]):
    """A screen whose failing workers become a toast and a line in the journal."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*LOOKS}

    @property
    def switchboard(self) -> SwitchboardApp:
        """The app, by its own type."""
        return cast("SwitchboardApp", self.app)

    @property
    def _pool(self) -> Any:
        """The connections that acts go through. The console is connected."""
        assert self.switchboard.session.feed is not None
        return self.switchboard.session.feed.pool

    @property
    def _operator(self) -> Any:
        """Who acts."""
        return self.switchboard.session.operator

    def _hands(self) -> tuple[Pool, Operator]:
        """What an act is done with: the connections, and who acts."""
        assert self._operator is not None
        return self._pool, self._operator

    def say(self, text: str, *, title: str = "", bad: bool = False) -> None:
        """A toast. The text may hold foreign words; it is sanitised and never parsed."""
        self.notify(
            cell(text, limit=500).plain,
            title=title,
            severity="warning" if bad else "information",
            markup=False,
        )

    def deliver(self, text: str, name: str) -> None:
        """Write a file to the download folder, or hand it to the browser. The app says where it is, or why not."""
        from platformdirs import user_downloads_path

        path = user_downloads_path() / name
        try:
            if not self.app.is_web:
                path.parent.mkdir(parents=True, exist_ok=True)  # servers have none
                path.touch(mode=0o600)  # it holds customers' words
        except OSError as error:
            self.say(not_written(error, str(path)), title="Not exported", bad=True)
            return
        self.app.deliver_text(StringIO(text), save_filename=name, name=name)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            failed(self, event.worker)


def not_written(error: BaseException, what: str) -> str:
    """What became of a file that could not be written, and what to do."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{what} could not be written: {reason}. Set XDG_DOWNLOAD_DIR to a folder that can be written to."


class Dialog(Guarded[Answer], ModalScreen[Answer]):
    """A dialog over an area."""


def failed(host: Any, worker: Worker[Any]) -> None:
    """Tell of a failed worker; what the engine explains is said in its words."""
    error = worker.error
    what, remedy = getattr(error, "what", None), getattr(error, "remedy", None)
    if what and remedy:
        message = f"{what} {remedy}"
    else:
        message = f"{type(error).__name__}: {error}"
        log.error("worker %s failed", worker.group, exc_info=error)
    message = host.app.session.masked(message)
    host.notify(cell(message, limit=500).plain, title="Not done", severity="error", markup=False)
