"""The OCR worker alone: a drawn picture in, its exact text out, whatever the encoding; every refusal says what to do."""

import base64
import json
import socket
import threading
import time

import httpx
import pytest
from pictures import INVOICE, draw, encoded
from processes import TOP, Worker, poll, worker

TEXT = "\n".join(INVOICE)
ANSWER = [{"generated_text": TEXT}]
PNG = encoded(draw(*INVOICE))
FLAGS = ("--model", "RapidAI/RapidOCR")


@pytest.fixture(scope="module")
def ocr(tmp_path_factory):
    with worker("ocr_worker.py", *FLAGS, log=tmp_path_factory.mktemp("ocr") / "log") as started:
        with httpx.Client(base_url=started.url, timeout=120) as client:
            started.post = client.post
            started.client = client
            yield started


def as_json(payload, **more):
    return {"inputs": base64.b64encode(payload).decode(), **more}


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "application/octet-stream", None])
@pytest.mark.parametrize("path", ["/", "/predict"])
def test_raw_bytes(ocr, path, content_type):
    reply = ocr.post(path, content=PNG, headers={"content-type": content_type} if content_type else {})
    assert (reply.status_code, reply.json()) == (200, ANSWER)
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", None])
def test_base64_json_gives_the_same_text(ocr, prefix, content_type):
    body = json.dumps({"inputs": prefix + base64.b64encode(PNG).decode(), "parameters": {}}).encode()
    reply = ocr.post("/", content=body, headers={"content-type": content_type} if content_type else {})
    assert (reply.status_code, reply.json()) == (200, ANSWER)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_other_formats(ocr, kind):
    assert ocr.post("/", content=encoded(draw(*INVOICE), kind)).json() == ANSWER


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_other_pixel_modes(ocr, mode):
    image = draw(*INVOICE)
    image = image.convert("L").convert("I").point(lambda v: v * 257).convert("I;16") if mode == "I;16" else image.convert(mode)
    assert ocr.post("/", content=encoded(image, "TIFF")).json() == ANSWER


def test_a_photo_that_lies_on_its_side_is_turned(ocr):
    sideways = draw(*INVOICE).rotate(90, expand=True)
    exif = sideways.getexif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise"
    assert ocr.post("/", content=encoded(sideways, "JPEG", exif=exif, quality=95)).json() == ANSWER


def test_the_committed_sample_reads_as_the_readme_says(ocr):
    assert ocr.post("/", content=(TOP / "config" / "sample.png").read_bytes()).json() == ANSWER


def test_no_text_is_an_empty_text(ocr):
    assert ocr.post("/", content=encoded(draw(" "))).json() == [{"generated_text": ""}]


def test_pieces_on_one_height_are_one_line_unless_far_apart(ocr):
    near, far = draw("Order 1004", "Table 12"), draw("left" + " " * 40 + "right")
    assert ocr.post("/", content=encoded(near)).json() == [{"generated_text": "Order 1004\nTable 12"}]
    assert ocr.post("/", content=encoded(far)).json() == [{"generated_text": "left\nright"}]


def test_text_score_leaves_out_what_is_less_certain(ocr):
    everything, nothing = {"text_score": 0}, {"text_score": 1}
    assert ocr.post("/", json=as_json(PNG, parameters=nothing)).json() == [{"generated_text": ""}]
    assert ocr.post("/", content=PNG, params=nothing).json() == [{"generated_text": ""}]
    assert ocr.post("/", json=as_json(PNG, parameters=everything)).json() == ANSWER
    assert ocr.post("/", json=as_json(PNG)).json() == ANSWER, "one request's parameter must not stay for the next"


def test_parameters_of_language_models_change_nothing(ocr):
    reply = ocr.post("/", json=as_json(PNG, parameters={"max_new_tokens": 1, "generation_parameters": {"top_k": 3}}))
    assert reply.json() == ANSWER


