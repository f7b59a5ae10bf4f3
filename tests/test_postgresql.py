"""All tests that use the database pass on PostgreSQL as well."""

import os
import subprocess
import sys
import uuid
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.server import ROOT

ADDRESS = os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
FOLDERS = ("organizations", "conversations", "chatsite")
# Pure, and long: the database is nothing to them.
LEFT_OUT = ("conversations/test_blocks.py", "conversations/test_markdown.py")


@pytest.mark.services
@pytest.mark.timeout(3600)
def test_the_suite_passes_on_postgresql() -> None:
    try:
        psycopg.connect(ADDRESS, connect_timeout=30).close()
    except psycopg.OperationalError as error:
        reason = f"NO POSTGRESQL at {ADDRESS}: {error}"
        assert os.environ.get("REQUIRE_SERVICES") != "1", reason
        pytest.skip(reason)
    # Its own, beside other runs and what they left behind; Django puts "test_" before it.
    name = f"chatsite_{uuid.uuid4().hex}"
    try:
        done = _run_on(urlsplit(ADDRESS)._replace(path=f"/{name}").geturl())
    finally:
        with psycopg.connect(ADDRESS, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "test_{name}" WITH (FORCE)')
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout


def _run_on(address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(f"tests/{folder}" for folder in FOLDERS),
            *(f"--ignore=tests/{name}" for name in LEFT_OUT),
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": address},
        capture_output=True,
        text=True,
        check=False,
    )
