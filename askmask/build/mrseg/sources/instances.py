"""RefCOCO, LVIS, PACO-LVIS and COCO: regions of one instances file, in COCO's form.

    refcoco:ROOT   ROOT/refcoco/refs(unc).p and instances.json   (formats/refcoco.py; refcocog: refs(umd).p)
    lvis:ROOT      ROOT/annotations/lvis_v1_train.json            (or beside; pictures by their `coco_url`)
    paco:ROOT      ROOT/annotations/paco_lvis_v1_train.json
    coco:ROOT      ROOT/annotations/instances_train2017.json, and descriptions.json (see Attributes)

A class of which a picture may hold more than is drawn (a crowd, a box without a mask, LVIS's "not exhaustive") is
uncounted: it is never called by its noun alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from askmask.build.mrseg.rules import (
    Rule,
    attribute,
    hard,
    hierarchical,
    next_one,
    placed_caption,
    positional,
)
from askmask.build.mrseg.scene import Region, Scene
from askmask.build.mrseg.sources.source import Table
from askmask.build.mrseg.words import noun_of, plain_caption
from askmask.errors import SettingError
from askmask.formats.plain_pickle import read_plain_pickle
from askmask.formats.reading import NoTruth, found_in, id_of, item, naming, order_of, read_json, text_of
from askmask.formats.refcoco import COMPILED_BY, PICTURES, Instances, refs_of
from askmask.notes import Notes

# COCO's 80 classes as LVIS may write them: LVIS's conversations are about what COCO does not name.
COCO_NAMES = frozenset(
    "person bicycle car motorcycle airplane bus train truck boat trafficlight firehydrant stopsign parkingmeter "
    "bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee "
    "skis ski snowboard sportsball kite baseballbat baseballglove skateboard surfboard tennisracket bottle wineglass "
    "cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hotdog pizza donut doughnut cake chair "
    "couch pottedplant flowerpot bed diningtable toilet tv television laptop mouse remote remotecontrol keyboard "
    "cellphone microwave microwaveoven oven toaster sink refrigerator book clock vase scissors teddybear hairdrier "
    "hairdryer toothbrush baby child boy girl woman man".split()
)
NO_ANNOTATION = "refs left out: their picture or annotation is not listed"
NO_PART_OF = "parts left out: their whole is not annotated"
TWICE = "captions left out: they fit several things of one picture"


class CocoFile(Instances):
    """An instances file whose pictures lie in any of some folders; `place` says under which name of a picture."""

    def __init__(self, path: Path, folders: Sequence[Path], prefix: str = ""):
        super().__init__(path, folders[0])
        self.folders, self.prefix = folders, prefix
        self._turned: tuple[Any, int] | None = None
        self.by_image: dict[str, list[dict[str, Any]]] = {}
        with naming(str(path)):
            for row in self.annotations.rows():
                self.by_image.setdefault(id_of(row["image_id"]), []).append(row)

    def name(self, image_id: str) -> str:
        """Return a picture's name; LVIS has an address instead, of which the end is the name. Nothing is fetched."""
        row = self.images[image_id]
        if "file_name" in row:
            return self.prefix + text_of(row["file_name"], "file_name")
        return "/".join(text_of(row["coco_url"], "coco_url").split("/")[-2:])

    def picture(self, image_id: Any) -> Path:
        """Return where a picture lies."""
        name = self.name(image_id)
        return found_in(
            [folder / part for folder in self.folders for part in ("", *_parents(name))], _leaf(name)
        )

    def _orientation(self, image_id: Any) -> int:
        """Remember the last picture's: every mask asks, and each time its header would be read."""
        if self._turned is None or self._turned[0] != image_id:
            self._turned = image_id, super()._orientation(image_id)
        return self._turned[1]

    def ids(self) -> list[str]:
        """Return the pictures that have annotations, in order."""
        return sorted((name for name in self.by_image if name in self.images), key=order_of)

    def regions(self, image_id: str, notes: Notes) -> tuple[list[Region], set[str]]:
        """Return a picture's regions in the order of their ids, and the nouns that are uncounted."""
        found, uncounted = [], set()
        image = self.images[image_id]
        for category in image.get("not_exhaustive_category_ids", ()):
            uncounted.add(noun_of(text_of(self.categories[category]["name"], "name")))
        for row in sorted(self.by_image.get(id_of(image_id), ()), key=lambda row: order_of(id_of(row["id"]))):
            name = text_of(self.categories[row["category_id"]]["name"], "name")
            noun = noun_of(name.rpartition(":")[2])
            if row.get("iscrowd"):
                uncounted.add(noun)
                continue
            try:
                mask = self.mask(row["id"], row["image_id"])
            except NoTruth as why:
                uncounted.add(noun)
                notes.add(str(why), f"{self.path}, annotation {row['id']}")
                continue
            whole = id_of(row.get("obj_ann_id", row["id"]))
            found.append(
                Region(
                    id=id_of(row["id"]),
                    noun=noun,
                    mask=mask,
                    parent="" if whole == id_of(row["id"]) else whole,
                    category=int(row["category_id"]),
                )
            )
        return found, uncounted


