"""The configuration checklist: everything an installation needs, looked at one by one, each with its remedy.

Changes no data. The LLM providers and channels are really asked; nothing is sent to a customer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from pydantic import BaseModel

from engine.admin_token import FILE, STRONG_CHARACTERS
from engine.channels.registry import build_channels
from engine.database.connection import Connection, DatabaseError, connect
from engine.database.handle import Database
from engine.llm.router import Router, build_router
from engine.llm.routing import DEFAULT_ROUTING, Route, RoutingConfig
from engine.model import ComponentHealth, LLMMessage, SwitchboardError
from engine.observe.doctor_database import Check as Check
from engine.observe.doctor_database import State, database_checks, skipped
from engine.settings import LOOPBACK, Settings, SettingsError, config_file
from engine.spelling import unknown_key
from engine.text import one_line

ANSWER_SECONDS = 15.0
"""For a provider's answer."""
LOOK = "Try again in a few minutes; if it stays so, see the channel's own console or status page."
QUESTION = (LLMMessage(role="user", content="Answer with the single word: ok"),)


class Examination(BaseModel):
    """The whole checklist."""

    ok: bool
    """No check failed; warnings are allowed."""
    settings_readable: bool
    database_reachable: bool
    checks: list[Check]


async def examine(load: Callable[[], Settings]) -> Examination:
    """Run every check; those that need what another one found missing are skipped. Never raises for trouble."""
    try:
        settings = load()
    except SettingsError as error:
        failed = Check(name="settings", state="fail", what=error.what, remedy=error.remedy)
        return Examination(ok=False, settings_readable=False, database_reachable=False, checks=[failed])
    checks = [
        Check(name="settings", state="ok", what=f"from the environment and {config_file() or 'no file'}"),
        *_variables(),
        _data_folder(settings),
    ]
    async with AsyncExitStack() as stack:
        router = build_router(settings)
        stack.push_async_callback(router.aclose)
        connection = None
        try:
            database, connection = await stack.enter_async_context(_database(settings))
            version = connection.info.parameter_status("server_version")
            what = f"PostgreSQL {version}, {database.where}"
            checks.append(Check(name="database", state="ok", what=what))
            checks += await database_checks(connection, database.dsn, router)
        except DatabaseError as error:
            checks.append(Check(name="database", state="fail", what=error.what, remedy=error.remedy))
            checks += skipped()
        providers, channels, port = await asyncio.gather(
            _providers(router), _channels(settings), _port(settings)
        )
    checks += [*providers, *channels, *_webhooks(settings), port, _token(settings)]
    return Examination(
        ok=all(check.state != "fail" for check in checks),
        settings_readable=True,
        database_reachable=connection is not None,
        checks=checks,
    )


def _variables() -> list[Check]:
    """A warning when a variable of ours in the environment is none that is read."""
    begin = "SWITCHBOARD_"
    given = [name.removeprefix(begin) for name in sorted(os.environ) if name.startswith(begin)]
    known = {"CONFIG", *(name.upper() for name in Settings.model_fields)}
    found = unknown_key(given, known, begin)
    if found is None:
        return []
    name, remedy = found
    return [
        Check(
            name="settings",
            state="warn",
            what=f"{name} in the environment is read by nothing.",
            remedy=remedy,
        )
    ]


def _data_folder(settings: Settings) -> Check:
    folder = settings.data_dir
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        what = f"{folder} cannot be written: {error.strerror}"
        remedy = "Make it writable, or set SWITCHBOARD_DATA_DIR to a folder that is."
        return Check(name="data folder", state="fail", what=what, remedy=remedy)
    return Check(name="data folder", state="ok", what=str(folder))


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[tuple[Database, Connection]]:
    database = await asyncio.to_thread(Database.open, settings)
    try:
        async with await connect(database.dsn, "switchboard doctor") as connection:
            yield database, connection
    finally:
        await asyncio.to_thread(database.close)


# Far ends, port and token


async def _providers(router: Router) -> list[Check]:
    """One short question to each provider with a key; only an answer proves key, account and model."""
    checks = await asyncio.gather(*(provider_check(router, component) for component in router.health()))
    if any(check.state == "ok" for check in checks):
        for check in checks:
            if check.state == "fail":
                check.state = "warn"  # the other one answers
    return list(checks)


