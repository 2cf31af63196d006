"""Small conversations in the files of MRSeg and PRIST: coloured squares, and questions that only memory answers."""

import json

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230), "yellow": (230, 220, 40)}
SIDE = 64


def draw(folder, number):
    """One picture of four squares, one in each quarter; return colour -> [x, y, w, h], from the top left on."""
    random = np.random.default_rng(number)
    pixels, boxes = np.full((SIDE, SIDE, 3), 90, np.uint8), {}
    for place, name in enumerate(random.permutation(list(COLOURS)).tolist()):
        side = int(random.integers(16, 22))
        x, y = (32 * at + int(random.integers(3, 9)) for at in (place % 2, place // 2))
        pixels[y : y + side, x : x + side] = COLOURS[name]
        boxes[name] = [x, y, side, side]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{number}.png")
    return boxes


def write_mrseg(root, count=8):
    """Eight dialogues of three rounds: a colour, the one across from it, the one below or above that."""
    images, annotations, talks, kept = [], [], [], {}
    for number in range(count):
        boxes = draw(root / "images_folder", number)
        images.append({"id": number, "file_name": f"{number}.png", "height": SIDE, "width": SIDE})
        for place, (x, y, w, h) in enumerate(boxes.values()):
            kept[number, place] = len(annotations)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
        start, turns = number % 4, []
        places = [start, start ^ 1, start ^ 3]  # across, then up or down
        said = [
            f"[IMAGE256:{number}.png] the {list(boxes)[start]} one",
            "what is beside it",
            "and beside that",
        ]
        for at, (words, place) in enumerate(zip(said, places, strict=True)):
            name = f"{number}.png"
            before = f"[MASK-ENCODE:{name}|made|{kept[number, places[at - 1]]}] " if at else ""
            human = {"from": "human", "value": before + words} | ({"ind": at} if at else {})
            gpt = {"from": "gpt", "value": f"Sure. [MASK-DECODE:{name}|made|{kept[number, place]}]"}
            turns += [human, gpt]
        talks.append({"task": "segmentation", "conv_id": str(number), "conversations": turns})
    _write(root / "conversations_folder" / "train.json", talks)
    _write(root / "instances.json", {"images": images, "annotations": annotations, "categories": []})
    (root / "annotations.yaml").write_text("datasets: [{name: made, path: instances.json}]\n")
    return root


def write_prist(root, count=8):
    """Eight dialogues that end on one square: what was said before tells which."""
    talks = []
    for number in range(count):
        boxes = draw(root / "textcaps" / "train", number)
        colour = list(boxes)[number % 4]
        x, y, w, h = boxes[colour]
        turns = ["What is here?", "Four squares.", f"I like {colour}.", f"There is a {colour} one."]
        turns += ["Please segment it.", f"It is the {colour} one [SEG]."]
        talks.append(
            {
                "img_id": f"{number}.png",
                "focus": colour,
                "dialogue": [
                    {"from": ("human", "gpt")[at % 2], "value": value} for at, value in enumerate(turns)
                ],
            }
        )
        shape = {"label": colour, "points": [[x, y], [x + w - 1, y], [x + w - 1, y + h - 1], [x, y + h - 1]]}
        _write(
            root / "textcaps" / "masks" / f"{number}.json",
            {"imageHeight": SIDE, "imageWidth": SIDE, "shapes": [shape]},
        )
    _write(root / "train.json", talks)
    return root


def write_borders(root, pairs=2):
    """Two dialogues on each of some wide pictures: which colours their borders have, and then one of the two is meant.

    Pictures go in pairs that differ in those colours alone; the middle square of both is the same.
    """
    talks = []
    for number in range(2 * pairs):
        random = np.random.default_rng(number // 2)
        pixels, names = np.full((SIDE, 2 * SIDE, 3), 90, np.uint8), random.permutation(list(COLOURS)).tolist()
        pixels[20:44, 52:76] = 200
        top, shapes, ends = int(random.integers(0, 8)), [], names[2 * (number % 2) :][:2]
        for colour, x in zip(ends, (0, 98), strict=True):
            corners = [[x, top], [x + 29, top], [x + 29, SIDE - 1], [x, SIDE - 1]]
            pixels[top:, x : x + 30] = COLOURS[colour]
            shapes.append({"label": colour, "points": corners})
            said = ["Which colours?", f"{ends[0]} and {ends[1]}.", f"The {colour} one.", "Here it is [SEG]."]
            turns = [{"from": ("human", "gpt")[at % 2], "value": value} for at, value in enumerate(said)]
            talks.append({"img_id": f"{number}.png", "focus": colour, "dialogue": turns})
        folder = root / "textcaps"
        (folder / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "train" / f"{number}.png")
        sizes = {"imageHeight": SIDE, "imageWidth": 2 * SIDE}
        _write(folder / "masks" / f"{number}.json", sizes | {"shapes": shapes})
    _write(root / "train.json", talks)
    return root


def _write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
