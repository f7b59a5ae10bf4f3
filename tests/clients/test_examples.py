"""The examples of Settings > API, run as they stand there."""

import json
import subprocess
from pathlib import Path

import pytest

from conversations.examples import EXAMPLES, Example
from tests.clients.conftest import MODEL, Served
from tests.clients.running import HERE, PROGRAM_SECONDS, program_environment, python
from tests.upstream import Answer

pytestmark = pytest.mark.timeout(500)
TEXT = "Hello from the model."
NAMES = {"bash": "example.sh", "python": "example.py", "js": "example.mjs"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_an_example_says_what_the_model_said(
    served: Served, example: Example, tmp_path: Path
) -> None:
    served.site.upstream.answer_with(lambda received: Answer(TEXT))
    path = tmp_path / NAMES[example.language]
    path.write_text(example.code(served.base_url, MODEL))
    # Node looks for packages beside the file.
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    starter = {"bash": "bash", "python": python("clients"), "js": "node"}[example.language]
    done = subprocess.run(
        [starter, str(path)],
        env=program_environment(CHATSITE_TOKEN=served.token),
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=True,
    )
    if "--no-buffer" in example.source:
        lines = done.stdout.splitlines()
        *events, last = [line for line in lines if line and not line.startswith(":")]
        assert last == "data: [DONE]"
        deltas = [json.loads(event.removeprefix("data: "))["choices"] for event in events]
        assert "".join(each[0]["delta"].get("content", "") for each in deltas if each) == TEXT
    elif example.language == "bash":
        assert json.loads(done.stdout)["choices"][0]["message"]["content"] == TEXT
    else:
        assert done.stdout.strip() == TEXT
