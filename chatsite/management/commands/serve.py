"""`manage.py serve`: the web server with the runner."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from chatsite.serve import serve


class Command(BaseCommand):
    help = "Serve the site (uvicorn). Running answers are finished or stored on SIGTERM."
    requires_system_checks: list[str] = []  # `up` and `check` run them; they cost half a second

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(serve(options["host"], options["port"]))
