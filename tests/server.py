"""The real server as a subprocess, with a data directory of its own."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
EMAIL, PASSWORD = "alice@example.org", "correct horse battery"
# On a busy computer; otherwise each takes about 2 s.
START_SECONDS = MANAGE_SECONDS = 150.0
END_SECONDS = 60.0
# Below those that systems give to whoever asks for any port: a server that is started later, or
# again, finds its port free.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    while True:
        port = secrets.choice(PORTS)  # tests are seeded: `random` would say the same in each
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Server:
    """`manage.py up` on a free port; `kill` and `terminate` act on it by pid, `start` again.

    In another command {port} stands for the port.
    """

    data: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("manage.py", "up", "--host", "127.0.0.1", "--port", "{port}")
    port: int = field(default_factory=free_port)
    organization_id: str = ""

    def __post_init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self.log_path = self.data / "server.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._child
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """Run a management command; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=MANAGE_SECONDS,
            check=True,
        )
        return done.stdout

    def set_up(self) -> None:
        """Make the database, Alice (admin) and her organization."""
        self.manage("migrate", "-v0")
        self.organization_id = self.manage(
            *("setup", "--email", EMAIL, "--name", "Alice"),
            *("--organization", "Example Org", "--password-stdin"),
            stdin=f"{PASSWORD}\n",
        ).split()[-1]

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, *(word.format(port=self.port) for word in self.command)],
                cwd=ROOT,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"{self.url}/healthz", timeout=5, trust_env=False).raise_for_status()
                return
            except httpx.HTTPError:
                if self._child.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the server did not start:\n{self.log}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._send(signal.SIGKILL)

    def terminate(self, timeout: float = END_SECONDS) -> int:
        """SIGTERM; returns the exit code."""
        return self._send(signal.SIGTERM, timeout)

    def signal(self, number: int) -> None:
        """Send a signal without waiting."""
        assert self._child
        self._child.send_signal(number)

    def wait(self, timeout: float = END_SECONDS) -> int:
        assert self._child
        return self._child.wait(timeout)

    def stop(self) -> None:
        """End it whatever its state."""
        if self._child and self._child.poll() is None:
            self._child.kill()
            self._child.wait(END_SECONDS)

    def _send(self, number: int, timeout: float = END_SECONDS) -> int:
        assert self._child
        self._child.send_signal(number)
        return self._child.wait(timeout)

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPLETIONS_", "DJANGO"))}
        return {
            **kept,
            "DATA_DIR": str(self.data),
            "BUILT_IN_MODEL": "off",
            "TURNS_PER_MINUTE": "0",
            **self.environment,
        }
