"""All tests that use the database pass on PostgreSQL as well."""

import os
import subprocess
import sys

import psycopg
import pytest

from tests.server import ROOT

ADDRESS = os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
FOLDERS = ("organizations", "conversations", "chatsite")
# Pure, and long: the database is nothing to them.
LEFT_OUT = ("conversations/test_blocks.py", "conversations/test_markdown.py")


@pytest.mark.services
@pytest.mark.timeout(900)
def test_the_suite_passes_on_postgresql() -> None:
    try:
        psycopg.connect(ADDRESS, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        reason = f"NO POSTGRESQL at {ADDRESS}: {error}"
        assert os.environ.get("REQUIRE_SERVICES") != "1", reason
        pytest.skip(reason)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(f"tests/{folder}" for folder in FOLDERS),
            *(f"--ignore=tests/{name}" for name in LEFT_OUT),
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": ADDRESS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout
