"""One conversation as the rules make it, before it has a file's form."""

from __future__ import annotations

from dataclasses import dataclass

from askmask.build.mrseg.scene import Region, Scene

CAPTION, INSTANCE, ROUND = "caption", "instance", "round"  # how a reference is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One round: what is asked in which words, and of what it speaks.

    `refers_to` is the index from 0 of an earlier round, `given` a mask from outside. `keep` are words that a corrected
    sentence must still have: of each group at least one.
    """

    kind: str  # of bank.KINDS, or "own"
    target: Region
    text: str
    reply: str
    caption: str = ""  # how later rounds may name the target; fits nothing else of the picture
    refers_to: int | None = None
    given: Region | None = None
    relation: str = ""
    said_by: str = ""  # CAPTION, INSTANCE or ROUND; "" without a reference
    alike: int = 0  # how many of the target's noun the picture shows; 0 where that is not known
    free: bool = False  # whether a reference would have been possible: of these a third are direct
    keep: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation over one picture. `group` says in which file of a source it stands."""

    scene: Scene
    id: str
    steps: tuple[Step, ...]
    group: str = ""
