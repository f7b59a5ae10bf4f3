"""This process's way to the models: which are started, what is said of them, and how it asks."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from completions.localmodel import LocalModel
from conversations.providers import find_model
from conversations.upstream import Upstream
from tests.conftest import Cast


@pytest.fixture
async def way() -> AsyncIterator[Upstream]:
    made = Upstream()
    yield made
    await made.stop()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[LocalModel]:
    """The built-in models that would have been started."""
    found: list[LocalModel] = []
    monkeypatch.setattr(LocalModel, "start", lambda model: found.append(model))
    return found


async def test_another_provider_takes_the_built_in_models_place(
    way: Upstream, settings: Any, started: list[LocalModel]
) -> None:
    settings.BUILT_IN_MODEL = True
    await way.start()
    assert (way.local, started, way.status()) == (None, [], None)


async def test_a_file_of_ones_own_takes_the_built_in_ones_place(
    way: Upstream, settings: Any, started: list[LocalModel], cast: Cast, tmp_path: Path
) -> None:
    settings.BUILT_IN_MODEL, settings.COMPLETIONS_URL = True, ""
    settings.LOCAL_MODEL_PATH = str(tmp_path / "Our-Own.gguf")
    await way.start()
    assert [model._own_path for model in started] == [tmp_path / "Our-Own.gguf"]
    model = find_model(cast.organization.pk, "Our-Own")
    assert model is not None
    assert (model.label, model.defaults, model.built_in) == ("Our-Own, built in", {}, True)


@pytest.mark.parametrize(
    ("state", "level", "text", "advises"),
    [
        ("starting", "info", "The built-in model is starting.", False),
        ("restarting", "warning", "The built-in model has stopped and is restarting.", False),
        ("unavailable", "warning", "The built-in model can't run here. No AVX2.", True),
    ],
)
async def test_the_built_in_models_state_is_put_into_words(
    way: Upstream,
    settings: Any,
    started: list[LocalModel],
    state: Any,
    level: str,
    text: str,
    advises: bool,
) -> None:
    settings.BUILT_IN_MODEL, settings.COMPLETIONS_URL = True, ""
    await way.start()
    assert way.local is not None
    way.local.state, way.local.reason = state, "No AVX2."
    status = way.status()
    assert status is not None
    assert (status.level, status.text) == (level, text)
    assert ("Settings > Providers" in status.advice) is advises
    way.local.state = "ready"
    assert way.status() is None


async def test_without_any_model_it_says_how_to_set_one_up(way: Upstream, settings: Any) -> None:
    settings.BUILT_IN_MODEL, settings.COMPLETIONS_URL = False, ""
    await way.start()
    status = way.status()
    assert status is not None
    assert status.text == "No model is set up."
    assert "Settings > Providers" in status.advice
