"""The processes that are measured, and what stands behind them: each started pinned, found by port, timed by the kernel's accounting."""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import random
import resource
import socket
import struct
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build" / "bench"
FOURWAYS = pathlib.Path(os.environ.get("FOURWAYS_BIN", TOP / "build" / "release" / "fourways")).resolve()
TOOLS = FOURWAYS.parent / "tests" / "bench"  # the target bench_tools of the same build

CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, LOAD_CORE = CORES[0], CORES[-1]

DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
CONNECTIONS = min(20_000, DESCRIPTORS // 2 - 100)  # what a proxy may hold: each takes a descriptor on either side

KEY = "hf_" + "b" * 34  # the client's; the upstream's token differs
TOKEN = "hf_" + "t" * 34


class Failed(Exception):
    """A program did not do what the workload needs; its text says which and how."""


class DidNotStart(Failed):
    pass


def free_port():
    """Nobody listens there, and no outgoing connection will be given it: those get ports of the range that the kernel tells."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10_000, first), 100) if first > 11_000 else [0] * 100:
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return one.getsockname()[1]
    raise Failed("there is no free port")


def on_a_free_port(make):
    """make(..., port=...), again with another one where that is somebody else's by then."""

    @functools.wraps(make)
    def made(*args, **how):
        for _ in range(3):
            with contextlib.suppress(DidNotStart):
                return make(*args, port=free_port(), **how)
        return make(*args, port=free_port(), **how)

    return made


def pinned(core, *command):
    """On one core, and ended with this process however that ends."""
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core), *map(str, command)]


