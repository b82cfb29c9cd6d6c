"""Upstreams that tests script: a small HTTP server that records every request, and the engines that the gateway talks to.

What an engine answers comes from the SHA-256 of the payload that it decoded: one byte changed on the way is another answer.
"""

import base64
import binascii
import dataclasses
import hashlib
import http.server
import io
import json
import socket
import threading
import time
import urllib.parse

from PIL import Image


@dataclasses.dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    fields: list
    body: bytes

    @property
    def path(self):
        return self.target.partition("?")[0]

    @property
    def query(self):
        return dict(urllib.parse.parse_qsl(self.target.partition("?")[2], strict_parsing=True)) if "?" in self.target else {}

    @property
    def json(self):
        return json.loads(self.body)

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name]

    def field(self, name):
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def token(self):
        return (self.field("authorization") or "").removeprefix("Bearer ") or None

    @property
    def head(self):
        return "\n".join([f"{self.method} {self.target}", *(f"{name}: {value}" for name, value in self.fields)])


@dataclasses.dataclass
class Reply:
    """What is sent back. With `pieces` it is chunked, each piece a chunk of its own; `cut`: the connection ends before the body does."""

    body: object = b""
    status: int = 200
    fields: dict = dataclasses.field(default_factory=dict)
    content_type: str = "application/json"
    pieces: object = None
    cut: bool = False
    raw: bytes = None  # the whole answer, head included, as it was recorded

    @property
    def content(self):
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass  # a peer that left or refused our certificate: what tests want to know is in `seen` and `connections`