def cases():
    def body(value):
        return json.dumps(value).encode()

    is_json = "application/json"
    yield "empty", b"", None, 400, "the body is empty"
    yield "empty, called a picture", b"", "image/png", 400, "the body is empty"
    yield "no picture", b"hello", "image/png", 400, "not a picture that can be read here"
    yield "html", b"<html>no</html>", None, 400, "not a picture that can be read here"
    yield "cut picture", PNG[: len(PNG) // 2], "image/png", 400, "broken or cut short"
    yield "JSON, called a picture", body(as_json(PNG)), "image/png", 400, "not a picture that can be read here"
    yield "picture, called JSON", PNG, is_json, 400, "not valid JSON"
    yield "broken JSON", b'{"inputs": "', is_json, 400, "not valid JSON at byte 11"
    yield "deep JSON", b"[" * 100_000, is_json, 400, "not valid JSON"
    yield "JSON list", body([1]), is_json, 400, 'needs "inputs"'
    yield "no inputs", body({"input": "x"}), is_json, 400, 'needs "inputs"'
    yield "inputs an object", body({"inputs": {"image": "x"}}), is_json, 400, 'needs "inputs"'
    yield "empty inputs", body({"inputs": ""}), is_json, 400, '"inputs" is empty'
    yield "bad base64", body({"inputs": "a b"}), is_json, 400, "is not base64"
    yield "base64 without its end", body({"inputs": "iVBORw0"}), is_json, 400, "is not base64"
    yield "base64 with line breaks", body({"inputs": base64.encodebytes(PNG).decode()}), is_json, 400, "no line breaks"
    yield "base64 outside of ASCII", body({"inputs": "\u00e9\u00e9\u00e9\u00e9"}), is_json, 400, "is not base64"
    yield "URL", body({"inputs": "http://127.0.0.1/x.png"}), is_json, 400, "does not fetch"
    yield "data URL in text", body({"inputs": "data:image/png,abc"}), is_json, 400, "data URL"
    yield "parameters a list", body(as_json(PNG, parameters=[])), is_json, 400, '"parameters" must be an object'
    yield "unknown parameter", body(as_json(PNG, parameters={"top_k": 1})), is_json, 400, "'top_k' is not known"
    yield "bad text_score", body(as_json(PNG, parameters={"text_score": "x"})), is_json, 400, "from 0 to 1"
    yield "text_score not a number", body(as_json(PNG, parameters={"text_score": float("nan")})), is_json, 400, "from 0 to 1"


@pytest.mark.parametrize("payload, content_type, status, says", [pytest.param(*c[1:], id=c[0]) for c in cases()])
def test_refusals_say_what_is_wrong(ocr, payload, content_type, status, says):
    reply = ocr.post("/", content=payload, headers={"content-type": content_type} if content_type else {})
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"} and says in reply.json()["error"]
    assert len(reply.json()["error"]) < 200, "an error never holds the payload"
    assert ocr.client.get("/health").text == "Ok", "the worker goes on"


def test_too_many_pixels(ocr):
    bomb = encoded(draw("x").resize((1, 1)).resize((8000, 7000)))
    reply = ocr.post("/", content=bomb)
    assert (reply.status_code, "50 million pixels" in reply.json()["error"]) == (413, True)


@pytest.mark.parametrize("framing", ["Content-Length: 999999999", "Transfer-Encoding: chunked"])
def test_too_many_bytes(ocr, framing):
    """Refused without waiting for the rest: at the head, or as soon as the limit is passed."""
    with socket.create_connection(("127.0.0.1", ocr.port), 30) as peer:
        peer.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n{framing}\r\n\r\n".encode())
        block = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        try:
            for _ in range(65 if "chunked" in framing else 0):
                peer.sendall(block)
        except ConnectionError:
            pass  # it may hang up once it has answered
        head = peer.recv(4096)
    assert head.startswith(b"HTTP/1.1 413 ")


def test_expect_continue(ocr):
    with socket.create_connection(("127.0.0.1", ocr.port), 30) as peer:
        peer.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(PNG)}\r\n\r\n".encode())
        assert peer.recv(4096).startswith(b"HTTP/1.1 100 ")
        peer.sendall(PNG)
        assert peer.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_chunked_body_and_connection_kept(ocr):
    def pieces():
        for at in range(0, len(PNG), 100):
            yield PNG[at : at + 100]

    for _ in range(2):
        reply = ocr.post("/", content=pieces(), headers={"content-type": "image/png"})
        assert "content-length" not in reply.request.headers
        assert reply.json() == ANSWER
        assert reply.headers.get("connection") != "close"


