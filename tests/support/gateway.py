"""The built gateway as a process: started with a policy, asked, watched, ended; what it may never do is checked at each end."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import canary
import httpx
from processes import TOP, WORKERS, poll

BINARY = os.environ.get("FOURWAYS_BIN", str(TOP / "build" / "release" / "fourways"))
THREADS = os.environ.get("FOURWAYS_THREADS", "2")  # of a gateway whose test does not say
START = 30  # seconds; machines that compile beside it are slow


def worker_command(script, *flags):
    """`command:` of a worker that ships, in this Python."""
    return [sys.executable, str(WORKERS / script), "--model", "$model", "--port", "$port", *map(str, flags)]


def environment(more=None):
    """What a gateway needs to run, plus `more`; nothing of the tester's own."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR") or name.endswith("SAN_OPTIONS")}
    return kept | (more or {})


def fourways(*args, env=None, cwd=None, timeout=60):
    """One command of the binary that ends by itself."""
    return subprocess.run(
        [BINARY, *map(str, args)], env=environment(env), cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )


def metric(text, name, **labels):
    """The sum of a metric's samples that carry these labels."""
    total = 0.0
    for line in text.splitlines():
        if line.startswith((name + "{", name + " ")) and all(f'{key}="{value}"' in line for key, value in labels.items()):
            total += float(line.rpartition(" ")[2])
    return total


class Gateway:
    """.url and .admin where it listens, .http a client for the first, .records and .log what it told so far.

    Every value of `env` that starts with hf_ is a secret: none may ever be told, on any way out (canary.py).
    """

    def __init__(self, policy, folder, env=None, args=(), client=None, threads=THREADS):
        folder = pathlib.Path(folder)
        self.config = policy if isinstance(policy, pathlib.Path) else folder / "policy.yaml"
        if not isinstance(policy, pathlib.Path):
            self.write(policy)
        self.secrets = [value for value in (env or {}).values() if value.startswith("hf_")]
        self.records, self.log, self.told_ = [], [], []
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", self.config, "--threads", str(threads), "--log-level", "debug", *args],
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
        self.ready_line = None
        self.threads_ = [threading.Thread(target=read, daemon=True) for read in (self.read_records, self.read_log)]
        for thread in self.threads_:
            thread.start()
        try:
            poll(lambda: self.ready_line or self.process.poll() is not None, START, "the ready line")
            assert self.ready_line, f"it ended with {self.process.returncode}:\n" + "\n".join(self.told_)
        except BaseException:
            self.process.kill()
            raise
        listening, _, admin = self.ready_line.removeprefix("fourways: listening on ").partition(" (admin ")
        self.urls = listening.split(", ")
        self.url, self.admin = self.urls[0], admin.removesuffix(")")
        self.ports_ = [httpx.URL(url).port for url in (*self.urls, self.admin)]
        for port in self.ports_:
            canary.watch(port, self.secrets)
        self.shown_ = canary.proc_files(self.process.pid)
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False, **(client or {}))
        self.admin_http = httpx.Client(base_url=self.admin, timeout=60, trust_env=False)

    # ---- what it tells ----

    def read_records(self):
        for line in self.process.stdout:
            self.told_.append(line)
            if self.ready_line is None:
                self.ready_line = line.strip()
            else:
                self.records.append(json.loads(line))

    def read_log(self):
        for line in self.process.stderr:
            self.told_.append(line)
            if line.startswith("{"):
                self.log.append(json.loads(line))

    def record(self, reply):
        """The access record of this answer (or of this request id)."""
        wanted = reply if isinstance(reply, str) else reply.headers["x-request-id"]
        return poll(lambda: next((each for each in self.records if each["request_id"] == wanted), None), what=f"the record of {wanted}")

    def logged(self, text, **fields):
        """The first line of the log that holds `text` and these fields; waits for it."""

        def find():
            fits = (each for each in self.log if text in each["text"] and all(each.get(key) == value for key, value in fields.items()))
            return next(fits, None)

        return poll(find, what=f"a log line with {text!r}")

    def metrics(self):
        return self.admin_http.get("/metrics").text

    def workers(self):
        return self.admin_http.get("/workers").json()["workers"]

    # ---- what is done to it ----

    def write(self, policy):
        """A new policy file, swapped in whole as editors do; text or a dict."""
        if isinstance(policy, dict):
            policy = json.dumps({"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **policy}, indent=1)  # JSON is YAML
        new = self.config.with_suffix(".new")
        new.write_text(policy)
        new.rename(self.config)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    # ---- its end ----

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            told = self.shown_
            if self.process.poll() is None:
                told |= {f"{name} at the end": text for name, text in canary.proc_files(self.process.pid).items()}
                told["metrics"] = self.metrics()
            code = self.stop() if self.process.poll() is None else self.process.returncode
        finally:
            self.process.kill()
            self.process.wait()
            for thread in self.threads_:
                thread.join(10)
            self.http.close()
            self.admin_http.close()
            leaks = sum([canary.unwatch(port) for port in self.ports_])
        print("what the gateway told:\n" + "".join(self.told_)[-20_000:])  # shown with a test that failed
        if kind is not None:
            return
        where = canary.places(self.secrets, {**told, "output": "".join(self.told_)}) + ["what clients read"] * (leaks > 0)
        assert not where, f"a secret was told: {', '.join(where)}"
        strange = [line for line in self.told_ if not line.startswith("{") and line.strip() != self.ready_line]
        strange += [ascii(line) for line in self.told_ if not line.isascii() and any("\udc80" <= c <= "\udcff" for c in line)]
        assert not strange, "lines that are no JSON, or no UTF-8:\n" + "".join(strange)
        assert code in (0, -signal.SIGKILL), f"it ended with {code}:\n" + "".join(self.told_)[-5000:]
        assert not [line for line in self.log if line["text"] == "internal error"], "an internal error"
