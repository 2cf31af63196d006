"""Draw the README's picture: three answers of `mini` on examples/table.png.

python benchmarks/readme_picture.py [--out docs/readme.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import askmask
from askmask.imaging.overlay import Layer, draw
from askmask.show import legend_note

PROMPTS = (
    "which things would catch rice if I dropped it in?",
    "what carries the weight of another thing?",
    "the label of the bottle",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, default=Path("examples/table.png"))
    parser.add_argument("--out", type=Path, default=Path("docs/readme.png"))
    options = parser.parse_args()
    answers = askmask.load().open(options.picture).ask_many(PROMPTS)
    layers = [Layer(a.masks, a.prompt, legend_note(a)) for a in answers]
    draw(np.asarray(Image.open(options.picture).convert("RGB")), layers).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
