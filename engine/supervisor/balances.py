"""What is left on the providers' accounts: asked now and then by one engine for all, and kept with its time."""

from __future__ import annotations

from engine.database.connection import Pool, fetch
from engine.llm.failures import ProviderFailure
from engine.llm.providers.base import Provider
from engine.llm.router import Router
from engine.logs import get_logger
from engine.text import clean_for_storage, one_line

log = get_logger(__name__)
LOOK_SECONDS = 60.0
EVERY_SECONDS = 900.0
"""Between two questions to one provider, however many engines there are."""
ANSWER_SECONDS = 10.0
KEPT_DAYS = 30
MOST_PROBLEM = 200


class BalanceWatch:
    """Asks; see `look`. What comes of it says nothing about whether a provider answers chats."""

    def __init__(self, pool: Pool, router: Router, *, every: float = EVERY_SECONDS) -> None:
        self._pool, self._router, self._every = pool, router, every

    async def look(self) -> None:
        """Ask each provider that has a key and was not asked of late."""
        for provider in self._router.providers:
            if provider.problem is None:
                await self._ask(provider)

    async def _ask(self, provider: Provider) -> None:
        async with self._pool.connection() as connection:
            claimed = await fetch(connection, "claim_balance", provider.name, self._every, KEPT_DAYS)
        if not claimed:
            return
        state, usd, problem = await _answer(provider)
        (claim,) = claimed
        async with self._pool.connection() as connection:
            await fetch(
                connection,
                "record_balance",
                provider.name,
                claim["hour"],
                claim["asked_at"],
                state,
                usd,
                problem,
            )


async def _answer(provider: Provider) -> tuple[str, float | None, str | None]:
    """The state, the USD that are left, and what went wrong."""
    try:
        balance = await provider.balance(timeout=ANSWER_SECONDS)
    except ProviderFailure as failure:
        problem = one_line(clean_for_storage(f"{failure.failure.value}: {failure.message}"), MOST_PROBLEM)
        log.warning("balance.not_told", provider=provider.name, why=problem)
        return "failed", None, problem
    if balance is None:
        return "untold", None, None
    return ("unlimited" if balance.usd is None else "told"), balance.usd, None
