"""`manage.py up`: everything a site needs, in one process: checks, migrations, assets, server."""

import contextlib
import hashlib
import os
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

from chatsite.serve import serve
from organizations.setup import is_set_up, setup_token

# All addresses of the machine, and the one to show for them.
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


class Command(BaseCommand):
    help = "Migrate, collect assets, print the address (at first with the set-up link), serve."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        # The database and the secret are nobody else's on this machine.
        os.umask(0o077)
        _check_port(host, port)
        if host not in ANY:
            settings.ALLOWED_HOSTS.append(f"[{host}]" if ":" in host else host)
        try:
            self._migrate()
            self._collect()
            self._greet(host, port)
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {error}") from error
        except OSError as error:
            raise CommandError(
                f"{error.filename or settings.DATA_DIR} can't be written: {error.strerror}. "
                "Free some space, or choose another data directory (run.py --data, or DATA_DIR)."
            ) from error
        sys.exit(serve(host, port))

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            with self._step(f"Database: {len(plan)} migrations"):
                call_command("migrate", verbosity=0, interactive=False)

    def _collect(self) -> None:
        if not settings.COLLECT_STATIC:
            return  # the image brings them, read-only
        stamp = settings.STATIC_ROOT / ".collected"
        state = _assets_state()
        if stamp.exists() and stamp.read_text() == state:
            return
        with self._step("Style sheets and scripts"):
            call_command("collectstatic", verbosity=0, interactive=False, clear=True)
            stamp.write_text(state)

    def _greet(self, host: str, port: int) -> None:
        shown = ANY.get(host, host)
        address = settings.PUBLIC_URL or f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
        self.stdout.write("")
        if is_set_up():
            self.stdout.write(f"Chatsite is at {address}/")
        else:
            link = reverse("setup", args=[setup_token()])
            self.stdout.write("Open this one-time link to set up Chatsite:")
            self.stdout.write(f"  {address}{link}")
        if host in ANY and not settings.PUBLIC_URL:
            self.stdout.write("For other machines, set PUBLIC_URL to the address they use.")
        self.stdout.write("Press Ctrl-C to stop.\n")
        self.stdout.flush()

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        self.stdout.write(f"{name} … ", ending="")
        self.stdout.flush()
        yield
        self.stdout.write(f"{time.monotonic() - started:.1f} s")


def _check_port(host: str, port: int) -> None:
    """Before the migrations: a port that is taken is the most common mistake."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "no such port"
            raise CommandError(
                f"Port {port} on {host} can't be used ({reason}). "
                f"Choose another one: --port {port + 1 if port < 65535 else 8000}"
            ) from error


def _assets_state() -> str:
    """Changes when a source of the assets does: names, sizes and times of the files."""
    import django_htmx

    hasher = hashlib.sha256(settings.VERSION.encode())
    for root in (*settings.STATICFILES_DIRS, Path(django_htmx.__file__).parent / "static"):
        for path in sorted(Path(root).rglob("*")):
            if path.is_file():
                stat = path.stat()
                hasher.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return hasher.hexdigest()
