"""Engines that no registry has: what they were recorded to answer, byte for byte (tests/data/transcripts), and for everything else an answer that
comes from the SHA-256 of the input.
"""

import dataclasses
import hashlib
import json
import re

from processes import TOP
from stubs import Reply, Ruled, event, fingerprint, streamed

TRANSCRIPTS = TOP / "tests" / "data" / "transcripts"


@dataclasses.dataclass
class Exchange:
    path: str
    asked: object  # the request's JSON
    head: list  # lines of the answer's head
    body: bytes

    @property
    def status(self):
        return int(self.head[0].split(" ")[1])

    def field(self, name):
        return next((line.partition(": ")[2] for line in self.head if line.lower().startswith(name + ":")), None)

    @property
    def chunked(self):
        return self.field("transfer-encoding") == "chunked"

    @property
    def events(self):
        return [each + b"\n\n" for each in self.body.split(b"\n\n") if each]

    @property
    def raw(self):
        body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in self.events) + b"0\r\n\r\n" if self.chunked else self.body
        return "\r\n".join([*self.head, "", ""]).encode() + body

    @property
    def id(self):
        return f"{self.path} {json.dumps(self.asked)[:60]} {self.status}"


def recorded(name):
    """The whole ones among the POSTs of a transcript, in order; a request that came several times with its first answer."""
    found = {}
    for block in (TRANSCRIPTS / f"{name}.txt").read_text().split("\n### ")[1:]:
        command, _, answer = block.partition("\n")
        sent = re.fullmatch(r"(?:-N )?-H Content-Type: application/json -d (\{.*\}) (/\S*)", command)
        if sent is None:
            continue
        text, path = sent.groups()
        head, _, body = answer.partition("\n\n")
        body = body.rstrip("\n").encode()
        asked = json.loads(text)
        made = Exchange(path, asked, head.splitlines(), body + b"\n\n" if "transfer-encoding: chunked" in head else body)
        length = made.field("content-length")
        if length is None or int(length) == len(made.body):
            found.setdefault((made.path, json.dumps(asked, sort_keys=True)), made)
    return list(found.values())


class Recorded(Ruled):
    """Answers as `transcript` has it where a request is in it; `model` is the gateway's to say, and `stream` where the path says it."""

    def __init__(self, transcript):
        self.known_ = {self.key(each.path, each.asked): each for each in recorded(transcript)}
        super().__init__()

    @staticmethod
    def key(path, asked):
        left_out = ("model", "stream") if path == "/generate_stream" else ("model",)
        kept = {name: value for name, value in asked.items() if name not in left_out} if isinstance(asked, dict) else asked
        return path, json.dumps(kept, sort_keys=True)

    def usual(self, seen):
        if seen.method == "GET":
            return Reply(b"", content_type="text/plain")
        assert seen.field("content-type") == "application/json", seen.head
        known = self.known_.get(self.key(seen.path, seen.json))
        return Reply(raw=known.raw) if known is not None else self.made(seen)

    def made(self, seen):
        raise NotImplementedError


class Tgi(Recorded):
    """Text Generation Inference 3.3.6."""

    def __init__(self):
        super().__init__("tgi-3.3.6")

    @staticmethod
    def words(text):
        return [" " + fingerprint(text)[at : at + 8] for at in range(0, 64, 8)]

    def made(self, seen):
        if seen.path not in ("/", "/generate", "/generate_stream"):
            return Reply(b"", 404)
        asked = seen.json
        words = self.words(asked["inputs"])
        full = (asked["inputs"] if seen.path == "/" else "") + "".join(words)
        if seen.path == "/generate_stream" or (seen.path == "/" and asked.get("stream")):
            tokens = [{"index": i + 1, "token": {"id": i, "text": w, "logprob": -0.25, "special": False}} for i, w in enumerate(words)]
            ends = [{"generated_text": None, "details": None}] * (len(words) - 1) + [{"generated_text": full, "details": None}]
            return streamed([event(token | end) for token, end in zip(tokens, ends, strict=True)])
        return Reply([{"generated_text": full}] if seen.path == "/" else {"generated_text": full})


class Tei(Recorded):
    """Text Embeddings Inference 1.9.3, of a model of every kind at once."""

    def __init__(self):
        super().__init__("tei-1.9.3")

    @staticmethod
    def vector(text):
        return [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:8]]

    @staticmethod
    def score(*texts):
        return int(fingerprint("\0".join(texts))[:8], 16) / 2**32

    def refuse(self, words):
        return Reply(f"Failed to deserialize the JSON body into the target type: {words}", 422, content_type="text/plain; charset=utf-8")

    def made(self, seen):
        asked = seen.json
        if seen.path == "/embed":
            texts = asked["inputs"] if isinstance(asked["inputs"], list) else [asked["inputs"]]
            return Reply([self.vector(each)[: asked.get("dimensions", 8)] for each in texts])
        if seen.path == "/similarity":
            inputs = asked["inputs"]
            return Reply([self.score(inputs["source_sentence"], each) for each in inputs["sentences"]])
        if seen.path == "/predict":
            return self.predict(asked["inputs"])
        if seen.path == "/rerank":
            ranks = [{"index": i, "score": self.score(asked["query"], each)} for i, each in enumerate(asked["texts"])]
            if asked.get("return_text"):
                ranks = [each | {"text": asked["texts"][each["index"]]} for each in ranks]
            return Reply(sorted(ranks, key=lambda each: -each["score"]))
        return Reply(b"", 404)

    def classes(self, *texts):
        return [{"score": 0.75, "label": fingerprint("\0".join(texts))}, {"score": 0.25, "label": "other"}]

    def predict(self, inputs):
        """A text; a list of two texts is one pair; a list of lists is a batch of texts and pairs."""
        if isinstance(inputs, str):
            return Reply(self.classes(inputs))
        if all(isinstance(each, str) for each in inputs):
            return Reply(self.classes(*inputs)) if len(inputs) == 2 else self.refuse("data did not match any variant of untagged enum")
        return Reply([self.classes(*each) for each in inputs])
