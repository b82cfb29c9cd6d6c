"""A local worker that reads the text in a picture: rapidocr behind the inference toolkit's contract.

usage   ocr_worker.py --model RapidAI/RapidOCR --port N [--host 127.0.0.1] [--threads N]
POST /  (or /predict)   the picture's raw bytes, or {"inputs": "<base64 or data URL>", "parameters": {"text_score": 0.5}}
        200  [{"generated_text": "first line\\nsecond line"}]       image-to-text's own shape; "" where there is no text
        400  {"error": "..."}   413 the same for a body over the limit      cause and way out, never the payload
GET /health (or /)      200 Ok, also while a picture is being read
Raw or JSON is told by the Content-Type; without a telling one, by the first byte (no picture starts with "{").
One picture at a time, in a thread of its own. SIGTERM finishes the picture in hand and exits 0; so does SIGINT.
"""

import argparse
import asyncio
import base64
import binascii
import ipaddress
import io
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rapidocr import RapidOCR
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

MODEL = "RapidAI/RapidOCR"
MAX_PICTURE_BYTES = 64 << 20
MAX_JSON_BYTES = MAX_PICTURE_BYTES // 3 * 4 + (8 << 20)
Image.MAX_IMAGE_PIXELS = 50_000_000  # Pillow warns above this and refuses above twice as much
# Parameters of the task that steer a language model. They change nothing here: what is read is what stands there.
WITHOUT_EFFECT = {"max_new_tokens", "generation_parameters", "generate_kwargs"}


class Refused(Exception):
    """The client's own fault: `status` and a text for it."""

    def __init__(self, text, status=400):
        super().__init__(text)
        self.status = status


async def body_of(request):
    """The whole body, refused as soon as it is known to be too big."""
    is_json = request.headers.get("content-type", "").partition(";")[0].strip().lower().endswith(("/json", "+json"))
    limit = MAX_JSON_BYTES if is_json else MAX_PICTURE_BYTES
    too_big = Refused(f"the body is over {limit >> 20} MiB: send a smaller picture", 413)
    if int(request.headers.get("content-length", "0")) > limit:
        raise too_big
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_big
    if not body:
        raise Refused('the body is empty: send a picture\'s bytes, or {"inputs": "<base64>"}')
    return bytes(body), is_json or (not has_picture_type(request) and body.lstrip()[:1] == b"{")


def has_picture_type(request):
    return request.headers.get("content-type", "").lower().startswith("image/")


def payload_of(body):
    """{"inputs", "parameters"} -> the picture's bytes, the parameters."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as fault:
        where = f" at byte {fault.pos}" if isinstance(fault, json.JSONDecodeError) else ""
        raise Refused(f"the body is not valid JSON{where}: send {{\"inputs\": \"<base64>\"}}") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), str):
        raise Refused('the JSON needs "inputs": a string with the picture in base64 or as a data URL')
    parameters = asked.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise Refused('"parameters" must be an object, for example {"text_score": 0.5}')

    text = asked["inputs"]
    if text.startswith(("http://", "https://")):
        raise Refused('"inputs" is a URL, which this worker does not fetch: send the picture itself in base64')
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise Refused('"inputs" is a data URL without ";base64,": write data:image/png;base64,<base64>')
    try:
        picture = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused('"inputs" is not base64 (RFC 4648 section 4: A-Z a-z 0-9 + / =, no line breaks)') from None
    if not picture:
        raise Refused('"inputs" is empty: it must hold the picture in base64')
    if len(picture) > MAX_PICTURE_BYTES:
        raise Refused(f"the picture is over {MAX_PICTURE_BYTES >> 20} MiB: send a smaller one", 413)
    return picture, parameters or {}


def text_score_of(parameters):
    """The least certainty of a line that is reported: 0 to 1, rapidocr's own default 0.5."""
    unknown = set(parameters) - WITHOUT_EFFECT - {"text_score"}
    if unknown:
        raise Refused(f"parameter {sorted(unknown)[0][:80]!r} is not known here: this worker takes text_score")
    try:
        score = float(parameters.get("text_score", 0.5))
    except (TypeError, ValueError):
        score = -1.0
    if not 0 <= score <= 1:
        raise Refused("text_score must be a number from 0 to 1")
    return score


