"""Application set-up."""

from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig


class ChatsiteConfig(AppConfig):
    name = "chatsite"

    def ready(self) -> None:
        from chatsite import checks  # noqa: F401


class AssetsConfig(StaticFilesConfig):
    """Static files, without what django-htmx brings for htmx 4 and for other extensions."""

    ignore_patterns = [  # the base class has it as an instance variable
        *StaticFilesConfig.ignore_patterns,
        "*-4.js",
        "*-4.min.js",
        "htmx-2.js",
        "hx-*-2.js",
        "hx-sse-*",
        "hx-head-*",
        "hx-preload-*",
    ]
