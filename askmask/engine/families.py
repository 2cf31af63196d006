"""The five concepts and the sub-families prompts are drawn from, each with the question it asks of a picture.

The list follows the ConverSeg paper (section 3 and the supplement's section B); the wording is ours.
"""

from __future__ import annotations

from askmask.conversation import CONCEPTS

FAMILIES: dict[str, dict[str, str]] = {
    "entities": {
        "instances": "one or several people, animals or objects told apart by how they look",
        "stuff": "surfaces and amorphous matter: floor, sky, water, cloth, foliage",
        "parts": "a part or a functional zone of something: handle, rim, seat, opening",
        "materials": "what something is made of, and how it treats light: glass, gloss, transparency",
        "state": "a state of something that moves or opens: open, folded, lit, full, worn",
        "groups": "things that count as one: a pile, a row, a set",
        "anticipatory": "what something is about to become or need",
        "unusual": "what is out of the ordinary in its kind or look",
    },
    "spatial": {
        "topological": "inside, around, between, touching, apart",
        "viewer": "left, right, nearest, farthest, as the viewer sees it",
        "object": "sides and directions belonging to another object",
        "metric": "coarse distance and size: within reach, the widest, close together",
        "support": "what rests on, leans on or hangs from what",
        "visibility": "hidden, half hidden, the one in front",
        "ordering": "counting and rank: the second from the left, the topmost",
        "unusual": "a place where one would not expect the thing",
    },
    "relations": {
        "contact": "posture and action between things: holding, wearing, facing, leaning",
        "event": "the state of something that is happening: pouring, waiting, parked",
        "role": "the role a thing or person plays: driver, audience, lid, cargo",
        "anticipation": "what is about to happen between them",
    },
    "affordances": {
        "context_dependent": "what can be used for it now, as the scene stands",
        "context_independent": "what is made for it, whatever its state",
        "negative": "what must not be used for it",
        "counterfactual": "what could serve for it in want of the right thing",
        "state_dependent": "what serves only in this state or for this user",
        "anticipatory": "what will soon serve for it",
    },
    "physics": {
        "support": "what holds, what would fall, what can be taken away",
        "containment": "what holds or would let out liquid or small things",
        "obstruction": "what blocks, what can be passed or reached",
        "hazard": "what is hot, sharp, slippery, heavy above a head",
        "counterfactual": "what would move, break or spill if something were done",
        "unusual": "what looks physically improbable",
    },
}
assert tuple(FAMILIES) == CONCEPTS
