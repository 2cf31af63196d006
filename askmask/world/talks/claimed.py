"""Claims of any model's replies to the world's dialogues, held against the facts of their scenes (claims.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from askmask.conversation import Example
from askmask.errors import DataError
from askmask.world.ground import Ground, ground_of
from askmask.world.talks.claims import Claim, claims


def claims_by_reply(example: Example, replies: Sequence[str | None], ground: Ground) -> Iterator[list[Claim]]:
    """Yield the claims of each reply to the rounds of an example, in order; None and "" claim nothing.

    What "it" means, and among which things one is the biggest, is what the true conversation has shown so far.
    """
    about: list[int] = []
    among: list[int] = []
    for round, reply in zip(example.rounds, replies, strict=True):
        satisfying = list(round.meta.get("satisfying", ()))
        alone = round.segments is None
        answer = None if alone else satisfying
        yield [] if not reply else claims(reply, ground, about=about, among=among, answer=answer)
        about = (about if alone else satisfying) or about
        among = list(round.meta.get("facts", {}).get("fits") or ()) or among


class Grounds:
    """The facts behind simulated examples, found by simulating their seeds again (extra [world])."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self._views: list[Ground] = []
        self._hash = ""

    def of(self, example: Example) -> Ground:
        """Return the facts of an example's view. Raises DataError for an example of no scene, or of another version."""
        from askmask.world.record import Asking, record

        meta = example.meta
        if example.size is None or not {"seed", "view", "scene"} <= meta.keys():
            raise DataError(
                f"{example.id} is of no simulated scene", do="Give a folder of `askmask world make`."
            )
        key = int(meta["seed"]), example.size[0]
        if key != self._last or int(meta["view"]) >= len(self._views):
            facts = record(*key, Asking(prompts=1), views=int(meta["view"]) + 2).facts
            self._views = [ground_of(facts, view) for view in facts["views"]]
            self._last, self._hash = key, facts["hash"]
        if self._hash != meta["scene"]:
            raise DataError(
                f"{example.id}: its scene comes out otherwise with this version",
                got=self._hash,
                do="Make the data anew, or use the version that made it.",
            )
        return self._views[int(meta["view"])]
