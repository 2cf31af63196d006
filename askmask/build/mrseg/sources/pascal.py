"""Pascal Panoptic Parts: objects and their parts, from one map of ids a picture.

    pascal:ROOT   ROOT/labels/training/2008_000008.tif (or .png; also labels/train, validation, val)
                  ROOT/JPEGImages/2008_000008.jpg (or ROOT/images/), ROOT/definition.yaml

A pixel of a map is sid, or sid * 1000 + iid, or sid * 100000 + iid * 100 + pid. Only what belongs to an instance is
used; an instance is all of its pixels, those of no part (pid 0) among them. definition.yaml names classes and parts:

    scene_class2part_classes: {UNLABELED: [], aeroplane: [UNLABELED, body, engine], ...}     their order is sid and pid
    countable_pids_groupings: {aeroplane: {engine: [6, 7, 8]}}                               optional: pids of one name
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from askmask.build.mrseg.rules import Rule, hierarchical
from askmask.build.mrseg.scene import Region, Scene
from askmask.build.mrseg.sources.source import Table
from askmask.build.mrseg.words import noun_of
from askmask.errors import DataError, SettingError
from askmask.formats.reading import Frames, found_in, naming, read_yaml, upright, upright_size
from askmask.imaging.files import read_ids
from askmask.imaging.mask import Mask
from askmask.notes import Notes

SPLITS = {"train": ("training", "train"), "val": ("validation", "val")}
UNLABELED = "UNLABELED"
MOST_YAML_BYTES = 1 << 20
NO_NAME = "parts left out: the definition does not name them"
# Names as Pascal writes them, and as a person would.
SAID = {"tvmonitor": "tv monitor", "pottedplant": "potted plant", "diningtable": "dining table"}


def parted(uid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split ids [...] into (sid, iid, pid); -1 where there is none."""
    sid = np.where(uid < 100, uid, np.where(uid < 100_000, uid // 1000, uid // 100_000))
    iid = np.where(uid < 1000, -1, np.where(uid < 100_000, uid % 1000, uid // 100 % 1000))
    return sid, iid, np.where(uid < 100_000, -1, uid % 100)


class PascalParts:
    """One split of the maps."""

    dataset = "pascal"
    table: Table = "codes"
    rules: tuple[Rule, ...] = (hierarchical,)

    def __init__(self, name: str, root: Path, split: str, definition: str = "definition.yaml"):
        self.name, self.root, self.split = name, root, split
        self.categories: list[dict[str, object]] = []
        self.opened = Notes()
        self.definition = root / definition
        self.classes, self.parts = _names(self.definition)
        places = [root / "labels" / name for name in SPLITS.get(split, (split,))]
        folder = next((place for place in places if place.is_dir()), None)
        if folder is None:
            raise SettingError("no folder of maps", got=places[0], do="Check the root folder and the split.")
        found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in (".tif", ".png")}
        self.maps = dict(sorted(found.items()))

    def files(self) -> Sequence[Path]:
        """Return the definition."""
        return [self.definition]

    def ids(self) -> Sequence[str]:
        """Return the pictures, in order."""
        return list(self.maps)

    def annotation(self, picture: str) -> Path | None:
        """Return none: masks are written as a table."""
        return None

    def scene(self, picture: str, notes: Notes) -> Scene:
        """Return the instances of a picture and their parts."""
        path = self.maps[picture]
        uids = read_ids(path)
        if uids.max() > 9_999_999 or uids.min() < 0:
            raise DataError("ids of up to seven digits are needed", got=f"{uids.min()} to {uids.max()}")
        image = found_in([self.root / "JPEGImages", self.root / "images"], f"{picture}.jpg")
        turn = Frames().orientation(image, uids.shape)
        sids, iids, pids = parted(uids)
        regions = []
        for sid, iid in sorted(set(zip(sids[iids >= 0].tolist(), iids[iids >= 0].tolist(), strict=True))):
            if sid not in self.classes:
                raise DataError("the definition does not name a class", got=f"sid {sid}")
            here = (sids == sid) & (iids == iid)
            whole = f"{picture}_{sid}_{iid}"
            mask = upright(Mask.from_array(here), turn)
            regions.append(Region(id=whole, noun=self.classes[sid], mask=mask, category=sid))
            named: dict[str, list[int]] = {}
            for pid in sorted({int(pid) for pid in np.unique(pids[here]) if pid > 0}):
                if (sid, pid) in self.parts:
                    named.setdefault(self.parts[sid, pid], []).append(pid)
                else:
                    notes.add(NO_NAME, f"{path}, sid {sid}, pid {pid}")
            for noun, group in named.items():
                mask = upright(Mask.from_array(here & np.isin(pids, group)), turn)
                regions.append(
                    Region(id=f"{whole}_{group[0]}", noun=noun, mask=mask, parent=whole, category=sid)
                )
        without = np.unique(sids[(iids < 0) & (sids > 0)]).tolist()  # pixels of a class that no instance has
        return Scene(
            id=picture,
            image=f"pascal/{picture}.jpg",
            path=image,
            size=upright_size(uids.shape, turn),
            regions=tuple(regions),
            uncounted=frozenset(self.classes[sid] for sid in without if sid in self.classes),
        )


def _names(path: Path) -> tuple[dict[int, str], dict[tuple[int, int], str]]:
    """Return the names of classes by sid, and of parts by (sid, pid)."""
    data = read_yaml(path, MOST_YAML_BYTES)
    with naming(str(path)):
        classes: dict[int, str] = {}
        parts: dict[tuple[int, int], str] = {}
        listed = [(key, names) for key, names in data["scene_class2part_classes"].items() if key != UNLABELED]
        groups = data.get("countable_pids_groupings") or {}
        for sid, (name, names) in enumerate(listed, 1):
            classes[sid] = SAID.get(name, noun_of(name))
            own = [part for part in names or () if part != UNLABELED]
            parts |= {(sid, pid): noun_of(part) for pid, part in enumerate(own, 1)}
            for part, pids in (groups.get(name) or {}).items():
                parts |= {(sid, int(pid)): noun_of(part) for pid in pids}
        return classes, parts
