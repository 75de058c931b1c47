"""Settings: environment, then `.env`, then `switchboard.toml`, then these defaults.

What a person changes while the engine runs (prompts, routing, `record_context_prompt`) lives in the
database; here is only what an engine needs to find its database, its far ends and its limits.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from engine.channel_accounts import ChannelSettings, http_url
from engine.model import SwitchboardError as SwitchboardError
from engine.spelling import unknown_key

Seconds = Annotated[float, Field(gt=0, le=7 * 86_400)]
Days = Annotated[float, Field(le=36_500)]
Usd = Annotated[float, Field(le=1_000_000_000)]
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SettingsError(SwitchboardError):
    """A setting that cannot be used."""


def config_dir() -> Path:
    """Where `switchboard.toml` is looked for when the working folder has none."""
    return Path(platformdirs.user_config_dir("switchboard", appauthor=False))


def config_file() -> Path | None:
    """The `switchboard.toml` in force: `SWITCHBOARD_CONFIG`, the working folder's, or the user's."""
    named = os.environ.get("SWITCHBOARD_CONFIG")
    if named:
        return Path(named).expanduser()
    for folder in (Path.cwd(), config_dir()):
        path = folder / "switchboard.toml"
        if path.is_file():
            return path
    return None


class Settings(ChannelSettings):
    """Everything an engine or a console is told from outside.

    Every field can be set by an environment variable of its own name in capitals with the prefix
    `SWITCHBOARD_`, those below that carry an alias by the alias alone.
    """

    model_config = SettingsConfigDict(
        env_prefix="SWITCHBOARD_",
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        validate_default=True,
    )

    # Where the state is
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL", "database_url")
    )
    """libpq URL of any PostgreSQL 14+; without it the embedded PostgreSQL in `data_dir` is used."""
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("switchboard", appauthor=False))
    )

    # The language models
    uniapi_base_url: str = Field(
        "https://api.uniapi.io/v1", validation_alias=AliasChoices("UNIAPI_BASE_URL", "uniapi_base_url")
    )
    uniapi_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("UNIAPI_API_KEY", "uniapi_api_key")
    )
    zai_base_url: str = Field(
        "https://api.z.ai/api/paas/v4", validation_alias=AliasChoices("ZAI_BASE_URL", "zai_base_url")
    )
    zai_api_key: SecretStr | None = Field(None, validation_alias=AliasChoices("ZAI_API_KEY", "zai_api_key"))
    llm_http2: bool = False
    """Speak HTTP/2 with providers that have it: few connections, at two to three times the CPU a call."""

    # The inbound worker
    turns_in_flight: int = Field(256, ge=1, le=4096)
    """Turns one engine runs at once."""
    claim_batch: int = Field(100, ge=1, le=1000)
    """Threads claimed by one statement at most."""
    poll_seconds: float = Field(2.0, gt=0, le=5)
    """How often to look for work when no NOTIFY came."""
    lease_seconds: Seconds = 60.0
    """How long a claim is held without a heartbeat."""
    max_attempts: int = Field(5, ge=1, le=100)
    turn_deadline_seconds: Seconds = 45.0
    """All LLM attempts of a turn share it."""
    history_tokens: int = Field(6000, ge=100, le=10_000_000)
    """Budget for the thread's history in the prompt, in estimated tokens."""

    # The outbound dispatcher
    sends_in_flight: int = Field(256, ge=1, le=1024)
    send_timeout_seconds: Seconds = 20.0
    send_max_attempts: int = Field(6, ge=1, le=100)
    retry_base_seconds: Seconds = 2.0
    retry_cap_seconds: Seconds = 300.0
    receipt_seconds: Seconds = 120.0
    """A send that no receipt has confirmed after this long is warned of, on channels with receipts."""

    # The simulated channel
    simulator_base_url: str | None = Field(
        None, validation_alias=AliasChoices("SIMULATOR_BASE_URL", "simulator_base_url")
    )
    """Its far end; without one, messages are delivered in process at once."""
    simulator_webhook_secret: SecretStr | None = Field(
        None, validation_alias=AliasChoices("SIMULATOR_WEBHOOK_SECRET", "simulator_webhook_secret")
    )
    """Signs its webhooks; without one they are refused."""

    # HTTP: health and webhooks
    http_host: str = Field("127.0.0.1", max_length=253, pattern=r"^[!-~]*$")
    http_port: int = Field(8765, ge=0, le=65535)
    """0 takes any free port; the one taken is shown by `status`."""
    http_enabled: bool = True
    admin_token: SecretStr | None = None
    """Bearer token for admin endpoints; without it one is made and kept, 0600, in `data_dir`."""
    allowed_hosts: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """`Host` headers that are answered besides this machine's own; your public name when webhooks come through
    a tunnel. In the environment several are separated by commas."""

    # Money, in USD; None means no cap
    daily_budget_usd: Usd | None = Field(None, ge=0)
    turn_ceiling_usd: Usd = Field(0.05, gt=0)
    """Reserved before each turn whose price is not known yet."""
    thread_replies_per_hour: int = Field(30, ge=1, le=1_000_000)
    """The loop guard: an AI that answers one thread more often is talking to a machine."""

    operator: str | None = None
    """Who acts at this terminal, for assignments and the audit log; else the user the system knows."""

    # Alerts; 0 switches a rule off. Each is told once, and once more when it is over.
    alert_blockers: bool = True
    alert_queue_seconds: float = Field(300.0, ge=0, le=7 * 86_400)
    """An inbound message has waited this long."""
    alert_error_share: float = Field(0.2, ge=0, le=1)
    """Share of the last 10 minutes' turns that ended in an error, of at least 10."""
    alert_spend_share: float = Field(0.9, ge=0, le=1)
    """Share of a tenant's budget of the day that is spent."""
    alert_balance_days: Days = Field(3.0, ge=0)
    """A provider's account lasts no longer than this, where it tells what is left."""
    alert_takeover_minutes: float = Field(15.0, ge=0, le=7 * 1440)
    """A customer has waited this long for the person who took the conversation over."""
    alert_webhook_url: str | None = None
    """Gets a POST for each; https, or http on this machine."""
    alert_webhook_secret: SecretStr | None = None
    """Signs it: header `X-Switchboard-Signature`."""
    alert_command: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """A program with its arguments, run without a shell; the alert is JSON on its standard input. In the
    environment a JSON list."""

    # Retention, in days; 0 keeps for ever. Messages, queue rows and turns stay in any case.
    keep_prompts_days: Days = Field(30.0, ge=0)
    """Whole prompts, which are recorded only while `record_context_prompt` is on."""
    keep_traces_days: Days = Field(0.0, ge=0)
    """What turns tried, judged and read, and the traces with replies."""
    keep_payloads_days: Days = Field(0.0, ge=0)
    """What `raw_payload` holds beyond the trip of a message."""
    keep_quarantine_days: Days = Field(30.0, ge=0)
    keep_incidents_days: Days = Field(90.0, ge=0)
    """Of incidents that are over."""
    keep_engines_days: Days = Field(7.0, ge=1)
    """Records of engines that are gone."""
    keep_audit_days: Days = Field(0.0, ge=0)

    log_level: str = "INFO"
    log_format: str = Field("json", pattern="^(json|text)$")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, the file last."""
        file = config_file()
        toml = TomlConfigSettingsSource(settings_cls, toml_file=file)
        check_keys(toml.toml_data, str(file))
        return init_settings, env_settings, dotenv_settings, toml

    @field_validator(
        "database_url",
        "uniapi_api_key",
        "zai_api_key",
        "admin_token",
        "simulator_base_url",
        "simulator_webhook_secret",
        "operator",
        "alert_webhook_url",
        "alert_webhook_secret",
        mode="before",
    )
    @classmethod
    def _blank_is_unset(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = _json_list(value) if value.lstrip().startswith('["') else value.split(",")
        if isinstance(value, list):
            own = ["127.0.0.1", "localhost", "[::1]"]
            given = [host.strip() if isinstance(host, str) else host for host in value]
            return own + [host for host in given if host and host not in own]
        return value

    @field_validator("alert_command", mode="before")
    @classmethod
    def _arguments(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.strip() else []
        except ValueError:
            raise ValueError(
                'is a JSON list of a program and its arguments, e.g. ["/usr/bin/logger", "-s"]'
            ) from None

    @field_validator("alert_command")
    @classmethod
    def _program(cls, value: list[str]) -> list[str]:
        if value and not (Path(value[0]).is_absolute() and os.access(value[0], os.X_OK)):
            raise ValueError(f"begins with the full path of a program; {value[0]!r} is none that can be run")
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _alert_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.hostname or not (parts.scheme == "https" or local):
            raise ValueError("starts with https://, or with http:// on this machine")
        return value

    @field_validator("data_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("is one of DEBUG, INFO, WARNING, ERROR")
        return value.upper()

    @field_validator("uniapi_base_url", "zai_base_url", "simulator_base_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        return http_url(value)

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        """Accepts SQLAlchemy's spelling too, as other programs write it."""
        if value is None:
            return None
        scheme, sep, rest = value.get_secret_value().partition("://")
        if not sep or scheme.split("+")[0] not in {"postgresql", "postgres"}:
            raise ValueError("is a URL like postgresql://user:password@host:5432/database")
        return SecretStr(f"postgresql://{rest}")

    @model_validator(mode="after")
    def _bind_with_token(self) -> Self:
        if self.http_enabled and self.http_host not in LOOPBACK:
            token = self.admin_token.get_secret_value() if self.admin_token else ""
            if len(token) < 43:  # 256 bits in base64url
                raise ValueError(
                    f"http_host {self.http_host} is open to the network, so SWITCHBOARD_ADMIN_TOKEN must "
                    "hold at least 256 bits: make one with  "
                    "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
                )
        return self

    def secrets(self) -> list[str]:
        """Every secret value in force, for the filter that keeps them out of logs and traces."""
        secrets = [value for value in self.__dict__.values() if isinstance(value, SecretStr)]
        values = [secret.get_secret_value() for secret in secrets + self.channels.secrets()]
        return [value for value in values if len(value) >= 6]


