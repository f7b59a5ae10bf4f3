"""The project's settings, with a fast password hash and a test database of its own file."""

import os
import tempfile
from pathlib import Path

# Before the settings are read: tests never touch a person's data directory.
os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="chatsite-tests-"))
# Nor does what stands in the environment decide what is tested, but for the database.
for _name in list(os.environ):
    if _name.startswith(("COMPLETIONS_", "LOCAL_MODEL", "BUILT_IN_MODEL", "PUBLIC_URL")):
        del os.environ[_name]

from chatsite.settings import *  # noqa: E402, F403
from chatsite.settings import DATA_DIR, DATABASES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file: the runner and sockets read in threads of their own, with their own connections.
    DATABASES["default"]["TEST"] = {"NAME": Path(DATA_DIR) / "test.sqlite3"}
TURNS_PER_MINUTE = 0
STORAGES["staticfiles"]["BACKEND"] = (  # noqa: F405
    "django.contrib.staticfiles.storage.StaticFilesStorage"
)
