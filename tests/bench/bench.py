"""Measures Fourways beside its peers, in turn, and prints one table per workload. scripts/bench is the way to call it."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

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


def measure(kind, setting, rounds):
    work = kind(setting)
    with work.stack:
        work.prepare()
        results = {name: [] for name in work.peers}
        for number in range(min(rounds, work.rounds or rounds)):
            for name, peer in work.peers.items():
                print(f"\r{work.name}: round {number + 1}, {name:<20}", end="", file=sys.stderr, flush=True)
                results[name].append(work.measure(name, peer))
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    print(table(work, results), flush=True)
    return {"what": work.what, "base": work.base, "peers": {
        name: {column: spread([each[column] for each in rows]) for column in work.columns} for name, rows in results.items()
    }}


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=peers.TOP, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main():
    known = {kind.name: kind for kind in workloads.ALL}
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--seconds", type=float, default=3, help="of each measurement")
    words.add_argument("--smoke", action="store_true", help="one short round, to see that everything answers byte for byte")
    asked = words.parse_args()
    if unknown := [name for name in asked.names if name not in known]:
        words.error(f"there is no {unknown[0]}; there are {', '.join(known)}")
    os.environ["PATH"] = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ["PATH"]
    if missing := workloads.missing_programs():
        words.error(f"{', '.join(missing)}: not installed (scripts/bench installs them)")

    load.pin_to_load_core()
    load.open_files()
    folder = peers.BUILD / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.time()
    behind = peers.upstream(folder)
    setting = workloads.Setting(folder, behind, 0.5 if asked.smoke else asked.seconds, asked.smoke)
    told = {"commit": commit(), "cores": len(peers.CORES), "rounds": 1 if asked.smoke else asked.rounds, "seconds": setting.seconds, "workloads": {}}
    print(f"commit {told['commit']}, proxies on core {peers.PROXY_CORE}, load and upstream on core {peers.LOAD_CORE}; medians, in brackets ratios")
    try:
        for kind in known.values():
            if not asked.names or kind.name in asked.names:
                told["workloads"][kind.name] = measure(kind, setting, told["rounds"])
    finally:
        behind.stop()
    if not asked.smoke:
        file = peers.BUILD / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
        file.write_text(json.dumps(told, indent=1))
        print(f"\nall figures: {pathlib.Path(file).relative_to(peers.TOP)}")
    print(f"in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
