"""A program of somebody else: writes predictions from the documented schema alone, without askmask or pycocotools.

Called as `foreign_program.py FOLDER`: reads FOLDER/pictures.json ({id: {"size": [H, W], "box": [x0, y0, x1, y1]}}),
"segments" the box and writes FOLDER/predictions.jsonl, one mask form after the other.
"""

import json
import struct
import sys
import zlib
from pathlib import Path


def run_lengths(height, width, box):
    """Column by column from the top left, first the zeros, as COCO counts."""
    x0, y0, x1, y1 = box
    runs, value, length = [], 0, 0
    for x in range(width):
        for y in range(height):
            pixel = int(x0 <= x < x1 and y0 <= y < y1)
            if pixel != value:
                runs.append(length)
                value, length = pixel, 0
            length += 1
    return [*runs, length]


def compressed(runs):
    """COCO's text: five bits a character from the lowest, deltas to the run two back from the fourth run on."""
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            last = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if last else bits | 32))
            if last:
                break
    return text


def png(height, width, box):
    x0, y0, x1, y1 = box
    rows = b"".join(
        b"\0" + bytes(255 * (x0 <= x < x1 and y0 <= y < y1) for x in range(width)) for y in range(height)
    )

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def main(folder):
    lines = []
    for index, (name, picture) in enumerate(json.loads((folder / "pictures.json").read_text()).items()):
        (height, width), box = picture["size"], picture["box"]
        if box is None:
            lines.append({"id": name, "masks": [], "no_target": True, "score": 0.25})
            continue
        runs = run_lengths(height, width, box)
        if index % 3 == 0:
            mask = {"size": [height, width], "counts": compressed(runs)}
        elif index % 3 == 1:
            mask = {"size": [height, width], "counts": runs}
        else:
            mask = f"masks/{name}.png"
            (folder / "masks").mkdir(exist_ok=True)
            (folder / mask).write_bytes(png(height, width, box))
        lines.append({"id": name, "masks": [mask], "score": 0.5 + index / 100, "text": "a box"})
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
