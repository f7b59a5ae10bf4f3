"""The built-in model for real: its process, its answers, its death and its return."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from completions import localmodel
from completions.client import CompletionClient
from completions.localmodel import PROJECT, LocalModel, State
from completions.types import ChatMessage, CompletionRequest
from completions.weights import (
    CPU_FLAGS,
    MODEL_ALIAS,
    MODEL_FILE,
    check_platform,
    missing_cpu_flags,
    models_directory,
    weights_are_genuine,
    weights_installed,
)

pytestmark = pytest.mark.timeout(300)
WHY_NOT = check_platform()
MOST_SECONDS = 100.0  # on a busy computer; otherwise 2 s


@pytest.fixture(scope="module")
def can_run() -> None:
    if WHY_NOT and os.environ.get("REQUIRE_MODEL") == "1":
        pytest.fail(f"REQUIRE_MODEL=1, but the built-in model cannot run: {WHY_NOT}")
    if WHY_NOT:
        pytest.skip(f"THE BUILT-IN MODEL CANNOT RUN HERE: {WHY_NOT}")


class Watched:
    """A LocalModel and the states it went through."""

    def __init__(self, path: Path | None = None) -> None:
        self.model = LocalModel(path)
        self.states: list[State] = []
        self._changed = asyncio.Event()
        self.model.on_change.append(self._note)

    def _note(self) -> None:
        self.states.append(self.model.state)
        self._changed.set()

    async def reach(self, state: State, times: int = 1) -> None:
        async with asyncio.timeout(MOST_SECONDS):
            while self.states.count(state) < times:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(path: Path | None = None) -> AsyncIterator[Watched]:
    watched = Watched(path)
    watched.model.start()
    try:
        yield watched
    finally:
        await watched.model.stop()


def ask(text: str, *, prefill: str = "", n: int = 1, max_tokens: int = 12) -> CompletionRequest:
    messages = [ChatMessage("user", text)]
    if prefill:
        messages.append(ChatMessage("assistant", prefill))
    return CompletionRequest(
        MODEL_ALIAS,
        tuple(messages),
        temperature=0.0,  # the same words each time
        top_p=0.9,
        max_tokens=max_tokens,
        n=n,
        prefill=bool(prefill),
    )


async def answer(model: LocalModel, request: CompletionRequest) -> dict[int, str]:
    assert model.endpoint is not None
    client = CompletionClient(model.endpoint)
    texts: dict[int, str] = {}
    try:
        async for chunk in client.stream(request):
            for delta in chunk.deltas:
                texts[delta.index] = texts.get(delta.index, "") + delta.text
    finally:
        await client.aclose()
    return texts


def wait_until_gone(pid: int, seconds: float = MOST_SECONDS) -> None:
    """Wait for the end of a process that need not be our child."""
    deadline = time.monotonic() + seconds
    while _is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there after {seconds} s"
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # without a /proc the signal was the answer
    return state != "Z"  # ended, and waiting for whoever inherited it


def _of_process(pid: int | None, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


@pytest.mark.usefixtures("can_run")
async def test_it_gets_ready_and_answers() -> None:
    async with running() as watched:
        await watched.reach("ready")
        assert watched.states == ["ready"]
        texts = await answer(watched.model, ask("What is the capital of France?"))
        assert list(texts) == [0]
        assert len(texts[0]) > 3


@pytest.mark.usefixtures("can_run")
async def test_four_answers_at_once_and_one_continued_in_place() -> None:
    async with running() as watched:
        await watched.reach("ready")
        texts = await answer(watched.model, ask("Name a colour.", n=4, max_tokens=6))
        assert sorted(texts) == [0, 1, 2, 3]
        cut = "The capital of France is the city of Par"
        texts = await answer(watched.model, ask("What is the capital of France?", prefill=cut))
        assert texts[0]
        assert "The capital of France is the city" not in texts[0]  # it is not said again


@pytest.mark.usefixtures("can_run")
async def test_it_comes_back_after_its_process_was_killed() -> None:
    async with running() as watched:
        await watched.reach("ready")
        first, pid = watched.model.endpoint, watched.model.pid
        assert first is not None
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await watched.reach("restarting")
        assert watched.model.reason
        await watched.reach("ready", times=2)
        assert watched.states == ["ready", "restarting", "ready"]
        assert watched.model.reason == ""
        assert watched.model.endpoint is not None
        assert watched.model.endpoint.key != first.key
        assert await answer(watched.model, ask("Say hello."))


@pytest.mark.usefixtures("can_run")
async def test_stopping_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("completions.localmodel.STOP_SECONDS", 2 * MOST_SECONDS)
    async with running() as watched:
        await watched.reach("ready")
        pid = watched.model.pid
        assert pid is not None
        assert _is_alive(pid)
        async with asyncio.timeout(MOST_SECONDS):  # by itself, and not because it was killed
            await watched.model.stop()
        wait_until_gone(pid, 0)
        assert watched.model.endpoint is None
        await watched.model.stop()


@pytest.mark.usefixtures("can_run")
async def test_nobody_else_gets_an_answer_and_no_secret_reaches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_KEY", "not-for-the-model")
    async with running() as watched:
        await watched.reach("ready")
        endpoint, pid = watched.model.endpoint, watched.model.pid
        assert endpoint is not None
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        assert endpoint.close_connections
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        async with httpx.AsyncClient(trust_env=False, timeout=MOST_SECONDS) as browser:
            for headers in ({}, {"Authorization": "Bearer guessed"}):
                reply = await browser.post(endpoint.completions_url(), json=body, headers=headers)
                assert reply.status_code == 401
            headers = {**endpoint.headers(), "Origin": "https://evil.example"}
            reply = await browser.post(endpoint.completions_url(), json=body, headers=headers)
            assert reply.status_code == 200
            assert "evil" not in reply.headers.get("access-control-allow-origin", "")
            assert reply.headers.get("access-control-allow-origin") != "*"
        if sys.platform == "linux":
            environment = _of_process(pid, "environ")
            assert b"PATH=" in environment
            assert b"not-for-the-model" not in environment
            assert endpoint.key.encode() not in _of_process(pid, "cmdline")


PARENT = """
import asyncio, sys
from completions.localmodel import LocalModel

