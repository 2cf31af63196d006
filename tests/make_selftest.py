"""Record what the self-test of `askmask doctor` compares with: python tests/make_selftest.py

The picture is drawn here; run again only when the miniature network itself changes.
"""

import json
import tempfile

import numpy as np
from PIL import Image, ImageDraw

from askmask import load
from askmask.doctor import SELF_TEST
from askmask.model.tiny import make_tiny

PROMPT = "the red ball beside the box"


def picture() -> Image.Image:
    """Draw a table with a box and a ball, with some texture."""
    noise = np.random.default_rng(0).integers(0, 24, (96, 128, 3))
    image = Image.new("RGB", (128, 96), (120, 150, 170))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 56, 128, 96), fill=(150, 110, 70))
    pen.rectangle((20, 30, 60, 70), fill=(60, 90, 160))
    pen.ellipse((74, 46, 102, 74), fill=(200, 40, 40))
    return Image.fromarray((np.asarray(image) * 0.9 + noise).clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    SELF_TEST.mkdir(exist_ok=True)
    picture().save(SELF_TEST / "picture.png")
    with tempfile.TemporaryDirectory() as folder:
        answer = load(make_tiny(folder), device="cpu").open(SELF_TEST / "picture.png").ask(PROMPT)
    expected = answer.to_dict() | {"timings": {}}
    (SELF_TEST / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
