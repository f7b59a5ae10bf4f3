"""One site for the programs of others, whose provider plays scenes; and when to do without."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.running import INSTALLED, run_program
from tests.clients.scenes import answer
from tests.sites import MODELS, Site

HERE = Path(__file__).resolve().parent
UNLIMITED = {"API_TOKEN_REQUESTS_PER_MINUTE": "0", "API_ORGANIZATION_REQUESTS_PER_MINUTE": "0"}
MODEL = MODELS[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the programs their tests are skipped with their count, or fail where required."""
    concerned = [item for item in items if HERE in item.path.parents]
    if not concerned or INSTALLED:
        return
    reason = f"NO CLIENTS: {len(concerned)} tests with them not run (tests/clients/install)"
    if os.environ.get("REQUIRE_CLIENTS") == "1":
        raise pytest.UsageError(f"REQUIRE_CLIENTS=1, but {reason}")
    for item in concerned:
        item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True, slots=True)
class Served:
    """A running site, and how to ask it."""

    site: Site
    base_url: str
    token: str

    def run(self, program: str, model: str = MODEL) -> dict[str, Any]:
        """Run one of programs/; returns what it saw."""
        return run_program(program, self.base_url, self.token, model)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    with Site(UNLIMITED) as site:
        yield Served(site, site.api_url, site.make_token())


@pytest.fixture
def scenes(served: Served) -> Served:
    """The site, whose provider was asked for nothing yet."""
    served.site.upstream.reset()
    served.site.upstream.answer_with(answer)
    return served
