"""What the stages of scripts/soak share: the load tool, its upstreams, and a gateway that can run for hours (it tells into files)."""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from gateway import BINARY, environment
from processes import poll

TOOLS = pathlib.Path(os.environ.get("SOAK_TOOLS", pathlib.Path(BINARY).parent))  # soak_upstream and soak_load lie beside the gateway
REFUSALS = {"401", "402", "403", "429", "503"}  # after these answers the same upstream may get a request again


def get(url, data=None, timeout=60):
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=timeout) as reply:
        return reply.read().decode()


class Upstream:
    """soak_upstream as a process: .url, .set(faults=0.1), .seen() -> [(us, id, what)]."""

    def __init__(self, **how):
        flags = [each for name, value in how.items() for each in (f"--{name}", str(value))]
        self.process = subprocess.Popen([TOOLS / "soak_upstream", *flags], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().removeprefix("listening "))
        self.url = f"http://127.0.0.1:{self.port}"

    def set(self, **how):
        query = "&".join(f"{name}={value}" for name, value in how.items())
        assert get(f"{self.url}/_/set?{query}") == "set\n", query

    def reset(self):
        """A reset for everybody whom it serves right now."""
        assert get(f"{self.url}/_/reset") == "reset\n"

    def seen(self):
        """Clients' requests: when, which id, what they got. What the gateway asks of itself, a health route, has no id."""
        lines = (line.split(" ") for line in get(f"{self.url}/_/seen").splitlines())
        return [(int(at), name, what) for at, name, what in lines if (name, what) not in (("-", "health"), ("-", "gone"))]

    def stats(self):
        return {name: int(value) for name, value in (line.split() for line in get(f"{self.url}/_/stats").splitlines())}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Load:
    """soak_load as a process; .result() waits and gives its summary, .lines() what became of each request."""

    def __init__(self, url, folder=None, **how):
        self.out = pathlib.Path(folder) / f"load-{how.get('name', 'soak')}" if folder else None
        flags = [each for name, value in how.items() for each in (f"--{name}", str(value))]
        flags += ["--out", self.out] if self.out else []
        port = url.rpartition(":")[2]
        self.process = subprocess.Popen([TOOLS / "soak_load", "--port", port, *flags], stdout=subprocess.PIPE, text=True)

    def result(self, timeout=None):
        """The summary; .process.returncode is 1 when an answer was nobody's or another's."""
        text, _ = self.process.communicate(timeout=timeout)
        return json.loads(text)

    def lines(self):
        """(id, door, outcome, status, us begun, us latency) of each request."""
        with open(self.out) as lines:
            for line in lines:
                name, door, what, status, begun, took = line.split(" ")
                yield name, door, what, int(status), int(begun), int(took)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class LongGateway:
    """A gateway for long runs. Its access records and its log go to files in `folder`; .records() reads them."""

    def __init__(self, policy, folder, env=None, args=(), under=()):
        """`under`: a command that runs the gateway's, such as prlimit."""
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "policy.yaml"
        self.write(policy)
        self.told, self.log = self.folder / "records", self.folder / "log"
        with open(self.told, "wb") as out, open(self.log, "wb") as err:
            command = [*under, BINARY, "serve", "--config", self.config, "--threads", "2", *args]
            self.process = subprocess.Popen(command, env=environment(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        poll(lambda: self.told.read_bytes().endswith(b"\n") or self.process.poll() is not None, 60, "the ready line")
        ready = self.told.read_text().splitlines()
        assert ready, f"it ended with {self.process.returncode}:\n{self.log.read_text()}"
        listening, _, admin = ready[0].removeprefix("fourways: listening on ").partition(" (admin ")
        self.urls, self.admin = listening.split(", "), admin.removesuffix(")")
        self.url = self.urls[0]

    def write(self, policy):
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps({"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **policy}, indent=1))
        new.rename(self.config)

    def reload(self):
        assert json.loads(get(f"{self.admin}/reload", b""))["reloaded"]

    def metrics(self):
        return get(f"{self.admin}/metrics")

    def memory(self):
        """Resident KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def records(self):
        with open(self.told, errors="replace") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)

    def logged(self, text):
        return [line for line in self.log.read_text(errors="replace").splitlines() if text in line]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Watch:
    """Samples figure() every `every` seconds beside what runs, as (seconds since the start, value)."""

    def __init__(self, figure, every=0.5):
        self.samples, self.end_, self.began_ = [], threading.Event(), time.monotonic()

        def run():
            while not self.end_.wait(every):
                with contextlib.suppress(OSError, ValueError):
                    self.samples.append((time.monotonic() - self.began_, figure()))

        self.thread_ = threading.Thread(target=run, daemon=True)
        self.thread_.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end_.set()
        self.thread_.join()


def slope(points):
    """Of the straight line through (x, y) points, by least squares."""
    points = list(points)
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))] if values else float("nan")


def more_than_once(seen):
    """Of one upstream's seen(): ids that it got again though its last answer to them was no refusal, as {id: [answers]}."""
    told = {}
    for _, name, what in seen:
        told.setdefault(name, []).append(what)
    return {name: all_ for name, all_ in told.items() if any(each not in REFUSALS for each in all_[:-1])}


class Stage:
    """A stage's figures: each is printed as `name: figure`, with the bound that it misses; .end() is the exit code."""

    def __init__(self, what, seconds):
        parser = argparse.ArgumentParser(description=what)
        parser.add_argument("--seconds", type=float, help=f"length of its main part (default {seconds})")
        parser.add_argument("--minutes", type=float, help="the same in minutes")
        parser.add_argument("--keep", action="store_true", help="leave what the gateway told where it is")
        asked = parser.parse_args()
        self.keep = asked.keep
        self.seconds = asked.seconds or (asked.minutes or 0) * 60 or seconds
        self.failed = 0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))

    def say(self, name, figure, at_most=None, at_least=None, unit=""):
        text = f"{figure:.3g}" if isinstance(figure, float) and figure < 1000 else f"{figure:.0f}" if isinstance(figure, float) else figure
        bad = (at_most is not None and not figure <= at_most) or (at_least is not None and not figure >= at_least)
        bound = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}" if at_least is not None else ""
        print(f"{name}: {text}{' ' + unit if unit else ''}{f'  ({bound})' if bound else ''}{'  FAILED' if bad else ''}", flush=True)
        self.failed += bad

    def none(self, name, found):
        """Something that must not be: how often it was, and some of it."""
        found = list(found.items() if isinstance(found, dict) else found)
        self.say(name, len(found), at_most=0)
        for each in found[:10]:
            print(f"    {each}", flush=True)

    def end(self):
        if self.failed or self.keep:
            print(f"what the gateway told lies in {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder)
        return 1 if self.failed else 0
