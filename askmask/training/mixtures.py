"""Published mixtures: how often each kind of data set is drawn, by the names of the readers that askmask has.

Kinds without a reader are named, so that nobody takes the rest for the whole: what is left keeps its ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from askmask.errors import SettingError


@dataclass(frozen=True)
class Share:
    """One kind of data in a mixture."""

    weight: float
    readers: tuple[str, ...]  # sources of the same kind share its weight
    lacking: str = ""  # what of it no reader reads


MIXTURES: dict[str, tuple[Share, ...]] = {
    # MIRAS (ACL 2025), mask-text alignment, as its code draws it
    "miras-one": (
        Share(9, ("coco", "panoptic"), "ADE20K, PASCAL-Part, PACO, Mapillary"),
        Share(6, ("refclef", "refcoco", "refcoco+", "refcocog")),
        Share(3, (), "LLaVA-Instruct-150k"),
        Share(1, ("reasonseg",)),
        Share(3, (), "COCO captions"),
        Share(6, (), "Visual Genome's phrases"),
    ),
    # instruction tuning
    "miras-two": (Share(10, ("prist",)), Share(2, (), "ShareGPT4V")),
}


def weights_of(mixture: str, sources: Sequence[str]) -> tuple[float, ...]:
    """Return the weight of each source NAME:ROOT[@SPLIT] in a mixture; equal ones for the mixture "".

    Raises SettingError for a mixture, or a source in it, that is not known.
    """
    if not mixture:
        return (1.0,) * len(sources)
    if mixture not in MIXTURES:
        raise SettingError(
            "no such mixture", got=repr(mixture), do=f"Use one of: {', '.join(MIXTURES)}; or weights=."
        )
    names = [source.partition(":")[0] for source in sources]
    shares = {reader: share for share in MIXTURES[mixture] for reader in share.readers}
    if strange := sorted({name for name in names if name not in shares}):
        raise SettingError(
            f"the mixture {mixture} has no weight for some data",
            got=", ".join(strange)[:120],
            do=f"It knows {', '.join(shares)}. Give all weights yourself: weights=10,2.",
        )
    return tuple(
        shares[name].weight / sum(other in shares[name].readers for other in names) for name in names
    )