async def provider_check(router: Router, component: ComponentHealth) -> Check:
    provider = component.name
    name = f"{provider.upper()}_API_KEY"
    if component.state == "unconfigured":
        if provider != "uniapi":
            return Check(name=name, state="skip", what="not set: there is no fallback")
        return Check(name=name, state="fail", what=component.detail, remedy=f"Set {name} to a valid API key.")
    route = _route_of(router, provider)
    deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
    routing = RoutingConfig(default=[route])
    result = await router.complete("doctor", QUESTION, deadline=deadline, routing=routing)
    if result.text is not None:
        ms = result.attempts[-1].latency_ms
        return Check(name=name, state="ok", what=one_line(f"{route.model} answers in {ms} ms"))
    told = next(c for c in router.health() if c.name == provider).blocker
    remedy = (
        told.remedy if told else f"Check the network, the route {provider}/{route.model}, and the provider."
    )
    what = f"{route.model} does not answer ({result.failure}): {result.error}"
    return Check(name=name, state="fail", what=one_line(what), remedy=one_line(remedy))


def _route_of(router: Router, provider: str) -> Route:
    """The first route in force through this provider, else the default one."""
    routing = router.routing
    routes = [*routing.default, *(route for routes in routing.tasks.values() for route in routes)]
    return next(route for route in [*routes, *DEFAULT_ROUTING.default] if route.provider == provider)


async def _channels(settings: Settings) -> list[Check]:
    try:
        registry = build_channels(settings)
    except SwitchboardError as error:
        return [Check(name="channels", state="fail", what=error.what, remedy=error.remedy)]
    try:
        found = await asyncio.gather(*(channel.health() for channel in registry))
    finally:
        await registry.aclose()
    checks = [component_check(health, health.blocker.remedy if health.blocker else LOOK) for health in found]
    if not any(accounts for _, accounts in settings.channels):
        what = "none is connected but the simulator: switchboard setup telegram is the quickest start"
        checks.append(Check(name="channels", state="skip", what=what))
    return checks


def _webhooks(settings: Settings) -> list[Check]:
    """Whether what the configured accounts are sent can get in."""
    found = settings.channels
    remote = [*found.whatsapp_cloud, *(one for one in found.telegram if one.webhook_secrets)]
    if not (remote or found.waha or found.evolution):
        return []
    if not settings.http_enabled:
        what = "HTTP is switched off, so no webhook can come in."
        return [Check(name="webhooks", state="fail", what=what, remedy="Set SWITCHBOARD_HTTP_ENABLED=true.")]
    hosts = [host for host in settings.allowed_hosts if host.strip("[]") not in LOOPBACK]
    if remote and not hosts:
        what = "Only requests for 127.0.0.1 and localhost are answered; yours come in under a public name."
        remedy = "Set SWITCHBOARD_ALLOWED_HOSTS to it, unless your tunnel puts localhost in its place."
        return [Check(name="webhooks", state="warn", what=what, remedy=remedy)]
    what = f"taken at /webhooks/… for {', '.join(hosts) or 'this machine'}"
    return [Check(name="webhooks", state="ok", what=one_line(what))]


def component_check(component: ComponentHealth, remedy: str) -> Check:
    states: dict[str, State] = {"up": "ok", "degraded": "warn", "unknown": "warn", "down": "fail"}
    state = states.get(component.state, "fail")
    blocker = component.blocker
    said = blocker.what if blocker else component.detail or component.state
    return Check(
        name=f"channel {component.name}",
        state=state,
        what=one_line(f"{said}{' (simulated)' if component.simulated else ''}"),
        remedy=None if state == "ok" else remedy,
    )


async def _port(settings: Settings) -> Check:
    host, port = settings.http_host, settings.http_port
    if not settings.http_enabled:
        return Check(name="http port", state="skip", what="HTTP is switched off")
    if port == 0 or _is_free(host, port):
        return Check(name="http port", state="ok", what=f"{host}:{port or 'any'} is free")
    try:
        async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
            answer = (await client.get(f"http://{host}:{port}/api/v1/ready")).json()
        if answer["status"] in ("ready", "not ready"):
            return Check(name="http port", state="ok", what=f"{host}:{port} is served by a running engine")
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        pass
    what = f"{host}:{port} is taken by another program."
    return Check(
        name="http port", state="fail", what=what, remedy="Set SWITCHBOARD_HTTP_PORT, or stop the program."
    )


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def _token(settings: Settings) -> Check:
    name = "admin token"
    if settings.admin_token is not None:
        if len(settings.admin_token.get_secret_value()) >= STRONG_CHARACTERS:
            return Check(name=name, state="ok", what="set, and long enough")
        remedy = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes a good one."
        return Check(name=name, state="warn", what="SWITCHBOARD_ADMIN_TOKEN is short.", remedy=remedy)
    path = settings.data_dir / FILE
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return Check(name=name, state="ok", what=f"not made yet; the first engine keeps one in {path}")
    if mode & 0o077:
        remedy = f"chmod 600 {path}, or delete it: the next engine makes a new one."
        return Check(name=name, state="warn", what=f"{path} can be read by others.", remedy=remedy)
    return Check(name=name, state="ok", what=f"kept in {path}")
