"""Serve one GGUF file in the OpenAI protocol on loopback: the child process of LocalModel.

    LOCAL_MODEL_KEY=... python -m completions.llamaserver model.gguf

prints one JSON line: {"url": "http://127.0.0.1:PORT/v1", "pid": N} when it is ready, or
{"problem": "a sentence"} where the model cannot be loaded. It ends when its standard input closes,
so that it never outlives its parent, or on SIGTERM. A process of its own because llama.cpp is C++:
what crashes it must not take the site along.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import xllamacpp

from completions.weights import CONTEXT_TOKENS, KEY_VARIABLE, MODEL_ALIAS, MODEL_FILE

# More answers at once than that are refused with a 400.
SLOTS = 4
# Where a request names no max_tokens. A model this small falls into repetitions that only the end
# of its context would stop, after 100 s.
ANSWER_TOKENS = 1024


def parameters(path: Path, key: str) -> xllamacpp.CommonParams:
    """Say how to serve the model at path."""
    cores = os.cpu_count() or 1
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {MODEL_ALIAS if path.name == MODEL_FILE else path.stem}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    # By default there is no key and every origin is allowed: any web page could talk to it.
    params.api_keys = [key]
    params.cors_origins = "http://127.0.0.1"
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = False  # it would show what others ask
    params.n_parallel = SLOTS
    # Each slot has its own part: in a shared pool one long answer ends everybody's with an error.
    params.kv_unified = False
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    # Measured with 4 slots of 4,096: peak 359 MB against 527 MB in f16; prompts a third slower.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
    params.cache_ram_mib = 0  # 8 GiB by default
    params.n_predict = ANSWER_TOKENS
    # Measured on 2 cores beside one other busy process: 2 threads, which wait for each other at
    # every step, give 17 tokens/s, 1 thread 41. A prompt gains by every core.
    params.cpuparams.n_threads = max(1, cores - 1)
    params.cpuparams_batch.n_threads = cores
    params.verbosity = 2  # warnings: nothing of what people write
    return params


def main(arguments: list[str]) -> int:
    """Serve until standard input closes; 1 where the model cannot be loaded."""
    # Ctrl-C in a terminal reaches the whole group: the parent lets running answers finish first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the C++ side prints must not mix with the one line that the parent reads.
    ready = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    path, key = Path(arguments[0]), os.environ.pop(KEY_VARIABLE, "")
    if not key:
        print(f"{KEY_VARIABLE} is not set.", file=sys.stderr)
        return 2
    # From the start: loading a large model takes longer than a parent may live.
    watch = threading.Thread(target=_leave_with_the_parent, daemon=True)
    watch.start()
    with ready:
        try:
            server = xllamacpp.Server(parameters(path, key))
        except RuntimeError as error:
            # Not on standard error, where llama.cpp's logging thread may write after it.
            ready.write(json.dumps({"problem": f"{path.name} cannot be loaded: {error}"}) + "\n")
            return 1
        said = {"url": f"{server.listening_address}/v1", "pid": os.getpid()}
        ready.write(json.dumps(said) + "\n")
    watch.join()
    return 0


def _leave_with_the_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # the server's own threads know no end


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
