"""Made-up sets in the exact formats of MRSeg's sources, known dirt included: python -m tests.build.made FOLDER."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from askmask.imaging.mask import Mask

H, W = 120, 160
URL = "http://images.cocodataset.org/"


def picture(path, seed=0, size=(H, W)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def ring(x0, y0, x1, y1):
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def code(*box, size=(H, W)):
    return Mask.from_array(filled(box, size)).to_dict()


def filled(box, size=(H, W)):
    array = np.zeros(size, bool)
    array[box[1] : box[3], box[0] : box[2]] = True
    return array


def annotation(number, image, category, box, **more):
    x0, y0, x1, y1 = box
    row = {"id": number, "image_id": image, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    row |= {"area": (x1 - x0) * (y1 - y0), "iscrowd": 0, "segmentation": [ring(*box)]}
    return row | more


def images(names, **more):
    return [{"id": n, "height": H, "width": W} | ({"file_name": f} if f else {}) | more for n, f in names]


CATEGORIES = [{"id": i, "name": name} for i, name in enumerate(("person", "dog", "cup", "chair", "sheep"), 1)]
# picture -> annotations (category, box); 11-13 stand in a row, 21-24 in a square
ROW = {
    11: (1, (5, 20, 25, 80)), 12: (1, (60, 20, 80, 80)), 13: (1, (120, 20, 140, 80)),
    14: (2, (30, 90, 50, 110)), 15: (2, (100, 90, 120, 110)), 16: (3, (62, 95, 76, 110)),
}  # fmt: skip
SQUARE = {
    21: (3, (10, 10, 30, 30)), 22: (3, (110, 10, 130, 30)), 23: (3, (10, 85, 30, 105)),
    24: (3, (110, 85, 130, 105)), 25: (4, (60, 40, 90, 70)),
}  # fmt: skip
SAID = {
    11: ["man on the left", "left guy ", "Left  guy."], 12: ["woman in the middle", "woman in red", "person"],
    13: ["a man with a hat", "on the right", "person"], 14: ["left dog"], 15: ["right dog", "brown dog"],
    16: ["cup"], 21: ["upper left cup"], 22: ["upper right cup", "blue cup"], 23: ["lower left cup"],
    24: ["lower right cup"], 25: ["the chair", "seat"], 41: ["tall person"], 42: ["short person"], 43: ["cat [sic]"],
}  # fmt: skip


def refer(root):
    names = [(n, f"COCO_train2014_{n:012}.jpg") for n in (1, 2, 3, 4)]
    rows = [annotation(n, 1, c, box) for n, (c, box) in ROW.items()]
    rows += [annotation(n, 2, c, box) for n, (c, box) in SQUARE.items()]
    # Dirt: a crowd of sheep and a box without a mask in picture 1, two rows of one id in picture 3, which is missing.
    rows.append(annotation(17, 1, 5, (0, 0, 160, 15), iscrowd=1, segmentation=code(0, 0, 160, 15)))
    rows.append(annotation(18, 2, 4, (0, 110, 20, 119), segmentation=[]))
    rows += [annotation(31, 3, 1, (0, 0, 9, 9)), annotation(32, 3, 2, (20, 0, 40, 9))]
    rows += [annotation(n, 4, c, b) for n, c, b in ((41, 1, (5, 5, 30, 90)), (42, 1, (90, 5, 120, 90)))]
    rows.append(annotation(43, 4, 2, (40, 95, 70, 115)))
    refs, sentence = [], 0
    for number, (ann, split, picture_id) in enumerate(
        [(n, "train", 1) for n in ROW] + [(n, "train", 2) for n in SQUARE]
        + [(31, "train", 3), (999, "train", 1)] + [(n, "val", 4) for n in (41, 42, 43)]
    ):  # fmt: skip
        sentences = []
        for text in SAID.get(ann, ["somebody", "somebody else"]):
            sentences.append({"sent_id": sentence, "raw": text, "sent": text.strip(), "tokens": text.split()})
            sentence += 1
        refs.append(
            {
                "ref_id": number, "ann_id": ann, "category_id": 1, "image_id": picture_id, "split": split,
                "file_name": f"COCO_train2014_{picture_id:012}_{ann}.jpg", "sentences": sentences,
                "sent_ids": [one["sent_id"] for one in sentences],
            }
        )  # fmt: skip
    for name, by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        data = {"images": images(names), "annotations": rows, "categories": CATEGORIES}
        dump(root / name / "instances.json", data)
        (root / name / f"refs({by}).p").write_bytes(pickle.dumps(refs, 2))  # protocol 2, as published
    for number, name in names:
        if number != 3:
            picture(root / "images/mscoco/images/train2014" / name, number)


def lvis(root):
    """No iscrowd, no file_name; a class that is not exhaustive, and classes that COCO has under other names."""
    names = ("aerosol_can", "mouse_(computer_equipment)", "television_set", "teakettle", "sombrero", "barrel")
    categories = [
        {"id": i, "name": n, "synset": f"{n}.n.01", "synonyms": [n], "def": n, "frequency": "r"}
        for i, n in enumerate(names, 1)
    ]
    categories[2]["synonyms"] = ["television_set", "tv"]
    boxes = [
        (1, 1, 1, (5, 5, 25, 40)), (2, 1, 1, (120, 5, 140, 40)), (3, 1, 4, (60, 60, 90, 90)),
        (4, 1, 5, (10, 80, 40, 100)), (5, 1, 3, (100, 60, 150, 110)), (6, 1, 2, (70, 100, 80, 110)),
        (7, 2, 6, (5, 5, 30, 30)), (8, 2, 6, (60, 5, 80, 30)), (9, 2, 6, (120, 5, 150, 30)),
        (10, 2, 4, (5, 80, 30, 110)), (11, 2, 5, (110, 80, 140, 110)),
    ]  # fmt: skip
    rows = [annotation(n, i, c, box) for n, i, c, box in boxes]
    for row in rows:
        del row["iscrowd"]
    pictures = [
        {"id": n, "height": H, "width": W, "coco_url": f"{URL}{folder}/{n:012}.jpg",
         "neg_category_ids": [], "not_exhaustive_category_ids": [5] if n == 2 else []}
        for n, folder in ((1, "train2017"), (2, "val2017"))
    ]  # fmt: skip
    dump(
        root / "annotations/lvis_v1_train.json",
        {"images": pictures, "annotations": rows, "categories": categories},
    )
    picture(root / "train2017/000000000001.jpg", 11)
    picture(root / "val2017/000000000002.jpg", 12)


def paco(root):
    """Run-length codes; a part without its whole, and one that lies outside of it."""
    categories = [
        {"id": 1, "name": "mug"}, {"id": 2, "name": "trash_can"}, {"id": 11, "name": "mug:handle"},
        {"id": 12, "name": "mug:rim"}, {"id": 13, "name": "trash_can:lid"},
    ]  # fmt: skip

    def coded(number, category, box, whole):
        more = {"segmentation": code(*box), "obj_ann_id": whole, "attribute_ids": [], "dom_color_ids": []}
        return annotation(number, 1, category, box, **more)

    rows = [
        coded(1, 1, (10, 10, 50, 60), 1), coded(2, 11, (40, 20, 50, 40), 1), coded(3, 12, (10, 10, 40, 15), 1),
        coded(4, 2, (90, 30, 140, 110), 4), coded(5, 13, (90, 30, 140, 45), 4),
        coded(6, 12, (0, 100, 9, 110), 4), coded(7, 13, (60, 60, 70, 70), 77),
    ]  # fmt: skip
    data = {
        "images": images([(1, "000000000001.jpg")], coco_url=f"{URL}val2017/000000000001.jpg"),
        "annotations": rows, "categories": categories, "part_categories": [], "attributes": [],
    }  # fmt: skip
    for split in ("train", "val"):
        dump(root / f"annotations/paco_lvis_v1_{split}.json", data)
    picture(root / "val2017/000000000001.jpg", 21)


def pascal(root):
    """A map as int32 TIFF and one as coloured PNG; void parts, a part the definition does not name, stuff."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "definition.yaml").write_text(
        "version: 1.0\n"
        "scene_class2part_classes:\n"
        "  UNLABELED: []\n  aeroplane: [UNLABELED, body, wing]\n  pottedplant: [pot, plant]\n  sky: []\n"
        "countable_pids_groupings:\n  aeroplane: {wing: [2, 3]}\n"
    )
    ids = np.zeros((H, W), np.int32)
    ids[:10] = 3  # sky: semantic only
    ids[20:60, 10:90] = 1_01_00  # void part of aeroplane 1, written with 7 digits below
    ids[ids == 1_01_00] = 1 * 100_000 + 1 * 100
    ids[30:40, 20:60] = 1 * 100_000 + 1 * 100 + 1
    ids[45:55, 20:40], ids[45:55, 60:80] = 100_102, 100_103  # both wings
    ids[20:22, 10:12] = 100_109  # no such part
    ids[70:110, 100:140] = 2_002  # plant without parts: five digits at most
    ids[70:90, 10:40], ids[90:110, 10:40] = 200_301, 200_302
    folder = root / "labels/training"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(folder / "2008_000001.tif")
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(colours).save(folder / "2008_000002.png")
    for name in ("2008_000001", "2008_000002"):
        picture(root / f"JPEGImages/{name}.jpg", 31)


