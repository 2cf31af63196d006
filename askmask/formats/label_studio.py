"""Label Studio's tasks, read and written: brush masks by its own run-length code, polygons, boxes, ellipses.

https://labelstud.io/guide/export and .../guide/tasks

    ROOT/tasks.json         or any JSON export; pictures: ROOT/images/
    ROOT/labels.xml         the labelling interface that shows them, to paste into the project's settings

One task, with a mask of the label "physics"; what was asked stands in the region's note ("meta"):

    {"data": {"image": "/data/local-files/?d=images/9.jpg"}, "annotations": [{"result": [
        {"id": "1-m1", "type": "brushlabels", "from_name": "label", "to_name": "image", "original_width": 640,
         "original_height": 480, "image_rotation": 0, "meta": {"text": ["what could roll off"]},
         "value": {"format": "rle", "rle": [0, 18, ...], "brushlabels": ["physics"]}}]}]}

The code (https://github.com/thi-ng/umbrella, rle-pack) is a stream of bits: the number of values in 32 bits, the bits
of a value less one in 5, four sizes of counts less one in 4 each; then blocks of a bit "one value repeated", two bits
"which size", a count less one, and a value, or as many values as counted. The values are RGBA, four to a pixel, row by
row; of them alpha is the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from askmask.conversation import Example, Segment, Source
from askmask.errors import DataError
from askmask.formats.polygons import drawn
from askmask.formats.reading import (
    Frames,
    NoTruth,
    inside,
    item,
    read_json,
    rounds_of,
    score_of,
    size_of,
    text_of,
    upright,
    upright_size,
)
from askmask.formats.writing import by_picture, count_losses, nothing_of, shapes_of, size_of_picture, xml_text
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.runs.whole_files import write_json, write_text

TASKS, INTERFACE = "tasks.json", "labels.xml"
HOLDS = ("prompt", "nothing", "score", "concept", "source")
NOTHING = "nothing_matches"  # the text field that lists prompts without a mask
MAX_CODE = 32 << 20  # bytes of a run-length code; reading one takes about ten times as much
_SIZES = (4, 8, 12, 16)  # bits of the four sizes of counts that are written
_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
_SHAPES = {
    kind.removesuffix("labels"): kind for kind in _KINDS
}  # without labels they have names of their own


DEEPEST = 40  # folders of a picture's address that are looked for below ours


def read_label_studio(
    root: str | Path, *, notes: Notes, pictures: str | None = None, exif: str = "auto"
) -> Iterator[Example]:
    """Yield one Example per task: a round for each label, or for each note of a label's regions.

    Of a task's annotations the first that was not cancelled counts; without any, its predictions. `pictures` is the
    folder where the pictures lie, `exif` as in `read_coco`. What is marked by key points or lines is unknown: what is
    asked for by their label is left out and counted.
    """
    root = Path(root)
    path = root / TASKS if root.is_dir() else root
    folder = Path(pictures) if pictures else path.parent
    tasks = read_json(path, kind=list)
    frames = Frames(exif=exif)
    for number, task in enumerate(tasks):
        where = f"{path}, task {number}"
        with item(where, notes):
            image, source, results = _picture_of(task["data"], folder), *_results_of(task, notes, where)
            regions: list[tuple[str, str, Segment | None]] = []
            nothing, size = [], None
            for result in results:
                if result.get("type") == "textarea" and result.get("from_name") == NOTHING:
                    nothing += [text_of(text, "text") for text in result["value"]["text"]]
                    continue
                kind = _SHAPES.get(str(result.get("type")), str(result.get("type")))
                if kind not in _KINDS:
                    if result.get("type") not in ("textarea", "labels", "choices", "relation"):
                        notes.add(f"results left out: {str(result.get('type'))[:40]} is no area", where)
                        if labels := _labels_of(result.get("value"), kind):
                            regions.append((labels, _note_of(result), None))
                    continue
                stated = size_of(result["original_height"], result["original_width"])
                try:
                    if result.get("image_rotation"):
                        raise NoTruth("results left out: drawn while the picture was turned")
                    turn = frames.orientation(image, stated)
                    mask = upright(_mask_of(result["value"], kind, stated), turn)
                except NoTruth as error:
                    notes.add(str(error), where)
                    regions.append((_label_of(result["value"], kind), _note_of(result), None))
                    continue
                size = upright_size(stated, turn)
                segment = Segment(mask=mask, source=source, score=score_of(result.get("score")))
                regions.append((_label_of(result["value"], kind), _note_of(result), segment))
            rounds = rounds_of(regions, nothing, notes, where)
            if not rounds:
                notes.add("tasks left out: nothing is said about them", where)
                continue
            yield Example(
                id=f"label-studio-{task.get('id', number)}",
                image=str(image),
                size=size,
                independent=True,
                source="label-studio",
                rounds=rounds,
            )


def write_label_studio(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write tasks.json and labels.xml; return the number of masks.

    A task per picture, as an annotation, or where a model made any of its masks as a prediction; as one that is
    still to be annotated if no prompt about it was answered.
    """
    tasks, labels, count = [], {}, 0
    for picture, group in by_picture(examples).items():
        height, width = size_of_picture(group)
        count_losses(group, HOLDS, notes, "Label Studio")
        common = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
        results: list[dict[str, Any]] = []
        model = False
        for shape in shapes_of(group):
            labels[shape.label] = True
            value = {"format": "rle", "rle": encode_rle(shape.segment.mask), "brushlabels": [shape.label]}
            result: dict[str, Any] = {"id": f"{shape.group}-{shape.segment.id}", "type": "brushlabels"}
            result |= {"from_name": "label"} | common | {"meta": {"text": [shape.words]}, "value": value}
            if shape.segment.score is not None:
                result["score"] = shape.segment.score
            results.append(result)
            model |= shape.segment.source == "predicted"
        if nothing := nothing_of(group):
            field = {"id": NOTHING, "type": "textarea", "from_name": NOTHING, "value": {"text": nothing}}
            results.append(field | common)
        count += sum(result["type"] == "brushlabels" for result in results)
        made: dict[str, Any] = {}  # an annotation without results would say that somebody saw nothing
        if model:
            made = {"predictions": [{"model_version": name, "result": results}]}
        elif results:
            made = {"annotations": [{"result": results}]}
        tasks.append({"data": {"image": f"/data/local-files/?d={quote(picture)}"}} | made)
    write_json(folder / TASKS, tasks, indent=None)
    write_text(folder / INTERFACE, _interface(labels))
    return count


