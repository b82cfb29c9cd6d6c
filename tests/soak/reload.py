"""Nine reloads in ten seconds under wrk's load: no request fails, on fresh or on kept connections, and nothing grows."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import metric
from processes import poll
from soak import LongGateway, Stage, Upstream

RELOADS = 9
CHAT = """
wrk.method = "POST"
wrk.body = '{"model":"org/chat","messages":[{"role":"user","content":"hello"}]}'
wrk.headers["Content-Type"] = "application/json"
"""


def policy(up, turn):
    """Another one each time; every second names an upstream more, which the next one drops."""
    upstreams = {"llm": {"kind": "dedicated", "engine": "openai", "url": up.url}}
    if turn % 2:
        upstreams["spare"] = {"kind": "dedicated", "engine": "openai", "url": up.url, "path": "/v1/chat/completions"}
    route = [list(upstreams)] if turn % 2 else ["llm"]
    return {
        "upstreams": upstreams,
        "models": {"org/chat": {"task": "chat-completion", "route": route}},
        "limits": {"json_depth": 32 + turn},
        "listen": "127.0.0.1:0",
    }


def wrk(here, script, seconds, *fields):
    return subprocess.Popen(
        ["wrk", "-t1", "-c16", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", script, *(each for field in fields for each in ("-H", field)), here.url + "/v1/chat/completions"],
        stdout=subprocess.PIPE,
        text=True,
    )


def result(load):
    """Requests, and how many of them failed in any way."""
    text, _ = load.communicate(timeout=120)
    assert load.returncode == 0, text
    done = int(re.search(r"(\d+) requests in", text)[1])
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return done, sum(int(each) for each in (errors.groups() if errors else ())) + int(other[1] if other else 0)


def threads(here):
    return len(os.listdir(f"/proc/{here.process.pid}/task"))


def main():
    stage = Stage(__doc__, 10)
    script = stage.folder / "chat.lua"
    script.write_text(CHAT)
    with Upstream() as up, LongGateway(policy(up, 0), stage.folder) as here:
        before = here.descriptors(), threads(here)
        began = time.monotonic()
        loads = {"kept": wrk(here, script, stage.seconds + 2), "fresh": wrk(here, script, stage.seconds + 2, "Connection: close")}
        for turn in range(1, RELOADS + 1):
            poll(lambda: time.monotonic() >= began + turn * stage.seconds / RELOADS, stage.seconds, "its time")  # noqa: B023
            here.write(policy(up, turn))
            if turn % 2:
                here.process.send_signal(signal.SIGHUP)
            else:
                here.reload()
        took = time.monotonic() - began
        results = {name: result(load) for name, load in loads.items()}
        # Connections of the load are gone, and so are those that idled at the upstream.
        poll(lambda: here.descriptors() <= before[0], 30, "descriptors of the load are given back")
        after = here.descriptors(), threads(here)
        metrics = here.metrics()
        stage.say("reloads", metric(metrics, "fourways_reloads_total"), at_least=RELOADS)
        stage.say("in", took, unit="s")
        stage.say("reloads that failed", metric(metrics, "fourways_reload_failed_total"), at_most=0)
        for name, (done, failed) in results.items():
            stage.say(f"requests on {name} connections", done, at_least=100)
            stage.say(f"requests on {name} connections that failed", failed, at_most=0)
        statuses = {status for status in re.findall(r'fourways_requests_total\{[^}]*status="(\d+)"', metrics)}
        stage.say("statuses told", " ".join(sorted(statuses)))
        stage.say("descriptors more than before", after[0] - before[0], at_most=0)
        stage.say("threads more than before", after[1] - before[1], at_most=0)
        stage.say("exit code", here.stop(), at_most=0)
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