def genome(root):
    """`name` and `names`, aliases, one thing annotated twice, an ambiguous object, a box beyond the border."""
    boxes = {
        101: ("man", (10, 10, 50, 100)), 102: ("Horse ", (40, 40, 110, 110)), 103: ("man", (11, 11, 50, 100)),
        104: ("hat", (15, 5, 40, 20)), 105: ("tree", (120, 0, 155, 60)), 106: ("tree", (120, 70, 155, 119)),
        107: ("fence", (0, 90, 170, 119)),
    }  # fmt: skip

    def thing(number):
        name, (x0, y0, x1, y1) = boxes[number]
        named = {"names": [name]} if number % 2 else {"name": name}
        return {"object_id": number, "x": x0, "y": y0, "w": x1 - x0, "h": y1 - y0, "synsets": []} | named

    said = [(1, "riding", 101, 102), (2, "WEARING A", 103, 104), (3, "near", 101, 105), (4, "near", 101, 106),
            (5, "of", 104, 101), (6, "behind", 102, 107), (7, "has", 101, 104), (8, "on", 104, 101)]  # fmt: skip
    relationships = [
        {"relationship_id": n, "predicate": p, "synsets": [], "subject": thing(s), "object": thing(o)}
        for n, p, s, o in said
    ]
    places = {1: "VG_100K", 2: "VG_100K_2", 3: "VG_100K", 11: "VG_100K"}  # 11 is one of "val"
    dump(root / "relationships.json", [{"image_id": n, "relationships": relationships} for n in places])
    dump(
        root / "image_data.json",
        [{"image_id": n, "width": W, "height": H, "coco_id": None, "flickr_id": None,
          "url": f"https://cs.stanford.edu/people/rak248/{place}/{n}.jpg"} for n, place in places.items()],
    )  # fmt: skip
    (root / "relationship_alias.txt").write_text("wearing,WEARING A,wears a\nnear,next to,\n")
    (root / "object_alias.txt").write_text("horse,horses,the horse\n")
    dump(
        root / "masks.json",
        {
            f"{n}_{k}": code(x0, y0, min(W, x1), y1)
            for n in places
            for k, (_, (x0, y0, x1, y1)) in boxes.items()
        },
    )
    for number, place in places.items():
        picture(root / place / f"{number}.jpg", 40 + number)


