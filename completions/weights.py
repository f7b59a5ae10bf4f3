"""What the built-in model is, where its files are, and whether this computer can run it.

Standard library only: run.py asks before anything is installed.
"""

import ctypes
import hashlib
import importlib.util
import platform
import sys
import sysconfig
from pathlib import Path

MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_ALIAS = "smollm2-135m-instruct"
CONTEXT_TOKENS = 4096  # of each of the answers that its server writes at once
# How the model's server gets its key; an argument would be shown to everyone by `ps`.
KEY_VARIABLE = "LOCAL_MODEL_KEY"
MODEL_BYTES = 98_362_432
# A GGUF file is data, yet C++ code parses it: none is loaded that nobody pinned or chose.
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

# What the x86 wheel of xllamacpp is compiled for; without one of them it dies of SIGILL.
CPU_FLAGS = ("avx2", "fma", "f16c", "bmi2")
WHEELS = {
    "Linux": ("x86_64", "aarch64"),
    "Darwin": ("arm64",),
    "Windows": ("AMD64",),
}
WINDOWS_AVX2_FEATURE = 40  # PF_AVX2_INSTRUCTIONS_AVAILABLE


def models_directory(prefix: Path | None = None) -> Path:
    """Where the weights are: in the Python environment, once for all data directories."""
    return (prefix or Path(sys.prefix)) / "share" / "models"


def unavailable_note(directory: Path) -> Path:
    """The file that says in one sentence why the last install of the model failed."""
    return directory / "unavailable"


def weights_installed(directory: Path) -> bool:
    """Whether the weights are there as a whole; their hash was checked when they were placed."""
    try:
        return (directory / MODEL_FILE).stat().st_size == MODEL_BYTES
    except OSError:
        return False


def weights_are_genuine(path: Path) -> bool:
    """Whether the file is the pinned one, byte for byte."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == MODEL_SHA256


def check_platform(path: Path | None = None) -> str | None:
    """Why the built-in model cannot run here, with what to do about it, or None if it can.

    path is a GGUF file of one's own; without one the installed weights are meant.
    """
    directory = models_directory()
    problem = hardware_problem()
    if problem:
        return problem
    if importlib.util.find_spec("xllamacpp") is None:
        return _last_failure(directory) or (
            "The package xllamacpp is not installed: start with python3 run.py, which installs it."
        )
    if path is not None:
        return None if path.is_file() else f"LOCAL_MODEL_PATH names {path}, which is not a file."
    if not weights_installed(directory):
        return _last_failure(directory) or (
            "The model's weights are not installed: start with python3 run.py, which fetches them."
        )
    return None


def hardware_problem() -> str | None:
    """Why this computer or its system cannot run the model, or None."""
    system, machine = platform.system(), platform.machine()
    host = str(sysconfig.get_config_var("HOST_GNU_TYPE") or "")
    if machine not in WHEELS.get(system, ()) or "musl" in host:
        return (
            f"The built-in model has no build for this system ({system} {machine}"
            f"{' with musl' if 'musl' in host else ''}): set a provider instead."
        )
    if machine in {"x86_64", "AMD64"} and not _cpu_suffices(system):
        return "This computer's processor lacks AVX2, which the built-in model needs."
    if system == "Linux" and not _loads("libgomp.so.1"):
        return (
            "The built-in model needs the system library libgomp.so.1: install it "
            "(Debian, Ubuntu: apt-get install libgomp1) and start again."
        )
    return None


def missing_cpu_flags(cpuinfo: str) -> list[str]:
    """Of CPU_FLAGS, those that the text of /proc/cpuinfo doesn't list."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            present = set(value.split())
            return [flag for flag in CPU_FLAGS if flag not in present]
    return list(CPU_FLAGS)


def _cpu_suffices(system: str) -> bool:
    if system == "Windows":
        kernel32 = ctypes.CDLL("kernel32")
        return bool(kernel32.IsProcessorFeaturePresent(WINDOWS_AVX2_FEATURE))
    try:
        return not missing_cpu_flags(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return True  # no /proc here: let the child try


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _last_failure(directory: Path) -> str:
    try:
        return unavailable_note(directory).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
