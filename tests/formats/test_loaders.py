"""Every loader on a tiny made-up set in the exact file format of its source, known dirt included."""

import json
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from askmask.conversation import Example
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.evaluation.truth import truths_of
from askmask.formats import LOADERS, open_dataset
from askmask.formats.refcoco import in_split
from askmask.imaging.mask import Mask
from askmask.notes import Notes

H, W = 12, 16


def picture(path, size=(H, W), colour=(120, 130, 140)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], colour).save(path)


def dump(path, value, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(value, ensure_ascii=False).encode(encoding))


def box_ring(x0, y0, x1, y1):
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def box_points(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def box_mask(x0, y0, x1, y1, size=(H, W)):
    array = np.zeros(size, bool)
    array[y0:y1, x0:x1] = True
    return Mask.from_array(array)


def examples(spec):
    """Read a set twice: loaders are deterministic, and every Example survives its own storage."""
    first, second = list(open_dataset(spec)), list(open_dataset(spec))
    assert first == second
    assert [Example.from_dict(json.loads(json.dumps(e.to_dict()))) for e in first] == first
    assert len({e.id for e in first}) == len(first)
    list(truths_of(first))
    return first


def left_out(spec):
    """Return what a user reads of the items that were left out."""
    notes = Notes()
    list(open_dataset(spec, notes=notes))
    return "\n".join(notes.lines())


# -- refer sets ---------------------------------------------------------------------------------------------


@pytest.fixture
def refer(tmp_path):
    def annotation(number, segmentation, iscrowd=0):
        row = {"id": number, "image_id": 3, "category_id": 1, "iscrowd": iscrowd}
        return row | {"segmentation": segmentation}

    text_counts = {"size": [H, W], "counts": box_mask(8, 0, 12, 4).counts}
    instances = {
        "images": [{"id": 3, "file_name": "COCO_train2014_000000000003.jpg", "height": H, "width": W}],
        "annotations": [
            annotation(7, [box_ring(0, 0, 4, 4), box_ring(2, 2, 6, 6)]),
            annotation(8, text_counts),
            annotation(9, {"size": [H, W], "counts": [H * W - 1, 1]}, iscrowd=1),
            annotation(10, [[1, 1, 2, 2], box_ring(8, 6, 10, 8)]),
        ],
        "categories": [{"id": 1, "name": "person"}],
    }

    def ref(ref_id, ann_id, split, *sentences):
        return {
            "ref_id": ref_id, "ann_id": ann_id, "category_id": 1, "image_id": 3, "split": split,
            "file_name": "COCO_train2014_000000000003_7.jpg", "sent_ids": [s["sent_id"] for s in sentences],
            "sentences": list(sentences),
        }  # fmt: skip

    def sentence(sent_id, raw):
        sent = raw.lower().rstrip(".")
        return {"sent_id": sent_id, "raw": raw, "sent": sent, "tokens": sent.split()}

    refs = [
        ref(1, 7, "testA", sentence(0, "Woman in Red."), sentence(1, "left woman")),
        ref(2, 8, "testB", sentence(2, "The café")),
        ref(3, 8, "val", sentence(3, "man")),
    ]
    for folder in ("refcoco", "grefcoco"):
        dump(tmp_path / folder / "instances.json", instances)
    # Protocol 2 as the published files; the accented letter makes one of its strings non-ASCII.
    (tmp_path / "refcoco/refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    grefs = [
        ref(1, [7, 8], "val", sentence(0, "both people")) | {"category_id": [1, 1]},
        ref(2, [-1], "val", sentence(1, "the zebra")) | {"category_id": [-1]},
        ref(3, [8, 9], "val", sentence(2, "everyone")) | {"category_id": [1, 1]},
        ref(4, [10], "val", sentence(3, "the small one")) | {"category_id": [1]},
    ]
    dump(tmp_path / "grefcoco/grefs(unc).json", grefs)
    return tmp_path


def test_refcoco_counts_sentences_and_unites_polygons(refer):
    first, second = examples(f"refcoco:{refer}@testA")
    assert (first.rounds[0].text, second.rounds[0].text) == ("woman in red", "left woman")
    assert first.image.endswith("images/mscoco/images/train2014/COCO_train2014_000000000003.jpg")
    # 16 + 16 pixels with 4 in common: overlapping polygons are united, not added.
    assert first.rounds[0].masks[0].area == 28 and first.size == (H, W)
    (raw,) = [e for e in examples(f"refcoco:{refer}@testB?text=raw")]
    assert raw.rounds[0].text == "The café"
    assert len(examples(f"refcoco:{refer}@test")) == 3  # "test" pools testA and testB
    assert len(examples(f"refcoco:{refer}@val")) == 1


def test_split_names_follow_the_refer_api():
    assert in_split("testAB", "testB") and in_split("testA", "test") and not in_split("testA", "testB")
    assert in_split("val", "val") and not in_split("val2", "val") and not in_split("train", "test")


def test_refcoco_errors_name_file_and_ref(refer):
    refs = pickle.loads((refer / "refcoco/refs(unc).p").read_bytes())
    refs[1]["ann_id"] = 999
    (refer / "refcoco/refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    with pytest.raises(DataError, match=r"refs\(unc\)\.p, ref 1: no annotations with id 999"):
        list(open_dataset(f"refcoco:{refer}@testB"))
    del refs[1]["sentences"]
    refs[1]["ann_id"] = 8
    (refer / "refcoco/refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    with pytest.raises(DataError, match=r"ref 1: a field is missing; got no 'sentences'"):
        list(open_dataset(f"refcoco:{refer}@testB"))


def test_grefcoco_lists_no_target_crowds_and_broken_polygons(refer):
    both, nobody, everyone, small = examples(f"grefcoco:{refer}@val")
    assert [m.area for m in both.rounds[0].masks] == [28, 16]
    assert nobody.rounds[0].masks == () and next(truths_of([nobody])).no_target
    assert [m.area for m in everyone.rounds[0].masks] == [16]  # the crowd is left out
    assert [m.area for m in small.rounds[0].masks] == [4]  # the two-point polygon is dropped


# -- ReasonSeg ----------------------------------------------------------------------------------------------


@pytest.fixture
def reasonseg(tmp_path):
    shapes = [
        {"label": "target", "points": box_points(4, 4, 6, 6)},  # small: painted last although listed first
        {"label": "Ignore_region", "points": box_points(2, 2, 9, 9)},
        {"label": "target", "points": box_points(0, 0, 11, 11)},
        {"label": "FLAG", "points": box_points(0, 0, 15, 11)},
    ]
    for split in ("val", "train"):
        for name, sentence in (("b", True), ("a", False)):
            picture(tmp_path / split / f"{name}.jpg")
            text = ["the café’s roof", "what keeps rain off"]
            row = {"text": text, "is_sentence": sentence, "shapes": shapes, "imageHeight": 1}
            dump(tmp_path / split / f"{name}.json", row, encoding="cp1252")
    dump(
        tmp_path / "explanatory/train.json",
        [{"image": "a.jpg", "query": "?", "outputs": "It keeps rain off."}],
    )
    return tmp_path


def test_reasonseg_paints_by_size_and_keeps_what_is_ignored(reasonseg):
    short, long = examples(f"reasonseg:{reasonseg}@val")
    assert short.id == "reasonseg-val-a" and short.rounds[0].text == "the café’s roof"  # cp1252 with ’ and é
    assert (short.rounds[0].meta["length"], long.rounds[0].meta["length"]) == ("short", "long")
    round = short.rounds[0]
    # 12 x 12 outline-filled, minus the 8 x 8 ignored square, plus the 3 x 3 target inside it.
    assert round.masks[0].area == 144 - 64 + 9 and round.ignore.area == 64 - 9
    assert next(truths_of([long])).groups["length"] == "long"


def test_reasonseg_train_yields_each_phrasing_and_the_explanation(reasonseg):
    found = examples(f"reasonseg:{reasonseg}@train")
    assert [e.id for e in found] == [f"reasonseg-train-{n}-{i}" for n in "ab" for i in (0, 1)]
    assert found[0].rounds[0].reply == "It keeps rain off." and found[2].rounds[0].reply is None


def test_reasonseg_errors_name_the_file(reasonseg):
    dump(
        reasonseg / "val/b.json",
        {"text": ["x"], "is_sentence": True, "shapes": [{"label": "t", "points": [[1]]}]},
    )
    assert "val/b.json: a polygon must be" in left_out(f"reasonseg:{reasonseg}@val")
    assert [e.id for e in examples(f"reasonseg:{reasonseg}@val")] == ["reasonseg-val-a"]


# -- ConverSeg ----------------------------------------------------------------------------------------------


@pytest.fixture
def converseg(tmp_path):
    picture(tmp_path / "images/1.jpg")
    for name, mask in (("1", box_mask(1, 1, 5, 5)), ("0", Mask.empty((H, W)))):
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask.to_png(tmp_path / f"masks/{name}.png")
    items = [
        {
            "id": 4,
            "image": "images/1.jpg",
            "mask": "masks/1.png",
            "prompt": "what rolls",
            "concept": "physics",
        },
        {"id": "b", "image": str(tmp_path / "images/1.jpg"), "mask": "masks/0.png", "prompt": "a zebra"},
    ]
    dump(tmp_path / "items.json", {"dataset": "x", "count": 2, "items": items})
    lines = [{"image": "images/1.jpg", "mask_merged": "masks/1.png", "prompt": "what rolls"}]
    (tmp_path / "dataset.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_converseg_items_and_training_lines(converseg):
    one, none = examples(f"converseg:{converseg}/items.json")
    assert (one.id, one.rounds[0].concept, one.rounds[0].masks[0].area) == ("4", "physics", 16)
    assert none.rounds[0].masks == () and none.size == (H, W)
    (line,) = examples(f"converseg:{converseg}/dataset.jsonl")
    assert line.rounds[0].masks == one.rounds[0].masks and line.id == "dataset-1"
    assert examples(str(converseg / "items.json")) == [one, none]  # recognised without its name
    assert examples(str(converseg / "dataset.jsonl")) == [line]


def test_converseg_sizes_must_agree(converseg):
    Mask.full((W, H)).to_png(converseg / "masks/1.png")  # transposed
    assert "items.json, item 0: picture and mask differ in size" in left_out(
        f"converseg:{converseg}/items.json"
    )
    assert [e.id for e in examples(f"converseg:{converseg}/items.json")] == ["b"]


def test_converseg_hub_parquet(converseg, tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    monkeypatch.setenv("ASKMASK_CACHE", str(tmp_path / "cache"))
    alpha = Image.new("RGBA", (W, H), (255, 255, 255, 0))  # white everywhere; alpha alone tells the mask
    alpha.paste((0, 0, 0, 255), (1, 1, 5, 5))
    alpha.save(tmp_path / "alpha.png")
    picture_bytes = (converseg / "images/1.jpg").read_bytes()
    rows = [
        {
            "id": f"r{i}",
            "prompt": "what rolls",
            "concept": "physics",
            "image": {"bytes": picture_bytes, "path": None},
            "mask": {"bytes": mask.read_bytes(), "path": "m.png"},
        }
        for i, mask in enumerate((converseg / "masks/1.png", tmp_path / "alpha.png"))
    ]
    hub = tmp_path / "hub/data"
    hub.mkdir(parents=True)
    for split in ("sam_seeded", "human_annotated"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), hub / f"{split}-00000-of-00001.parquet")
    found = examples(f"converseg:{tmp_path}/hub@human_annotated")
    assert [e.id for e in found] == ["r0", "r1"] and {e.split for e in found} == {"human_annotated"}
    assert [e.rounds[0].masks[0] for e in found] == [box_mask(1, 1, 5, 5)] * 2
    assert Image.open(found[0].image).size == (W, H)
    assert len(list((tmp_path / "cache").rglob("*.jpg"))) == 1  # equal pictures are kept once
    with pytest.raises(DataError, match="splits are never pooled"):
        list(open_dataset(f"converseg:{tmp_path}/hub"))
    (hub / "human_annotated-00000-of-00001.parquet").write_bytes(b"PAR1junk")
    with pytest.raises(DataError, match="not a Parquet file"):
        list(open_dataset(f"converseg:{tmp_path}/hub@human_annotated"))


# -- PRIST --------------------------------------------------------------------------------------------------


@pytest.fixture
def prist(tmp_path):
    def dialogue(focus, rounds=3):
        turns = []
        for i in range(rounds):
            last = i == rounds - 1
            turns += [
                {"from": "human", "value": "Please segment the above." if last else f"Question {i}?"},
                {"from": "gpt", "value": "It is [SEG]." if last else f"Answer {i}."},
            ]
        return {"img_id": "0a1b2c3d4e5f6071.jpg", "focus": focus, "dialogue": turns}

    dump(tmp_path / "test.json", [dialogue("Red  label"), dialogue("label", 2), dialogue("bottle cap")])
    shapes = [
        {"label": "red label", "points": box_points(0, 0, 2, 2)},
        {"label": "Red Label", "points": box_points(2, 2, 4, 4)},
        {"label": "red label text", "points": box_points(8, 8, 9, 9)},  # substring collision
        {"label": "the bottle cap", "points": box_points(5, 5, 6, 6)},
    ]
    path = tmp_path / "multiturn/Multiturn/val/masks/0a1b2c3d4e5f6071.json"
    dump(path, {"imageHeight": H, "imageWidth": W, "shapes": shapes})
    return tmp_path


def test_prist_prefers_the_exact_label(prist):
    exact, loose, prefixed = examples(f"prist:{prist}@test")
    assert [round.masks is None for round in exact.rounds] == [True, True, False]
    assert exact.rounds[-1].prompt.refers_to == ("r1", "r2")  # it cannot be learnt from alone
    last = exact.rounds[-1]
    assert last.masks[0].area == 9 + 9 - 1 and last.meta["match"] == "exact"  # not "red label text"
    assert loose.rounds[-1].meta["match"] == "substring" and loose.rounds[-1].masks[0].area == 17 + 4
    assert prefixed.rounds[-1].masks[0].area == 4
    (truth,) = truths_of([exact])
    assert truth.id == f"{exact.id}#3" and truth.conversation == exact.id and truth.groups["round"] == "3"


def test_prist_never_makes_an_empty_mask_of_a_label_not_found(prist):
    rows = json.loads((prist / "test.json").read_text())
    rows[2]["focus"] = "zebra"
    dump(prist / "test.json", rows)
    said = left_out(f"prist:{prist}@test")
    assert "test.json, dialogue 2: " in said and "no shape is labelled as the focus; got 'zebra'" in said
    assert len(examples(f"prist:{prist}@test")) == 2
    assert [e.rounds[-1].masks for e in examples(f"prist:{prist}@test?labels=no")] == [None] * 3


def test_prist_dialogues_must_alternate(prist):
    rows = json.loads((prist / "test.json").read_text())
    rows[1]["dialogue"].pop()
    dump(prist / "test.json", rows)
    assert "dialogue 1: a dialogue must alternate" in left_out(f"prist:{prist}@test")


# -- MRSeg --------------------------------------------------------------------------------------------------

IMAGE = "coco/train2014/a.jpg"


@pytest.fixture
def mrseg(tmp_path):
    picture(tmp_path / "images_folder" / IMAGE)
    instances = {
        "images": [{"id": 1, "height": H, "width": W, "file_name": "a.jpg"}],
        "annotations": [
            {"id": i, "image_id": 1, "segmentation": [box_ring(*box)]}
            for i, box in ((12, (0, 0, 4, 4)), (31, (6, 0, 9, 3)), (32, (6, 6, 8, 8)))
        ],
        "categories": [],
    }
    dump(tmp_path / "annotations_folder/refcoco.json", instances)
    dump(tmp_path / "annotations_folder/vg.json", {"7_3": box_mask(0, 0, 2, 2).to_dict()})
    dump(
        tmp_path / "annotations_folder/descriptions.json",
        {"5-1": {"segmentation": [box_ring(0, 0, 5, 5)], "image_dim": [H, W]}},
    )
    classes = np.zeros((H, W), np.uint8)
    classes[0:3, 0:5] = 18  # ADE20K: stored value = class + 1, 0 = unlabelled
    (tmp_path / "annotations_folder/ade").mkdir()
    Image.fromarray(classes).save(tmp_path / "annotations_folder/ade/a.png")
    (tmp_path / "annotations.yaml").write_text(
        "datasets:\n"
        "  - {name: refcoco, path: missing.json, path_eval: annotations_folder/refcoco.json}\n"
        "  - {name: visual_genome, path: annotations_folder/vg.json}\n"
        "  - {name: description_based_coco, path: annotations_folder/descriptions.json}\n"
        "  - {name: ade20k, path: annotations_folder/ade}\n"
    )

    def turns(*pairs):
        result = []
        for index, (human, ind, gpt) in enumerate(pairs):
            first = f"[IMAGE256:{IMAGE}] " if index == 0 else ""
            result += [{"from": "human", "value": first + human, "ind": ind}, {"from": "gpt", "value": gpt}]
        return {"task": "segmentation", "base": None, "conv_id": f"c{index}", "conversations": result}

    def given(mask_id, dataset="refcoco"):
        return "".join(f"[{kind}-ENCODE:{IMAGE}|{dataset}|{mask_id}]" for kind in ("MASK", "BOX"))

    rows = [
        turns(
            ("Segment the dog [see below].", -1, f"Sure. [MASK-DECODE:{IMAGE}|refcoco|12]"),
            (given(12) + " who stands right of instance 1?", 1, f"[MASK-DECODE:relational:12:31:{IMAGE}:refcoco]"),
            ("the dog again", -1, f"[MASK-DECODE:none:none:12:{IMAGE}:refcoco]"),  # a recurring instance
            (given(12) + " what is below <instance 1>?", 1, f"[MASK-DECODE:relational:12:31:32:{IMAGE}:refcoco]"),
        ),
        turns(
            (given(31) + " segment the other one", -1, f"[MASK-DECODE:relational:31:12:{IMAGE}:refcoco]"),
            ("and wall", -1, f"[MASK-DECODE:{IMAGE}|ade20k|17]"),
            ("and that", -1, f"[MASK-DECODE:{IMAGE}|visual_genome|7_3]"),
        ) | {"conv_id": "hard"},
        turns(("x", -1, f"It is the cup. [MASK-DECODE:{IMAGE}|description_based_coco|5-1]")),
    ]  # fmt: skip
    dump(tmp_path / "conversations_folder/all_data_mix_val/mr.json", rows)
    return tmp_path


def test_mrseg_conversations(mrseg):
    dialogue, hard, single = examples(f"mrseg:{mrseg}@all_data_mix_val")
    assert [r.masks[0].area for r in dialogue.rounds] == [16, 9, 16, 4]
    assert dialogue.rounds[0].text == "Segment the dog [see below]." and dialogue.rounds[0].reply == "Sure."
    assert dialogue.rounds[1].prompt.refers_to == ("r1",)
    # The same instance was answered in rounds 1 and 3; `ind` says that round 1 is meant, not the latest.
    assert dialogue.rounds[3].prompt.refers_to == ("r1",)
    assert dialogue.rounds[3].text == "what is below <instance 1>?"
    assert hard.rounds[0].prompt.refers_to == () and len(hard.rounds[0].prompt.masks) == 1
    assert [r.masks[0].area for r in hard.rounds] == [16, 15, 4]
    assert single.rounds[0].masks[0].area == 25
    assert [t.groups["round"] for t in truths_of([dialogue])] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("|refcoco|12", "|refcoco|99", "has no mask; got id '99'"),
        ("|visual_genome|", "|unheard_of|", "does not list"),
        ("[IMAGE256:", "[PICTURE:", "names no picture"),
        ('"gpt"', '"bot"', "must alternate"),
        ("relational:12:31:coco", "relational:coco", "5 or 6 parts"),
        ("|ade20k|17", "|ade20k|3", "no pixel of the class"),
    ],
)
def test_mrseg_errors_name_file_and_conversation(mrseg, old, new, message):
    path = mrseg / "conversations_folder/all_data_mix_val/mr.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    try:
        said = left_out(f"mrseg:{mrseg}@all_data_mix_val")
    except DataError as error:  # where none is left
        said = str(error)
    assert re.search(r"mr\.json, conversation \d: ", said) and message in said


def test_two_data_sets_of_one_name_in_mrsegs_list_are_an_error(mrseg):
    path = mrseg / "annotations.yaml"
    last = "  - {name: ade20k, path: annotations_folder/ade}\n"
    path.write_text(path.read_text() + last)
    assert len(examples(f"mrseg:{mrseg}@all_data_mix_val")) == 3  # the same row twice says nothing else
    path.write_text(path.read_text() + last.replace("/ade", "/elsewhere"))
    with pytest.raises(DataError, match="two data sets of one name; got 'ade20k'"):
        examples(f"mrseg:{mrseg}@all_data_mix_val")


# -- MUSE, MMR, COCO ----------------------------------------------------------------------------------------


def test_muse_joins_questions_answers_and_texts(tmp_path):
    def target(x, **names):
        return {
            "bbox": [x, 0, 2, 2],
            "segmentation": [box_ring(x, 0, x + 2, 2)],
            "category_name": "bowl",
        } | names

    rows = [
        {
            "file_name": "COCO_train2014_000000000009.jpg", "height": H, "width": W, "ann_list": [],
            "questions": ["What could I eat?", "And drink?", "Wrong one?"],
            "answers": [[target(0, rephrased_name="the soup"), target(4)], [target(8)], [target(1)]],
            "text_answers": ["Eat {seg} or {seg}.", "Drink {seg}.", "No marker."],
        },
        {
            "coco_url": "http://images.cocodataset.org/val2017/000000000139.jpg", "height": H, "width": W,
            "ann_list": [], "questions": ["q"], "answers": [[target(3)]], "text_answers": [None],
        },
    ]  # fmt: skip
    dump(tmp_path / "muse_val.json", rows)
    two, one, other = examples(f"muse:{tmp_path}@val")
    assert [m.box[0] for m in two.rounds[0].masks] == [0, 4]
    assert two.rounds[0].meta["names"] == ["the soup", "bowl"] and one.rounds[0].text == "And drink?"
    assert two.image.endswith("train2014/COCO_train2014_000000000009.jpg")
    assert other.image.endswith("val2017/000000000139.jpg") and other.rounds[0].reply is None
    with pytest.raises(DataError, match=r"muse_val\.json, row 0: question 2: 1 targets; got 'No marker\.'"):
        list(open_dataset(f"muse:{tmp_path}@val?mismatched=error"))
    rows[1]["answers"] = []
    dump(tmp_path / "muse_val.json", rows)
    assert "row 1: questions, answers and text_answers must be equally many" in left_out(
        f"muse:{tmp_path}@val"
    )
    assert len(examples(f"muse:{tmp_path}@val")) == 2


def test_mmr_reads_codes_with_text_counts(tmp_path):
    def part(x):
        return {"segmentation": box_mask(x, 0, x + 2, 2).to_dict(), "category_name": "bowl:inner_body"}

    row = {
        "file_name": "train2017/000000000009.jpg", "height": H, "width": W, "image_id": 9, "annotations": [],
        "questions": [f"q{i}" for i in range(5)], "answers": [[part(i)] for i in range(5)],
        "text_answers": ["{seg}"] * 5, "raw_answers": [],
    }  # fmt: skip
    dump(tmp_path / "MMR_test_part_only.json", [row])
    found = examples(f"mmr:{tmp_path}@test_part_only")
    assert [(e.rounds[0].text, e.rounds[0].masks[0].box[0]) for e in found] == [
        (f"q{i}", i) for i in range(5)
    ]
    assert found[0].image.endswith("train2017/000000000009.jpg")


def test_coco_asks_for_categories_and_ignores_crowds(tmp_path):
    def annotation(number, category, segmentation, iscrowd=0):
        row = {"id": number, "image_id": 9, "category_id": category, "iscrowd": iscrowd}
        return row | {"segmentation": segmentation}

    data = {
        "images": [{"id": 9, "file_name": "000000000009.jpg", "height": H, "width": W}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
        "annotations": [
            annotation(1, 1, [box_ring(0, 0, 2, 2)]),
            annotation(2, 1, [box_ring(4, 0, 6, 2)]),
            annotation(3, 1, {"size": [H, W], "counts": [0, 6, H * W - 6]}, iscrowd=1),
            annotation(4, 2, {"size": [H, W], "counts": [0, 1, H * W - 1]}, iscrowd=1),
        ],
    }
    dump(tmp_path / "annotations/instances_val2017.json", data)
    (people,) = examples(f"coco:{tmp_path}")
    assert people.rounds[0].text == "person" and len(people.rounds[0].masks) == 2
    assert people.rounds[0].ignore.area == 6
    data["annotations"][0]["segmentation"] = [[0, 0, 1]]
    dump(tmp_path / "annotations/instances_val2017.json", data)
    with pytest.raises(AskMaskError, match=r"instances_val2017\.json, image 9, category 1: polygon 0"):
        list(open_dataset(f"coco:{tmp_path}"))


# -- opening by name ----------------------------------------------------------------------------------------


def test_every_set_is_named_and_unknown_names_and_options_are_told():
    wanted = (
        "own world converseg refcoco refcoco+ refcocog refclef grefcoco reasonseg mrseg prist muse mmr coco"
    )
    assert set(LOADERS) == {*wanted.split(), *"panoptic label-studio cvat labelme yolo-seg".split()}
    with pytest.raises(SettingError, match="Names: own, world"):
        open_dataset("lvis:/nowhere")
    with pytest.raises(SettingError, match="no such option"):
        open_dataset("muse:/nowhere@val?colour=red")
    with pytest.raises(DataError, match="no such file"):
        list(open_dataset("muse:/nowhere@val"))


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"images": 3}', b"\xff\xfe\x00", b"[" * 100_000])
def test_a_malformed_file_is_named(tmp_path, content):
    path = tmp_path / "annotations/instances_val2017.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"instances_val2017\.json"):
        list(open_dataset(f"coco:{tmp_path}"))
