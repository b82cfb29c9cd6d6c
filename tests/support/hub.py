"""A Hub that replays recorded answers, tests/data/hub/*.http, byte for byte: request, status and fields, an empty line, body."""

import threading

from processes import TOP
from stubs import Reply, Stub

DATA = TOP / "tests" / "data" / "hub"

FIELDS = "inferenceProviderMapping inference pipeline_tag library_name tags transformersInfo config siblings gated gguf spaces disabled"
STAGES = {"klick/gabor": "RUNNING", "merve/vision-playground": "PAUSED", "sleepy/vit": "SLEEPING"}


def recorded():
    """model -> Reply"""
    answers = {}
    for file in sorted(DATA.glob("*.http")):
        head, _, body = file.read_bytes().partition(b"\n\n")
        request, status, *lines = head.decode().split("\n")
        fields = dict(line.split(": ", 1) for line in lines)
        kind = fields.pop("Content-Type")
        answers[request.removeprefix("GET /api/models/")] = Reply(body.removesuffix(b"\n"), int(status.split()[0]), fields, kind)
    return answers


class Hub(Stub):
    """.asked: the models that were asked for. `fault`: a Reply for everything; `gate`: nothing is answered before it is set."""

    def __init__(self, tls=None):
        self.answers = recorded()
        self.asked = []
        self.fault = None
        self.gate = threading.Event()
        self.gate.set()
        super().__init__(tls=tls)

    def answer(self, seen):
        self.gate.wait(30)
        if seen.path.startswith("/api/spaces/"):
            space = seen.path.removeprefix("/api/spaces/").removesuffix("/runtime")
            stage = STAGES.get(space)
            return Reply({"stage": stage, "hardware": {"current": "cpu-basic"}}) if stage else Reply({"error": "Repository not found"}, 404)
        assert seen.method == "GET" and seen.path.startswith("/api/models/"), seen.target
        assert seen.target.partition("?")[2] == "&".join(f"expand={field}" for field in FIELDS.split())
        model = seen.path.removeprefix("/api/models/")
        self.asked.append(model)
        if self.fault is not None:
            return self.fault
        return self.answers.get(model) or self.answers["nobody/no-such-model"]
