"""The machine's clock jumps by an hour, there and back, while requests run: no time limit notices, only dates do."""

import contextlib
import datetime
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from gateway import metric
from peer import Peer
from processes import TOP, poll
from soak import LongGateway, Stage
from stubs import Reply, Toolkit, fingerprint

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
JUMPS = ["+0", "+3600", "-3600", "+0", "+86400", "+0"]


def request(path="/models/org/vit", name=""):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-request-id: {name or 'x'}\r\nContent-Type: image/png\r\nContent-Length: {len(PNG)}\r\n\r\n"
    return head.encode() + PNG


def hour_of(answer):
    said = datetime.datetime.strptime(answer.fields["date"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=datetime.UTC)
    return round((said - datetime.datetime.now(datetime.UTC)).total_seconds())


def library():
    found = subprocess.run(["dpkg", "-L", "libfaketime"], capture_output=True, text=True, check=True).stdout.split()
    return next(path for path in found if path.endswith("libfaketimeMT.so.1"))


def main():
    stage = Stage(__doc__, 10)
    subprocess.run(["bash", "-euo", "pipefail", "-c", ". scripts/lib.sh; need_packages libfaketime"], cwd=TOP, check=True)
    clock = stage.folder / "clock"
    clock.write_text("+0\n")
    # Only the wall clock is false; how long a wait takes is not.
    env = {"LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with Toolkit() as upstream:
        upstreams = {
            "toolkit": {"kind": "dedicated", "url": upstream.url, "timeout": {"first_byte": "20s", "idle": "20s"}},
            "resting": {"kind": "dedicated", "url": upstream.url},
        }
        vit = {"task": "image-classification", "route": ["toolkit"]}
        models = {"org/vit": vit, "org/slow": vit, "org/resting": {**vit, "route": ["resting"], "fallback": {"max_wait": "1ms"}}}
        limits = {"header_timeout": "20s", "body_grace": "20s", "idle_timeout": "20s", "write_timeout": "20s", "waiting_comment": "20s"}
        with LongGateway({"upstreams": upstreams, "models": models, "limits": limits}, stage.folder, env=env) as gateway:
            released = threading.Event()

            def slowly(seen):
                released.wait(60)
                return upstream.usual(seen)

            upstream.when(slowly, times=1)
            flying = Peer(gateway.url).send(request(name="flying"))  # waits for its answer
            poll(lambda: metric(gateway.metrics(), "fourways_requests_in_flight") == 1)
            idle, head, body = (Peer(gateway.url) for _ in range(3))
            head.send(b"POST /models/org/vit HTT")
            body.send(request()[:-50])
            cooling = Peer(gateway.url)
            upstream.when(Reply({"error": "slow down"}, 429, {"Retry-After": "600"}), times=1)
            first = cooling.send(request("/models/org/resting")).answer()
            stage.say("a Retry-After of 600 s is told on", int(first.fields["retry-after"]), at_least=590, at_most=600, unit="s")

            asked, wrong, jumps = 0, [], set()
            for offset in JUMPS:
                clock.write_text(offset + "\n")
                began = time.monotonic()
                while time.monotonic() - began < stage.seconds / len(JUMPS):
                    with contextlib.closing(Peer(gateway.url)) as peer:
                        answer = peer.send(request()).answer()
                    asked += 1
                    if answer.status != 200 or answer.json[0]["label"] != fingerprint(PNG):
                        wrong.append((offset, answer))
                    jumps.add(round(hour_of(answer) / 3600))
                again = cooling.send(request("/models/org/resting")).answer()
                left = int(again.fields.get("retry-after", 0))
                if again.status != 429 or not 500 < left <= 600:
                    wrong.append((offset, "it rests for", left, again.status))
            stage.say("requests", asked, at_least=10)
            stage.none("wrong ones", wrong)
            stage.say("hours that Date was off", str(sorted(jumps)))
            stage.say("jumps that Date followed", len(jumps), at_least=3)

            released.set()
            ended = {
                "the request in flight": flying.answer(),
                "the idle connection": idle.send(request()).answer(),
                "the head that came slowly": head.send(request()[24:]).answer(),
                "the body that came slowly": body.send(request()[-50:]).answer(),
            }
            stage.none("that did not go on", [name for name, answer in ended.items() if answer is None or answer.status != 200])
            stage.none("time limits that ran out", [each for each in gateway.records() if each["status"] in (408, 504)])
            for peer in (flying, idle, head, body, cooling):
                peer.close()
            stage.say("exit code", gateway.stop(), at_most=0)
    return stage.end()


if __name__ == "__main__":
    sys.exit(main())
