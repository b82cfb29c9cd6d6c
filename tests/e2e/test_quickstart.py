"""config/quickstart.yaml as it ships: a picture in, its text out, in every form; a chat; both without a token, on this machine alone."""

import base64
import io

import openai
import pytest
from huggingface_hub import InferenceClient
from PIL import Image
from pictures import INVOICE
from processes import TOP

OCR, SMOLLM = "RapidAI/RapidOCR", "HuggingFaceTB/SmolLM2-135M-Instruct"
TEXT = [{"generated_text": "\n".join(INVOICE)}]
FREE = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


@pytest.fixture(scope="module")
def here(start_once):
    return start_once(TOP / "config" / "quickstart.yaml", args=FREE)


def forms(picture):
    """Every way to say the same: (name, path, arguments of httpx)."""
    text = base64.b64encode(picture).decode()
    png = {"content": picture, "headers": {"content-type": "image/png"}}
    untyped = {"content": picture}
    form = {"content": picture, "headers": {"content-type": "application/x-www-form-urlencoded"}}  # curl --data-binary
    native = {"model": OCR, "inputs": {"base64": text, "media_type": "image/png"}}
    yield "native, raw", f"/v1/inference?model={OCR}", png
    yield "native, raw without a type", f"/v1/inference?model={OCR}", untyped
    yield "native, raw with curl's own type", f"/v1/inference?model={OCR}", form
    yield "native, by alias", "/v1/inference?model=ocr", png
    yield "native, base64", "/v1/inference", {"json": native}
    yield "native, base64 as a string", "/v1/inference", {"json": {"model": OCR, "inputs": text, "parameters": {"text_score": 0.5}}}
    yield "Hugging Face, raw", f"/models/{OCR}", png
    yield "Hugging Face, raw without a type", f"/hf-inference/models/{OCR}", untyped
    yield "Hugging Face, base64", f"/models/{OCR}", {"json": {"inputs": text}}
    yield "Hugging Face, a data URL", f"/models/{OCR}", {"json": {"inputs": f"data:image/png;base64,{text}", "parameters": {}}}
    yield "Hugging Face, with the task", f"/models/{OCR}/pipeline/image-to-text", png


NAMES = [name for name, *_ in forms(b"")]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_gives_its_text_in_every_form(here, invoice, name):
    _, path, how = next(each for each in forms(invoice) if each[0] == name)
    reply = here.http.post(path, **how)
    assert (reply.status_code, reply.json()) == (200, TEXT)
    assert reply.headers["x-fourways-route"] == "router(no_token) ocr-here(200)"
    assert reply.headers["x-fourways-upstream"] == "ocr-here"
    assert reply.headers["content-type"] == "application/json"


def test_the_record_tells_the_way(here, invoice):
    reply = here.http.post("/models/ocr", content=invoice, headers={"x-request-id": "invoice-1"})
    assert reply.headers["x-request-id"] == "invoice-1"
    record = here.record(reply)
    assert {**record, "time": 0, "ms": 0, "ms_first_byte": 0, "route": 0, "bytes_out": 0} == {
        **{"time": 0, "request_id": "invoice-1", "client": "anonymous", "dialect": "huggingface", "door": record["door"]},
        **{"task": "image-to-text", "model": "ocr", "entry": OCR, "route": 0, "status": 200, "bytes_in": len(invoice), "bytes_out": 0},
        **{"ms_first_byte": 0, "ms": 0},
    }
    skipped, taken = record["route"]
    assert skipped == {"upstream": "router", "outcome": "no_token"}
    assert (taken["upstream"], taken["status"], taken["outcome"]) == ("ocr-here", 200, "ok")
    assert taken["bytes_sent"] >= len(invoice), "raw bytes stay raw bytes"
    assert taken["bytes_sent"] < 1.1 * len(invoice) + 1000
    assert record["bytes_out"] >= len(reply.content) and record["ms"] >= taken["ms"] > 0


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_other_pictures_without_a_type(here, invoice, kind):
    picture = io.BytesIO()
    Image.open(io.BytesIO(invoice)).save(picture, kind)
    assert here.http.post(f"/models/{OCR}", content=picture.getvalue()).json() == TEXT


def test_the_sample_of_the_readme(here):
    sample = (TOP / "config" / "sample.png").read_bytes()
    assert here.http.post(f"/models/{OCR}", content=sample).json() == TEXT


def test_huggingface_hub_reads_the_picture(here, invoice, tmp_path):
    client = InferenceClient(model=f"{here.url}/models/{OCR}", token="hf_unused")
    assert client.image_to_text(invoice).generated_text == TEXT[0]["generated_text"]
    file = tmp_path / "invoice.png"
    file.write_bytes(invoice)
    assert client.image_to_text(str(file)).generated_text == TEXT[0]["generated_text"]


def test_no_picture_is_the_workers_own_refusal(here, invoice):
    reply = here.http.post(f"/models/{OCR}", content=b"\x89PNG\r\n\x1a\n but not", headers={"content-type": "image/png"})
    assert reply.status_code == 400
    assert reply.json()["code"] == "rejected" and "picture" in reply.json()["error"]
    assert here.http.post(f"/models/{OCR}", content=invoice).json() == TEXT


def test_a_chat_with_real_weights(here):
    client = openai.OpenAI(base_url=here.url + "/v1", api_key="unused", max_retries=0)
    messages = [{"role": "user", "content": "Name three colors."}]
    reply = client.chat.completions.with_raw_response.create(model=SMOLLM, messages=messages, temperature=0, max_tokens=60)
    assert reply.headers["x-fourways-route"] == "router(no_token) chat-here(200)"
    said = reply.parse().choices[0].message.content.lower()
    assert sum(color in said for color in ("red", "blue", "green", "yellow")) >= 3, said
    stream = client.chat.completions.create(model="chat", messages=messages, temperature=0, max_tokens=60, stream=True)
    words = [each.choices[0].delta.content or "" for each in stream if each.choices]
    assert sum(color in "".join(words).lower() for color in ("red", "blue", "green", "yellow")) >= 3, words
    assert len([word for word in words if word]) > 5, "it comes in pieces"


def test_the_models_are_listed(here):
    client = openai.OpenAI(base_url=here.url + "/v1", api_key="unused")
    assert [model.id for model in client.models.list()] == [OCR, SMOLLM]
    assert client.models.retrieve(OCR).id == OCR
