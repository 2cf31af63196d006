"""ReasonSeg: its own prompts, word for word, read by formats/reasonseg.py.

reasonseg:ROOT   ROOT/{train,val,test}/NAME.jpg beside NAME.json
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from askmask.build.mrseg.rules import Rule, as_it_is
from askmask.build.mrseg.scene import Region, Scene
from askmask.build.mrseg.sources.source import Table
from askmask.build.mrseg.words import plain_caption
from askmask.conversation import Example
from askmask.formats.reading import NoTruth
from askmask.formats.reasonseg import read_reasonseg
from askmask.notes import Notes


class ReasonSeg:
    """One split; of val and test the first phrasing is asked, of train each."""

    dataset = "reason_seg"
    table: Table = "shapes"
    rules: tuple[Rule, ...] = (as_it_is,)

    def __init__(self, name: str, root: Path, split: str):
        self.name, self.root, self.split = name, root, split
        self.categories: list[dict[str, object]] = []
        self.opened = Notes()
        self.found: dict[str, list[Example]] = {}
        for example in read_reasonseg(root, split, notes=self.opened):
            self.found.setdefault(Path(example.image).stem, []).append(example)

    def files(self) -> Sequence[Path]:
        """Return the annotations."""
        return [self.annotation(picture) for picture in self.ids()]

    def ids(self) -> Sequence[str]:
        """Return the pictures, in order."""
        return sorted(self.found)

    def annotation(self, picture: str) -> Path:
        """Return the file of a picture."""
        return self.root / self.split / f"{picture}.json"

    def scene(self, picture: str, notes: Notes) -> Scene:
        """Return the target of a picture and what is asked for it."""
        examples = self.found[picture]
        first = examples[0].rounds[0]
        mask = (first.masks or ())[0]
        texts = [" ".join(e.rounds[0].text.replace("[", "(").replace("]", ")").split()) for e in examples]
        if not any(map(plain_caption, texts)) or examples[0].size is None:
            raise NoTruth("pictures left out: nothing is asked")
        return Scene(
            id=picture,
            image=f"reason_seg/images/{self.split}/{picture}.jpg",
            path=Path(examples[0].image),
            size=examples[0].size,
            regions=(Region(id="", noun="it", mask=mask),),
            asked=tuple(dict.fromkeys(texts)),
            ignore=first.ignore,
        )
