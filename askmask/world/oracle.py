"""The oracle answers a data engine's questions about simulated pictures, with set error rates.

It is a model that never errs, made to err on purpose: each kind of mistake has a rate, drawn from a seed and the
request alone, so that equal requests get equal replies. It sees pictures only as a model does, shrunk and encoded:
it knows a scene by a thumbnail, and reads a marked mask off the difference between the original and the marked
picture. It speaks no HTTP (`oracle_server.py`), and shares with the engine nothing but the wire format.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from askmask.errors import DataError, SettingError
from askmask.formats.dense import FLOOR, TABLE, answer_masks, read_shard, shards
from askmask.formats.reading import naming
from askmask.imaging.mask import Mask
from askmask.world.seen_masks import seen_mask, shrink_mask

THUMBNAIL = 16
# Mean grey-level difference between thumbnails of one picture before and after resize and JPEG.
FARTHEST = 14.0
SMALLEST_SHARE = 0.0025  # of the picture: smaller objects are not described
FITS_IOU = 0.7  # a mask this close to truth is right
INSIDE = 0.8
MOST_WORDS = 10
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "gray")


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Rates in [0, 1] of the oracle's mistakes. All zero: the truth."""

    missed: float = 0.0  # a region left out of the description
    attribute: float = 0.0  # a region described with a wrong colour
    box: float = 0.0  # a box around another thing
    satisfying: float = 0.0  # a prompt with a region too many or too few
    context: float = 0.0  # a prompt that something unmarked satisfies as well
    negative: float = 0.0  # a "nothing fits" prompt that something fits
    false_accept: float = 0.0  # a verifier's yes where truth says no
    false_reject: float = 0.0
    choice: float = 0.0  # the worse of two masks preferred
    # Of dialogues:
    named: float = 0.0  # the final request names what it should not
    told: float = 0.0  # the person names it before it is asked for
    astray: float = 0.0  # the conversation leads to another thing
    untrue: float = 0.0  # a turn points at something that does not fit
    # Of pointing:
    shifted: float = 0.0  # a reply whose places are off by a tenth of the picture
    swapped: float = 0.0  # a reply with y before x
    resized: float = 0.0  # a reply in places of a picture that the server shrank by a third
    missing: float = 0.0  # an instance left out
    wrong: float = 0.0  # another thing pointed at
    # What is wrong with the reply, not with the answer:
    json: float = 0.0  # malformed
    truncate: float = 0.0
    refuse: float = 0.0
    safety: float = 0.0
    rate_limit: float = 0.0  # 429 with Retry-After
    server: float = 0.0  # 500
    drop: float = 0.0  # the connection is cut in mid-reply
    slow: float = 0.0  # `slow_s` late

    @classmethod
    def parse(cls, text: str) -> Errors:
        """Read "missed=0.1,verdict=0.05": `verdict` stands for both false_accept and false_reject."""
        rates: dict[str, float] = {}
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, _, value = part.partition("=")
            names = ("false_accept", "false_reject") if name == "verdict" else (name,)
            try:
                rates |= dict.fromkeys(names, float(value))
            except ValueError as error:
                do = 'For example "json=0.05".'
                raise SettingError("an error rate is written name=rate", got=repr(part), do=do) from error
            if not (set(names) <= set(cls.__dataclass_fields__) and 0 <= rates[names[0]] <= 1):
                do = f"Known: verdict, {', '.join(cls.__dataclass_fields__)}."
                raise SettingError("no such error, or a rate outside 0..1", got=repr(part), do=do)
        return cls(**rates)


@dataclass(frozen=True)
class Thing:
    """Something that can be described: `name` is what makes a description true of it."""

    name: str
    kind: str  # thing | part | stuff
    mask: np.ndarray  # bool [H, W]
    parent: str | None = None

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1), ends one past the last pixel."""
        rows, columns = np.nonzero(self.mask.any(axis=1))[0], np.nonzero(self.mask.any(axis=0))[0]
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    @property
    def box_in_thousandths(self) -> tuple[float, ...]:
        """The same box in thousandths of the picture's width and height."""
        height, width = self.mask.shape
        return tuple(1000 * v / side for v, side in zip(self.box, (width, height) * 2, strict=True))

    @cached_property
    def place(self) -> str:
        """Where it is in the frame, in words."""
        height, width = self.mask.shape
        x, y = (self.box[0] + self.box[2]) / 2 / width, (self.box[1] + self.box[3]) / 2 / height
        row = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else "middle"
        column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else "center"
        return f"{row} {column}"

    @property
    def text(self) -> str:
        """A true description."""
        return f"{self.name}, {self.place}"


