"""What is asked for, and the programs that ask: wrk, h2load, and two clients of our own for streams and slow uploads."""

import asyncio
import base64
import dataclasses
import hashlib
import json
import os
import re
import resource
import subprocess

import peers
from peers import DESCRIPTORS, KEY, TOOLS, Failed, pinned

TYPES = {"json": "application/json", "png": "image/png"}


@dataclasses.dataclass(frozen=True)
class Request:
    """One POST; `.bytes` as it goes over the wire."""

    path: str
    body: bytes
    media_type: str = TYPES["json"]

    @property
    def fields(self):
        return {"Content-Type": self.media_type, "Authorization": f"Bearer {KEY}"}

    @property
    def bytes(self):
        fields = {"Host": "127.0.0.1", **self.fields, "Content-Length": len(self.body)}
        return f"POST {self.path} HTTP/1.1\r\n{''.join(f'{name}: {value}{chr(13)}{chr(10)}' for name, value in fields.items())}\r\n".encode() + self.body


def chat(model="chat", **more):
    """1 KB."""
    return Request("/v1/chat/completions", json.dumps(
        {"model": model, **more, "messages": [{"role": "user", "content": "lorem ipsum dolor sit amet " * 36}], "max_tokens": 300},
        separators=(",", ":"),
    ).encode())


