"""A tiny valid file set for every reader of files from outside, and how to read it to its last pixel."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from askmask.conversation import Example
from askmask.errors import AskMaskError
from askmask.formats import open_dataset
from askmask.imaging.mask import Mask

H, W = 12, 16
COCO_NAME = "COCO_train2014_000000000003.jpg"


@dataclass(frozen=True)
class FileSet:
    """`write` makes the files below a folder; `read` reads them; `hit` are those to be damaged."""

    write: Callable[[Path], None]
    read: Callable[[Path], object]
    hit: tuple[str, ...]


def ring(x0: int, y0: int, x1: int, y1: int) -> list[int]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def points(*box: int) -> list[list[int]]:
    flat = ring(*box)
    return [flat[k : k + 2] for k in range(0, 8, 2)]


def box(x0: int, y0: int, x1: int, y1: int) -> Mask:
    array = np.zeros((H, W), bool)
    array[y0:y1, x0:x1] = True
    return Mask.from_array(array)


def picture(path: Path, **options) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((W, H), 60).convert("RGB").save(path, **options)
    return path.read_bytes()


def dump(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    text = "".join(json.dumps(row) + "\n" for row in value) if lines else json.dumps(value)  # type: ignore[union-attr]
    path.write_text(text)


def read_examples(examples: Iterable[Example]) -> int:
    """Read Examples as training and scoring do: pixels, masks, truth, and their own storage."""
    from askmask.evaluation.truth import truths_of
    from askmask.imaging.files import read_picture

    count = 0
    for example in examples:
        count += 1
        assert isinstance(example.id, str) and isinstance(example.image, str)
        assert Example.from_dict(json.loads(json.dumps(example.to_dict()))) == example
        for round in example.rounds:
            assert isinstance(round.text, str) and isinstance(round.reply, str | None)
            for mask in (
                *(round.masks or ()),
                *round.prompt.masks,
                *([round.ignore] if round.ignore else ()),
            ):
                assert mask.to_array().shape == mask.size
        for truth in truths_of([example]):
            assert truth.mask.size == truth.size
        if os.path.exists(example.image):
            read_picture(example.image)
    return count


def dataset(spec: str) -> Callable[[Path], int]:
    return lambda root: read_examples(open_dataset(spec.replace("ROOT", str(root))))


# -- the sets -------------------------------------------------------------------------------------------------


def _own(root: Path) -> None:
    picture(root / "a.png")
    segment = box(1, 1, 5, 5).to_dict() | {"source": "gold", "span": [0, 3]}
    asked = {"id": "r1", "prompt": {"text": "the cup"}, "segments": [segment], "reply": "Here it is."}
    then = {"id": "r2", "prompt": {"text": "its lid", "refers_to": ["r1"]}, "segments": []}
    old = {"prompt": "the cup", "masks": [box(1, 1, 5, 5).to_dict()], "ignore": box(7, 7, 9, 9).to_dict()}
    rows = [
        {"schema": 2, "id": "a", "image": "a.png", "size": [H, W], "rounds": [asked, then], "split": "val"},
        {"schema": 1, "id": "b", "image": "a.png", "size": [H, W], "rounds": [old | {"meta": {"k": 1}}]},
    ]
    dump(root / "examples.jsonl", rows)


def _parquet(root: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    _own(root)
    picture_bytes = (root / "a.png").read_bytes()
    rows = []
    for line in (root / "examples.jsonl").read_text().splitlines():
        rows.append({"example": line, "image": {"bytes": picture_bytes, "path": "a.png"}})
    (root / "examples.jsonl").unlink()
    parquet.write_table(pyarrow.Table.from_pylist(rows), root / "val.parquet")


def _converseg(root: Path) -> None:
    picture(root / "images/1.jpg")
    (root / "masks").mkdir()
    box(1, 1, 5, 5).to_png(root / "masks/1.png")
    items = [{"id": n, "image": "images/1.jpg", "mask": "masks/1.png", "prompt": "what rolls", "concept": "physics"}
             for n in (4, "b")]  # fmt: skip
    dump(root / "items.json", {"dataset": "x", "count": 2, "items": items})
    dump(
        root / "dataset.jsonl",
        [{"image": "images/1.jpg", "mask_merged": "masks/1.png", "prompt": "what rolls"}],
    )


def _hub(root: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    _converseg(root)
    row = {"id": "r", "prompt": "what rolls", "concept": "physics"}
    for name, file in (("image", "images/1.jpg"), ("mask", "masks/1.png")):
        row[name] = {"bytes": (root / file).read_bytes(), "path": None}
    (root / "data").mkdir()
    table = pyarrow.Table.from_pylist([row, row | {"id": "s"}])
    parquet.write_table(table, root / "data/human_annotated-00000-of-00001.parquet")


def _instances(boxes: dict[int, tuple[int, ...]], name: str = COCO_NAME) -> dict:
    rows = [
        {"id": n, "image_id": 3, "category_id": 1, "iscrowd": 0, "segmentation": [ring(*b)]}
        for n, b in boxes.items()
    ]
    rows.append(
        {
            "id": 9,
            "image_id": 3,
            "category_id": 1,
            "iscrowd": 1,
            "segmentation": {"size": [H, W], "counts": [H * W - 1, 1]},
        }
    )
    images = [{"id": 3, "file_name": name, "height": H, "width": W}]
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}


def _coco(root: Path) -> None:
    picture(root / "val2017" / "a.jpg")
    dump(root / "annotations/instances_val2017.json", _instances({7: (0, 0, 4, 4), 8: (5, 5, 9, 9)}, "a.jpg"))


def _panoptic(root: Path) -> None:
    place = root / "annotations/panoptic_val2017"
    place.mkdir(parents=True)
    annotations, images = [], []
    for n in (3, 4):
        picture(root / f"val2017/{n}.jpg")
        ids = np.zeros((H, W, 3), np.uint8)
        ids[:6, :, 0], ids[6:, :8, 1] = 7, 2
        Image.fromarray(ids).save(place / f"{n}.png")
        segments = [{"id": i, "category_id": c, "iscrowd": 0} for i, c in ((7, 1), (512, 199))]
        annotations.append({"image_id": n, "file_name": f"{n}.png", "segments_info": segments})
        images.append({"id": n, "file_name": f"{n}.jpg", "height": H, "width": W})
    names = {1: "person", 199: "wall-other-merged"}
    categories = [{"id": n, "name": name, "isthing": int(n < 91)} for n, name in names.items()]
    dump(
        root / "annotations/panoptic_val2017.json",
        {"images": images, "annotations": annotations, "categories": categories},
    )


def _ref(number: int, annotation: object, category: object = 1) -> dict:
    sentence = {"sent_id": number, "raw": "Woman in Red.", "sent": "woman in red", "tokens": ["woman"]}
    return {
        "ref_id": number, "ann_id": annotation, "category_id": category, "image_id": 3, "split": "val",
        "file_name": COCO_NAME, "sent_ids": [number], "sentences": [sentence],
    }  # fmt: skip


def _refcoco(root: Path) -> None:
    dump(root / "refcoco/instances.json", _instances({7: (0, 0, 4, 4), 8: (5, 5, 9, 9)}))
    (root / "refcoco/refs(unc).p").write_bytes(pickle.dumps([_ref(1, 7), _ref(2, 8)], 2))


def _grefcoco(root: Path) -> None:
    dump(root / "grefcoco/instances.json", _instances({7: (0, 0, 4, 4), 8: (5, 5, 9, 9)}))
    dump(root / "grefcoco/grefs(unc).json", [_ref(1, [7, 8], [1, 1]), _ref(2, [-1], [-1])])


def _reasonseg(root: Path) -> None:
    picture(root / "val/a.jpg")
    shapes = [
        {"label": label, "points": points(*b)}
        for label, b in (
            ("target", (0, 0, 9, 9)),
            ("ignore", (2, 2, 6, 6)),
            ("target", (3, 3, 5, 5)),
            ("flag", (0, 0, 3, 3)),
        )
    ]
    dump(root / "val/a.json", {"text": ["what keeps rain off"], "is_sentence": True, "shapes": shapes})


def _prist(root: Path) -> None:
    turns = [
        {"from": speaker, "value": text}
        for speaker, text in (
            ("human", "What is this?"),
            ("gpt", "A label."),
            ("human", "Segment it."),
            ("gpt", "It is [SEG]."),
        )
    ]
    dump(root / "test.json", [{"img_id": "0a.jpg", "focus": "red label", "dialogue": turns}])
    shapes = [
        {"label": "Red Label", "points": points(0, 0, 4, 4)},
        {"label": "cap", "points": points(5, 5, 8, 8)},
    ]
    place = root / "multiturn/Multiturn/val"
    picture(place / "0a.jpg")
    dump(place / "masks/0a.json", {"imageHeight": H, "imageWidth": W, "shapes": shapes})


def _mrseg(root: Path) -> None:
    image = "coco/train2014/a.jpg"
    picture(root / "images_folder" / image)
    dump(root / "annotations_folder/refcoco.json", _instances({12: (0, 0, 4, 4), 31: (6, 0, 9, 3)}, "a.jpg"))
    dump(root / "annotations_folder/vg.json", {"7_3": box(0, 0, 2, 2).to_dict()})
    maps = root / "annotations_folder/ade"
    maps.mkdir()
    Image.fromarray(np.full((H, W), 18, np.uint8)).save(maps / "a.png")
    (root / "annotations.yaml").write_text(
        "datasets:\n  - {name: refcoco, path: annotations_folder/refcoco.json}\n"
        "  - {name: visual_genome, path: annotations_folder/vg.json}\n"
        "  - {name: ade20k, path: annotations_folder/ade}\n"
    )
    turns = []
    for human, gpt in (
        (f"[IMAGE256:{image}] the dog", f"Sure. [MASK-DECODE:{image}|refcoco|12]"),
        (
            f"[MASK-ENCODE:{image}|refcoco|12] right of instance 1?",
            f"[MASK-DECODE:relational:12:31:{image}:refcoco]",
        ),
        ("and that", f"[MASK-DECODE:{image}|visual_genome|7_3]"),
        ("and the wall", f"[MASK-DECODE:{image}|ade20k|17]"),
    ):
        turns += [{"from": "human", "value": human, "ind": 1}, {"from": "gpt", "value": gpt}]
    dump(
        root / "conversations_folder/mix_val/mr.json",
        [{"task": "s", "conv_id": "c", "conversations": turns}],
    )


def _muse(root: Path, name: str = "muse_val") -> None:
    target = {
        "bbox": [0, 0, 2, 2],
        "segmentation": [ring(0, 0, 3, 3)],
        "category_name": "bowl",
        "rephrased_name": "soup",
    }
    coded = {"segmentation": box(3, 3, 5, 5).to_dict(), "category_name": "bowl:inner_body"}
    row = {"file_name": COCO_NAME, "height": H, "width": W, "ann_list": [], "questions": ["What to eat?", "And?"],
           "answers": [[target, coded], [coded]], "text_answers": ["Eat {seg} or {seg}.", "{seg}"]}  # fmt: skip
    dump(root / f"{name}.json", [row, row])


def _dense(root: Path) -> None:
    import askmask.training.talks  # noqa: F401 -- torch is loaded here, where no case is timed
    from tests.training.discs import write_discs

    write_discs(root, scenes=2, seed=1, size=48)


def _read_dense(root: Path) -> int:
    """Read shards as training does: pixels, what is asked, and what things are to each other."""
    from askmask.formats.dense import read_shard, shards
    from askmask.training.prompts import asks_of, measure_table, pair_table
    from askmask.training.reply_targets import dialogues_of, singles_of
    from askmask.training.talks import talks_of
    from askmask.training.vocabulary import Vocabulary

    count = 0
    for path in shards(root):
        shard = read_shard(path)
        words = Vocabulary.of(shard.scenes)
        for row in range(len(shard.rgb)):
            scene, view = shard.facts(row)
            words.tables(scene["objects"])
            for prompt in view["prompts"]:
                count += len(shard.answer_masks(row, prompt))
            for told in (asks_of, singles_of, dialogues_of, talks_of, pair_table, measure_table):
                count += len(told(scene, view))
    return count


def _world(root: Path) -> None:
    """A scene of the simulated world, with single prompts, a conversation and a dialogue."""
    import askmask.training.talks
    import askmask.world.oracle  # noqa: F401 -- loaded where no case is timed

    for path in (Path(__file__).parent / "world").iterdir():
        shutil.copy(path, root)


def _read_world(root: Path) -> int:
    """Read a scene of the world as its oracle, its hashes and its new prompts do."""
    from askmask.world.generate import reask
    from askmask.world.oracle import read_truth
    from askmask.world.record import Asking
    from askmask.world.tabletop import stored

    count = _read_dense(root) + len(list(read_truth(root))) + len(list(stored(root)))
    with tempfile.TemporaryDirectory(dir=root.parent.parent, prefix="asked-") as anew:  # it writes
        for path in root.glob("shard-*"):
            shutil.copy(path, anew)
        try:
            return count + sum(reask(path, Asking(4, 2, 1, 1)) for path in sorted(Path(anew).glob("*.npz")))
        except AskMaskError as error:  # said of the copy
            raise type(error)(str(error).replace(anew, str(root))) from error


def _score(root: Path) -> None:
    row = {"id": "a", "size": [H, W], "masks": [box(1, 1, 5, 5).to_dict()]}
    rest = {"prompt": "the cup", "concept": "spatial", "round": 2, "conversation": "c", "reply": "Here."}
    dump(root / "truth.jsonl", [row | rest | {"ignore": box(8, 8, 9, 9).to_dict()}, row | {"id": "b"}])
    mask = box(1, 1, 5, 5).to_png(root / "m.png") and "m.png"
    dump(root / "predictions.jsonl", [{"id": "a", "masks": row["masks"], "score": 0.5}, {"id": "b", "masks": [mask]}])  # fmt: skip


def _read_score(root: Path) -> int:
    from askmask.evaluation.predictions import PredictionFiles
    from askmask.evaluation.scoring import score
    from askmask.evaluation.truth import read_truths

    scored = score(PredictionFiles(root / "predictions.jsonl"), read_truths(root / "truth.jsonl"))
    return len(json.dumps(scored.to_dict(resamples=0)))


def _questions(root: Path) -> None:
    picture(root / "a.png")
    dump(root / "q.jsonl", [{"image": "a.png", "prompt": "the cup", "id": n} for n in "ab"])


def _read_questions(root: Path) -> int:
    from askmask.batch import read_items

    items, bad = read_items(root / "q.jsonl")
    assert all(isinstance(text, str) for item in items for text in (item.key, item.prompt))
    return len(items) + len(bad)


def _replay(root: Path) -> None:
    row = {
        "stage": "verify",
        "schema": "MaskReply",
        "reply": '{"matches": true}',
        "picture": "0" * 16,
        "inputs": {},
    }
    dump(root / "replies.jsonl", [row, row | {"refused": ["refusal", "no"], "inputs": {"a": 1}}])


def _read_replay(root: Path) -> object:
    from askmask.vlm.replay import ReplayVlm

    return ReplayVlm(root / "replies.jsonl")


def _pictures(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "jpg", "webp", "tif", "gif", "bmp"):
        picture(root / f"a.{suffix}", **({"exif": exif} if suffix in ("png", "jpg", "webp") else {}))


def _read_pictures(root: Path) -> int:
    from askmask.errors import PictureError
    from askmask.imaging.files import read_picture

    found: list[PictureError] = []
    for path in sorted(root.iterdir()):
        try:
            picture = read_picture(path)
            assert picture.rgb.dtype == np.uint8 and picture.rgb.shape == (*picture.size, 3)
        except PictureError as error:
            found.append(error)
    if found:
        raise found[0]
    return 1


def _masks(root: Path) -> None:
    for mode in ("L", "1", "P", "RGBA", "I;16"):
        Image.fromarray(box(1, 1, 5, 5).to_array().astype(np.uint8) * 200).convert(mode if mode != "I;16" else "I;16").save(
            root / f"m{mode[0]}{len(mode)}.png"
        )  # fmt: skip


def _read_masks(root: Path) -> int:
    return sum(Mask.from_png(path).area >= 0 for path in sorted(root.iterdir()))


def _tool(to: str) -> Callable[[Path], None]:
    """The files of another tool, as `askmask convert` writes them."""

    def write(root: Path) -> None:
        from askmask.conversation import Prompt, Round, Segment
        from askmask.formats.catalogue import WRITERS
        from askmask.notes import Notes

        folder = "images/train" if WRITERS[to].by_split else "images"
        picture(root / folder / "a.png")
        segments = (Segment(mask=box(1, 1, 5, 5), score=0.5, name="x"), Segment(mask=box(7, 7, 9, 9)))
        rounds = (
            Round(prompt=Prompt(text="the cup"), segments=segments, concept="spatial"),
            Round(prompt=Prompt(text="the zebra"), segments=()),
        )
        example = Example(id="a", image=f"{folder}/a.png", size=(H, W), rounds=rounds)
        WRITERS[to].write([example], root, name="x", notes=Notes())

    return write


def _read_source(name: str) -> Callable[[Path], int]:
    """Read what a command wrote, as `askmask convert` does."""

    def read(root: Path) -> int:
        from askmask.notes import Notes
        from askmask.sources import open_source

        return read_examples(open_source(str(root / name) if name else str(root), notes=Notes()))

    return read


def _session(root: Path) -> None:
    picture(root / "a.png")
    segment = box(1, 1, 5, 5).to_dict() | {"id": "m1", "source": "predicted", "score": 0.5}
    rounds = [{"id": "r1", "prompt": "the cup", "segments": [segment], "made_by": "x"}]
    about = {"name": "a.png", "size": [H, W], "sha256": "0"}
    dump(root / "talk.json", {"schema": 2, "picture": about, "model": {"name": "x"}, "rounds": rounds, "next": {"r": 2, "m": 2}})  # fmt: skip


def _answers(root: Path) -> None:
    picture(root / "a.png")
    mask = box(1, 1, 5, 5).to_dict() | {"id": "m1", "source": "predicted", "score": 0.5}
    answer = {"round": "r1", "prompt": "the cup", "found": True, "presence": 0.9, "presence_trained": True, "score": 0.5,
              "score_trained": True, "masks": [mask], "text": "", "mask_token": 0, "notices": [], "timings": {}}  # fmt: skip
    common = {"size": [H, W], "model": "x", "protocol": "native"}
    dump(root / "result.json", {"image": "a.png", "answers": [answer]} | common)


def png_of(width: int, height: int) -> bytes:
    """A small PNG of any size."""
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


SETS: dict[str, FileSet] = {
    "own": FileSet(_own, dataset("own:ROOT"), ("examples.jsonl", "a.png")),
    "parquet": FileSet(_parquet, dataset("own:ROOT"), ("val.parquet",)),
    "converseg": FileSet(_converseg, dataset("converseg:ROOT/items.json"), ("items.json", "masks/1.png")),
    "converseg lines": FileSet(_converseg, dataset("ROOT/dataset.jsonl"), ("dataset.jsonl", "masks/1.png")),
    "converseg hub": FileSet(
        _hub,
        dataset("converseg:ROOT@human_annotated"),
        ("data/human_annotated-00000-of-00001.parquet",),
    ),
    "coco": FileSet(_coco, dataset("coco:ROOT"), ("annotations/instances_val2017.json",)),
    "panoptic": FileSet(
        _panoptic,
        dataset("panoptic:ROOT"),
        ("annotations/panoptic_val2017.json", "annotations/panoptic_val2017/3.png"),
    ),
    "refcoco": FileSet(
        _refcoco,
        dataset("refcoco:ROOT@val"),
        ("refcoco/refs(unc).p", "refcoco/instances.json"),
    ),
    "grefcoco": FileSet(
        _grefcoco,
        dataset("grefcoco:ROOT@val"),
        ("grefcoco/grefs(unc).json", "grefcoco/instances.json"),
    ),
    "reasonseg": FileSet(_reasonseg, dataset("reasonseg:ROOT@val"), ("val/a.json", "val/a.jpg")),
    "prist": FileSet(
        _prist, dataset("prist:ROOT@test"), ("test.json", "multiturn/Multiturn/val/masks/0a.json")
    ),
    "mrseg": FileSet(
        _mrseg,
        dataset("mrseg:ROOT@mix_val"),
        (
            "conversations_folder/mix_val/mr.json",
            "annotations.yaml",
            "annotations_folder/refcoco.json",
            "annotations_folder/vg.json",
            "annotations_folder/ade/a.png",
        ),
    ),
    "muse": FileSet(_muse, dataset("muse:ROOT@val"), ("muse_val.json",)),
    "mmr": FileSet(
        lambda root: _muse(root, "MMR_val"),
        dataset("mmr:ROOT@val"),
        ("MMR_val.json",),
    ),
    "label-studio": FileSet(_tool("label-studio"), dataset("label-studio:ROOT"), ("tasks.json",)),
    "cvat": FileSet(_tool("cvat"), dataset("cvat:ROOT"), ("annotations.xml",)),
    "labelme": FileSet(_tool("labelme"), dataset("labelme:ROOT"), ("images/a.json",)),
    "yolo-seg": FileSet(_tool("yolo-seg"), dataset("yolo-seg:ROOT"), ("data.yaml", "labels/train/a.txt")),
    "session": FileSet(_session, _read_source("talk.json"), ("talk.json",)),
    "answers": FileSet(_answers, _read_source("result.json"), ("result.json",)),
    "world": FileSet(_world, _read_world, ("shard-00000.jsonl", "shard-00000.npz")),
    "dense": FileSet(_dense, _read_dense, ("shard-00000.npz", "shard-00000.jsonl")),
    "score": FileSet(_score, _read_score, ("truth.jsonl", "predictions.jsonl", "m.png")),
    "batch": FileSet(_questions, _read_questions, ("q.jsonl",)),
    "replay": FileSet(_replay, _read_replay, ("replies.jsonl",)),
    "pictures": FileSet(_pictures, _read_pictures, tuple(f"a.{s}" for s in ("png", "jpg", "webp", "tif", "gif", "bmp"))),
    "masks": FileSet(_masks, _read_masks, ("mL1.png", "m11.png", "mP1.png", "mR4.png", "mI4.png")),
}  # fmt: skip
