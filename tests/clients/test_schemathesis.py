"""The served endpoint does what its own OpenAPI document says, whatever is sent to it."""

import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import MODEL, Served
from tests.clients.running import HERE, PLACE, program_environment

# Each operation is asked some hundreds of times: every boundary of its schema, then at random.
EXAMPLES = 15
SEED = 20_261_122  # what fails on one computer is to fail on all
SECONDS = 600  # on a busy computer; otherwise 30 s
SETTINGS = """
warnings.fail-on = ["missing_auth", "missing_test_data"]

[auth.openapi]
apiKey = {{ api_key = "{token}" }}
bearer = {{ bearer = "{token}" }}
"""


@pytest.mark.timeout(SECONDS + 240)
def test_the_endpoint_keeps_to_its_openapi_document(scenes: Served, tmp_path: Path) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS.format(token=scenes.token))
    url = scenes.site.url
    done = subprocess.run(
        [
            str(PLACE / "clients" / "bin" / "schemathesis"),
            *("--config-file", str(settings), "run", f"{url}/api/openapi.json", "--url", url),
            *("--checks", "all", "--continue-on-failure", "--no-color"),
            *("--max-examples", str(EXAMPLES), "--seed", str(SEED)),
            # NUL is refused by the endpoint wherever it stands; its own tests send it.
            *("--generation-allow-x00", "false", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        env=program_environment(
            PYTHONPATH=str(HERE / "programs"),
            SCHEMATHESIS_HOOKS="schemathesis_hooks",
            ORG=scenes.base_url.split("/")[-2],
            MODEL=MODEL,
        ),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
