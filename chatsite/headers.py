"""Put the content security policy and privacy headers on every answer."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# No inline script or style exists, so the policy is static and needs no nonce.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


def _add(response: HttpResponse) -> HttpResponse:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    # A shared cache that keeps one person's page shows it to another (Zulip, 2021-03-18).
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def content_security(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def respond(request: HttpRequest) -> HttpResponse:
        return _add(get_response(request))

    return respond
