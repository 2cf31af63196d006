"""Render the chat page's example pictures: twelve scenes of the world's validation split, small.

    python benchmarks/serve_examples.py [--check]

Writes askmask/serving/page/examples/*.jpg; what may be asked about each stands in examples.json there. `--check`
asks `mini` every prompt of examples.json and prints what it finds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import askmask

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "askmask" / "serving" / "page" / "examples"
SCENES = {
    3: "apples", 4: "see-saw", 10: "bowls", 11: "mugs", 12: "knives", 14: "hot-plate",
    15: "vases", 16: "cushions", 18: "jar", 20: "pot", 21: "glass", 22: "balls",
}  # fmt: skip
SIDE, QUALITY = 448, 85


def render() -> None:
    """Make the scenes anew and keep those that are shown."""
    with tempfile.TemporaryDirectory() as folder:
        made = ["world", "make", "--split", "val", "--count", str(max(SCENES) + 1), "--size", str(SIDE)]
        command = [sys.executable, "-m", "askmask", *made, "--views", "1", "--prompts", "1", "--out", folder]
        subprocess.run(command, check=True, cwd=ROOT)
        FOLDER.mkdir(parents=True, exist_ok=True)
        for scene, name in SCENES.items():
            with Image.open(Path(folder) / "images" / f"{100_000_000 + scene}-0.png") as picture:
                picture.convert("RGB").save(FOLDER / f"{name}.jpg", quality=QUALITY, optimize=True)
    print(f"{sum(path.stat().st_size for path in FOLDER.glob('*.jpg')) / 1000:.0f} kB")


def check() -> None:
    """Ask every prompt that the page offers."""
    model = askmask.load()
    for picture in json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))["pictures"]:
        session = model.open(FOLDER / picture["file"])
        for answer in session.ask_many(picture["prompts"]):
            print(f"{picture['file']:14s} {len(answer.segments)} masks  {answer.prompt}  {answer.notices}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check() if parser.parse_args().check else render()