def encode_rle(mask: Mask) -> list[int]:
    """Write a mask in Label Studio's run-length code, as a list of bytes."""
    flat = mask.to_array().ravel()  # row by row
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(np.append(starts, flat.size)) * 4
    values = flat[starts]
    most = 1 << _SIZES[-1]
    repeats = -(-lengths // most)  # a longer run than a count can say is several
    lengths = np.minimum(most, np.repeat(lengths, repeats) - most * _counting(repeats))
    values = np.repeat(values, repeats)
    which = np.searchsorted([1 << size for size in _SIZES], lengths)
    sizes = np.array(_SIZES)[which]
    # flag 1, which size in 2 bits, count less one, value: as one number of 11 + size bits each
    blocks = (((1 << 2 | which) << sizes | lengths - 1) << 8) | np.where(values, 255, 0)
    places = np.arange(32)[::-1]
    bits = (blocks[:, None] >> places & 1)[places < (sizes + 11)[:, None]]
    head = f"{flat.size * 4:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    return np.packbits(np.concatenate([np.array(list(head), np.uint8), bits.astype(np.uint8)])).tolist()


def decode_rle(code: Any, size: tuple[int, int]) -> Mask:
    """Read a mask in Label Studio's run-length code: a pixel whose alpha is not 0 belongs to it.

    Raises DataError for what is no such code of a picture of `size` (height, width).
    """
    most = min(8 * size[0] * size[1] + 64, MAX_CODE)
    if (
        not isinstance(code, list)
        or len(code) > most
        or not all(type(byte) is int and 0 <= byte < 256 for byte in code)
    ):
        raise DataError(f'"rle" must be a list of at most {most} bytes', got=repr(code)[:60])
    bits = "".join(f"{byte:08b}" for byte in code)
    count, height, width = int(bits[:32] or "0", 2), *size
    if len(bits) < 53 or count != 4 * height * width:
        raise DataError(f'"rle" must hold 4 values for each of {height} x {width} pixels', got=count)
    word = int(bits[32:37], 2) + 1
    sizes = [int(bits[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    values = np.zeros(count, np.uint8)
    place, done = 53, 0
    try:
        while done < count:
            repeated, length = bits[place] == "1", sizes[int(bits[place + 1 : place + 3], 2)]
            place += 3 + length
            end = done + 1 + int(bits[place - length : place], 2)
            if end > count:
                raise DataError('"rle" holds more values than it says')
            if repeated:
                values[done:end] = int(bits[place : place + word], 2) != 0
                place += word
            else:
                last = place + word * (end - done)
                row = np.frombuffer(bits[place:last].encode(), np.uint8).reshape(end - done, word)
                values[done:end] = (row != 48).any(1)
                place = last
            done = end
    except (IndexError, ValueError) as error:
        raise DataError('"rle" is cut short', got=f"{len(code)} bytes") from error
    return Mask.from_array(values.reshape(height, width, 4)[..., 3])


def _counting(repeats: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... for each of the repeats."""
    return np.arange(repeats.sum()) - np.repeat(repeats.cumsum() - repeats, repeats)


def _interface(labels: Iterable[str]) -> str:
    choices = "".join(f"    <Label value={quoteattr(xml_text(label))}/>\n" for label in labels)
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="label" toName="image">
{choices}  </BrushLabels>
  <Header value="Asked, and nothing matches:"/>
  <TextArea name="{NOTHING}" toName="image" editable="true"/>
</View>
"""


def _results_of(task: Mapping[str, Any], notes: Notes, where: str) -> tuple[Source, list[dict[str, Any]]]:
    """Return whose results of a task count ("gold" or "predicted"), and these."""
    made = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    if made:
        if len(made) > 1:
            notes.add("annotations left out: a task's second and later ones", where, len(made) - 1)
        if task.get("predictions"):
            notes.add("predictions left out: the task has an annotation", where)
        return "gold", made[0]["result"]
    predictions = task.get("predictions") or ()
    if len(predictions) > 1:
        notes.add("predictions left out: a task's second and later ones", where, len(predictions) - 1)
    return "predicted", predictions[0]["result"] if predictions else []


def _picture_of(data: Mapping[str, Any], folder: Path) -> Path:
    """Return where a task's picture lies: the last of its address that there is below `folder`."""
    given = data.get("image") or next((v for v in data.values() if isinstance(v, str) and "/" in v), None)
    address = urlsplit(text_of(given, "image"))
    local = parse_qs(address.query).get("d")
    parts = Path(local[0] if local else unquote(address.path)).parts[-DEEPEST:]
    tried = [folder / Path(*parts[at:]) for at in range(len(parts)) if parts[at] not in ("/", "..")]
    # Uploads are stored as 8 hexadecimal digits, a hyphen, and the name.
    tried += [folder / "images" / parts[-1], folder / parts[-1].partition("-")[2]] if parts else []
    return next((path for path in tried if path.is_file()), inside(folder, "/".join(parts).lstrip("/")))


def _label_of(value: Mapping[str, Any], kind: str) -> str:
    labels = value.get(kind) or value.get("labels") or []
    return " + ".join(text_of(label, kind) for label in labels) or "(no label)"


def _labels_of(value: Any, kind: str) -> str:
    """Return the labels of a result that is no area; "" for one that lies nowhere, such as a rating."""
    if not isinstance(value, Mapping) or not value.keys() & {"x", "points", "vertices"}:
        return ""
    return _label_of(value, kind)


def _note_of(result: Mapping[str, Any]) -> str:
    note = (result.get("meta") or {}).get("text")
    return text_of(note[0], "text") if isinstance(note, list) and len(note) == 1 else ""


def _mask_of(value: Mapping[str, Any], kind: str, size: tuple[int, int]) -> Mask:
    """Return the mask of a region; all but brushes are in percent of the picture's sides."""
    if kind == "brushlabels":
        return drawn(decode_rle(value.get("rle"), size))
    height, width = size
    percent = np.array([width, height]) / 100
    if kind == "polygonlabels":
        return drawn(Mask.from_polygons([np.array(value["points"], np.float64) * percent], size))
    corner = np.array([float(value["x"]), float(value["y"])]) * percent
    turn = np.deg2rad(float(value.get("rotation") or 0))
    along, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    if kind == "rectanglelabels":
        across, deep = along * value["width"] * percent[0], down * value["height"] * percent[1]
        return drawn(
            Mask.from_polygons([[corner, corner + across, corner + across + deep, corner + deep]], size)
        )
    y, x = np.mgrid[:height, :width] + 0.5
    x, y = x - corner[0], y - corner[1]
    a, b = float(value["radiusX"]) * percent[0], float(value["radiusY"]) * percent[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        area = ((x * along[0] + y * along[1]) / a) ** 2 + ((x * down[0] + y * down[1]) / b) ** 2 <= 1
    return drawn(Mask.from_array(area))
