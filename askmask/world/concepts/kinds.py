"""The kinds of prompts by concept and family, and the one way to make a Query of a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from askmask.world.ground import Query

KINDS = {
    "entities": {
        "instances": ("category", "colour_category", "one", "colour"),
        "materials": ("material", "transparent"),
        "stuff": ("table", "floor"),
        "parts": ("part", "parts"),
        "state": ("lying", "upside_down", "covered", "open"),
        "groups": ("stack",),
        "size": ("tallest", "largest"),
    },
    "spatial": {
        "viewer": ("left_of", "right_of", "front_of", "behind"),
        "order": ("leftmost", "rightmost", "nearest", "farthest"),
        "counting": ("nth_left", "nth_right"),
        "metric": ("near", "nearest_to"),
        "visibility": ("hidden",),
        "place": ("on_floor",),
        "support": ("directly_on_table", "not_on_table"),
        "topological": ("under", "top_of_stack", "bottom_of_stack", "above"),
        "object_centred": ("handle_side",),
    },
    "relations": {
        "support": ("rests_on", "carried_by"),
        "containment": ("inside", "container_of"),
        "contact": ("touching", "leaning"),
        "occlusion": ("hiding",),
        "likeness": ("same_colour", "same_material", "same_kind"),
    },
    "affordances": {
        "context_dependent": ("holds_liquid", "free_surface", "heat_proof"),
        "negative": ("cannot_hold", "not_reachable"),
        "state_dependent": ("reachable",),
        "surface": ("surface",),
        "context_independent": ("grasp", "cut_with", "eat"),
        "anticipatory": ("must_move",),
        "agent_dependent": ("drink", "sit"),
    },
    "physics": {
        "stability": ("removable", "tips"),
        "counterfactual": ("not_removable", "falls_with"),
        "motion": ("rolls_left", "rolls_right", "rolls_front", "rolls_back", "stays"),
        "support": ("load_bearing",),
        "edge": ("near_edge", "overhangs"),
        "containment": ("contains_flow",),
        "obstruction": ("blocked_by",),
        "hazard": ("sharp", "fragile"),  # the one family that a category decides; it is reported apart
    },
}
PLACES = {
    kind: (concept, family)
    for concept, families in KINDS.items()
    for family, kinds in families.items()
    for kind in kinds
}


def query(
    kind: str,
    candidates: list[int],
    satisfying: list[int],
    ignore: Sequence[int] = (),
    *,
    x: int | None = None,
    words: Mapping[str, str] | None = None,
    **known: Any,
) -> Query:
    """Return a Query of a kind; `x` is the thing it speaks of, `known` are further fields of Query."""
    concept, family = PLACES[kind]
    slots: dict[str, Any] = {} if x is None else {"x": x}
    return Query(
        concept=concept,
        family=family,
        kind=kind,
        candidates=candidates,
        satisfying=satisfying,
        ignore=list(ignore),
        slots=slots | dict(words or {}),
        **known,
    )
