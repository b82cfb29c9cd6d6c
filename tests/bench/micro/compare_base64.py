"""Our base64 beside pybase64 (libbase64's kernels) and OpenSSL's EVP, in turn, in one process.

All are called from Python and give a new bytes object each time, so all allocate alike; decoding validates. GB/s of binary.
usage: compare_base64.py FOLDER_OF_base64_module
"""

import hashlib
import statistics
import sys
import time

import pybase64

sys.path.insert(0, sys.argv[1])
import base64_module as ours  # noqa: E402  (the path says where)

KIB, MIB = 1 << 10, 1 << 20
SIZES = {"64 KiB": 64 * KIB, "1 MiB": MIB, "16 MiB": 16 * MIB}
ROUNDS, ROUND_SECONDS = 25, 0.01
WAYS = {
    "encode": {"fourways": ours.encode, "pybase64": pybase64.b64encode, "EVP": ours.evp_encode},
    "decode": {"fourways": ours.decode, "pybase64": lambda text: pybase64.b64decode(text, validate=True), "EVP": ours.evp_decode},
}
GOALS = {"pybase64": (1.0, list(SIZES)), "EVP": (8.0, ["64 KiB", "1 MiB"])}


def seconds(call, given, times):
    """Of one call. What the one before left in the caches, or did not, is nobody's advantage: the first call is not counted."""
    call(given)
    began = time.perf_counter()
    for _ in range(times):
        call(given)
    return (time.perf_counter() - began) / times


def main():
    print(f"\nbase64: {ours.kernel()} beside {pybase64.get_version()} and EVP; medians of {ROUNDS} rounds in turn, GB/s of binary")
    if ours.kernel() != "avx512vbmi":
        print("AVX-512 VBMI: not run on this CPU")
    for size_name, size in SIZES.items():
        binary = hashlib.shake_256(b"payload").digest(size)
        text = pybase64.b64encode(binary)
        for way, calls in WAYS.items():
            given, wanted = (binary, text) if way == "encode" else (text, binary)
            for name, call in calls.items():
                got = call(given)
                assert got[: len(wanted)] == wanted and len(got) - len(wanted) <= (name == "EVP"), f"{name} {way}: other bytes"
            times = {name: max(1, round(ROUND_SECONDS / seconds(call, given, 1))) for name, call in calls.items()}
            took = {name: [] for name in calls}
            for number in range(ROUNDS):
                for name in sorted(calls, reverse=number % 2):
                    took[name].append(seconds(calls[name], given, times[name]))
            speeds = {name: size / statistics.median(each) / 1e9 for name, each in took.items()}
            words = [f"{name} {speed:.2f}" for name, speed in speeds.items()]
            for name, (goal, sizes) in GOALS.items():
                ratio = statistics.median(its / mine for its, mine in zip(took[name], took["fourways"], strict=True))
                judged = f" (goal {goal:g}: {'met' if ratio >= goal else 'missed'})" if size_name in sizes else ""
                words.append(f"{ratio:.2f} of {name}{judged}")
            print(f"  {size_name:>6} {way}  " + "   ".join(words), flush=True)


main()