class _OfOneFile:
    """What the four sets share."""

    table: Table = "instances"
    dataset: str
    rules: tuple[Rule, ...]

    def __init__(self, name: str, root: Path, split: str, path: Path, folders: Sequence[Path], prefix: str):
        self.name, self.root, self.split, self.path = name, root, split, path
        self.instances = CocoFile(path, folders, prefix)
        self.opened = Notes()
        self.categories: list[dict[str, object]] = [
            {"id": row["id"], "name": row["name"]}
            for row in (self.instances.categories[key] for key in self.instances.categories)
        ]

    def files(self) -> Sequence[Path]:
        """Return the annotation files."""
        return [self.path]

    def ids(self) -> Sequence[str]:
        """Return the pictures, in order."""
        return self.instances.ids()

    def annotation(self, picture: str) -> Path | None:
        """Return none: masks come from the instances file."""
        return None

    def scene(self, picture: str, notes: Notes) -> Scene:
        """Return the regions of a picture, with what may be said of them."""
        regions, uncounted = self.instances.regions(picture, notes)
        return Scene(
            id=picture,
            image=self.image(picture),
            path=self.instances.picture(picture),
            size=self.instances.size(picture),
            regions=tuple(self.said_of(picture, regions, frozenset(uncounted), notes)),
            uncounted=frozenset(uncounted),
        )

    def image(self, picture: str) -> str:
        """Return a picture's path from the root of SegLLM's pictures."""
        return f"coco/{self.instances.name(picture)}"

    def said_of(
        self, picture: str, regions: list[Region], uncounted: frozenset[str], notes: Notes
    ) -> Iterator[Region]:
        """Yield regions with their captions."""
        yield from regions


class RefCoco(_OfOneFile):
    """RefCOCO, RefCOCO+, RefCOCOg: the sentences of their refs, among all instances of the picture."""

    rules: tuple[Rule, ...] = (positional, hard, next_one)

    def __init__(self, name: str, root: Path, split: str, by: str = ""):
        self.dataset = name
        folder = root / name
        self.refs = folder / f"refs({by or COMPILED_BY[name]}).p"
        super().__init__(name, root, split, folder / "instances.json", [root / PICTURES], "train2014/")
        self.sentences: dict[str, dict[str, list[str]]] = {}  # picture -> annotation -> its captions
        for number, ref in refs_of(read_plain_pickle(self.refs), self.refs, split, self.opened):
            with item(f"{self.refs}, ref {number}", self.opened):
                captions = [plain_caption(text_of(one["sent"], "sent")) for one in ref["sentences"]]
                picture, annotation = id_of(ref["image_id"]), id_of(ref["ann_id"])
                if picture not in self.instances.images or annotation not in self.instances.annotations:
                    raise NoTruth(NO_ANNOTATION)
                self.sentences.setdefault(picture, {}).setdefault(annotation, []).extend(captions)

    def files(self) -> Sequence[Path]:
        """Return the instances and the refs."""
        return [self.path, self.refs]

    def ids(self) -> Sequence[str]:
        """Return the pictures of the split's refs, in order."""
        return sorted(self.sentences, key=order_of)

    def said_of(
        self, picture: str, regions: list[Region], uncounted: frozenset[str], notes: Notes
    ) -> Iterator[Region]:
        """Yield every region, with the sentences that fit it alone."""
        said = self.sentences[picture]
        owners: dict[str, set[str]] = {}
        for annotation, captions in said.items():
            for caption in captions:
                owners.setdefault(caption, set()).add(annotation)
        for caption in (caption for caption, of in owners.items() if len(of) > 1):
            notes.add(TWICE, f"{self.refs}, picture {picture}: {caption!r}")
        for region in regions:
            mine = [c for c in dict.fromkeys(said.get(region.id, ())) if c and len(owners[c]) == 1]
            yield _with(region, captions=tuple(mine))


