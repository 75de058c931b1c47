"""Every configured channel account. A new channel is one module, and one line in `build_channels`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from engine.channel_accounts import WebhookAccount
from engine.channels.base import DEFAULT_ACCOUNT, Channel
from engine.channels.evolution import EvolutionChannel
from engine.channels.simulator import SimulatorChannel
from engine.channels.telegram import TelegramChannel
from engine.channels.waha import WahaChannel
from engine.channels.whatsapp_cloud import WhatsAppCloudChannel
from engine.model import SwitchboardError
from engine.settings import Settings


class ChannelUnknown(SwitchboardError):
    """A message names a channel or an account that is not configured."""


class ChannelRegistry:
    """Finds the channel for a message."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._channels: dict[tuple[str, str], Channel] = {}
        for channel in channels:
            if (channel.name, channel.account) in self._channels:
                raise SwitchboardError(
                    f"The channel account {channel.name}/{channel.account} is configured twice.",
                    "Give each account of a channel its own name in switchboard.toml.",
                )
            self._channels[channel.name, channel.account] = channel

    def get(self, name: str, account: str = DEFAULT_ACCOUNT) -> Channel:
        """The channel's account; of a channel with a single account that one, whatever it is called,
        when asked for `default`. Raises ChannelUnknown."""
        found = self._channels.get((name, account or DEFAULT_ACCOUNT))
        if found is not None:
            return found
        accounts = self.accounts(name)
        if account in {"", DEFAULT_ACCOUNT} and len(accounts) == 1:
            return accounts[0]
        known = ", ".join(f"{channel.name}/{channel.account}" for channel in self)
        raise ChannelUnknown(
            f"No channel account {name}/{account} is configured (there are: {known}).",
            "Configure it in switchboard.toml or the environment, and restart.",
        )

    def accounts(self, name: str) -> list[Channel]:
        """Every account of that channel."""
        return [channel for channel in self if channel.name == name]

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def __len__(self) -> int:
        return len(self._channels)

    async def aclose(self) -> None:
        """Closes every channel's connections."""
        await asyncio.gather(*(channel.aclose() for channel in self), return_exceptions=True)


def build_channels(settings: Settings) -> ChannelRegistry:
    """Every channel account the settings name, and the simulator."""
    secret, found = settings.simulator_webhook_secret, settings.channels
    return ChannelRegistry(
        [
            SimulatorChannel(
                base_url=settings.simulator_base_url, webhook_secrets=(secret,) if secret else ()
            ),
            *(TelegramChannel(one) for one in found.telegram),
            *(
                WhatsAppCloudChannel(one, _siblings(one, found.whatsapp_cloud, "phone_number_id"))
                for one in found.whatsapp_cloud
            ),
            *(WahaChannel(one, _siblings(one, found.waha, "session")) for one in found.waha),
            *(EvolutionChannel(one, _siblings(one, found.evolution, "instance")) for one in found.evolution),
        ]
    )


def _siblings(own: WebhookAccount, accounts: Iterable[WebhookAccount], known_as: str) -> dict[str, str]:
    """Accounts whose webhooks may come in at `own`'s URL: those that share a secret with it.

    Maps what the far end calls them to their names here.
    """
    secrets = {secret.get_secret_value() for secret in own.webhook_secrets}
    return {
        getattr(one, known_as): one.account
        for one in accounts
        if secrets & {secret.get_secret_value() for secret in one.webhook_secrets}
    }