def coco(root):
    """Instances with descriptions; one description names its class."""
    rows = [annotation(n, 1, c, box) for n, (c, box) in ROW.items()]
    data = {"images": images([(1, "000000000001.jpg")]), "annotations": rows, "categories": CATEGORIES}
    dump(root / "annotations/instances_train2017.json", data)
    said = {
        "11": ["is wearing a beige t-shirt", "man"],
        "14": ["has four legs", "dog"],
        "16": ["is a cup", "cup"],
    }
    dump(root / "descriptions.json", said)
    picture(root / "train2017/000000000001.jpg", 51)


def ade20k(root):
    """0 is unlabelled; a class of few pixels, and one that the list does not name."""
    ids = np.zeros((H, W), np.uint8)
    ids[:40], ids[40:80], ids[80:100], ids[100:110, :50], ids[119, :5] = 1, 2, 3, 99, 4
    for part, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        folder = root / "annotations" / part
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids).save(folder / f"{name}.png")
        picture(root / "images" / part / f"{name}.jpg", 61)
    names = ["wall", "building, edifice", "sky", "floor, flooring"]
    rows = [f"{i}\t0.1\t1\t1\t1\t{name}" for i, name in enumerate(names, 1)]
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows]) + "\n")


def cocostuff(root):
    """class = value, 255 is unlabelled; names are of value + 1."""
    ids = np.full((H, W), 255, np.uint8)
    ids[:50, :70], ids[60:, :70], ids[:, 80:120] = 0, 1, 170
    folder = root / "stuffthingmaps/train2017"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(folder / "000000000001.png")
    picture(root / "train2017/000000000001.jpg", 71)
    (root / "labels.txt").write_text("0: unlabeled\n1: person\n2: bicycle\n171: wall-brick\n")


