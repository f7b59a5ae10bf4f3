"""Who calls, whether they may, and how often."""

import uuid

from django.conf import settings

from completions.apierrors import ApiError
from conversations.allowances import Rate, take
from conversations.api.http import Exchange
from organizations.models import AccessToken, Scope

_HOW_TO_SIGN_IN = (
    "An access token is needed, in the header x-api-key or as Authorization: Bearer. "
    "Create one under Settings > Access tokens."
)


def secret_of(exchange: Exchange) -> str:
    """The caller's token. OpenAI's clients always send a Bearer too: x-api-key comes first.

    Raises ApiError 401 where there is none.
    """
    if secret := exchange.header("x-api-key"):
        return secret
    scheme, _, secret = exchange.header("authorization").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    raise _unauthorized(_HOW_TO_SIGN_IN)


def read_token(secret: str, organization: str, scope: Scope) -> AccessToken:
    """The token, if it is good for this in the organization that the path names.

    Raises ApiError: 401; 404 for another's organization just as for none; 403 for the scope.
    """
    token = AccessToken.objects.by_secret(secret)
    if token is None:
        raise revoked()
    if _uuid(organization) != token.organization_id:
        raise ApiError(
            404,
            "There is no such organization, or this access token is not for it.",
            code="organization_not_found",
        )
    if not token.allows(scope):
        raise ApiError(
            403,
            f"This access token does not allow this: its scopes lack {scope.value!r}.",
            type="permission_error",
            code="insufficient_scope",
        )
    token.note_use()
    return token


def count(token: AccessToken) -> Rate | None:
    """Count a completion against the limits. A rate with retry_after: it is one too many."""
    return take(
        {
            f"token:{token.pk}": settings.API_TOKEN_REQUESTS_PER_MINUTE,
            f"organization:{token.organization_id}": settings.API_ORGANIZATION_REQUESTS_PER_MINUTE,
        }
    )


def show_rate(exchange: Exchange, rate: Rate | None) -> None:
    """Tell the rate in OpenAI's headers. Raises ApiError 429 where it was exceeded."""
    if rate is None:
        return
    exchange.headers |= {
        "x-ratelimit-limit-requests": str(rate.limit),
        "x-ratelimit-remaining-requests": str(rate.remaining),
        "x-ratelimit-reset-requests": f"{rate.reset_seconds:.3f}s",
    }
    if rate.retry_after:
        raise ApiError(
            429,
            f"Too many requests: {rate.limit} a minute are allowed. "
            f"Try again in {rate.retry_after} s.",
            type="rate_limit_error",
            code="rate_limit_exceeded",
            headers={"retry-after": str(rate.retry_after)},
        )


def revoked() -> ApiError:
    return _unauthorized("This access token is not known, has expired or was revoked.")


def _uuid(text: str) -> uuid.UUID | None:
    """An organization's id in any case, with or without its dashes."""
    try:
        return uuid.UUID(text) if len(text) in (32, 36) else None
    except ValueError:
        return None


def _unauthorized(message: str) -> ApiError:
    return ApiError(
        401,
        message,
        type="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": 'Bearer realm="Chatsite"'},
    )