async def main():
    model = LocalModel()
    ready = asyncio.Event()
    model.on_change.append(ready.set)
    model.start()
    await ready.wait()
    print(model.state, model.pid, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await model.stop()
    print("stopped", flush=True)
"""
LOOPS = {
    "asyncio": "asyncio.run(main())",
    "uvloop": "import uvloop\nuvloop.run(main())",
    # As daphne runs: asyncio's loop inside Twisted's reactor.
    "daphne": """
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
async def all_of_it():
    try:
        await Deferred.fromFuture(asyncio.ensure_future(main()))
    finally:
        reactor.stop()
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(all_of_it()))
reactor.run()
""",
}


def start_parent(loop: str) -> tuple[subprocess.Popen[str], int]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT + LOOPS[loop]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert parent.stdout is not None
    state, pid = parent.stdout.readline().split()
    assert state == "ready"
    return parent, int(pid)


@pytest.mark.usefixtures("can_run")
@pytest.mark.parametrize("loop", LOOPS)
def test_it_works_in_the_event_loop_of(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    parent, pid = start_parent(loop)
    with parent:
        said, _ = parent.communicate(timeout=MOST_SECONDS)
    assert (said, parent.returncode) == ("stopped\n", 0)
    wait_until_gone(pid, 0)


@pytest.mark.usefixtures("can_run")
def test_it_does_not_outlive_a_parent_that_was_killed() -> None:
    parent, pid = start_parent("asyncio")
    with parent:
        assert _is_alive(pid)
        parent.kill()
        parent.wait(MOST_SECONDS)
    wait_until_gone(pid)


@pytest.mark.usefixtures("can_run")
def test_ctrl_c_leaves_it_to_its_parent() -> None:
    parent, pid = start_parent("asyncio")
    with parent:
        os.kill(pid, signal.SIGINT)
        said, _ = parent.communicate(timeout=MOST_SECONDS)
    assert said == "stopped\n"  # and not "restarting"
    wait_until_gone(pid, 0)


@pytest.mark.usefixtures("can_run")
async def test_a_file_that_is_no_model_is_said_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    async with running(broken) as watched:
        await watched.reach("unavailable")
        assert watched.states == ["restarting", "unavailable"]
        assert watched.model.reason.startswith(
            "The built-in model does not start: broken.gguf cannot be loaded"
        )
        assert watched.model.endpoint is None


async def test_each_pause_before_a_start_is_twice_the_last_up_to_30_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the first again after a child that lived for a minute."""
    pauses: list[float] = []
    now = 0.0
    lives = [0.0] * 8 + [61.0, 0.0]

    async def run_child(model: LocalModel, path: Path) -> str:
        nonlocal now
        now += lives[len(pauses)]
        return "it died"

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == len(lives):
            raise asyncio.CancelledError

    monkeypatch.setattr(LocalModel, "_run_child", run_child)
    monkeypatch.setattr(localmodel, "check_platform", lambda path: "")
    monkeypatch.setattr(localmodel, "time", SimpleNamespace(monotonic=lambda: now))
    own = SimpleNamespace(
        sleep=pause, to_thread=asyncio.to_thread, get_running_loop=asyncio.get_running_loop
    )
    monkeypatch.setattr(localmodel, "asyncio", own)
    with pytest.raises(asyncio.CancelledError):
        await LocalModel()._supervise()
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5, 1]


async def test_a_path_without_a_file_is_said_so(tmp_path: Path) -> None:
    async with running(tmp_path / "none.gguf") as watched:
        await watched.reach("unavailable")
        assert watched.states == ["unavailable"]
        assert str(tmp_path / "none.gguf") in watched.model.reason


@pytest.mark.usefixtures("can_run")
def test_the_key_is_required_by_the_server_itself() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "completions.llamaserver", models_directory() / MODEL_FILE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=MOST_SECONDS,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "LOCAL_MODEL_KEY" in ended.stderr


@pytest.mark.usefixtures("can_run")
def test_a_server_whose_parent_is_gone_already_ends_while_it_loads() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "completions.llamaserver", models_directory() / MODEL_FILE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "LOCAL_MODEL_KEY": "k"},
        cwd=PROJECT,
        timeout=MOST_SECONDS,
    )
    assert ended.returncode == 0


@pytest.mark.parametrize(
    ("cpuinfo", "missing"),
    [
        (f"model name\t: x\nflags\t\t: fpu sse2 {' '.join(CPU_FLAGS)} smap\n", []),
        ("flags : fpu avx f16c bmi2 avx512\n", ["avx2", "fma"]),
        ("", list(CPU_FLAGS)),
    ],
)
def test_a_processor_lacks(cpuinfo: str, missing: list[str]) -> None:
    assert missing_cpu_flags(cpuinfo) == missing


def test_half_a_download_is_neither_installed_nor_genuine(tmp_path: Path) -> None:
    assert not weights_installed(tmp_path)
    (tmp_path / MODEL_FILE).write_bytes(b"GGUF")
    assert not weights_installed(tmp_path)
    assert not weights_are_genuine(tmp_path / MODEL_FILE)


@pytest.mark.usefixtures("can_run")
def test_the_installed_weights_are_the_pinned_ones() -> None:
    assert weights_installed(models_directory())
    assert weights_are_genuine(models_directory() / MODEL_FILE)
