"""What the builder's stages pass on. Pure values, stored as JSON; elements are numbered from 1 in the picture."""

from __future__ import annotations

from typing import Literal

from askmask.engine.values import Dropped, Segmented, Value, Verdict, Verified

TurnKind = Literal["words", "point", "correct", "nothing"]


class Element(Value):
    """Something that can be seen."""

    id: int
    name: str
    seen: str


class Elements(Value):
    """Stage 1."""

    scene: str
    elements: tuple[Element, ...]
    call: str
    dropped: tuple[Dropped, ...] = ()


class TreePath(Value):
    """A reasoning question with its steps, from the broadest to the narrowest, and what they lead to."""

    id: str
    question: str
    grade: int
    nodes: tuple[int, ...]  # numbers of the tree's nodes
    focus: int


class Tree(Value):
    """Stage 2: the steps of thought, and the paths that are kept."""

    nodes: tuple[str, ...]
    paths: tuple[TreePath, ...]
    call: str
    dropped: tuple[Dropped, ...] = ()

    @property
    def shared(self) -> int:
        """How many nodes lie on more than one path."""
        used = [node for path in self.paths for node in set(path.nodes)]
        return sum(used.count(node) > 1 for node in set(used))


class Turn(Value):
    """A turn before the last; `points_at` are elements."""

    person: str
    assistant: str
    kind: TurnKind
    points_at: tuple[int, ...] = ()


class Dialogue(Value):
    """A conversation that ends on one element."""

    path: str
    turns: tuple[Turn, ...]
    request: str
    focus: int
    call: str


class Dialogues(Value):
    """Stage 3."""

    dialogues: tuple[Dialogue, ...]
    dropped: tuple[Dropped, ...] = ()

    @property
    def pointed_at(self) -> set[int]:
        """All elements that some dialogue points at."""
        return {
            n for talk in self.dialogues for n in (talk.focus, *(n for t in talk.turns for n in t.points_at))
        }


class Checked(Value):
    """Stage 6: the dialogues whose masks are all there, each with the last verdict."""

    dialogues: tuple[Dialogue, ...]
    verdicts: tuple[Verdict, ...]
    dropped: tuple[Dropped, ...] = ()


RESULT_OF: dict[str, type[Value]] = {
    "elements": Elements,
    "tree": Tree,
    "dialogues": Dialogues,
    "segment": Segmented,
    "verify": Verified,
    "check": Checked,
}