def listens(pid, port):
    """Whether it is this process that has the port; one that hides its descriptors is believed."""
    wanted = f"0100007F:{port:04X}"
    lines = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines())
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1] == wanted and line[3] == "0A"}
    try:
        opened = list(pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return bool(sockets)
    for each in opened:
        with contextlib.suppress(OSError):
            if str(each.readlink()) in sockets:
                return True
    return False


class Process:
    """A program on one core; `.port` where it listens. `counting`: the file of its counters (count_calls.cpp)."""

    def __init__(self, name, core, command, port, folder, env=None, counting=None):
        self.name, self.port, self.counting = name, port, counting
        if counting:
            counting.unlink(missing_ok=True)
            command = ["env", f"LD_PRELOAD={TOOLS / 'count_calls.so'}", f"COUNT_CALLS={counting}", *command]
        log = folder / f"{name}.log"
        with open(log, "wb") as words:
            self.process = subprocess.Popen(
                pinned(core, *command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words, env=env, cwd=folder
            )
        deadline = time.monotonic() + 60
        while not listens(self.process.pid, port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise DidNotStart(f"{name} did not start at port {port}: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def cpu(self):
        """Seconds of processor time so far, user and system, of all threads."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    def rss(self, what="VmRSS"):
        """KiB; VmHWM is the peak since forget_peak()."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
        raise ValueError(what)

    def calls(self):
        """{function: (calls, of these EAGAIN)} so far."""
        told = struct.iter_unpack("16sQQ", self.counting.read_bytes())
        return {name.rstrip(b"\0").decode(): (calls, again) for name, calls, again in told if calls}

    def forget_peak(self):
        with contextlib.suppress(PermissionError):  # who is not root gets the peak since the start then
            pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@on_a_free_port
def upstream(folder, port):
    return Process("upstream", LOAD_CORE, [TOOLS / "bench_upstream", port], port, folder)


@on_a_free_port
def relay(folder, behind, port, **_):
    return Process("floor", PROXY_CORE, [TOOLS / "bench_relay", port, behind.port], port, folder)


@on_a_free_port
def haproxy(folder, behind, port, streams=False, tls=None, counting=None, **_):
    crt = ""
    if tls:
        both = folder / "haproxy.pem"
        both.write_text(tls.certificate.read_text() + tls.key.read_text())
        crt = f" ssl crt {both} alpn http/1.1"
    for_streams = "  option http-no-delay\n  option abortonclose\n" if streams else ""
    (folder / "haproxy.cfg").write_text(f"""global
  nbthread 1
  maxconn {CONNECTIONS}
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
{for_streams}
frontend f
  bind 127.0.0.1:{port}{crt}
  default_backend b
backend b
  http-reuse always
  server s 127.0.0.1:{behind.port}
""")
    return Process("haproxy", PROXY_CORE, ["haproxy", "-db", "-f", folder / "haproxy.cfg"], port, folder, counting=counting)


@on_a_free_port
def nginx(folder, behind, port, streams=False, tls=None, counting=None, **_):
    user = "user root;" if os.geteuid() == 0 else ""  # its folders belong to that one
    lines = f"ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key};" if tls else ""
    (folder / "nginx.conf").write_text(f"""{user} daemon off; master_process off; worker_processes 1; worker_rlimit_nofile {DESCRIPTORS};
pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections {2 * CONNECTIONS}; }}
http {{
  access_log off; client_max_body_size 0; keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream u {{ server 127.0.0.1:{behind.port}; keepalive 512; }}
  server {{
    listen 127.0.0.1:{port}{" ssl" if tls else ""} backlog=8192; {lines}
    location / {{
      proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; proxy_read_timeout 300s;
      {"proxy_buffering off;" if streams else ""}
    }}
  }}
}}
""")
    return Process("nginx", PROXY_CORE, ["nginx", "-e", folder / "nginx-error.log", "-c", folder / "nginx.conf", "-p", folder], port, folder, counting=counting)


def alias(model):
    return f"alias-{model:05}"


def keyed(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def policy(port, admin, behind, tls=None, models=0):
    """What a company has: a key, a token, routes, records, metrics. `models`: as many more entries."""
    url = f"http://127.0.0.1:{behind.port}"
    upstreams = {
        "llm": {"kind": "dedicated", "url": url, "engine": "openai", "token": "hf"},
        "limited": {"kind": "dedicated", "url": url + "/limited", "engine": "openai", "token": "hf"},
        "raw": {"kind": "dedicated", "url": url, "token": "hf", "payload": "binary"},
        "json": {"kind": "dedicated", "url": url, "token": "hf", "payload": "base64"},
        "json2": {"kind": "dedicated", "url": url + "/second", "token": "hf", "payload": "base64"},
    }
    image = {"task": "image-classification"}
    named = {
        "chat": {"task": "chat-completion", "route": ["llm"]},
        "limited-first": {"task": "chat-completion", "route": ["limited", "llm"]},
        "vit-raw": {**image, "route": ["raw"]},
        "vit-json": {**image, "route": ["json"]},
        "vit-twice": {**image, "route": ["json", "json2"]},
    }
    for i in range(models):  # names of one length, however many there are
        named[f"company/model-{i:05}"] = {"task": "chat-completion", "aliases": [alias(i)], "route": ["llm"]}
    listen = {"address": f"127.0.0.1:{port}"}
    if tls:
        listen["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    return json.dumps(
        {
            "listen": [listen],
            "admin": f"127.0.0.1:{admin}",
            "tokens": {"hf": {"secret": "${BENCH_TOKEN}"}},
            "upstreams": upstreams,
            "models": named,
            "clients": {"bench": {"keys": [keyed(KEY)]}},
            "limits": {"connections": CONNECTIONS, "connections_per_client": CONNECTIONS},
        }
    )


@on_a_free_port
def fourways(folder, behind, port, tls=None, models=0, threads=1, name="fourways", counting=None, **_):
    file = folder / f"{name}.yaml"
    file.write_text(policy(port, free_port(), behind, tls, models))
    env = {"PATH": os.environ["PATH"], "BENCH_TOKEN": TOKEN}
    return Process(name, PROXY_CORE, [FOURWAYS, "serve", "--config", file, "--threads", threads], port, folder, env, counting)
