"""Programs that a test starts on a free port, waits for and ends."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import time

import httpx

TOP = pathlib.Path(__file__).resolve().parents[2]
WORKERS = TOP / "adapters" / "local" / "workers"


def free_port():
    """A port that nobody listens on. Somebody could take it meanwhile, which makes the start fail loudly."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def poll(condition, seconds=30, what="condition"):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)  # between two polls


class Worker:
    """A local worker's process: .url, .process, .log (its stderr so far)."""

    def __init__(self, script, *flags, log, port=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = log
        with open(log, "wb") as stderr:
            command = [sys.executable, str(WORKERS / script), *flags, "--port", str(self.port)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)

    @property
    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the worker ended with {self.process.returncode}:\n{self.log}")
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + "/health").status_code == 200

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def end(self, seconds=10):
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)


@contextlib.contextmanager
def worker(script, *flags, log):
    started = Worker(script, *flags, log=log)
    try:
        poll(started.ready, 60, f"{script} ready")
        yield started
    finally:
        started.process.kill()
        started.process.wait()