def decode(picture):
    """Bytes -> an upright picture in a mode that rapidocr takes."""
    try:
        image = Image.open(io.BytesIO(picture))
        if image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        image = ImageOps.exif_transpose(image)  # decodes it, too
    except Image.DecompressionBombError:
        limit = Image.MAX_IMAGE_PIXELS // 1_000_000
        raise Refused(f"the picture has over {limit} million pixels: scale it down", 413) from None
    except Image.UnidentifiedImageError:
        raise Refused("the bytes are not a picture that can be read here (PNG, JPEG, WebP, GIF, BMP, TIFF)") from None
    except Exception as fault:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ... for broken files
        raise Refused(f"the picture is broken or cut short ({type(fault).__name__}): send it again whole") from None
    transparent = "A" in image.mode or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def lines_of(boxes, texts):
    """Pieces in reading order, four corners each -> lines. rapidocr takes a wide blank for the end of a piece, so neighbours on one height are joined."""
    lines = []
    edge, middle = -1.0, -1.0  # of the piece before: where it ends, and its height on the page
    for box, text in zip(boxes, texts):
        (left, top), (right, bottom) = box.min(0), box.max(0)
        if lines and top < middle < bottom and abs(left - edge) < bottom - top:
            lines[-1] += " " + text
        else:
            lines.append(text)
        edge, middle = right, (top + bottom) / 2
    return lines


class Reader:
    """rapidocr, loaded once, used by one thread at a time (a call changes its settings)."""

    def __init__(self, threads):
        engine = "EngineConfig.onnxruntime."
        self.engine_ = RapidOCR(
            params={
                "Global.log_level": "error",
                engine + "intra_op_num_threads": threads,
                engine + "inter_op_num_threads": 1,
            }
        )
        self.thread_ = ThreadPoolExecutor(1, "reader")
        self.turn_ = asyncio.Lock()
        sample = Image.new("RGB", (320, 64), "white")  # rapidocr loads each model at its first use: use them all now
        ImageDraw.Draw(sample).text((16, 12), "Ready", "black", ImageFont.load_default(32))
        if self.text(sample, 0.5) != "Ready":
            raise RuntimeError("the models were loaded but do not read a drawn word")

    def text(self, image, text_score):
        found = self.engine_(image, text_score=text_score)
        return "" if not found.txts else "\n".join(lines_of(found.boxes, found.txts))

    async def read(self, picture, text_score, is_gone):
        """The text; "" for a client that left while others had their turn (`is_gone` says so): nobody waits for it."""

        def work():
            return self.text(decode(picture), text_score)

        async with self.turn_:
            gone = await is_gone()
            return "" if gone else await asyncio.get_running_loop().run_in_executor(self.thread_, work)


def application(reader):
    async def predict(request):
        try:
            body, is_json = await body_of(request)
            picture, parameters = payload_of(body) if is_json else (body, dict(request.query_params))
            text = await reader.read(picture, text_score_of(parameters), request.is_disconnected)
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except ClientDisconnect:  # in mid-body: the answer goes nowhere
            return PlainTextResponse("", 400)
        except Exception as fault:
            print(f"ocr_worker: {type(fault).__name__}: {fault}", file=sys.stderr, flush=True)
            return JSONResponse({"error": f"the picture could not be processed ({type(fault).__name__})"}, 500)
        return JSONResponse([{"generated_text": text}])

    async def health(request):
        return PlainTextResponse("Ok")

    return Starlette(
        routes=[
            Route("/", predict, methods=["POST"]),
            Route("/predict", predict, methods=["POST"]),
            Route("/", health),
            Route("/health", health),
        ]
    )


def loopback(host):
    if not ipaddress.ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError(f"{host} is not a loopback address: the worker has no key, only the gateway may reach it")
    return host


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--model", required=True, help=f"what the policy calls it; only {MODEL} is known")
    flags.add_argument("--port", required=True, type=int)
    flags.add_argument("--host", default="127.0.0.1", type=loopback)
    flags.add_argument("--threads", default=min(4, os.cpu_count() or 1), type=int, help="cores for one picture")
    asked = flags.parse_args()
    if asked.model.rpartition("/")[2].lower() != MODEL.rpartition("/")[2].lower():
        flags.error(f"model {asked.model!r} is not known to this worker: it runs {MODEL}")

    # uvicorn raises the signal again once it has drained: this makes the exit code 0, and ends a start that is under way.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    started = time.monotonic()
    socket = uvicorn.Config(None, host=asked.host, port=asked.port, log_level="error").bind_socket()  # exits if taken
    app = application(Reader(asked.threads))
    print(f"ocr_worker: {MODEL} ready on port {asked.port} after {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=60, lifespan="off")
    uvicorn.Server(config).run(sockets=[socket])


if __name__ == "__main__":
    main()
