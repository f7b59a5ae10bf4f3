"""Real servers as providers: LiteLLM's proxy, and the built-in model behind the served endpoint."""

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import (
    CompletionError,
    ProviderBusy,
    ProviderFailed,
    ProviderRefused,
)
from completions.types import ChatMessage, CompletionRequest, Limits
from completions.weights import check_platform
from tests.clients.conftest import UNLIMITED, Served
from tests.clients.running import PLACE, program_environment
from tests.clients.scenes import CITY, CONCLUSION, LETTERS, TEXT, THOUGHT, TWO, answer
from tests.clients.test_clients import SEEN
from tests.gathering import gather
from tests.server import free_port
from tests.sites import Site
from tests.upstream import Upstream

pytestmark = pytest.mark.timeout(500)
START_SECONDS = 240.0  # of the proxy, on a busy computer; otherwise 15 s
KEY = "sk-proxy-0123456789"
MODEL = "through-the-proxy"
BUILT_IN = "smollm2-135m-instruct"
ONCE = Limits(connect=60, first_token=90, stall=90, total=120, retries=0)
SETTINGS = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/behind-it, api_base: "{url}", api_key: unused}}
litellm_settings: {{num_retries: 0, telemetry: false}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {key}}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running LiteLLM, and the provider behind it."""

    url: str
    upstream: Upstream


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("litellm")
    with Upstream(models=["behind-it"]) as upstream:
        upstream.answer_with(answer)
        settings = directory / "settings.yaml"
        settings.write_text(SETTINGS.format(model=MODEL, url=upstream.url, key=KEY))
        port = free_port()
        with _started(settings, port, directory / "log"):
            yield Proxy(f"http://127.0.0.1:{port}/v1", upstream)


@contextmanager
def _started(settings: Path, port: int, log: Path) -> Iterator[None]:
    """LiteLLM, from when it answers; its whole group of processes ends with it."""
    command = [str(PLACE / "litellm" / "bin" / "litellm"), "--config", str(settings)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=settings.parent,
            env=program_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"http://127.0.0.1:{port}/health/liveliness"):
            assert child.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.1)
        yield
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Callable[..., CompletionClient]]:
    """Make clients of the proxy, which are closed at the end."""
    clients = []

    def make(key: str = KEY) -> CompletionClient:
        clients.append(CompletionClient(Endpoint(proxy.url, key, "bearer"), ONCE))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


def scene(name: str, model: str = MODEL, **more: Any) -> CompletionRequest:
    return CompletionRequest(model, (ChatMessage("user", name),), **more)


Connect = Callable[..., CompletionClient]


@pytest.mark.parametrize(
    ("request_", "texts", "reasoning"),
    [
        pytest.param(scene("plain"), [TEXT], "", id="text"),
        pytest.param(scene("letters"), [LETTERS], "", id="letters"),
        pytest.param(scene("reason"), [CONCLUSION], THOUGHT, id="reasoning"),
        pytest.param(scene("two", n=2), TWO, "", id="two"),
    ],
)
async def test_the_proxys_answers_are_read(
    request_: CompletionRequest, texts: list[str], reasoning: str, connect: Connect
) -> None:
    got = await gather(connect(), request_)

    assert got.error is None
    assert [got.texts[index] for index in sorted(got.texts)] == texts
    assert got.reasoning[0] == reasoning
    assert got.usage
    assert got.usage.total_tokens > 0


async def test_the_proxys_tool_calls_and_models_are_read(connect: Connect) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    got = await gather(connect(), scene("tool", options={"tools": tools}))

    assert got.error is None
    assert got.calls[0][1:] == ["weather", CITY]
    assert got.ends == {0: "tool_calls"}
    assert [model.id for model in await connect().list_models()] == [MODEL]


@pytest.mark.parametrize(
    ("name", "model", "key", "kind", "words"),
    [
        pytest.param("busy", MODEL, KEY, ProviderBusy, "The provider says 429.", id="busy"),
        pytest.param("fault", MODEL, KEY, ProviderFailed, "The model fell over.", id="fault"),
        pytest.param("plain", "no-such", KEY, ProviderRefused, "no-such", id="no such model"),
        # Without a database of keys it answers 400 to a wrong one (and 500 to none).
        pytest.param("plain", MODEL, "sk-no", ProviderRefused, "No connected db", id="wrong key"),
    ],
)
async def test_the_proxys_errors_are_told_apart(
    name: str, model: str, key: str, kind: type[CompletionError], words: str, connect: Connect
) -> None:
    error = (await gather(connect(key), scene(name, model))).error

    assert isinstance(error, kind)
    assert words in error.provider_words


def test_a_program_asks_the_site_that_asks_the_proxy(proxy: Proxy) -> None:
    environment = UNLIMITED | {
        "COMPLETIONS_URL": proxy.url,
        "COMPLETIONS_API_KEY": KEY,
        "COMPLETIONS_AUTH": "bearer",
        "COMPLETIONS_MODELS": MODEL,
    }
    with Site(environment) as site:
        served = Served(site, site.api_url, site.make_token())

        seen = served.run("ai_sdk.mjs", MODEL)

    # The proxy invents a "stop" where its provider's answer breaks off.
    assert seen == SEEN["ai_sdk.mjs"] | {"cut": [TEXT, "as if it were whole"]}


@pytest.fixture(scope="module")
def small_model() -> dict[str, Any]:
    """What a program sees of the built-in model."""
    if problem := check_platform():
        assert os.environ.get("REQUIRE_MODEL") != "1", problem
        pytest.skip(f"THE BUILT-IN MODEL CANNOT RUN HERE: {problem}")
    environment = {"COMPLETIONS_URL": "", "COMPLETIONS_MODELS": "", "BUILT_IN_MODEL": "1"}
    with Site(UNLIMITED | environment) as site:
        seen = Served(site, site.api_url, site.make_token()).run("small_model.py", BUILT_IN)
        assert site.server.terminate() == 0
    return seen


def test_a_program_asks_the_built_in_model(small_model: dict[str, Any]) -> None:
    assert small_model["models"] == [BUILT_IN]
    for way in ("whole", "streamed"):
        seen = small_model[way]
        assert seen["texts"] != [""]
        assert seen["finish"] == ["length"]
        prompt, completion, total = seen["usage"]
        assert (completion, total) == (4, prompt + 4)
    assert [bool(text) for text in small_model["two"]["texts"]] == [True, True]


def test_the_usage_of_two_answers_counts_both(small_model: dict[str, Any]) -> None:
    assert small_model["two"]["usage"][1] == 8
