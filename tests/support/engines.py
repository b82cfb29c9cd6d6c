"""Engines that no registry has: what they were recorded to answer, byte for byte (tests/data/transcripts), and for everything else an answer that
comes from the SHA-256 of the input.
"""

import base64
import dataclasses
import email
import email.policy
import hashlib
import json
import re
import struct

from processes import TOP
from stubs import Reply, Ruled, Toolkit, bad_token, base64_of, chat_reply, event, fingerprint, picture_of, streamed, usage_of

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
        if seen.path == "/v1/embeddings":
            return openai_reply("embeddings", seen)
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


# ---- OpenAI's routes ----


def sound_of(text):
    """A WAV file that holds the text's SHA-256."""
    data = hashlib.sha256(text.encode()).digest()
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + bytes([16, 0, 0, 0, 1, 0, 1, 0])
    return head + (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little") + b"\2\0\x10\0data" + len(data).to_bytes(4, "little") + data


def form_of(seen):
    """The parts of a multipart body: name -> (file name, content type, bytes)."""
    kind = seen.field("content-type")
    parsed = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + seen.body, policy=email.policy.HTTP)
    parts = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        boundary = parsed.get_boundary().encode()
        head = f'name="{name}"'.encode()
        at = seen.body.index(b"\r\n\r\n", seen.body.index(head)) + 4
        parts[name] = (part.get_filename(), part.get_content_type(), seen.body[at : seen.body.index(b"\r\n--" + boundary, at)])
    return parts