@dataclass(frozen=True)
class Question:
    """A prompt with its true answer."""

    text: str
    concept: str
    family: str
    mask: np.ndarray  # bool [H, W]
    negative: str | None = None
    instances: tuple[np.ndarray, ...] = ()  # bool [H, W] each, those in sight

    @property
    def request(self) -> str:
        """The prompt as the engine writes it."""
        return as_request(self.text)

    @property
    def short(self) -> bool:
        """Whether the engine would take so many words."""
        return len(self.request.split()) <= MOST_WORDS


@dataclass
class TrueScene:
    """One picture and what is true of it."""

    rgb: np.ndarray
    things: list[Thing]
    questions: list[Question] = field(default_factory=list)

    def question(self, text: str) -> Question | None:
        """Return the question that a prompt asks, whatever verb it starts with."""
        wanted = as_request(text).casefold()
        return next((q for q in self.questions if q.request.casefold() == wanted), None)

    def described(self, text: str, *, loosely: bool = False) -> Thing | None:
        """Return the thing a description is true of; `loosely` also takes one of the right kind only."""
        words = _words(text)
        place = text.rsplit(",", 1)[-1].strip() if "," in text else ""
        names = [t for t in self.things if set(_words(t.name)) <= set(words)]
        if not names and loosely:
            names = [t for t in self.things if _words(t.name)[-1] in words]
        # The most specific name first ("handle of red mug" over "red mug"), then the right place.
        return max(names, key=lambda t: (len(_words(t.name)), t.place == place), default=None)


_POLITE = re.compile(
    r"^(?:please|can you|could you|where can you see|i am looking for|i need|i want(?: to see)?|help me(?: to)?|"
    r"find|point (?:out|to)|show(?: me)?|segment|mark|highlight|select|give me|pick out|look for)\b[\s,]*",
    re.IGNORECASE,
)


def as_request(question: str) -> str:
    """Put a world prompt into the form the engine asks for: one plain verb in front, no politeness around."""
    text = question.strip().rstrip("?. ")
    for ending in (" please", " for me"):
        text = text.removesuffix(ending)
    while (shorter := _POLITE.sub("", text)) not in (text, ""):
        text = shorter
    return f"Segment {text}"


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


# -- truth on disk --------------------------------------------------------------------------------------------


def read_truth(folder: str | Path) -> Iterator[TrueScene]:
    """Yield the scenes of a folder of `askmask world make`, dense or not.

    Dense truth is read. Without it the scenes are simulated again from their seeds, which needs the extra [world].
    """
    folder = Path(folder)
    paths = shards(folder)
    if not paths and not (folder / "examples.jsonl").is_file():
        raise DataError("no simulated scenes there", got=folder, do="Make some: askmask world make --out DIR")
    for path in paths:
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            scene, view = shard.facts(row)
            with naming(f"{path}, view {row}"):
                found = _scene_of(shard.rgb[row], shard.objects[row], shard.parts[row], scene, view)
            yield found
    if not paths:
        yield from _simulate_again(folder)


def _simulate_again(folder: Path) -> Iterator[TrueScene]:
    from askmask.formats.own import read_examples
    from askmask.imaging.files import read_picture
    from askmask.runs.json_text import read_object
    from askmask.world.record import Asking, record

    plan = read_object(folder / "world.json")
    views: dict[tuple[int, int], dict[int, str]] = {}  # (seed, size) -> view -> picture
    for example in read_examples(folder):
        if example.size is None or "seed" not in example.meta:
            raise DataError(f"{example.id} is of no simulated scene", got=folder)
        views.setdefault((example.meta["seed"], example.size[0]), {})[example.meta["view"]] = example.image
    for (seed, size), pictures in views.items():
        found = record(seed, size, Asking(prompts=plan["prompts"]))
        for number, picture in sorted(pictures.items()):
            view = found.views[number]
            rgb = read_picture(picture).rgb
            yield _scene_of(rgb, view.objects, view.parts, found.facts, found.facts["views"][number])


