"""What can be asked: the models, and the description of the endpoint itself."""

import json

from django.conf import settings

from completions.apierrors import ApiError
from completions.openapi import document
from completions.server import ModelEntry, model_body, models_body
from conversations.api.admission import read_token, secret_of
from conversations.api.http import Exchange
from conversations.database import in_database
from conversations.providers import find_usable, offered_models
from organizations.models import AccessToken, Scope


async def describe(exchange: Exchange) -> None:
    """GET /api/openapi.json: for everybody, as it says nothing about anybody."""
    site = settings.PUBLIC_URL or exchange.own_address
    await exchange.answer(200, json.dumps(document(site, settings.VERSION)).encode())


async def list_models(exchange: Exchange, organization: str) -> None:
    """GET …/ai/models: those that the token's owner may use."""
    secret = secret_of(exchange)
    await exchange.answer(200, models_body(await in_database(_list, secret, organization)))


async def show_model(exchange: Exchange, organization: str, model: str) -> None:
    """GET …/ai/models/{id}"""
    secret = secret_of(exchange)
    await exchange.answer(200, model_body(await in_database(_show, secret, organization, model)))


def _list(secret: str, organization: str) -> list[ModelEntry]:
    token = read_token(secret, organization, Scope.MODELS)
    models = offered_models(token.user, token.organization_id)
    return [_entry(token, model.id, model.provider, model.offered_since) for model in models]


def _show(secret: str, organization: str, model_id: str) -> ModelEntry:
    token = read_token(secret, organization, Scope.MODELS)
    model = find_usable(token.user, token.organization_id, model_id)
    if model is None:
        message = f"The model {model_id[:200]!r} does not exist."
        raise ApiError(404, message, param="model", code="model_not_found")
    return _entry(token, model.id, model.provider, model.offered_since)


def _entry(token: AccessToken, model_id: str, provider: str, since: int) -> ModelEntry:
    # Those of the environment are as old as the organization, which could use them from its start.
    return ModelEntry(model_id, since or int(token.organization.created_at.timestamp()), provider)
