"""The way out: whatever ends the console, the engine is drained and the terminal is given back, within 5 s."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from console.app import SwitchboardApp
    from console.session import Session

SIGNALS = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGINT")
LAST_SECONDS = 4.7
RESET = (
    b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?1004l"
    b"\x1b[<u\x1b[?7h\x1b[0m"
)
TRIES = 40
TRY_SECONDS = 0.005


class Exit:
    """Ends the console on a signal. A terminal that takes no bytes, or a hung loop, does not hold it up.

    Handlers are Python's own rather than the loop's: they run even while the loop waits for the terminal.
    """

    def __init__(self, app: SwitchboardApp, session: Session, *, survive_hangup: bool = False) -> None:
        """`survive_hangup`: when the terminal is lost, the embedded engine goes on without it."""
        self._app, self._session = app, session
        self._survive_hangup = survive_hangup
        self._alone = False
        self._asked = threading.Event()
        self._attributes: Any = None
        self._done = threading.Event()
        self._forcing = threading.Event()
        self._before: dict[int, Any] = {}
        self.code: int | None = None
        """128 + the signal that ended the console."""

    def __enter__(self) -> Self:
        try:
            import termios

            self._attributes = termios.tcgetattr(0)
        except Exception:  # standard input is no terminal, or the system knows none
            self._attributes = None
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, self._on_signal)
        threading.Thread(target=self._watch_terminal, name="console terminal", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The terminal is restored by now; the engine drains in plain sight."""
        try:
            if self._alone:
                self._done.set()
                while not self._asked.wait(1.0):
                    pass
            self._session.stop()
        finally:
            self._done.set()
            if self._forcing.is_set():  # it was late, and is being restored by force: that ends the process
                time.sleep(TRIES * TRY_SECONDS + 1.0)
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _watch_terminal(self) -> None:
        """A terminal that is lost does not always tell by a signal: under nohup, or in a container, it does not."""
        if not hasattr(select, "poll") or self._attributes is None:
            return
        terminal = select.poll()
        terminal.register(0, 0)  # wakes when it is gone, and for nothing else
        terminal.poll()
        if not self._done.is_set():
            self._on_signal(signal.SIGHUP, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._alone and number != signal.SIGHUP:
            self.code = 128 + number
            self._asked.set()
            if not self._done.is_set():  # the screen has not let go yet: it is left as ever
                self._alone = False
                threading.Thread(target=self._leave, name="console leaving", daemon=True).start()
        if self.code is not None:
            return
        hung_up = number == getattr(signal, "SIGHUP", None)
        self._alone = self._survive_hangup and hung_up and self._session.engine is not None
        self.code = 128 + number
        threading.Thread(target=self._leave, name="console leaving", daemon=True).start()

    def _leave(self) -> None:
        if not self._alone:
            threading.Thread(target=self._session.stop, name="console draining", daemon=True).start()
        loop = self._app._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._app.exit, self.code)
        if self._alone:
            return  # nobody waits for the terminal, and an end by force would take the engine along
        if not self._done.wait(LAST_SECONDS):
            self._force()

    def _force(self) -> None:
        """The loop did not come back: restore what can be restored without it, and go."""
        self._forcing.set()
        try:
            import termios

            if self._attributes is not None:
                termios.tcsetattr(0, termios.TCSANOW, self._attributes)
            os.set_blocking(2, False)
            self._write_reset()
        except Exception:  # noqa: S110 - nothing is left to tell
            pass
        os._exit(self.code or 1)

    def _write_reset(self) -> None:
        """What the terminal has not taken is dropped: it would fill the way for the reset.

        A thread that sleeps in a write holds the terminal's lock; flow that stops and starts wakes it.
        """
        import termios

        for _ in range(TRIES):
            termios.tcflow(0, termios.TCOOFF)
            termios.tcflow(0, termios.TCOON)
            time.sleep(TRY_SECONDS)
            termios.tcflush(0, termios.TCOFLUSH)
            with suppress(BlockingIOError):
                if os.write(2, RESET) == len(RESET):
                    return