def png(size):
    """Bytes that are sniffed as a picture and compress badly; the same in every run."""
    blocks = (hashlib.sha512(str(i).encode()).digest() for i in range(size // 64 + 1))
    return b"\x89PNG\r\n\x1a\n" + b"".join(blocks)[: size - 8]


def raw(model, size):
    return Request(f"/models/{model}", png(size), TYPES["png"])


def as_json(model, size):
    return Request(f"/models/{model}", b'{"inputs":"' + base64.b64encode(png(size)) + b'"}')


def as_sent(size):
    """The base64 JSON that Fourways makes of raw(..., size)."""
    return as_json("", size).body[:-1] + b',"parameters":{}}'


def event(number):
    """What tests/bench/answers.hpp makes: one event of a stream, 120 bytes."""
    start, end = b'data: {"object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"%d' % (number % 10), b'"}}]}\n\n'
    return start.ljust(120 - len(end), b".") + end


def body_sum(body):
    """What tests/bench/answers.hpp computes."""
    value, mask = 0, (1 << 64) - 1
    for at in range(0, len(body), 8):
        word = int.from_bytes(body[at : at + 8], "little")
        value = ((value << 5 & mask | value >> 59) + word) & mask
    return f"{len(body)}-{value}"


# ---- programs ----


def run(*command, timeout=120, **how):
    done = subprocess.run(pinned(peers.LOAD_CORE, *command), capture_output=True, text=True, timeout=timeout, check=False, **how)
    if done.returncode != 0:
        raise Failed(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def number(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def wrk(folder, port, request, connections, seconds, tls=False):
    """-> {requests, rps, p50, p99 in ms}; every answer has to be a 200."""
    body = folder / "wrk.body"
    body.write_bytes(request.body)
    script = folder / "wrk.lua"
    script.write_text(
        f'local file = io.open("{body}", "rb")\nwrk.method, wrk.path, wrk.body = "POST", "{request.path}", file:read("*a")\nfile:close()\n'
        + "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in request.fields.items())
    )
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}{request.path}"
    for patience in (1, 4, 16):  # a machine that is busy otherwise may answer nothing in a short while
        text = run("wrk", "-t1", f"-c{connections}", f"-d{seconds * patience}s", "--timeout", "20s", "--latency", "-s", script, url)
        if not re.search(r"\b0 requests in", text):
            break
    if wrong := re.findall(r"Non-2xx.*|Socket errors.*", text):
        raise Failed(f"wrk at port {port}: {' '.join(wrong)}")
    if not re.search(r"\b[1-9]\d* requests in", text):
        raise Failed(f"wrk at port {port}: no answer")
    return {
        "requests": int(re.search(r"(\d+) requests in", text)[1]),
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "p50": number(re.search(r"(?m)^\s+50%\s+(\S+)", text)[1]),
        "p99": number(re.search(r"(?m)^\s+99%\s+(\S+)", text)[1]),
    }


def under_h2load(folder, port, request, connections, total, *flags):
    body = folder / "h2load.body"
    body.write_bytes(request.body)
    fields = [word for name, value in request.fields.items() for word in ("-H", f"{name}: {value}")]
    return run("h2load", "--h1", "-t1", f"-c{connections}", f"-n{total}", "-d", body, *flags, *fields, f"http://127.0.0.1:{port}{request.path}")


def h2load(folder, port, request, connections, rate, seconds):
    """The same at a fixed rate, from h2load's log: latency without the queue that a full load makes."""
    log = folder / "h2load.tsv"
    log.unlink(missing_ok=True)
    per_connection = max(1, round(rate / connections))
    total = per_connection * connections * seconds
    under_h2load(folder, port, request, connections, total, f"--rps={per_connection}", f"--log-file={log}")
    times = sorted(int(line.split("\t")[2]) / 1000 for line in log.read_text().splitlines() if line.split("\t")[1] == "200")
    if len(times) < total * 0.99:
        raise Failed(f"h2load at port {port}: {len(times)} of {total} answers are good")
    return {"requests": len(times), "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def calls(folder, peer, request, connections=32, total=10_000):
    """System calls of the peer per exchange, on connections that live as long: {function: (calls, of these EAGAIN)}."""
    under_h2load(folder, peer.port, request, connections, 1000)  # it has what it needs then
    before = peer.calls()
    told = under_h2load(folder, peer.port, request, connections, total)
    if f" {total} succeeded" not in told:
        raise Failed(f"h2load at port {peer.port}: not all of {total} answers are good:\n{told}")
    after = peer.calls()
    return {name: tuple((now - was) / total for now, was in zip(after[name], before.get(name, (0, 0)), strict=True)) for name in after}


class Streams:
    """tests/bench/streams.cpp: `with` opens them all; flow() waits for the counted time; leave() closes them."""

    def __init__(self, folder, port, count, seconds, behind, request):
        file = folder / "streams.request"
        file.write_bytes(request.bytes)
        self.command = pinned(peers.LOAD_CORE, TOOLS / "bench_streams", port, count, seconds, behind.port, file)

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def said(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"bench_streams ended with {self.process.wait()}")
        return json.loads(line)

    def flow(self):
        return self.said()["counted"]

    def leave(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.said()


# ---- asyncio: many slow clients cost little ----


async def answer_of(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    return int(head.split()[1]), await reader.readexactly(length)


async def upload_slowly(port, request, per_second):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data, step = request.bytes, per_second // 16
    began = asyncio.get_running_loop().time()
    for i, at in enumerate(range(0, len(data), step)):
        await asyncio.sleep(max(0, began + i / 16 - asyncio.get_running_loop().time()))
        writer.write(data[at : at + step])
        await writer.drain()
    status, body = await answer_of(reader)
    writer.close()
    return status, body


async def upload_all(port, request, count, per_second):
    async with asyncio.timeout(300):
        return await asyncio.gather(*(upload_slowly(port, request, per_second) for _ in range(count)))


async def hold(port, request, count, when_held):
    """Opens `count` streams that stay silent behind their first event; -> when_held()."""
    writers = []
    async with asyncio.timeout(300):
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.bytes)
            await reader.readuntil(event(0))
            writers.append(writer)
        told = await when_held()
    for writer in writers:
        writer.close()
    return told


def open_files():
    """Lets this process and the proxies it starts open what the system allows."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def pin_to_load_core():
    os.sched_setaffinity(0, {peers.LOAD_CORE})
