"""How often a small request asks the kernel: counted over 10,000 of them, by a library before the C library's functions (bench/count_calls.cpp)."""

import os

import load
import peers
import pytest

MOST = 4.6  # two reads and two writes; the rest is waiting for events and writing access records


@pytest.mark.skipif("SAN_OPTIONS" in "".join(os.environ), reason="a sanitizer has to be the first library")
def test_system_calls_of_an_exchange(tmp_path, monkeypatch):
    """On one core for all three programs: how many events a wait brings depends on nothing else that the machine does then."""
    assert (peers.TOOLS / "count_calls.so").exists(), "scripts/build release --target bench_tools makes what counts"
    monkeypatch.setattr(peers, "LOAD_CORE", peers.PROXY_CORE)
    with peers.upstream(tmp_path) as behind, peers.fourways(tmp_path, behind, counting=tmp_path / "calls") as gateway:
        counted = load.calls(tmp_path, gateway, load.chat())
    for name, (calls, again) in sorted(counted.items(), key=lambda each: -each[1][0]):
        print(f"{name:>16} {calls:.3f}" + f", of these EAGAIN {again:.3f}" * (again > 0))
    worked = sum(calls - again for calls, again in counted.values())
    print(f"{worked:.2f} calls per exchange, {sum(calls for calls, _ in counted.values()):.2f} with those that came to EAGAIN")
    assert counted["write"][0] > 0, "access records are written"
    assert 4 <= worked <= MOST
