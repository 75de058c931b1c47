"""Settings of channel accounts: one each from the environment, more from `switchboard.toml`.

    [[channels.telegram]]
    account = "shop"
    bot_token = "123456:ABC…"

The account made from the environment is called `default`. Where a secret authenticates webhooks there
are two fields, the one in force and the one before it, so that it can be replaced without a gap.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings

from engine.model import DEFAULT_ACCOUNT


def http_url(value: str) -> str:
    """`value` without slashes at its end. Raises ValueError unless it is the URL of a host."""
    if not value.startswith(("http://", "https://")):
        raise ValueError("starts with http:// or https://")
    try:
        url = urlsplit(value)
        usable = bool(url.hostname) and url.port != 0 and value.isascii() and value.isprintable()
    except ValueError:  # a bracket too many, or a port that is none
        usable = False
    if not usable or " " in value:
        raise ValueError("is a URL like https://host:port/path")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(http_url)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
"""What may stand in a URL's path as it is."""


def _blank_is_unset(value: Any) -> Any:
    said = value.get_secret_value() if isinstance(value, SecretStr) else value
    return None if isinstance(said, str) and not said.strip() else value


def _said(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("is empty")
    return value


Secret = Annotated[SecretStr | None, BeforeValidator(_blank_is_unset)]
"""An empty one is none: with it anybody could sign."""
Key = Annotated[SecretStr, AfterValidator(_said)]
Word = Annotated[str | None, BeforeValidator(_blank_is_unset)]


class _Account(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    account: Name = DEFAULT_ACCOUNT

    def secrets(self) -> list[SecretStr]:
        """Every secret of this account."""
        return [value for value in self.__dict__.values() if isinstance(value, SecretStr)]


class WebhookAccount(Protocol):
    """An account whose webhooks are authenticated by secrets."""

    @property
    def account(self) -> str: ...

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]: ...


def _live(*secrets: SecretStr | None) -> tuple[SecretStr, ...]:
    return tuple(secret for secret in secrets if secret is not None)


class TelegramAccount(_Account):
    """One bot."""

    bot_token: SecretStr
    api_base: HttpUrl = "https://api.telegram.org"
    webhook_secret: Secret = None
    """With one, updates come by webhook and the bot is not polled."""
    webhook_secret_previous: Secret = None

    @field_validator("bot_token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        bot, colon, key = value.get_secret_value().strip().partition(":")
        if not (bot.isdecimal() and colon and key):
            raise ValueError("looks like 123456:ABC-DEF…, as @BotFather gives it out")
        return SecretStr(f"{bot}:{key}")

    @property
    def bot_id(self) -> str:
        """The bot's public number."""
        return self.bot_token.get_secret_value().partition(":")[0]

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        return _live(self.webhook_secret, self.webhook_secret_previous)


class WhatsAppCloudAccount(_Account):
    """One phone number of a Meta app."""

    token: Key
    phone_number_id: Annotated[str, Field(pattern=r"^\d{5,30}$")]
    app_secret: Secret = None
    """Signs webhooks; without it nothing can come in."""
    app_secret_previous: Secret = None
    verify_token: Secret = None
    """What Meta shows when the webhook is set up."""
    graph_base: HttpUrl = "https://graph.facebook.com/v23.0"

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        return _live(self.app_secret, self.app_secret_previous)


class WahaAccount(_Account):
    """One session of a WAHA server."""

    base_url: HttpUrl
    api_key: Secret = None
    session: Name = "default"
    hmac_key: Secret = None
    """Signs webhooks (`config.webhooks[].hmac.key`); without it they are refused."""
    hmac_key_previous: Secret = None

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        return _live(self.hmac_key, self.hmac_key_previous)


class EvolutionAccount(_Account):
    """One instance of an Evolution API server."""

    base_url: HttpUrl
    api_key: Key
    instance: Name
    webhook_secret: Secret = None
    """Sent as the header `X-Switchboard-Secret`, as a bearer token, or as the last segment of the webhook's
    path; without it webhooks are refused."""
    webhook_secret_previous: Secret = None

    @property
    def webhook_secrets(self) -> tuple[SecretStr, ...]:
        return _live(self.webhook_secret, self.webhook_secret_previous)


class ChannelAccounts(BaseModel):
    """Every account, by channel: the tables `[[channels.…]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    telegram: tuple[TelegramAccount, ...] = ()
    whatsapp_cloud: tuple[WhatsAppCloudAccount, ...] = ()
    waha: tuple[WahaAccount, ...] = ()
    evolution: tuple[EvolutionAccount, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for channel, accounts in self:
            names = [account.account for account in accounts]
            if len(set(names)) < len(names):
                raise ValueError(f"two accounts of {channel} have the same name; give each its own `account`")
        return self

    def secrets(self) -> list[SecretStr]:
        """Every secret of every account."""
        return [secret for _, accounts in self for account in accounts for secret in account.secrets()]


def _env(name: str) -> Any:
    """A field read from exactly this variable."""
    return Field(default=None, validation_alias=AliasChoices(name, name.lower()))


class ChannelSettings(BaseSettings):
    """The part of the settings that is about channel accounts; read `channels`."""

    channels: ChannelAccounts = ChannelAccounts()
    """All accounts, those of the environment included, under the name `default`."""

    telegram_bot_token: Secret = _env("TELEGRAM_BOT_TOKEN")
    telegram_api_base: Word = _env("TELEGRAM_API_BASE")
    telegram_webhook_secret: Secret = _env("TELEGRAM_WEBHOOK_SECRET")
    telegram_webhook_secret_previous: Secret = _env("TELEGRAM_WEBHOOK_SECRET_PREVIOUS")

    whatsapp_token: Secret = _env("WHATSAPP_TOKEN")
    whatsapp_phone_number_id: Word = _env("WHATSAPP_PHONE_NUMBER_ID")
    whatsapp_app_secret: Secret = _env("WHATSAPP_APP_SECRET")
    whatsapp_app_secret_previous: Secret = _env("WHATSAPP_APP_SECRET_PREVIOUS")
    whatsapp_verify_token: Secret = _env("WHATSAPP_VERIFY_TOKEN")
    whatsapp_graph_base: Word = _env("WHATSAPP_GRAPH_BASE")

    waha_base_url: Word = _env("WAHA_BASE_URL")
    waha_api_key: Secret = _env("WAHA_API_KEY")
    waha_session: Word = _env("WAHA_SESSION")
    waha_hmac_key: Secret = _env("WAHA_HMAC_KEY")
    waha_hmac_key_previous: Secret = _env("WAHA_HMAC_KEY_PREVIOUS")

    evolution_base_url: Word = _env("EVOLUTION_BASE_URL")
    evolution_api_key: Secret = _env("EVOLUTION_API_KEY")
    evolution_instance: Word = _env("EVOLUTION_INSTANCE")
    evolution_webhook_secret: Secret = _env("EVOLUTION_WEBHOOK_SECRET")
    evolution_webhook_secret_previous: Secret = _env("EVOLUTION_WEBHOOK_SECRET_PREVIOUS")

    @model_validator(mode="after")
    def _with_environment(self) -> Self:
        """Adds the environment's accounts to those of the file."""
        found: dict[str, tuple[_Account, ...]] = {}
        for channel, (prefix, model, needed) in _ENVIRONMENT.items():
            given = {
                name: getattr(self, f"{prefix}_{name}", None)
                for name in model.model_fields
                if getattr(self, f"{prefix}_{name}", None) is not None
            }
            missing = [name for name in needed if name not in given]
            if len(missing) == len(needed):
                continue
            if missing:
                names = " and ".join(f"{prefix}_{name}".upper() for name in missing)
                raise ValueError(f"{names} missing beside {_first(needed, given, prefix)}")
            found[channel] = (_account(model, prefix, given), *getattr(self.channels, channel))
        if found:
            try:
                self.channels = ChannelAccounts.model_validate(self.channels.__dict__ | found)
            except ValidationError as error:
                raise ValueError(error.errors(include_input=False)[0]["msg"]) from None
        return self


_ENVIRONMENT: dict[str, tuple[str, type[_Account], tuple[str, ...]]] = {
    "telegram": ("telegram", TelegramAccount, ("bot_token",)),
    "whatsapp_cloud": ("whatsapp", WhatsAppCloudAccount, ("token", "phone_number_id")),
    "waha": ("waha", WahaAccount, ("base_url",)),
    "evolution": ("evolution", EvolutionAccount, ("base_url", "api_key", "instance")),
}
"""By channel: the variables' prefix, and the fields an account cannot do without."""


def _first(needed: tuple[str, ...], given: dict[str, Any], prefix: str) -> str:
    return next(f"{prefix}_{name}".upper() for name in needed if name in given)


def _account(model: type[_Account], prefix: str, given: dict[str, Any]) -> _Account:
    try:
        return model(**given)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{prefix}_{problem['loc'][0]}".upper() + f": {problem['msg']}") from None