def _scene_of(
    rgb: np.ndarray, objects: np.ndarray, parts: np.ndarray, scene: Mapping[str, Any], view: Mapping[str, Any]
) -> TrueScene:
    smallest = SMALLEST_SHARE * objects.size
    things = []
    for known in scene["objects"]:
        mask = objects == known["id"]
        if mask.sum() < smallest:
            continue
        name = f"{known['colour']} {known['category'].replace('_', ' ')}"
        things.append(Thing(name, "thing", mask))
        for part in known.get("parts", ()):
            part_mask = parts == part["id"]
            if part["name"] != "body" and part_mask.sum() >= smallest:
                things.append(Thing(f"{part['name']} of {name}", "part", part_mask, parent=name))
    for number, name in ((TABLE, "table"), (FLOOR, "floor")):
        mask = objects == number
        if mask.sum() >= 0.1 * objects.size:
            things.append(Thing(name, "stuff", mask))
    questions: dict[str, Question] = {}
    for prompt in view["prompts"]:
        instances = answer_masks(prompt["answer"], objects, parts)
        mask = np.any(instances, axis=0) if instances else np.zeros(objects.shape, bool)
        if instances and not mask.any():
            continue  # what answers it is out of sight
        known = Question(
            prompt["prompt"], prompt["concept"], prompt["family"], mask, prompt.get("negative"),
            tuple(one for one in instances if one.any()),
        )  # fmt: skip
        questions.setdefault(known.request.casefold(), known)
    return TrueScene(rgb, things, list(questions.values()))


class Gallery:
    """Scenes, found again by how a picture looks when it is small."""

    def __init__(self, scenes: Sequence[TrueScene]):
        if not scenes:
            raise DataError("no scenes to know")
        self.scenes = list(scenes)
        self._thumbnails = np.stack([thumbnail(scene.rgb) for scene in self.scenes])  # [N, 16*16*3]

    def recognise(self, rgb: np.ndarray) -> int | None:
        """Return the index of the scene a picture shows, None for a strange one."""
        distances = np.abs(self._thumbnails - thumbnail(rgb)).mean(axis=1)
        best = int(distances.argmin())
        return best if distances[best] <= FARTHEST else None


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """Return float32 [16*16*3]: the picture averaged to 16 x 16."""
    image = Image.fromarray(rgb).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32).ravel()


# -- answering ------------------------------------------------------------------------------------------------


