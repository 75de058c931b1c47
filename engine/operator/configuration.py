"""Platform settings: read, checked, changed and put back. Engines take a change over at once."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.database.connection import Connection, Pool, Row, to_json
from engine.database.directory import PlatformSettings
from engine.model import PROVIDERS as PROVIDERS
from engine.operator.audit import BadInput, NotFound, Operator, acting, audit, rows
from engine.text import clean_json

ROUTING = "llm_routing_config"


class Setting(BaseModel):
    """One platform setting as it stands."""

    model_config = ConfigDict(frozen=True)

    key: str
    value: Any
    """What is stored; where nothing is, the default."""
    default: Any
    stored: bool
    problem: str | None = None
    """Why engines refuse what is stored, and go on with the last good value."""
    updated_by: str | None = None
    updated_at: datetime | None = None


async def get_settings(pool: Pool) -> dict[str, Setting]:
    """Every known setting by its key."""
    async with pool.connection() as connection:
        found = await rows(connection, "SELECT key, value, updated_by, updated_at FROM et_platform_settings")
    stored = {row["key"]: row for row in found}
    defaults = PlatformSettings().model_dump(mode="json")
    settings = {}
    for key, default in defaults.items():
        row = stored.get(key)
        if row is None:
            settings[key] = Setting(key=key, value=default, default=default, stored=False)
            continue
        settings[key] = Setting(
            key=key,
            value=row["value"],
            default=default,
            stored=True,
            problem=_problem(key, row["value"]),
            updated_by=row["updated_by"],
            updated_at=row["updated_at"],
        )
    return settings


async def set_setting(
    pool: Pool, operator: Operator, key: str, value: Any, *, note: str | None = None
) -> Any:
    """Store a setting and return it as stored. The routing may be given as JSON text.

    Raises BadInput, which says what is wrong with it (what was in force stays in force), ReadOnly.
    """
    operator.may_act()
    checked = check_setting(key, value)
    async with acting(pool, operator) as connection:
        before = await _locked(connection, key)
        await _store(connection, operator, key, checked, before, note)
    return checked


async def change_setting(pool: Pool, operator: Operator, key: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change parts of a setting that is an object; None takes a part out. Returns the parts that are set then.

    Raises BadInput, ReadOnly.
    """
    operator.may_act()
    check_setting(key, changes)
    async with acting(pool, operator) as connection:
        before = await _locked(connection, key)
        now = before[0]["value"] if before and _problem(key, before[0]["value"]) is None else {}
        merged = {**now, **changes}
        checked = check_setting(key, {part: value for part, value in merged.items() if value is not None})
        await _store(connection, operator, key, checked, before, None)
    return {part: value for part, value in checked.items() if value is not None}


async def _locked(connection: Connection, key: str) -> list[Row]:
    """What is stored. The lock comes before the look: of two who change it at once, the second sees the first's."""
    await rows(connection, "LOCK TABLE et_platform_settings IN SHARE ROW EXCLUSIVE MODE")
    return await rows(connection, "SELECT value FROM et_platform_settings WHERE key = %s", key)


async def _store(
    connection: Connection, operator: Operator, key: str, checked: Any, before: list[Row], note: str | None
) -> None:
    await rows(
        connection,
        """INSERT INTO et_platform_settings (key, value, updated_by) VALUES (%s, %s::jsonb, %s)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by,
                                               updated_at = now()""",
        key,
        to_json(checked),
        operator.name,
    )
    former = {"value": before[0]["value"]} if before else None
    await audit(connection, operator, "setting.set", f"setting:{key}", former, {"value": checked}, note)


async def reset_setting(pool: Pool, operator: Operator, key: str, *, note: str | None = None) -> bool:
    """Go back to a setting's default; False when it was not set. Raises ReadOnly."""
    async with acting(pool, operator) as connection:
        gone = await rows(connection, "DELETE FROM et_platform_settings WHERE key = %s RETURNING value", key)
        if gone:
            former = {"value": gone[0]["value"]}
            await audit(connection, operator, "setting.reset", f"setting:{key}", former, None, note)
        return bool(gone)


async def put_back(
    pool: Pool,
    operator: Operator,
    key: str,
    *,
    to: int | None = None,
    past: int | None = None,
    note: str | None = None,
) -> Any:
    """Put a former value of a setting in force again; returns it, None for the default.

    `to` is the id in the audit log of the change whose value it is, `past` of the one that replaced it; without
    either it is the newest change that is taken back. Raises NotFound when there is no such change, BadInput when
    the value cannot be used any more, ReadOnly.
    """
    operator.may_act()
    chosen = to if to is not None else past
    async with pool.connection() as connection:
        found = await rows(
            connection,
            """SELECT id, before, after FROM et_audit_log
                WHERE subject = %s AND act IN ('setting.set', 'setting.reset') AND coalesce(id = %s, true)
                ORDER BY id DESC LIMIT 1""",
            f"setting:{key}",
            chosen,
        )
    if not found:
        which = "has never been changed" if chosen is None else f"has no change #{chosen} on record"
        raise NotFound(f"{key} {which}.", "Look at its history.")
    change = found[0]
    kept = change["before"] if to is None else change["after"]
    why = note or f"rolled back {'past' if to is None else 'to'} #{change['id']}"
    if kept is None:
        await reset_setting(pool, operator, key, note=why)
        return None
    return await set_setting(pool, operator, key, kept.get("value"), note=why)


def check_setting(key: str, value: Any) -> Any:
    """The value as it would be stored. Raises BadInput."""
    if key not in PlatformSettings.model_fields:
        known = ", ".join(PlatformSettings.model_fields)
        raise BadInput(f"There is no setting {key!r}.", f"Known settings: {known}.")
    if key == ROUTING:
        return check_routing(value)
    try:
        checked = getattr(PlatformSettings(**{key: value}), key)
    except ValidationError as error:
        raise BadInput(f"{_told(error)}.", "What was in force stays in force.") from None
    stored = checked.model_dump(mode="json", exclude_none=True) if isinstance(checked, BaseModel) else checked
    if clean_json(stored) != stored:
        raise BadInput(f"{key}: that is not a number to work with.", "What was in force stays in force.")
    if key == "quiet_window" and stored["max_seconds"] < stored["seconds"]:
        raise BadInput(
            "quiet_window: max_seconds is less than seconds.",
            "Let a burst wait at least as long as its window.",
        )
    return stored


def check_routing(value: Any) -> Any:
    """A routing as JSON, told apart from nonsense; None is the default routing. Raises BadInput."""
    from engine.llm.routing import RoutingError, parse_routing  # its price tables make it slow to import

    try:
        parse_routing(value, PROVIDERS)
        if isinstance(value, str | bytes):
            value = json.loads(value) if value.strip() else None
        stored = clean_json(value)
        parse_routing(stored, PROVIDERS)  # what is left of it must do, too
    except RoutingError as error:
        raise BadInput(error.what, error.remedy) from None
    return stored


def _problem(key: str, value: Any) -> str | None:
    try:
        check_setting(key, value)
    except BadInput as error:
        return error.what
    return None


def _told(error: ValidationError) -> str:
    item = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
