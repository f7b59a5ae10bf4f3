"""What every template may know of the site itself."""

from django.conf import settings
from django.http import HttpRequest

from organizations.views.account import THEMES


def site(request: HttpRequest) -> dict[str, object]:
    theme = request.COOKIES.get("theme", "system")
    return {
        "site": {"name": "Chatsite", "version": settings.VERSION},
        "theme": theme if theme in THEMES else "system",
    }
