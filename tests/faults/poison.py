"""Texts that kill the engine which reads them, and model calls that never end: prepared in child processes."""

from __future__ import annotations

import os
from typing import Any

from engine.runtime.agent_runtime import ConversationAgentRuntime, TurnRequest, TurnResult
from tests.faults.failpoints import EXIT_CODE

POISON = "☠ poison ☠"


def die_of_poison() -> None:
    """From now on a turn with the poison in a new message takes the whole process down."""
    run_turn = ConversationAgentRuntime.run_turn

    async def poisoned(self: ConversationAgentRuntime, request: TurnRequest) -> TurnResult:
        if any(POISON in (message.text or "") for message in request.new):
            os._exit(EXIT_CODE)
        return await run_turn(self, request)

    ConversationAgentRuntime.run_turn = poisoned  # type: ignore[method-assign]


def raise_at_poison() -> None:
    """From now on a turn with the poison raises what nobody expects."""
    run_turn = ConversationAgentRuntime.run_turn

    async def poisoned(self: ConversationAgentRuntime, request: TurnRequest) -> Any:
        if any(POISON in (message.text or "") for message in request.new):
            raise RecursionError("too deep")
        return await run_turn(self, request)

    ConversationAgentRuntime.run_turn = poisoned  # type: ignore[method-assign]