class Stub:
    """Serves answer(seen) on a free port of loopback until closed. `tls` is an ssl.SSLContext."""

    def __init__(self, answer=None, tls=None):
        self.seen = []
        self.connections = 0
        self.open_ = set()
        if answer is not None:
            self.answer = answer
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                stub.connections += 1
                stub.open_.add(self.request)
                if tls is not None:
                    self.request = tls.wrap_socket(self.request, server_side=True)
                super().setup()

            def finish(self):
                stub.open_.discard(self.request)
                super().finish()

            def log_message(self, *_):
                pass

            def serve(self):
                assert "transfer-encoding" not in self.headers, "an upstream gets its length told"
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                seen = Seen(self.command, self.path, self.headers.items(), body)
                stub.seen.append(seen)
                self.send(stub.answer(seen))

            do_GET = do_POST = do_HEAD = do_PUT = serve

            def send(self, reply):
                if reply.raw is not None:
                    self.wfile.write(reply.raw)
                    return
                content = reply.content
                lines = [f"HTTP/1.1 {reply.status} Status", f"Content-Type: {reply.content_type}"]
                lines += [f"{name}: {value}" for name, value in reply.fields.items()]
                chunked = reply.pieces is not None
                lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content) * (2 if reply.cut else 1)}")
                head = "\r\n".join(lines).encode() + b"\r\n\r\n"
                self.wfile.write(head if chunked else head + content)
                for piece in reply.pieces or ():
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if reply.cut:
                    self.close_connection = True
                elif chunked:
                    self.wfile.write(b"0\r\n\r\n")

        self.server_ = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server_.server_port
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.thread_ = threading.Thread(target=self.server_.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread_.start()

    def answer(self, seen):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server_.shutdown()
        self.server_.server_close()
        for each in list(self.open_):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# ---- what engines say ----


def fingerprint(payload):
    return hashlib.sha256(payload.encode() if isinstance(payload, str) else payload).hexdigest()


def picture_of(text):
    """A real PNG whose 32 pixels are the text's SHA-256."""
    out = io.BytesIO()
    Image.frombytes("L", (8, 4), hashlib.sha256(text.encode()).digest()).save(out, "PNG")
    return out.getvalue()


def output_of(task, payload):
    """The task's output for this payload, as Hugging Face's own servers shape it."""
    mark = fingerprint(payload)
    return {
        "image-classification": [{"label": mark, "score": 0.5}],
        "image-to-text": [{"generated_text": mark}],
        "automatic-speech-recognition": {"text": mark},
        "text-classification": [[{"label": mark, "score": 0.5}]],
    }[task]


def chat_text(messages):
    """Some words that depend on every byte of the last message."""
    return "heard " + " ".join(fingerprint(messages[-1]["content"])[at : at + 8] for at in range(0, 64, 8))


def event(value):
    return b"data: " + (value if isinstance(value, str) else json.dumps(value)).encode() + b"\n\n"


def chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": [choice]})


ROLE = chunk({"role": "assistant", "content": None})
DONE = event("[DONE]")


def usage_of(text):
    return {"prompt_tokens": 7, "completion_tokens": len(text.split()), "total_tokens": 7 + len(text.split())}


def stream_of(text):
    """The events of a streamed chat that says `text`, a word each."""
    first, *rest = text.split(" ")
    last = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": [], "usage": usage_of(text)}
    words = [chunk({"content": word}) for word in [first, *(" " + each for each in rest)]]
    return [ROLE, *words, chunk({}, "stop"), event(last), DONE]


def streamed(events, cut=False):
    return Reply(content_type="text/event-stream", pieces=events, cut=cut)


def chat_reply(body):
    """The answer to a chat request's body, streamed if it asks for that."""
    text = chat_text(body["messages"])
    if body.get("stream"):
        return streamed(stream_of(text))
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return Reply({"id": "chat-1", "object": "chat.completion", "created": 1, "model": "stub", "choices": choices, "usage": usage_of(text)})


# ---- refusals, in the words that were recorded ----


def limited(retry_after=None, ratelimit=None):
    fields = {"Retry-After": retry_after} if retry_after is not None else {}
    fields |= {"RateLimit": ratelimit} if ratelimit else {}
    return Reply({"error": "Too many requests"}, 429, fields)


def no_credits():
    return Reply({"error": "You have depleted your monthly included credits. Purchase pre-paid credits to continue."}, 402)


def bad_token():
    return Reply({"error": "Invalid username or password."}, 401, {"WWW-Authenticate": 'Bearer realm="Authentication required"'})


def no_permission():
    words = "This authentication method does not have sufficient permissions to call Inference Providers on behalf of user someone"
    return Reply({"error": words}, 403)


def loading(seconds):
    return Reply({"error": "Model is currently loading", "estimated_time": seconds}, 503)


def web_page(status=200):
    return Reply("<!DOCTYPE html><html><body>hello</body></html>", status, content_type="text/html")


# ---- the engines ----


def base64_of(text):
    """Strictly; None: it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


class Ruled(Stub):
    """A stub whose rules come before its answer: the first that fits and is not used up."""

    def __init__(self, tls=None):
        self.rules_ = []
        self.lock_ = threading.Lock()
        super().__init__(tls=tls)

    def when(self, reply, token=None, model=None, times=None):
        """`reply`: a Reply, or a function of the request that gives one (and may wait)."""
        self.rules_.append([reply, token, model, times])

    def calm(self):
        self.rules_.clear()

    def answer(self, seen):
        model = self.model_of(seen)
        with self.lock_:
            found = next(
                (each for each in self.rules_ if each[1] in (None, seen.token) and each[2] in (None, model) and each[3] != 0), None
            )
            if found is not None and found[3] is not None:
                found[3] -= 1
        if found is not None:
            return found[0](seen) if callable(found[0]) else found[0]
        return self.usual(seen)

    def model_of(self, seen):
        return None

    def usual(self, seen):
        raise NotImplementedError


class Router(Ruled):
    """Hugging Face's router: hf-inference's task routes, raw or base64 JSON, and /v1/chat/completions. `tasks`: model -> task, "*" for others."""

    def __init__(self, tasks=None):
        self.tasks = tasks or {}
        super().__init__()

    def model_of(self, seen):
        if seen.path == "/v1/chat/completions":
            return seen.json["model"]
        return "/".join(seen.path.removeprefix("/hf-inference/models/").split("/")[:2])

    def usual(self, seen):
        if seen.token is None:
            return bad_token()
        if seen.path == "/v1/chat/completions":
            return chat_reply(seen.json)
        task = self.tasks.get(self.model_of(seen), self.tasks.get("*"))
        if not seen.path.startswith("/hf-inference/models/") or task is None:
            return Reply({"error": "Model not supported by provider hf-inference"}, 400)
        if task == "text-to-image":
            return Reply(picture_of(seen.json["inputs"]), content_type="image/png")
        return Reply(output_of(task, self.payload(seen, task)))

    @staticmethod
    def payload(seen, task):
        if not seen.body.lstrip().startswith(b"{"):
            return seen.body
        inputs = seen.json["inputs"]
        return inputs if task.startswith("text-") else base64.b64decode(inputs.removeprefix("data:image/png;base64,"), validate=True)


class Toolkit(Ruled):
    """The default container of dedicated endpoints: exact content types, one value in Accept, every refusal a 400."""

    TYPES = (
        "image/png image/jpeg image/jpg image/tiff image/bmp image/gif image/webp image/x-image audio/x-flac audio/flac audio/mpeg".split()
    )
    TYPES += "audio/x-mpeg-3 audio/wave audio/wav audio/x-wav audio/ogg audio/x-audio audio/webm audio/AMR audio/amr audio/m4a audio/x-m4a".split()
    JSON = ("application/json", "application/json; charset=UTF-8")
    IMAGES = ("image/png", "image/jpeg", "image/webp")

    def __init__(self, task="image-classification"):
        self.task = task
        super().__init__()

    def usual(self, seen):
        if seen.method == "GET":
            return (
                Reply("Ok", content_type="text/plain")
                if seen.path in ("/", "/health")
                else Reply("Not Found", 404, content_type="text/plain")
            )
        if seen.path not in ("/", "/predict"):
            return Reply("Not Found", 404, content_type="text/plain")
        kind, accept = seen.field("content-type"), seen.field("accept") or "*/*"
        if kind not in (*self.TYPES, *self.JSON):
            return self.refuse(f'\n                Content type "{kind}" not supported.\n                Supported content types are: ...')
        if accept not in ("*/*", "application/json", *self.IMAGES):
            return self.refuse(f"Accept type {accept} not supported")
        payload, fault = self.payload(seen)
        if fault:
            return self.refuse(fault)
        if self.task == "text-to-image":
            picture = picture_of(payload)
            if accept in self.IMAGES:
                return Reply(picture, content_type=accept)
            return Reply(json.dumps(base64.b64encode(picture).decode()))
        return Reply(output_of(self.task, payload)[0]) if self.task.startswith("text-") else Reply(output_of(self.task, payload))

    def payload(self, seen):
        if seen.field("content-type") not in self.JSON:
            return seen.body, None
        body = seen.json
        if "inputs" not in body:
            return None, f"Body needs to provide a inputs key, received: {seen.body!r}"
        inputs = body["inputs"]
        if self.task.startswith("text-"):
            return inputs, None
        if self.task == "automatic-speech-recognition":
            if "parameters" not in body:
                return None, f"[Errno 36] File name too long: '{inputs}'"
            decoded = base64_of(inputs)
            return decoded, "Only base64 data is allowed" if decoded is None else None
        if not isinstance(inputs, str):
            return None, "Cannot call the image-classification pipeline without an inputs argument!"
        decoded = base64_of(inputs.partition(",")[2] if inputs.startswith("data:image/") else inputs)
        return (
            decoded,
            f"Incorrect image source. Must be a valid URL or a base64 encoded string. Got {inputs}." if decoded is None else None,
        )

    @staticmethod
    def parameters(seen):
        """As its handler gets them: those of the body, else those of the query, where only whole numbers and flags have a type."""
        if seen.field("content-type") in Toolkit.JSON:
            return seen.json.get("parameters") or {}
        return {name: int(v) if v.isdigit() else v == "true" if v in ("true", "false") else v for name, v in seen.query.items()}

    @staticmethod
    def refuse(why):
        return Reply({"error": why}, 400)


class Sleeper(Toolkit):
    """A dedicated endpoint that is scaled to zero: whatever it is sent starts it, and `takes` seconds later it is ready (None: never).

    Meanwhile it answers 503 at once. One that `holds` lets a waking request wait as long as that says (X-Scale-Up-Timeout).
    """

    def __init__(self, takes=2.0, holds=False):
        self.takes, self.holds = takes, holds
        self.waking = []  # when each waking request came, and what it was
        self.held, self.most_held = 0, 0
        self.refused = 0  # requests that met it asleep
        self.ready_at, self.alarm_, self.awake = None, None, threading.Event()
        self.count_ = threading.Lock()
        super().__init__()

    def start_(self):
        if self.alarm_ is None and self.takes is not None:
            self.alarm_ = threading.Timer(self.takes, self.wake)
            self.alarm_.daemon = True
            self.alarm_.start()

    def wake(self):
        self.ready_at = time.monotonic()
        self.awake.set()

    def usual(self, seen):
        asleep = not self.awake.is_set()
        if seen.method == "GET":
            with self.count_:
                self.waking.append((time.monotonic(), seen))
                self.held += 1
                self.most_held = max(self.most_held, self.held)
                self.start_()
            if asleep and self.holds:
                asleep = not self.awake.wait(int(seen.field("x-scale-up-timeout")))
            with self.count_:
                self.held -= 1
        elif asleep:
            with self.count_:
                self.refused += 1
                self.start_()
        return Reply(b"", 503) if asleep else super().usual(seen)

    def __exit__(self, *_):
        self.awake.set()
        super().__exit__()


class Custom(Ruled):
    """A server with a body of its own, {"image": base64 or data URL, "options": {...}} -> {"predictions": [...], "took": 3}."""

    def usual(self, seen):
        body = seen.json
        text = body["image"]
        payload = base64_of(text.partition(";base64,")[2] if text.startswith("data:") else text)
        if seen.field("content-type") != "application/json" or payload is None:
            return Reply({"detail": "cannot use this"}, 422)
        return Reply({"predictions": output_of("image-classification", payload), "took": 3})


class Chat(Ruled):
    """An OpenAI-like server: plain and streamed chats."""

    def model_of(self, seen):
        return seen.json["model"] if seen.method == "POST" else None

    def usual(self, seen):
        if seen.method == "GET":
            return Reply({"status": "ok"})
        return chat_reply(seen.json) if seen.path == "/v1/chat/completions" else Reply({"error": {"message": "File Not Found"}}, 404)
