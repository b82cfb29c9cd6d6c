"""Measures Fourways beside its peers, in turn, and prints one table per workload. scripts/bench is the way to call it."""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback
import xml.etree.ElementTree as xml

import load
import peers
import workloads


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "rounds": values}


def table(work, results):
    """Medians, and in brackets the median of the rounds' ratios to the base of the same round."""
    lines = [f"\n{work.name}: {work.what}"]
    names = list(results)
    width = max(map(len, names))
    for column in work.columns:
        cells = []
        for name in names:
            rounds = [each[column] for each in results[name]]
            base = [each[column] for each in results.get(work.base, [])]
            text = f"{statistics.median(rounds):.4g}"
            if base and name != work.base and all(base):
                ratios = [mine / its for mine, its in zip(rounds, base, strict=True)]
                text += f" ({statistics.median(ratios):.2f}; {min(ratios):.2f} to {max(ratios):.2f})"
            cells.append(f"{name:>{width}} {text}")
        lines.append(f"  {column:>18}  " + "   ".join(cells))
    return "\n".join(lines)


def say(text):
    """What is going on, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)


def measure(kind, setting, rounds):
    work = kind(setting)
    with work.stack:
        work.prepare()
        results = {name: [] for name in work.peers}
        for number in range(min(rounds, work.rounds or rounds)):
            for name, peer in work.peers.items():
                say(f"{work.name}: round {number + 1}, {name}")
                results[name].append(work.measure(name, peer))
    say("")
    print(f"{work.name}: {work.what}: ok" if setting.smoke else table(work, results), flush=True)
    return {"what": work.what, "base": work.base, "peers": {
        name: {column: spread([each[column] for each in rows]) for column in work.columns} for name, rows in results.items()
    }}


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=peers.TOP, capture_output=True, text=True, check=False)
    return done.stdout.strip()


class Report:
    """The workloads that ran, as JUnit's XML: what scripts/test counts."""

    def __init__(self):
        self.suite, self.failed = xml.Element("testsuite", name="bench", errors="0", skipped="0"), []

    def ran(self, name, seconds, fault):
        case = xml.SubElement(self.suite, "testcase", classname="bench", name=name, time=f"{seconds:.1f}")
        if fault:
            self.failed.append(name)
            xml.SubElement(case, "failure").text = fault

    def write(self, file):
        self.suite.set("tests", str(len(self.suite)))
        self.suite.set("failures", str(len(self.failed)))
        file.parent.mkdir(parents=True, exist_ok=True)
        xml.ElementTree(self.suite).write(file, encoding="utf-8")


def arguments(known):
    words = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    words.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--seconds", type=float, default=3, help="of each measurement")
    words.add_argument("--smoke", action="store_true", help="one short round, to see that everything answers byte for byte")
    words.add_argument("--report", type=pathlib.Path, metavar="FILE", help="JUnit's XML of what ran and what failed")
    asked = words.parse_args()
    if unknown := [name for name in asked.names if name not in known]:
        words.error(f"there is no {unknown[0]}; there are {', '.join(known)}")
    if missing := workloads.missing_programs():
        words.error(f"{', '.join(missing)}: not installed (scripts/bench installs them)")
    return asked


@contextlib.contextmanager
def alone():
    """A folder for this run; another run in this checkout waits for its end."""
    peers.BUILD.mkdir(parents=True, exist_ok=True)
    with open(peers.BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = peers.BUILD / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder


def run(kinds, asked, setting):
    """-> the figures of each, what failed."""
    figures, report = {}, Report()
    for kind in kinds:
        began, fault = time.monotonic(), ""
        try:
            figures[kind.name] = measure(kind, setting, 1 if asked.smoke else asked.rounds)
        except Exception as error:  # the others tell something all the same
            fault = str(error) if isinstance(error, peers.Failed) else traceback.format_exc()
            print(f"{kind.name}: {kind.what}: FAILED: {fault}", file=sys.stderr, flush=True)
        report.ran(kind.name, time.monotonic() - began, fault)
    if asked.report:
        report.write(asked.report)
    return figures, report.failed


def main():
    os.environ["PATH"] = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ["PATH"]
    known = {kind.name: kind for kind in workloads.ALL}
    asked = arguments(known)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped then too
    load.pin_to_load_core()
    load.open_files()
    began = time.monotonic()
    told = {"commit": commit(), "cores": len(peers.CORES), "rounds": asked.rounds, "seconds": asked.seconds}
    print(f"commit {told['commit']}, proxies on core {peers.PROXY_CORE}, load and upstream on core {peers.LOAD_CORE}; medians, in brackets ratios")
    if len(peers.CORES) == 1 and not asked.smoke:
        print("There is but one core: what asks and answers takes it from what is measured, so rates and latencies tell nothing.")
    with alone() as folder, peers.upstream(folder) as behind:
        setting = workloads.Setting(folder, behind, 0.5 if asked.smoke else asked.seconds, asked.smoke)
        kinds = [kind for kind in known.values() if not asked.names or kind.name in asked.names]
        told["workloads"], failed = run(kinds, asked, setting)
    if not asked.smoke:
        file = peers.BUILD / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
        file.write_text(json.dumps(told, indent=1))
        print(f"\nall figures: {pathlib.Path(file).relative_to(peers.TOP)}")
    print(f"in {time.monotonic() - began:.0f} s")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
