"""A console whose terminal is a page: it ends when the page's server is gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from textual import messages
from textual.drivers.web_driver import WebDriver


class ConsoleDriver(WebDriver):
    """Textual's driver for pages. Without it, a console would outlive a server that was killed."""

    def start_application_mode(self) -> None:
        self._loop = asyncio.get_running_loop()
        super().start_application_mode()

    def run_input_thread(self) -> None:
        super().run_input_thread()
        with suppress(RuntimeError):  # the console has ended by itself
            asyncio.run_coroutine_threadsafe(self._app._post_message(messages.ExitApp()), self._loop)