@pytest.mark.parametrize("path", ["/", "/health"])
def test_health(ocr, path):
    reply = ocr.client.get(path)
    assert (reply.status_code, reply.text) == (200, "Ok")


def test_other_paths_and_methods(ocr):
    assert ocr.client.get("/nope").status_code == 404
    assert ocr.client.put("/").status_code == 405


def page():
    """A picture that takes a while: 25 lines."""
    lines = [f"Line {n}: the quick brown fox jumps over the lazy dog" for n in range(25)]
    return lines, encoded(draw(*lines, size=24, margin=8))


def test_health_answers_while_a_picture_is_read(ocr):
    lines, picture = page()
    done = threading.Event()
    replies = []

    def read():
        replies.append(httpx.post(ocr.url, content=picture, timeout=120).json())
        done.set()

    reader = threading.Thread(target=read)
    before = ocr.cpu_seconds()
    reader.start()
    poll(lambda: ocr.cpu_seconds() > before + 0.2, what="the worker is at work")
    waits = []
    while not done.is_set():
        began = time.monotonic()
        assert ocr.client.get("/health").text == "Ok"
        waits.append(time.monotonic() - began)
    reader.join()
    assert len(waits) > 3, f"only {len(waits)} answers during the work: {waits}"
    assert max(waits) < 1, f"an answer took {max(waits):.1f} s"
    read_lines = replies[0][0]["generated_text"].splitlines()
    assert len(read_lines) == len(lines)


def test_many_at_once_get_their_own_answers(ocr):
    texts = [f"Order {n}" for n in range(1001, 1009)]
    answers = {}

    def ask(text):
        answers[text] = httpx.post(ocr.url, content=encoded(draw(text)), timeout=120).json()

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {text: [{"generated_text": text}] for text in texts}


def test_nobody_waits_for_the_pictures_of_clients_that_left(ocr):
    picture = page()[1]
    before = ocr.cpu_seconds()
    assert ocr.post("/", content=picture).status_code == 200
    cost = ocr.cpu_seconds() - before

    before = ocr.cpu_seconds()
    crowd = [socket.create_connection(("127.0.0.1", ocr.port), 30) for _ in range(8)]
    for peer in crowd:
        peer.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(picture)}\r\n\r\n".encode() + picture)
    for _ in range(10):  # while the first is being read, the others arrive whole and wait
        ocr.client.get("/health")
    for peer in crowd:
        peer.close()
    assert ocr.post("/", content=PNG).json() == ANSWER
    assert ocr.cpu_seconds() - before < 4 * cost, "pictures were read for nobody"


def test_sigterm_finishes_the_picture_in_hand_and_exits_0(tmp_path):
    with worker("ocr_worker.py", *FLAGS, log=tmp_path / "log") as ocr:
        replies = []
        before = ocr.cpu_seconds()
        reader = threading.Thread(target=lambda: replies.append(httpx.post(ocr.url, content=page()[1], timeout=120)))
        reader.start()
        poll(lambda: ocr.cpu_seconds() > before + 0.2, what="the worker is at work")
        assert ocr.end(60) == 0
        reader.join()
        assert replies[0].status_code == 200 and "Line 24" in replies[0].json()[0]["generated_text"]


def test_sigterm_while_idle(tmp_path):
    with worker("ocr_worker.py", *FLAGS, log=tmp_path / "log") as ocr:
        httpx.get(ocr.url + "/health")
        assert ocr.end(5) == 0


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--model", "google/vit-base-patch16-224"], "runs RapidAI/RapidOCR"),
        ([*FLAGS, "--host", "0.0.0.0"], "not a loopback address"),
        ([*FLAGS, "--host", "example.org"], "--host"),
        ([], "--model"),
    ],
)
def test_bad_flags(tmp_path, flags, says):
    started = Worker("ocr_worker.py", *flags, log=tmp_path / "log")
    assert started.process.wait(30) == 2
    assert says in started.log.splitlines()[-1]


def test_port_taken(ocr, tmp_path):
    second = Worker("ocr_worker.py", *FLAGS, log=tmp_path / "log", port=ocr.port)
    assert second.process.wait(30) not in (0, None)
    assert "in use" in second.log
