"""Examples with everything that is hard on formats: holes, islands, parts, single pixels, nothing, odd names, EXIF."""

from pathlib import Path

import numpy as np
from PIL import Image

from askmask.conversation import Example, Prompt, Round, Segment
from askmask.formats.own import write_examples
from askmask.imaging.mask import Mask

ORIENTATIONS = range(1, 9)
SHAPES = ("a hole with an island", "parts that touch at a corner", "a single pixel", "a line", "all of it")


def shape(name: str, size: tuple[int, int]) -> Mask:
    height, width = size
    array = np.zeros(size, bool)
    if name == SHAPES[0]:
        array[2:12, 2:12], array[4:9, 4:9], array[6, 6] = True, False, True
    elif name == SHAPES[1]:
        array[0, 0] = array[height - 1, width - 1] = array[18, 4] = True
        array[15:18, 1:4] = True
    elif name == SHAPES[2]:
        array[10, 15] = True
    elif name == SHAPES[3]:
        array[3:17, 14] = True
    else:
        array[:] = True
    return Mask.from_array(array)


def write_drawn(folder: Path) -> list[Example]:
    """Write one picture per EXIF orientation and examples.jsonl; return the Examples."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for orientation in ORIENTATIONS:
        name = f"Küche {orientation} 厨房.jpg"
        image = Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8))
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(folder / name, exif=exif, quality=95)
        size = (30, 20) if orientation >= 5 else (20, 30)
        examples.append(
            Example(id=f"e{orientation}", image=name, size=size, rounds=rounds(size), source="test")
        )
    write_examples(examples, folder / "examples.jsonl")
    return examples


def rounds(size: tuple[int, int]) -> tuple[Round, ...]:
    hole, parts, pixel, line, whole = (shape(name, size) for name in SHAPES)
    return (
        Round(
            prompt=Prompt(text='the "mug" & its <lid>: all, of it'),
            segments=(
                Segment(mask=hole, score=0.5, source="predicted"),
                Segment(mask=parts, name="links", source="predicted"),
            ),
            reply="Two of them.",
        ),
        Round(prompt=Prompt(text="что упадёт? 杯子"), segments=(Segment(mask=pixel),), concept="physics"),
        Round(prompt=Prompt(text="a zebra"), segments=()),
        Round(prompt=Prompt(text="not answered")),
        Round(prompt=Prompt(text="the line beside it", refers_to=("r1",)), segments=(Segment(mask=line),)),
        Round(prompt=Prompt(points=((1.0, 2.0, True),)), segments=(Segment(mask=whole, name="alles"),)),
    )
