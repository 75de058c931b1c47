"""What set-up asks for each language model and channel, and what is left to do at the far end."""

from __future__ import annotations

from dataclasses import dataclass

from engine.model import DEFAULT_ACCOUNT


@dataclass(frozen=True, slots=True)
class Question:
    """One value of a part."""

    name: str
    """The key in switchboard.toml: of the account's table, or for a language model of the file itself."""
    title: str
    how: str = ""
    """Where to find it."""
    secret: bool = False
    needed: bool = True
    default: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A language model or a channel."""

    id: str
    title: str
    about: str
    questions: tuple[Question, ...]
    variables: tuple[str, ...]
    """Environment variables that set it up too, and win; the first one decides."""
    then: str
    """What to do once it is kept, `{path}` being the rest of the webhook's URL."""
    channel: bool = True


_ACCOUNT = Question(
    "account",
    "name",
    "of this account; more than one of a channel have a name each",
    False,
    True,
    DEFAULT_ACCOUNT,
)
_LOCAL = "http://127.0.0.1:8765/webhooks/"

PARTS: tuple[Part, ...] = (
    Part(
        "uniapi",
        "UniAPI",
        "the language model that answers",
        (
            Question("uniapi_api_key", "API key", "from your UniAPI account", secret=True),
            Question("uniapi_base_url", "address", "of the API", default="https://api.uniapi.io/v1"),
        ),
        ("UNIAPI_API_KEY", "UNIAPI_BASE_URL"),
        "Now connect a channel.",
        channel=False,
    ),
    Part(
        "zai",
        "Z.ai",
        "answers when UniAPI does not; optional",
        (
            Question("zai_api_key", "API key", "from your Z.ai account", secret=True),
            Question("zai_base_url", "address", "of the API", default="https://api.z.ai/api/paas/v4"),
        ),
        ("ZAI_API_KEY", "ZAI_BASE_URL"),
        "It answers whenever UniAPI does not.",
        channel=False,
    ),
    Part(
        "telegram",
        "Telegram",
        "the quickest; needs no public address",
        (
            Question("bot_token", "bot token", "write /newbot to @BotFather in Telegram", secret=True),
            Question("api_base", "address", "of the Bot API", default="https://api.telegram.org"),
            _ACCOUNT,
        ),
        ("TELEGRAM_BOT_TOKEN",),
        "Write to your bot in Telegram: it answers.",
    ),
    Part(
        "whatsapp_cloud",
        "WhatsApp Cloud",
        "Meta's own; needs a public https address",
        (
            Question("phone_number_id", "phone number ID", "API Setup in Meta's app: the ID, not the number"),
            Question("token", "token", "of a system user, never expiring", secret=True),
            Question("app_secret", "app secret", "App settings → Basic", secret=True),
            Question("verify_token", "verify token", "a word of your own", secret=True),
            Question("graph_base", "address", "of the Graph API", default="https://graph.facebook.com/v23.0"),
            _ACCOUNT,
        ),
        ("WHATSAPP_TOKEN", "WHATSAPP_PHONE_NUMBER_ID"),
        "In Meta's app, WhatsApp → Configuration: callback URL https://YOUR.HOST/webhooks/whatsapp{path} with the same"
        " verify token, field messages; and name YOUR.HOST in SWITCHBOARD_ALLOWED_HOSTS.",
    ),
    Part(
        "waha",
        "WAHA",
        "your own WhatsApp number through a gateway",
        (
            Question("base_url", "address", "of WAHA", default="http://127.0.0.1:3000"),
            Question("session", "session", "its name in WAHA's dashboard", default="default"),
            Question("api_key", "API key", "WAHA_API_KEY of the container", secret=True, needed=False),
            Question("hmac_key", "HMAC key", "a secret of your own", secret=True),
            _ACCOUNT,
        ),
        ("WAHA_BASE_URL",),
        f"In WAHA's dashboard give the session the webhook {_LOCAL}waha{{path}} with the same HMAC key and the events"
        " message.any, message.edited, message.ack and session.status.",
    ),
    Part(
        "evolution",
        "Evolution API",
        "the same, another gateway",
        (
            Question("base_url", "address", "of Evolution", default="http://127.0.0.1:8080"),
            Question("instance", "instance", "its name in Evolution's manager"),
            Question("api_key", "API key", "the instance's or the server's", secret=True),
            Question("webhook_secret", "webhook secret", "your own, letters and digits only", secret=True),
            _ACCOUNT,
        ),
        ("EVOLUTION_BASE_URL", "EVOLUTION_API_KEY", "EVOLUTION_INSTANCE"),
        f"In the instance's webhook settings: {_LOCAL}evolution/{{account}}/<webhook secret> with the events"
        " MESSAGES_UPSERT, MESSAGES_EDITED, MESSAGES_UPDATE, SEND_MESSAGE and CONNECTION_UPDATE.",
    ),
)
BY_ID = {part.id: part for part in PARTS}


def what_then(part: Part, account: str = DEFAULT_ACCOUNT) -> str:
    """What is left to do once an account is kept."""
    path = "" if account == DEFAULT_ACCOUNT else f"/{account}"
    return part.then.format(path=path, account=account)