class Lvis(_OfOneFile):
    """LVIS: classes outside COCO of which the picture has one or two; of two each is told by its place."""

    dataset = "lvis"
    rules: tuple[Rule, ...] = (positional,)

    def __init__(self, name: str, root: Path, split: str):
        path = _first(root, f"lvis_v1_{split}.json")
        super().__init__(name, root, split, path, [root, root / "coco", root / "images"], "")
        rows = [self.instances.categories[key] for key in self.instances.categories]
        self.common = {noun_of(row["name"]) for row in rows if _of_coco(row)}

    def said_of(
        self, picture: str, regions: list[Region], uncounted: frozenset[str], notes: Notes
    ) -> Iterator[Region]:
        """Yield every region; those that may be asked about have a caption."""
        for region in regions:
            same = [one for one in regions if one.noun == region.noun]
            caption = ""
            if region.noun not in uncounted | self.common:
                if len(same) == 1:
                    caption = region.noun
                elif len(same) == 2:
                    caption = placed_caption(region, same[same[0].id == region.id])
            yield _with(region, captions=(caption,) if caption else ())


class Paco(_OfOneFile):
    """PACO-LVIS: objects and their parts, "mug:handle"; a part names its whole as `obj_ann_id`."""

    dataset = "paco_lvis"
    rules: tuple[Rule, ...] = (hierarchical,)

    def __init__(self, name: str, root: Path, split: str):
        path = _first(root, f"paco_lvis_v1_{split}.json")
        super().__init__(name, root, split, path, [root, root / "coco", root / "images"], "")

    def image(self, picture: str) -> str:
        """Return a picture's path; names without a folder are told by the address."""
        name = self.instances.name(picture)
        url = self.instances.images[picture].get("coco_url")
        if "/" not in name and isinstance(url, str):
            name = "/".join(url.split("/")[-2:])
        return f"coco/{name}"

    def said_of(
        self, picture: str, regions: list[Region], uncounted: frozenset[str], notes: Notes
    ) -> Iterator[Region]:
        """Yield objects, and parts whose object is there."""
        wholes = {region.id for region in regions if not region.parent}
        for region in regions:
            if region.parent and region.parent not in wholes:
                notes.add(NO_PART_OF, f"{self.path}, annotation {region.id}")
                continue
            yield region


class Attributes(_OfOneFile):
    """COCO's instances, asked for by descriptions that do not name their class.

    descriptions.json: {annotation id: [description, class]}, the description going on after "the object that ...".
    """

    dataset = "description_based_coco"
    table: Table = "sized"
    rules: tuple[Rule, ...] = (attribute,)

    def __init__(self, name: str, root: Path, split: str, descriptions: str = "descriptions.json"):
        part = f"{split}2017" if split in ("train", "val") else split
        path = _first(root, f"instances_{part}.json")
        super().__init__(name, root, split, path, [root / part, root], f"{part}/")
        self.descriptions = root / descriptions
        self.said: dict[str, tuple[str, str]] = {}
        self.described = self.descriptions.is_file()  # else a model gives `said`: describing.py
        for annotation, row in read_json(self.descriptions).items() if self.described else ():
            with naming(f"{self.descriptions}, annotation {annotation}"):
                description, noun = (plain_caption(text_of(one, "description")) for one in row)
                self.said[annotation] = description, noun

    def files(self) -> Sequence[Path]:
        """Return the instances and the descriptions."""
        return [self.path, self.descriptions] if self.described else [self.path]

    def ids(self) -> Sequence[str]:
        """Return the pictures with a described instance, in order; where none is described yet, all."""
        found = self.instances.by_image
        if not self.described:
            return super().ids()
        return [name for name in super().ids() if any(id_of(row["id"]) in self.said for row in found[name])]

    def said_of(
        self, picture: str, regions: list[Region], uncounted: frozenset[str], notes: Notes
    ) -> Iterator[Region]:
        """Yield regions under SegLLM's ids; a description that names its class is left out."""
        for region in regions:
            description, noun = self.said.get(region.id, ("", region.noun))
            if description and {noun, region.noun} & {" ".join(description.split()), *_grams(description)}:
                notes.add(
                    "descriptions left out: they name their class",
                    f"{self.descriptions}, annotation {region.id}",
                )
                description = ""
            yield _with(
                region,
                id=f"{picture}-{region.id}",
                noun=noun or region.noun,
                captions=(description,) if description else (),
            )


def _with(region: Region, **changes: Any) -> Region:
    values = {
        name: getattr(region, name) for name in ("id", "noun", "mask", "captions", "parent", "category")
    }
    return Region(**(values | changes))


def _grams(text: str) -> set[str]:
    """Return the runs of one to three words."""
    words = text.split()
    return {" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}


def _of_coco(category: dict[str, Any]) -> bool:
    names = [category["name"], *category.get("synonyms", ())]
    return any(noun_of(str(name)).replace(" ", "").replace("-", "") in COCO_NAMES for name in names)


def _first(root: Path, name: str) -> Path:
    places = [root / "annotations" / name, root / name]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise SettingError("no annotation file", got=places[0], do="Check the root folder and the split.")
    return found


def _parents(name: str) -> list[str]:
    parent = name.rpartition("/")[0]
    return [parent] if parent else ["train2017", "val2017"]


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]
