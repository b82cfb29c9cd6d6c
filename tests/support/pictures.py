"""Pictures that tests draw: their text is known because it was put there."""

import io

from PIL import Image, ImageDraw, ImageFont

INVOICE = ("Invoice 4711", "Total: 129.50 EUR")


def draw(*lines, size=36, margin=16):
    """Black lines on white, Pillow's own font."""
    font = ImageFont.load_default(size)
    width = int(max(font.getlength(line) for line in lines)) + 4 * margin
    image = Image.new("RGB", (width, len(lines) * (size + margin) + 2 * margin), "white")
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        pen.text((2 * margin, margin + row * (size + margin)), line, "black", font)
    return image


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