def check_keys(table: dict[str, Any], where: str) -> None:
    """Raises SettingsError for a key at the top of a configuration file that nothing reads."""
    known = {"console", *Settings.model_fields}
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            known.update(str(choice) for choice in field.validation_alias.choices)
    if found := unknown_key(table, known):
        key, remedy = found
        raise SettingsError(f"{where}: {key} is not a setting.", remedy)


def load_settings(**overrides: Any) -> Settings:
    """Settings in force, with `overrides` on top. Raises SettingsError naming each bad one."""
    file = config_file()
    if file is not None and file.is_dir():
        raise SettingsError(f"{file} is a folder.", "Let SWITCHBOARD_CONFIG name a file.")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_first_problem(error), "Correct it and start again.") from None
    except (OSError, ValueError, RecursionError) as error:  # an unreadable or malformed switchboard.toml
        raise SettingsError(f"{config_file()} cannot be read: {error}.", "Correct the file.") from None


def _json_list(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is names separated by commas, or a JSON list of them") from None


def _first_problem(error: ValidationError) -> str:
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        name = ".".join(map(str, item["loc"]))
        if item["type"] == "extra_forbidden":
            problems.append(f"{name} is not a setting; check its spelling and its place")
            continue
        if name.islower() and len(item["loc"]) == 1:
            name = f"SWITCHBOARD_{name.upper()}"
        problems.append(f"{name}: {item['msg']}" if name else str(item["msg"]))
    return "Setting refused: " + "; ".join(problems) + "."
