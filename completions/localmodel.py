"""Keep the built-in model's server running as a child process, and say how it is."""

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from completions.endpoint import Endpoint
from completions.weights import KEY_VARIABLE, MODEL_FILE, check_platform, models_directory

State = Literal["starting", "ready", "restarting", "unavailable"]

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# A child that lived that long was healthy: the next pause is the first one again.
HEALTHY_SECONDS = 60.0
# The built-in weights load in under a second; a large file of one's own from a slow disk does not.
LOAD_SECONDS = 300.0
STOP_SECONDS = 2.0
# Starts in a row that never got ready, after which people are told that it does not run.
TRIES = 3
LAST_WORDS_BYTES = 2000
LAST_WORDS_LINES = 3

# Nothing else of the environment reaches C++ code that parses foreign files: no secrets.
PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "SYSTEMROOT"),
    *("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME"),
)

PROJECT = Path(__file__).resolve().parent.parent

logger = logging.getLogger(__name__)


class LocalModel:
    """The built-in model: started, supervised, restarted, stopped.

    state is "starting" until it first answers, "ready" while endpoint is set, "restarting" after
    its process died, "unavailable" where it cannot run: reason says why, in a sentence. Unless the
    platform is at fault it is still tried again, at least every 30 s. endpoint has another port
    and another key after each restart; pid is the child's while there is one. The callables in
    on_change are called by the event loop soon after each change of state.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Take a GGUF file of one's own, or without one the installed weights."""
        self.state: State = "starting"
        self.reason = ""
        self.endpoint: Endpoint | None = None
        self.pid: int | None = None
        self.on_change: list[Callable[[], None]] = []
        self._own_path = path.expanduser().absolute() if path else None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running event loop; returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name="built-in model")

    async def stop(self) -> None:
        """End the child and wait for its end; may be called at any time, and twice."""
        task, self._task = self._task, None
        if task is None:
            return
        self.endpoint = None
        task.cancel()
        await asyncio.wait([task])

    async def _supervise(self) -> None:
        problem = await asyncio.to_thread(check_platform, self._own_path)
        if problem:
            logger.warning("The built-in model is not started: %s", problem)
            self._become("unavailable", problem)
            return
        path = self._own_path or models_directory() / MODEL_FILE
        pause, failures = FIRST_PAUSE_SECONDS, 0
        while True:
            started = time.monotonic()
            try:
                words = await self._run_child(path)
            except (OSError, NotImplementedError) as error:  # no memory; a loop without children
                words = str(error) or type(error).__name__
            failures = 0 if self.endpoint else failures + 1
            self.endpoint = None
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            logger.warning("The built-in model ended, next start in %g s: %s", pause, words)
            if failures >= TRIES:
                self._become("unavailable", f"The built-in model does not start: {words[:300]}")
            elif self.state != "unavailable":
                self._become("restarting", "The built-in model stopped and is being restarted.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run_child(self, path: Path) -> str:
        """Run one child until it ends; returns how it ended and the last that it said.

        Raises OSError where it cannot be started or isn't ready in time.
        """
        key = secrets.token_urlsafe(24)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "completions.llamaserver", str(path)),
            stdin=asyncio.subprocess.PIPE,  # it ends when this closes, which even kill -9 does
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=PROJECT,
            env=_child_environment() | {KEY_VARIABLE: key},
        )
        self.pid = child.pid
        assert child.stdout is not None  # noqa: S101  because of PIPE
        assert child.stderr is not None  # noqa: S101
        words = asyncio.create_task(_last_words(child.stderr))
        problem = ""
        try:
            said = await _first_line(child.stdout)
            problem = said.get("problem", "")
            if url := said.get("url"):
                self.endpoint = Endpoint(
                    url, key, auth="bearer", close_connections=True, one_choice=True
                )
                self._become("ready")
                await child.wait()
        finally:
            await _end(child)
            self.pid = None
            last = await words
        return problem or " ".join(filter(None, (_ending(child.returncode), last)))

    def _become(self, state: State, reason: str = "") -> None:
        if (state, reason) == (self.state, self.reason):
            return
        self.state, self.reason = state, reason
        loop = asyncio.get_running_loop()
        for callback in self.on_change:
            loop.call_soon(callback)  # what it raises is logged, and is no concern of this task


def _child_environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    # Measured, four answers at once on 2 cores beside two busy processes: 6 to 8 s against 21 to
    # 25 s with the default, threads that spin while they wait. Alone: 2.6 s against 1.8 s.
    return passed_on | {"OMP_WAIT_POLICY": "passive"}


async def _first_line(output: asyncio.StreamReader) -> dict[str, str]:
    """What the child says of itself: its url or its problem; nothing where it ended before."""
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            line = await output.readline()
    except TimeoutError as error:
        raise TimeoutError(f"it was not ready within {LOAD_SECONDS:g} s") from error
    said: dict[str, str] = json.loads(line) if line else {}
    return said


async def _last_words(output: asyncio.StreamReader) -> str:
    """Read to the end, so that the child never waits for us, and keep the last line or two."""
    tail = b""
    while piece := await output.read(4096):
        tail = (tail + piece)[-LAST_WORDS_BYTES:]
    lines = [line.strip() for line in tail.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-LAST_WORDS_LINES:])


async def _end(child: asyncio.subprocess.Process) -> None:
    """Make the child end, and wait for it."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"it was ended by {signal.Signals(-code).name}."
    return f"it ended with status {code}."