class Oracle:
    """Answers structured requests by the name of their schema."""

    def __init__(self, gallery: Gallery, errors: Errors = Errors(), seed: int = 0):
        self.gallery, self.errors, self.seed = gallery, errors, seed
        self._answers = {
            "RegionsReply": self._describe,
            "BoxesReply": self._locate,
            "MaskReply": self._verify,
            "ChoiceReply": self._choose,
            "PromptsReply": self._write,
            "AlignmentReply": self._align,
            "PointingReply": self._point,
            "LookReply": self._look_again,
        }
        from askmask.world.oracle_dialogues import DialogueAnswers

        self._answers |= DialogueAnswers(errors, self._verdict).by_schema()

    def answer(
        self,
        schema_name: str,
        schema: Mapping[str, Any],
        inputs: Mapping[str, Any],
        pictures: Sequence[np.ndarray],
        key: str,
    ) -> dict[str, Any]:
        """Return the reply object. `key` identifies the request: equal keys draw equal mistakes.

        Raises DataError for a picture of no known scene or a schema it does not know.
        """
        if schema_name not in self._answers or not pictures:
            raise DataError("the oracle does not know this question", got=schema_name)
        index = self.gallery.recognise(pictures[0])
        if index is None:
            raise DataError("the oracle does not know this picture")
        draw = Draw(self.seed, key)
        return self._answers[schema_name](self.gallery.scenes[index], inputs, pictures, schema, draw)

    def _describe(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        things = sorted((t for t in scene.things if t.kind == "thing"), key=lambda t: -int(t.mask.sum()))
        rest = [t for t in scene.things if t.kind != "thing"]
        chosen = [*things[: 7 - bool(rest)], *rest[:1]]
        chosen = [t for t in chosen if not draw.chance(self.errors.missed)] or chosen[:1]
        regions = []
        for thing in chosen:
            text = thing.text
            if thing.kind == "thing" and draw.chance(self.errors.attribute):
                colour = text.split()[0]
                text = text.replace(colour, draw.among([c for c in COLOURS if c != colour]), 1)
            regions.append({"description": text, "kind": thing.kind, "parent": None})
        return {"scene": "Things on a table.", "regions": regions}

    def _locate(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        boxes = []
        for wanted in inputs["descriptions"]:
            thing = scene.described(wanted["description"], loosely=True)
            if thing is not None and draw.chance(self.errors.box):
                thing = draw.among([t for t in scene.things if t is not thing] or [thing])
            box = [0, 0, 0, 0] if thing is None else [round(v, 1) for v in thing.box_in_thousandths]
            boxes.append({"number": wanted["number"], "found": thing is not None, "box": box})
        return {"boxes": boxes}

    def _verify(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        seen = seen_in(pictures)
        shown = max(scene.things, key=lambda t: agreement(t.mask, seen))
        thing = scene.described(inputs["description"])
        matches = self._verdict(thing is not None and agreement(thing.mask, seen) >= FITS_IOU, draw)
        reason = "as described" if matches else "not as described"
        return {"seen": shown.text, "reason": reason, "matches": matches}

    def _choose(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        thing = scene.described(inputs["description"], loosely=True)
        if thing is None or len(pictures) < 3:
            return {"reason": "nothing like it is there", "choice": "neither"}
        first, second = (agreement(thing.mask, seen_in([pictures[0], other])) for other in pictures[1:3])
        choice = "neither" if max(first, second) < 0.3 else "first" if first >= second else "second"
        if draw.chance(self.errors.choice):
            choice = "second" if choice == "first" else "first"
        return {"reason": "it follows the edge better", "choice": choice}

    def _write(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        families = _families(schema)
        regions = {r["number"]: _thing_at(scene, r["box"]) for r in inputs["regions"]}
        questions = [q for q in scene.questions if q.concept == inputs["concept"] and q.short]
        positives = [q for q in questions if q.mask.any()]

        def written(question: Question, reason: str, **more: Any) -> dict[str, Any]:
            family = question.family if question.family in families else families[0]
            return {"prompt": question.request, "family": family, **more, "reason": reason}

        prompts: list[dict] = []
        for question in positives:
            inside = self._satisfying(question, regions, draw)
            if inside and len(inside) < len(regions):
                asked = {"candidates": sorted(regions), "satisfying": sorted(inside), "unmarked_rivals": []}
                prompts.append(written(question, "seen in the picture", **asked))
        negatives: list[dict] = []
        for question in [q for q in questions if q.negative][:2]:
            strategy = question.negative
            if positives and draw.chance(self.errors.negative):
                question, strategy = draw.among(positives), "absent"
            strategy = strategy if strategy in ("absent", "false_attribute") else "absent"
            negatives.append(written(question, "nothing like it is there", strategy=strategy))
        draw.shuffle(prompts)
        return {"prompts": prompts[:3], "negatives": negatives}

    def _satisfying(self, question: Question, regions: dict[int, Thing | None], draw: Draw) -> list[int]:
        """Return the regions that a prompt's mask is made of; none if they do not make all of it."""
        known = {number: thing.mask for number, thing in regions.items() if thing is not None}
        inside = [n for n, mask in known.items() if (mask & question.mask).sum() >= INSIDE * mask.sum()]
        covered = np.any([known[n] for n in inside], axis=0) if inside else np.zeros_like(question.mask)
        complete = agreement(covered, question.mask) >= INSIDE
        if not inside or not (complete or draw.chance(self.errors.context)):
            return []
        if draw.chance(self.errors.satisfying):
            outside = [n for n in regions if n not in inside]
            if outside and (len(inside) < 2 or draw.chance(0.5)):
                return [*inside, draw.among(outside)]
            return inside[1:] if len(inside) > 1 else inside
        return inside

    def _align(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        question = scene.question(inputs["prompt"])
        if question is None:
            return {"reason": "an unknown request", "accept": self._verdict(False, draw)}
        if len(pictures) < 2:
            right = not question.mask.any()
        else:
            right = agreement(question.mask, seen_in(pictures)) >= FITS_IOU
        accept = self._verdict(right, draw)
        return {"reason": "it fits" if accept else "it does not fit", "accept": accept}

    def _point(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        question = scene.question(inputs["asked"])
        truth = () if question is None else question.instances
        seen = [mask for mask in truth if not draw.chance(self.errors.missing)]
        others = [
            thing.mask for thing in scene.things if not any((thing.mask & mask).any() for mask in truth)
        ]
        seen = [draw.among(others) if others and draw.chance(self.errors.wrong) else mask for mask in seen]
        write = self._writer(draw)
        because = "" if seen else "nothing in the picture answers it"
        return {
            "instances": [write(mask) | {"label": f"thing {n}"} for n, mask in enumerate(seen, 1)],
            "nothing_because": because,
            "reply": "",
        }

    def _look_again(self, scene: TrueScene, inputs: Any, pictures: Any, schema: Any, draw: Draw) -> dict:
        """Judge drawn regions by their boxes: one that fits no instance is withdrawn, one that nearly does mended."""
        question = scene.question(inputs["asked"])
        left = [] if question is None else list(question.instances)
        write, verdicts = self._writer(draw), []
        for region in inputs["regions"]:
            overlaps = [_box_iou(region["bbox_2d"], _box_of(mask)) for mask in left]
            best = max(overlaps, default=0.0)
            verdict = "keep" if best >= FITS_IOU else "correct" if best >= 0.1 else "withdraw"
            one: dict[str, Any] = {
                "number": region["number"],
                "verdict": verdict,
                "bbox_2d": [],
                "points_2d": [],
            }
            if verdict != "withdraw":
                mask = left.pop(overlaps.index(best))
                one |= write(mask) if verdict == "correct" else {}
            verdicts.append(one)
        return {"verdicts": verdicts, "missing": [write(mask) | {"label": "missing"} for mask in left]}

    def _writer(self, draw: Draw) -> Callable[[np.ndarray], dict[str, Any]]:
        """Return what writes a mask's box and a point deep inside it, with the faults that a whole reply has."""
        shifted, swapped, resized = (
            draw.chance(getattr(self.errors, name)) for name in ("shifted", "swapped", "resized")
        )

        def write(mask: np.ndarray) -> dict[str, Any]:
            def place(x: float, y: float) -> list[float]:
                x, y = (2 * x / 3, 2 * y / 3) if resized else (x, y)
                x, y = (min(1000.0, x + 100), min(1000.0, y + 100)) if shifted else (x, y)
                return [round(v, 1) for v in ((y, x) if swapped else (x, y))]

            x0, y0, x1, y1 = _box_of(mask)
            depth = distance_inside(mask)
            y, x = np.unravel_index(int(depth.argmax()), mask.shape)
            inside = place(1000 * (float(x) + 0.5) / mask.shape[1], 1000 * (float(y) + 0.5) / mask.shape[0])
            return {"bbox_2d": [*place(x0, y0), *place(x1, y1)], "points_2d": [inside]}

        return write

    def _verdict(self, truth: bool, draw: Draw) -> bool:
        wrong = self.errors.false_reject if truth else self.errors.false_accept
        return truth != draw.chance(wrong)


class Draw:
    """Random numbers that depend on a seed and a request alone."""

    def __init__(self, seed: int, key: str):
        digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8], "big"))

    def chance(self, rate: float) -> bool:
        """True with the probability `rate`. Always draws once, so that rates do not shift later draws."""
        return self._random.random() < rate

    def among(self, choices: Sequence[Any]) -> Any:
        """One of them."""
        return choices[int(self._random.random() * len(choices))]

    def shuffle(self, items: list[Any]) -> None:
        """Reorder in place."""
        self._random.shuffle(items)


def _families(schema: Mapping[str, Any]) -> list[str]:
    """Return the sub-family names the request's schema allows."""
    found = re.search(r'"family":\s*\{[^{}]*?"enum":\s*(\[[^\]]*\])', json.dumps(schema))
    return json.loads(found.group(1)) if found else ["instances"]


def _thing_at(scene: TrueScene, box: Sequence[float]) -> Thing | None:
    """Return the thing whose box a region's box (in thousandths) agrees with best."""

    def overlap(thing: Thing) -> float:
        return _box_iou(box, thing.box_in_thousandths)

    best = max(scene.things, key=overlap, default=None)
    return best if best is not None and overlap(best) >= 0.5 else None


def _box_of(mask: np.ndarray) -> tuple[float, ...]:
    return Thing("", "thing", mask).box_in_thousandths


def _box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    common = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return common / max(1e-9, (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def distance_inside(mask: np.ndarray) -> np.ndarray:
    """Return for each pixel [H, W] how many steps it lies inside the mask, counted in the four directions."""
    depth, left = np.zeros(mask.shape, np.int32), np.pad(mask, 1)
    while left.any():
        inner = left[1:-1, 1:-1]
        depth += inner
        kept = inner & left[:-2, 1:-1] & left[2:, 1:-1] & left[1:-1, :-2] & left[1:-1, 2:]
        left = np.pad(kept, 1)
    return depth


def seen_in(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mask that the second picture shows beside the first, bool [H, W]; raises DataError."""
    if len(pictures) < 2 or pictures[0].shape != pictures[1].shape:
        raise DataError("the oracle needs the original and the marked picture, of one size")
    return seen_mask(pictures[0], pictures[1])


def agreement(mask: np.ndarray, seen: np.ndarray) -> float:
    """IoU of a true mask [H, W] with one that was seen, at the size it was seen."""
    return Mask.from_array(shrink_mask(mask, seen.shape)).iou(Mask.from_array(seen))
