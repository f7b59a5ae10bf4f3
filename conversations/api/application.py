"""The served endpoint: which path is answered by what, and every error as JSON."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from completions.apierrors import ApiError
from completions.server import error_event
from conversations.api.answering import fetch_completion, make_completion
from conversations.api.describing import describe, list_models, show_model
from conversations.api.http import Exchange, Gone
from conversations.database import UNAVAILABLE

PREFIX = "/api/"

Endpoint = Callable[..., Awaitable[None]]

_ORGANIZATION = r"/api/organizations/(?P<organization>[^/]+)/ai"
# A model's id may hold slashes.
ROUTES: tuple[tuple[re.Pattern[str], str, Endpoint], ...] = tuple(
    (re.compile(pattern + "/?"), method, endpoint)
    for pattern, method, endpoint in (
        (_ORGANIZATION + "/chat/completions", "POST", make_completion),
        (_ORGANIZATION + "/chat/completions/(?P<completion>[^/]+)", "GET", fetch_completion),
        (_ORGANIZATION + "/models", "GET", list_models),
        (_ORGANIZATION + "/models/(?P<model>.+?)", "GET", show_model),
        (r"/api/openapi\.json", "GET", describe),
    )
)

logger = logging.getLogger(__name__)


class Api:
    """Answers paths under /api/; passes all others on."""

    def __init__(self, others: Any) -> None:
        self._others = others

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not f"{scope['path']}/".startswith(PREFIX):
            await self._others(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            await _answer(exchange)
        except Gone:
            pass
        except ApiError as error:
            await _refuse(exchange, error)
        except UNAVAILABLE:
            logger.exception("%s: the database did not answer", exchange.request_id)
            await _fail(exchange, 503, "The database does not answer.", "database_unavailable")
        except Exception:
            logger.exception("%s failed", exchange.request_id)
            await _fail(exchange, 500, "Something went wrong on this server.", "internal")


async def _answer(exchange: Exchange) -> None:
    if "\0" in exchange.path:  # PostgreSQL can't be asked about it
        raise ApiError(404, "There is nothing at this path.", code="not_found")
    for pattern, method, endpoint in ROUTES:
        if match := pattern.fullmatch(exchange.path):
            if exchange.method != method:
                message = f"{exchange.method[:20]} is not possible here, only {method}."
                headers = {"allow": method}
                raise ApiError(405, message, code="method_not_allowed", headers=headers)
            await endpoint(exchange, **match.groupdict())
            return
    raise ApiError(404, "There is nothing at this path.", code="not_found")


async def _fail(exchange: Exchange, status: int, message: str, code: str) -> None:
    headers = {"retry-after": "2"} if status == 503 else {}
    await _refuse(exchange, ApiError(status, message, "server_error", code=code, headers=headers))


async def _refuse(exchange: Exchange, error: ApiError) -> None:
    """With its status, or as the last event of a stream that has begun."""
    if exchange.streams:
        await exchange.send(error_event(error))
        await exchange.end()
    elif not exchange.started:
        await exchange.refuse(error)
