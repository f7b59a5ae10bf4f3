"""This process's way to the models: a client an endpoint, and the built-in model."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.conf import settings
from django.utils.translation import gettext as _

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import ProviderUnreachable
from completions.localmodel import LocalModel
from completions.types import Limits
from conversations import wakeups
from conversations.providers import uses_built_in

logger = logging.getLogger(__name__)

# Each keeps some connections; of more endpoints than that, the longest unused are closed.
MOST_CLIENTS = 64


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What people should know of the built-in model; None is said where all is well."""

    level: Literal["info", "warning"]
    text: str
    advice: str = ""


class BuiltInUnavailable(ProviderUnreachable):
    """The built-in model does not run here."""

    code = "built_in_unavailable"


class Upstream:
    """The clients of the process."""

    def __init__(self) -> None:
        self._clients: dict[Endpoint, CompletionClient] = {}  # the latest used last
        self._built_in: Endpoint | None = None
        self._changed = asyncio.Event()
        self.local: LocalModel | None = None

    async def start(self) -> None:
        """Start the built-in model, if it is to answer. Returns at once."""
        if uses_built_in() and settings.BUILT_IN_MODEL:
            own = settings.LOCAL_MODEL_PATH
            self.local = LocalModel(Path(own) if own else None)
            self.local.on_change.append(self._on_change)
            self.local.start()

    async def stop(self) -> None:
        if self.local:
            await self.local.stop()
        for client in self._clients.values():
            await client.aclose()

    async def connect(self, endpoint: Endpoint | None) -> CompletionClient:
        """The endpoint's client (None: the built-in model's), once it can be asked.

        Raises CompletionError where it can't.
        """
        if endpoint is None:
            endpoint = await self._wait_for_built_in()
        client = self._clients.pop(endpoint, None) or CompletionClient(endpoint, _limits())
        self._clients[endpoint] = client
        if len(self._clients) > MOST_CLIENTS:
            await self._close_one()
        return client

    async def _close_one(self) -> None:
        for endpoint, client in self._clients.items():
            if client.is_idle:
                del self._clients[endpoint]
                await client.aclose()
                return

    def status(self) -> ModelStatus | None:
        """What to show on the page, or None."""
        if not uses_built_in():
            return None
        set_provider = _("An admin can set up another provider under Settings > Providers.")
        if self.local is None:
            return ModelStatus("warning", _("No model is set up."), set_provider)
        match self.local.state:
            case "starting":
                return ModelStatus("info", _("The built-in model is starting."))
            case "restarting":
                text = _("The built-in model has stopped and is restarting.")
                return ModelStatus("warning", text)
            case "unavailable":
                text = _("The built-in model can't run here. %s") % self.local.reason
                return ModelStatus("warning", text.strip(), set_provider)
        return None

    async def _wait_for_built_in(self) -> Endpoint:
        endpoint = await self._built_in_endpoint()
        stale, self._built_in = self._built_in, endpoint
        if stale and stale != endpoint and (client := self._clients.pop(stale, None)):
            await client.aclose()  # its running streams belong to a child that is dead
        return endpoint

    async def _built_in_endpoint(self) -> Endpoint:
        try:
            async with asyncio.timeout(settings.FIRST_TOKEN_TIMEOUT_SECONDS):
                while True:
                    self._changed.clear()
                    if self.local is None or self.local.state == "unavailable":
                        reason = self.local.reason if self.local else ""
                        raise BuiltInUnavailable("the built-in model is not running", detail=reason)
                    if self.local.endpoint:
                        return self.local.endpoint
                    await self._changed.wait()
        except TimeoutError as error:
            raise BuiltInUnavailable("the built-in model did not become ready") from error

    def _on_change(self) -> None:
        self._changed.set()
        wakeups.wake(wakeups.MODEL)


def _limits() -> Limits:
    return Limits(
        first_token=settings.FIRST_TOKEN_TIMEOUT_SECONDS,
        stall=settings.STALL_TIMEOUT_SECONDS,
        total=settings.TOTAL_TIMEOUT_SECONDS,
        breaker_failures=settings.BREAKER_FAILURES,
    )
