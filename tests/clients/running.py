"""Runs the programs of others, which tests/clients/install has installed."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.server import ROOT

HERE = Path(__file__).resolve().parent
PLACE = ROOT / ".venv-clients"
PROGRAM_SECONDS = 240.0  # on a busy computer; otherwise 3 to 15 s
INSTALLED = (PLACE / "installed").exists()
# Nothing is to be asked for but the site, and nothing reported to anybody.
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",
    "NO_PROXY": "127.0.0.1",
    "PYTHONWARNINGS": "ignore",
}


def python(environment: str) -> str:
    """The interpreter of "clients" or of "litellm"."""
    return str(PLACE / environment / "bin" / "python")


def program_environment(**more: str) -> dict[str, str]:
    """What a program sees of ours: no key or address of a provider that stands around."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | _QUIET | more


def run_program(name: str, url: str, key: str, model: str) -> dict[str, Any]:
    """Run one of programs/ against a base URL; returns what it saw."""
    path = HERE / "programs" / name
    starters = {
        ".py": [python("litellm" if name.startswith("litellm") else "clients")],
        ".mjs": ["node"],
        ".sh": ["bash"],
    }
    done = subprocess.run(
        [*starters[path.suffix], str(path)],
        env=program_environment(BASE_URL=url, API_KEY=key, MODEL=model),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{name} failed:\n{done.stderr[-4000:]}"
    seen = json.loads(done.stdout)
    assert isinstance(seen, dict)
    return seen