def reasonseg(root):
    """cp1252, an ignored region, several phrasings, a picture without a target."""
    for split in ("train", "val"):
        folder = root / split
        picture(folder / "a.jpg", 81)
        shapes = [
            {"label": "target", "points": [[10, 10], [60, 10], [60, 60], [10, 60]]},
            {"label": "ignore", "points": [[100, 10], [120, 10], [120, 30], [100, 30]]},
        ]
        texts = ["the thing that keeps café guests dry", "where would one hide from rain?"]
        text = json.dumps({"shapes": shapes, "text": texts, "is_sentence": False}, ensure_ascii=False)
        (folder / "a.json").write_bytes(text.encode("cp1252"))
        picture(folder / "b.jpg", 82)
        dump(folder / "b.json", {"shapes": [], "text": ["x"], "is_sentence": True})


MAKERS = {
    "refer": refer, "lvis": lvis, "paco": paco, "ppp": pascal, "vg": genome, "coco": coco, "ade20k": ade20k,
    "cocostuff": cocostuff, "reasonseg": reasonseg,
}  # fmt: skip
# name -> folder, splits
SOURCES = {
    "refcoco": ("refer", ("train", "val")), "refcoco+": ("refer", ("train", "val")),
    "refcocog": ("refer", ("train", "val")), "lvis": ("lvis", ("train",)), "paco": ("paco", ("train", "val")),
    "pascal": ("ppp", ("train",)), "vg": ("vg", ("train",)), "coco": ("coco", ("train",)),
    "ade20k": ("ade20k", ("train", "val")), "cocostuff": ("cocostuff", ("train",)),
    "reasonseg": ("reasonseg", ("train", "val")),
}  # fmt: skip


def make_all(root: Path) -> list[str]:
    """Write every set below a folder; return all that `askmask build mrseg --source` takes of them."""
    for name, make in MAKERS.items():
        make(root / name)
    return [
        f"{name}:{root / folder}@{split}" for name, (folder, splits) in SOURCES.items() for split in splits
    ]


if __name__ == "__main__":
    for source in make_all(Path(sys.argv[1])):
        print(f"--source {source}")