def packed(vector):
    """A vector as OpenAI's base64: floats of 32 bits, least significant byte first."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def completion_events(asked):
    """A streamed completion: the SHA-256 of the prompt, eight characters a chunk."""
    mark = fingerprint(asked["prompt"])
    head = {"id": "c", "object": "text_completion", "created": 1, "model": asked["model"]}
    pieces = [(mark[at : at + 8], None) for at in range(0, 64, 8)] + [("", "stop")]
    choices = [[{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}] for text, finish in pieces]
    return [*(event({**head, "choices": each}) for each in choices), event("[DONE]")]


def openai_reply(route, seen, honours_base64=True):
    """What a server that speaks OpenAI's API answers on this route, made of the SHA-256 of the input; None: no such route."""
    if route == "chat/completions":
        return chat_reply(seen.json)
    if route == "audio/transcriptions":
        form = form_of(seen)
        answer = {"text": fingerprint(form["file"][2])}
        if form.get("response_format", (None, None, b""))[2] == b"verbose_json":
            answer["segments"] = [{"id": 0, "start": 0.0, "end": 1.5, "text": answer["text"]}]
        return Reply(answer)
    assert seen.field("content-type") == "application/json", seen.head
    asked = seen.json
    if route == "completions":
        if asked.get("stream"):
            return streamed(completion_events(asked))
        choice = {"index": 0, "text": " " + fingerprint(asked["prompt"]), "logprobs": None, "finish_reason": "stop"}
        return Reply({"id": "c", "object": "text_completion", "model": asked["model"], "choices": [choice], "usage": usage_of("a b")})
    if route == "embeddings":
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        told = packed if honours_base64 and asked.get("encoding_format") == "base64" else list
        data = [{"object": "embedding", "index": i, "embedding": told(Tei.vector(each))} for i, each in enumerate(texts)]
        return Reply({"object": "list", "data": data[::-1], "model": asked["model"], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    if route == "rerank":
        ranks = [(i, Tei.score(asked["query"], each), each) for i, each in enumerate(asked["documents"])]
        ranks = sorted(ranks, key=lambda each: -each[1])[: asked.get("top_n")]
        return Reply({"id": "r", "results": [{"index": i, "document": {"text": text}, "relevance_score": score} for i, score, text in ranks]})
    if route == "images/generations":
        if asked["response_format"] not in ("b64_json", "base64"):
            return Reply({"error": {"message": "response_format"}}, 400)
        return Reply({"created": 1, "data": [{"b64_json": base64.b64encode(picture_of(asked["prompt"])).decode()}]})
    return Reply(sound_of(asked["input"]), content_type="audio/wav") if route == "audio/speech" else None


class OpenAi(Ruled):
    """vLLM and the like, with every route there is."""

    def usual(self, seen):
        if seen.method == "GET":
            return Reply({"status": "ok"})
        reply = openai_reply(seen.path.removeprefix("/v1/"), seen) if seen.path.startswith("/v1/") else None
        return reply or Reply({"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}, 404)


# Where the providers behind the router have their routes (huggingface_hub and huggingface.js, August 2026).
PROVIDERS = {
    "baseten": {"chat/completions": "v1/chat/completions"},
    "cerebras": {"chat/completions": "v1/chat/completions"},
    "clarifai": {"chat/completions": "v2/ext/openai/v1/chat/completions"},
    "cohere": {"chat/completions": "compatibility/v1/chat/completions"},
    "deepinfra": {
        each: f"v1/openai/{each}" for each in ("chat/completions", "completions", "embeddings", "audio/speech", "audio/transcriptions")
    },
    "featherless-ai": {"chat/completions": "v1/chat/completions", "completions": "v1/completions"},
    "fireworks-ai": {"chat/completions": "inference/v1/chat/completions"},
    "groq": {"chat/completions": "openai/v1/chat/completions"},
    "hyperbolic": {"chat/completions": "v1/chat/completions"},
    "nebius": {each: f"v1/{each}" for each in ("chat/completions", "completions", "images/generations", "embeddings")},
    "novita": {"chat/completions": "v3/openai/chat/completions", "completions": "v3/openai/completions"},
    "nscale": {"chat/completions": "v1/chat/completions", "images/generations": "v1/images/generations"},
    "ovhcloud": {"chat/completions": "v1/chat/completions", "completions": "v1/completions"},
    "publicai": {"chat/completions": "v1/chat/completions"},
    "sambanova": {"chat/completions": "v1/chat/completions", "embeddings": "v1/embeddings"},
    "scaleway": {each: f"v1/{each}" for each in ("chat/completions", "completions", "embeddings")},
    "together": {
        each: f"v1/{each}"
        for each in ("chat/completions", "completions", "images/generations", "embeddings", "audio/speech", "audio/transcriptions")
    },
    "zai-org": {"chat/completions": "api/paas/v4/chat/completions"},
}


class Providers(Ruled):
    """The router's paths of its providers: /{provider}/{route}."""

    def usual(self, seen):
        if seen.token is None:
            return bad_token()
        provider, _, path = seen.path[1:].partition("/")
        route = next((name for name, there in PROVIDERS.get(provider, {}).items() if there == path), None)
        if route is None:
            return Reply({"error": "Not Found"}, 404)
        reply = openai_reply(route, seen, honours_base64=False)
        reply.fields = {"x-inference-provider": provider}
        return reply


# ---- pipelines: every task of hf-inference and of the inference toolkit ----

TEXT = "My name is naïve and I live in Zürich 🙂"
QUESTION = {"question": "who?", "context": "me and you"}
SENTENCES = {"source_sentence": "one", "sentences": ["two", "three"]}
RANKING = {"query": "drinks", "texts": ["tea", "a cat"]}
TABLE = {"query": "how many?", "table": {"a": ["1", "2"]}}
BOX = {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
MASK = base64.b64encode(picture_of("mask")).decode()


def number(mark):
    return int(mark[:6], 16) / 2**24


def vector_of(mark):
    return [byte / 256 for byte in bytes.fromhex(mark)[:4]]


# task -> (the input of text and JSON tasks, None: a picture, "sound": a sound; the canonical answer for the input's SHA-256; how the toolkit
# and how hf-inference word it, where they do otherwise)
PIPELINES = {
    "audio-classification": ("sound", lambda m: [{"label": m, "score": 0.5}], None, None),
    "automatic-speech-recognition": ("sound", lambda m: {"text": m}, None, None),
    "document-question-answering": ("asked", lambda m: [{"answer": m, "score": 0.5, "start": 0, "end": 1}], None, None),
    "feature-extraction": (TEXT, lambda m: [[vector_of(m)]], None, None),
    "fill-mask": ("a [MASK]", lambda m: [{"score": 0.5, "token": 7, "token_str": m, "sequence": m}], None, None),
    "image-classification": (None, lambda m: [{"label": m, "score": 0.5}], None, None),
    "image-segmentation": (
        None,
        lambda m: [{"label": m, "mask": MASK}],
        lambda m: [{"score": None, "label": m, "mask": MASK}],
        None,
    ),
    "image-to-text": (None, lambda m: [{"generated_text": m}], None, None),
    "object-detection": (None, lambda m: [{"score": 0.5, "label": m, "box": BOX}], None, None),
    "question-answering": (QUESTION, lambda m: {"score": 0.5, "start": 0, "end": 2, "answer": m}, None, None),
    "sentence-similarity": (
        SENTENCES,
        lambda m: [number(m), 0.25],
        lambda m: {"similarities": [number(m), 0.25]},
        None,
    ),
    "summarization": (TEXT, lambda m: [{"summary_text": m}], None, None),
    "table-question-answering": (TABLE, lambda m: {"answer": m, "coordinates": [[0, 0]], "cells": ["1"], "aggregator": "SUM"}, None, None),
    "text-classification": (TEXT, lambda m: [{"label": m, "score": 0.5}], None, lambda m: [[{"label": m, "score": 0.5}]]),
    "text-generation": (TEXT, lambda m: [{"generated_text": m}], None, None),
    "text-ranking": (RANKING, lambda m: [{"index": 1, "score": 0.5, "text": m}, {"index": 0, "score": 0.25}], None, None),
    "text-to-image": (TEXT, "picture", None, None),
    "text-to-speech": (TEXT, "samples", None, None),
    "token-classification": (TEXT, lambda m: [{"entity_group": m, "score": 0.5, "word": "x", "start": 0, "end": 1}], None, None),
    "translation": (TEXT, lambda m: [{"translation_text": m}], None, None),
    "visual-question-answering": ("asked", lambda m: [{"answer": m, "score": 0.5}], None, None),
    "zero-shot-classification": (
        TEXT,
        lambda m: [{"label": m, "score": 0.75}, {"label": "b", "score": 0.25}],
        lambda m: {"sequence": TEXT, "labels": [m, "b"], "scores": [0.75, 0.25]},
        None,
    ),
    "zero-shot-image-classification": (None, lambda m: [{"label": m, "score": 0.5}], None, None),
}


def mark_of(task, inputs):
    """The SHA-256 of an input as a pipeline got it: bytes, text, or an object's values."""
    if isinstance(inputs, dict):
        image = base64_of(inputs["image"]) if "image" in inputs else b""
        rest = {name: value for name, value in inputs.items() if name != "image"}
        return fingerprint(image + json.dumps(rest, sort_keys=True).encode())
    if PIPELINES[task][0] in (None, "sound") and isinstance(inputs, str):
        inputs = base64_of(inputs)
        assert inputs is not None, "no base64"
    return fingerprint(inputs)


def canonical_of(task, mark):
    return PIPELINES[task][1](mark)


class HfInference(Ruled):
    """hf-inference behind the router: /hf-inference/models/{task}/any, the model's namespace says the task."""

    def usual(self, seen):
        if seen.token is None:
            return bad_token()
        if seen.path == "/v1/chat/completions":
            return chat_reply(seen.json)
        if seen.path.endswith("/v1/completions"):
            return openai_reply("completions", seen)
        task, pipeline = re.fullmatch(r"/hf-inference/models/([^/]+)/[^/]+(/pipeline/[^/]+)?", seen.path).groups()
        assert (pipeline is not None) == (task in ("feature-extraction", "sentence-similarity")), seen.path
        inputs, asked = seen.body, {}
        if seen.body.startswith(b"{"):
            asked = seen.json
            inputs = asked["inputs"]
            if task == "visual-question-answering" and isinstance(inputs, str):
                inputs = {"image": inputs, "question": asked["question"]}
        mark = mark_of(task, inputs)
        if task == "text-to-image":
            return Reply(picture_of(inputs), content_type="image/jpeg")
        if task == "text-to-speech":
            return Reply(sound_of(inputs), content_type="audio/flac")
        _, canonical, _, own = PIPELINES[task]
        return Reply((own or canonical)(mark))


class Pipelines(Toolkit):
    """The inference toolkit with the default handler of a task."""

    def usual(self, seen):
        kind, accept = seen.field("content-type"), seen.field("accept")
        if seen.path != "/" or kind not in (*self.TYPES, *self.JSON) or accept not in ("application/json", *self.IMAGES):
            return self.refuse(f'Content type "{kind}" not supported.')
        inputs = seen.body
        if kind in self.JSON:
            asked = seen.json
            inputs = asked["inputs"]
            if PIPELINES[self.task][0] == "sound" and "parameters" not in asked:
                return self.refuse(f"[Errno 36] File name too long: '{inputs}'")
            if self.task.startswith("zero-shot") and not asked["parameters"]["candidate_labels"]:
                return self.refuse("candidate_labels")
            strange = set(asked) - {"inputs", "parameters"} - {"model", "task"}
            assert not strange, f"keys that its handler does not read: {strange}"
        mark = mark_of(self.task, inputs)
        if self.task == "text-to-image" and accept == "application/json":
            return Reply(json.dumps(base64.b64encode(picture_of(inputs)).decode()))
        if self.task == "text-to-image":
            return Reply(picture_of(inputs), content_type=accept)
        if self.task == "text-to-speech":
            return Reply({"audio": [[byte / 128 - 1 for byte in bytes.fromhex(mark)]], "sampling_rate": 16000})
        _, canonical, own, _ = PIPELINES[self.task]
        return Reply((own or canonical)(mark))


class Templated(Ruled):
    """A server of the operator's own: {"what": inputs, "how": parameters} -> {"out": the task's output}."""

    def __init__(self, task):
        self.task = task
        super().__init__()

    def usual(self, seen):
        what = seen.json["what"]
        mark = mark_of(self.task, what)
        if self.task == "text-to-image":
            return Reply({"out": base64.b64encode(picture_of(what)).decode()})
        if self.task == "text-to-speech":
            return Reply({"out": base64.b64encode(sound_of(what)).decode()})
        return Reply({"out": canonical_of(self.task, mark), "took": 3})
