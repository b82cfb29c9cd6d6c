"""A worker for tests: does what its flags say, and writes down what happens to it.

usage   scripted_worker.py --port N [--model M] [--mark FILE] [flags below]
GET /health   200, or what --health says      GET /argv    its argument vector as JSON
GET /crash    exits with status 7             GET /deaf    stops listening, but lives on
GET /freeze   stops itself by SIGSTOP
FILE gets a line per happening: `start PID PORT MILLISECONDS`, `fds N,N,N`, `child PID`, `daemon PID`, `health`, `term PID`
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FDS = sorted(n for n in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{n}"))


def main():
    flags = argparse.ArgumentParser(allow_abbrev=False)
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--model")
    flags.add_argument("--mark")
    flags.add_argument("--print", action="append", default=[], help="a line for stderr")
    flags.add_argument("--print-env", help="a variable whose value is a line for stdout")
    flags.add_argument("--print-noise", action="store_true", help="bytes that are no text, and a very long line")
    flags.add_argument("--print-many", type=int, default=0)
    flags.add_argument("--exit", type=int, help="exits at once with this status")
    flags.add_argument("--wait-for", help="goes on when this file exists")
    flags.add_argument("--health", type=int, default=200)
    flags.add_argument("--healthy-when", help="/health is 503 until this file exists")
    flags.add_argument("--ignore-term", action="store_true")
    flags.add_argument("--child", action="store_true", help="leaves a child in its process group")
    flags.add_argument("--daemon", action="store_true", help="leaves a grandchild in a session of its own")
    asked = flags.parse_args()

    def mark(text):
        if asked.mark:
            with open(asked.mark, "a", encoding="ascii") as file:
                file.write(text + "\n")

    def on_term(*_):
        mark(f"term {os.getpid()}")
        if not asked.ignore_term:
            os._exit(0)

    signal.signal(signal.SIGTERM, on_term)
    mark(f"start {os.getpid()} {asked.port} {time.monotonic_ns() // 1_000_000}")
    mark("fds " + ",".join(map(str, FDS)))
    for line in asked.print:
        print(line, file=sys.stderr, flush=True)
    if asked.print_env:
        print(os.environ[asked.print_env], flush=True)
    if asked.print_noise:
        os.write(1, b"\xff\xfe noise \x1b[31mred\x1b[0m\n" + b"x" * 100_000 + b"\nafter\n")
    for number in range(asked.print_many):
        os.write(1, b"line %d\n" % number)
    if asked.exit is not None:
        os._exit(asked.exit)
    while asked.wait_for and not os.path.exists(asked.wait_for):
        time.sleep(0.01)

    if asked.child:
        child = os.fork()
        if child == 0:
            signal.pause()
        mark(f"child {child}")
    if asked.daemon:
        reads, writes = os.pipe()
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.write(writes, str(os.getpid()).encode())
                while True:
                    signal.pause()
            os._exit(0)
        os.wait()
        mark("daemon " + os.read(reads, 20).decode())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = 200, b"ok"
            if self.path == "/health":
                mark("health")
                status = asked.health
                if asked.healthy_when and not os.path.exists(asked.healthy_when):
                    status = 503
            elif self.path == "/argv":
                body = json.dumps(sys.argv[1:]).encode()
            elif self.path == "/crash":
                os._exit(7)
            elif self.path == "/freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif self.path == "/deaf":
                threading.Thread(target=deafen).start()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", asked.port), Handler)

    def deafen():
        server.shutdown()
        server.server_close()

    server.serve_forever()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
