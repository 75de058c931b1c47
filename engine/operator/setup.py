"""Set-up: language models and channel accounts, kept in `switchboard.toml` as a person would write them there.

What the environment or `.env` sets wins over the file, so it is not asked for here.
"""

from __future__ import annotations

import asyncio
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import tomlkit
from dotenv import dotenv_values
from tomlkit.exceptions import TOMLKitError

from engine.database.connection import Pool
from engine.model import DEFAULT_ACCOUNT
from engine.operator.audit import BadInput, Operator, Refused, acting, audit, rows
from engine.operator.setup_parts import BY_ID, PARTS
from engine.operator.setup_parts import Part as Part
from engine.operator.setup_parts import Question as Question
from engine.operator.setup_parts import what_then as what_then
from engine.settings import Settings, SettingsError, check_keys, config_dir, config_file, load_settings


@dataclass(frozen=True, slots=True)
class PartState:
    """How far a part is set up."""

    part: Part
    by: str | None
    """The environment variable that sets it up, if one does."""
    accounts: tuple[str, ...] = ()
    """Of a channel: what is configured, by whatever means."""
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A part as it would be kept, not kept yet."""

    part: Part
    account: str
    settings: Settings
    """What would be in force."""
    text: str
    """The whole file."""
    path: Path
    before: str | None
    """What the file held when the draft was made; None when there was none."""
    changed: tuple[str, ...]
    """The keys that are given, never their values."""


def part_of(part_id: str) -> Part:
    """A part by its id. Raises BadInput."""
    if part_id not in BY_ID:
        raise BadInput(f"There is nothing to set up called {part_id!r}.", f"Choose of {', '.join(BY_ID)}.")
    return BY_ID[part_id]


def states(settings: Settings) -> list[PartState]:
    """Every part, in the order it is offered."""
    found = []
    for part in PARTS:
        by = _set_by_environment(part)
        if part.channel:
            accounts = tuple(one.account for one in getattr(settings.channels, part.id))
            found.append(PartState(part=part, by=by, accounts=accounts, ready=bool(accounts)))
        else:
            ready = getattr(settings, f"{part.id}_api_key") is not None
            found.append(PartState(part=part, by=by, ready=ready))
    return found


def nothing_is_set_up(settings: Settings) -> bool:
    """Whether this is a fresh installation: neither a key nor a channel."""
    return not any(state.ready for state in states(settings))


def file_to_write() -> Path:
    """The `switchboard.toml` in force, or the one in the user's configuration folder."""
    return config_file() or config_dir() / "switchboard.toml"


def kept_values(part: Part, account: str = DEFAULT_ACCOUNT) -> dict[str, str]:
    """What the file holds for a part, without its secrets. Raises SettingsError."""
    document = tomllib.loads(_read(file_to_write()) or "")
    table: Any = document
    if part.channel:
        tables = document.get("channels", {}).get(part.id, [])
        table = next((one for one in tables if one.get("account", DEFAULT_ACCOUNT) == account), {})
    names = (question.name for question in part.questions if not question.secret)
    return {name: str(table[name]) for name in names if name in table}


def draft(part_id: str, values: Mapping[str, str]) -> Draft:
    """The file with these values in it, checked as a start would. Secrets left blank stay as they are kept.

    Raises BadInput, which names what is missing or wrong, and SettingsError for a file that cannot be read.
    """
    part = part_of(part_id)
    if not part.channel and (by := _set_by_environment(part)):
        raise BadInput(
            f"{by} is set in the environment, which wins over the file.", "Change or unset it there."
        )
    path = file_to_write()
    before = _read(path)
    given = {question.name: values.get(question.name, "").strip() for question in part.questions}
    account = given.pop("account", "") or DEFAULT_ACCOUNT
    document = tomlkit.parse(before or "")
    table = _account_table(document, part, account) if part.channel else document
    for question in part.questions:
        if question.name in given:
            _put(table, question, given[question.name])
    text = tomlkit.dumps(document)
    return Draft(
        part=part,
        account=account,
        settings=_settings_of(text),
        text=text,
        path=path,
        before=before,
        changed=tuple(name for name, value in given.items() if value),
    )


async def keep(made: Draft, operator: Operator, pool: Pool | None) -> Path:
    """Write a draft's file, readable by its owner only; audited where there is a database already.

    Returns the file. Raises ReadOnly, Refused when it cannot be written or has changed meanwhile.
    """
    operator.may_act()
    if pool is None or not await _has_record(pool):
        await _replace(made)
        return made.path
    subject = f"{made.part.id}/{made.account}" if made.part.channel else made.part.id
    after = {"file": str(made.path), "given": list(made.changed)}
    async with acting(pool, operator) as connection:
        await audit(connection, operator, "setup.keep", f"setup:{subject}", None, after)
        await _replace(made)
    return made.path


async def _has_record(pool: Pool) -> bool:
    """Whether the database has been migrated, so that acts are written down there."""
    async with pool.connection() as connection:
        found = await rows(connection, "SELECT to_regclass('et_audit_log') IS NOT NULL AS there")
    return bool(found[0]["there"])


async def _replace(made: Draft) -> None:
    if await asyncio.to_thread(_read, made.path) != made.before:
        raise Refused(f"{made.path} was changed by somebody else just now.", "Look at it, and try again.")
    try:
        await asyncio.to_thread(_write, made.path, made.text)
    except OSError as error:
        raise Refused(
            f"{made.path} cannot be written: {error.strerror}.",
            "Make it writable, or set SWITCHBOARD_CONFIG.",
        ) from None


def _set_by_environment(part: Part) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        names = {name.upper() for name, value in dotenv_values(".env").items() if value and value.strip()}
        names |= {name.upper() for name, value in os.environ.items() if value.strip()}
        return part.variables[0] if part.variables[0] in names else None
    return None


def _account_table(document: tomlkit.TOMLDocument, part: Part, account: str) -> Any:
    """The account's table in the file, made where there is none."""
    channels = document.get("channels")
    if channels is None:
        channels = document["channels"] = tomlkit.table(is_super_table=True)
    tables = channels.get(part.id)
    if tables is None:
        tables = channels[part.id] = tomlkit.aot()
    for one in tables:
        if one.get("account", DEFAULT_ACCOUNT) == account:
            return one
    table = tomlkit.table()
    if account != DEFAULT_ACCOUNT:
        table["account"] = account
    tables.append(table)
    return tables[-1]


def _put(table: Any, question: Question, value: str) -> None:
    if value and not (value == question.default and question.name not in table):
        table[question.name] = value
    elif not value and not question.secret:
        table.pop(question.name, None)
    if question.needed and not question.default and not str(table.get(question.name, "")).strip():
        raise BadInput(f"The {question.title} is missing.", question.how and f"Find it: {question.how}.")


def _settings_of(text: str) -> Settings:
    """What a start would make of the file. Raises BadInput."""
    document = tomllib.loads(text)
    try:
        check_keys(document, str(file_to_write()))
        document.pop("console", None)
        return load_settings(**document)
    except SettingsError as error:
        raise BadInput(error.what, "Correct it here.") from None


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
        tomlkit.parse(text)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, TOMLKitError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.", "Correct the file.") from None
    return text


def _write(path: Path, text: str) -> None:
    """Whole or not at all, mode 0600 from the first byte on."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = mkstemp(prefix=".switchboard-", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
