"""The page that asks before something is destroyed: a dialog, or without JavaScript a page."""

from django.http import HttpResponse
from django.shortcuts import render

from organizations.middleware import MemberRequest


def confirm(
    request: MemberRequest, *, title: str, text: str, button: str, url: str, back: str, section: str
) -> HttpResponse:
    """Ask; the button posts to `url`, and `back` is where one goes without it."""
    name = "_confirm" if request.htmx else "confirm"
    return render(
        request,
        f"organizations/settings/{name}.html",
        {
            "title": title,
            "text": text,
            "button": button,
            "url": url,
            "back": back,
            "section": section,
        },
    )
