"""The first start of an empty site, as its operator sees it; and what is said without a browser."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.server import ROOT, Server


@pytest.fixture
def empty(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_the_one_time_link_is_printed_until_somebody_used_it(empty: Server) -> None:
    empty.start()
    try:
        said = empty.log
        assert re.search(r"Database: \d+ migrations … \d+\.\d s\n", said)
        assert re.search(r"Style sheets and scripts … \d+\.\d s\n", said)
        (link,) = re.findall(rf"{re.escape(empty.url)}/setup/\w+/", said)
        assert "one-time link" in said
        with httpx.Client(base_url=empty.url, trust_env=False, timeout=60) as client:
            page = client.get(link)
            assert page.status_code == 200
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
            assert token
            form = {
                "csrfmiddlewaretoken": token[1],
                "name": "Alice",
                "email": "alice@example.org",
                "password": "correct horse battery",
                "organization": "Example Org",
            }
            assert client.post(link, data=form).headers["location"] == "/"
            assert client.get("/").status_code == 200
            assert httpx.get(link, trust_env=False, timeout=60).status_code == 404
        assert (empty.data / "secret_key").stat().st_mode & 0o777 == 0o600

        # Ctrl-C; and the second start has nothing to prepare and nobody to invite.
        empty.signal(signal.SIGINT)
        assert empty.wait() == 0
        empty.start()
        again = empty.log[len(said) :]
        assert f"Chatsite is at {empty.url}/" in again
        assert "one-time link" not in again
        assert "Database" not in again
    finally:
        empty.stop()


@pytest.mark.parametrize(("required", "exit_code"), [("", 0), ("1", 4)])
def test_without_a_browser_its_tests_are_counted_or_fail(
    tmp_path: Path, required: str, exit_code: int
) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "REQUIRE_BROWSER": required}
    environment.pop("CHROMIUM", None)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"),
            *("tests/browser/test_settings.py", "--override-ini=addopts="),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert re.search(r"NO CHROMIUM: [1-9]\d* browser tests not run", done.stdout + done.stderr)
