"""What the Usage area and `switchboard usage` say of providers' accounts and of missing prices, in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from console.words import age, count, usd

if TYPE_CHECKING:
    from engine.observe.accounts import Account

OLD_SECONDS = 3600.0
"""Balances older than this are no news."""
FEW_DAYS, LAST_DAYS, MANY_DAYS = 7.0, 2.0, 365.0
"""Of money left: a warning, trouble, and as good as for ever."""
PRICE_PLACE = "llm_routing_config"
PRICE_SHAPE = '"provider/model": {"input_per_m": …, "output_per_m": …}'


def verdict(account: Account) -> Literal["good", "warn", "bad"]:
    """Of an account with a balance."""
    days = account.days_left
    if (account.balance_usd or 0.0) <= 0 or (days is not None and days < LAST_DAYS):
        return "bad"
    if account.state != "told" or is_old(account) or (days is not None and days < FEW_DAYS):
        return "warn"
    return "good"


def why_unknown(account: Account | None) -> str | None:
    """Why nothing is known of what is left, foreign text among it; None when it is known."""
    if account is None:
        return "not asked yet"
    if account.balance_usd is not None or account.state == "unlimited":
        return None
    if account.problem is not None:
        return f"asking failed: {account.problem}"
    return "the provider does not tell it"


def left(account: Account) -> str:
    """$12.34 left; without a balance there is no limit."""
    amount = account.balance_usd
    if amount is None:
        return "no limit on the account"
    return f"{usd(amount) if amount >= 0 else '-' + usd(-amount)} left"


def is_old(account: Account) -> bool:
    """Whether what was told is no news any more."""
    return account.state == "failed" or (account.age_seconds or 0.0) > OLD_SECONDS


def told_ago(account: Account) -> str:
    """When the balance was told, and whether asking again failed."""
    seconds = account.age_seconds or 0.0
    when = "told just now" if seconds < 60 else f"told {age(seconds)} ago"
    return f"{when}, asking failed since" if account.state == "failed" else when


def pace(account: Account) -> str:
    """How fast it goes, and how long it lasts."""
    if account.burn_usd is None:
        return "pace unknown"
    days = account.days_left
    if not account.burn_usd or days is None:
        return "nothing spent in 7 days"
    lasts = f"{count(round(days))} days" if days >= LAST_DAYS else f"{days * 24:.0f} hours"
    if days > MANY_DAYS:
        lasts = "more than a year"
    reckoned = " (our reckoning)" if account.burn_from == "usage" else ""
    return f"{usd(account.burn_usd)} a day{reckoned} → {lasts}"
