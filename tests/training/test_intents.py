"""Dialogues about an intent as training targets: what the words of several rounds ask for together."""

import askmask
from askmask.model.mini.reading import names_of
from askmask.training.intents import NAMES_OF, names_of_aim
from askmask.training.talks import talks_of
from askmask.world.talks.aims import GOALS, NARROWERS

THINGS = {1: "mug", 2: "glass", 3: "mug", 4: "plate"}
SCENE = {"objects": [{"id": id, "category": category, "parts": []} for id, category in THINGS.items()]}


def asked(prompt, kind, reply, *, shown=None, fits=(), wishes=(), sup=None, refers_to=()):
    return {
        "prompt": prompt,
        "kind": f"intent_{kind}",
        "concept": "affordances",
        "answer": None if shown is None else {"objects": shown},
        "satisfying": shown or [],
        "candidates": list(THINGS),
        "facts": {"goal": "drink", "wishes": list(wishes), "sup": sup, "fits": list(fits)},
        "refers_to": list(refers_to),
        "reply": reply,
    }


DIALOGUE = [
    asked("I am thirsty.", "ask", "Three things. Should it stay put?", fits=(1, 2, 3)),
    asked("yes", "ask", "Two things: the left one or the right one?", fits=(1, 3), wishes=["still"]),
    asked("the left one", "show", "The mug.", shown=[3], fits=(3,), wishes=["still"], sup="leftmost"),
    asked("why?", "words", "It can be drunk from.", fits=(3,), refers_to=[{"round": 2}]),
]


def test_every_goal_and_wish_has_names_that_the_shipped_eyes_know():
    known = names_of(askmask.load("mini", device="cpu").backend.net.config)
    spoken_of = {one["property"] for one in (*GOALS.values(), *NARROWERS.values())}
    assert spoken_of == set(NAMES_OF)
    assert {name for names in NAMES_OF.values() for name in names} <= set(known)


def test_wishes_are_said_or_denied_beside_the_goal():
    said, denied = names_of_aim({"goal": "drink", "wishes": ["handle", "still"]})
    assert said == {"mug", "glass", "graspable"}
    assert denied == {"rolls_left", "rolls_right", "rolls_front", "rolls_back"}


def test_rounds_in_words_alone_ask_for_what_fits_so_far_and_for_what_is_explained():
    (talk,) = talks_of(SCENE, {"dialogues": [DIALOGUE], "objects": {}})
    assert [sorted(round.ask.ids) for round in talk] == [[1, 2, 3], [1, 3], [3], [3]]
    assert [round.shown for round in talk] == [False, False, True, False]
    assert [len(round.answers) for round in talk] == [0, 0, 1, 0]
    assert talk[1].ask.denied >= {"rolls_left"} and talk[2].ask.order == "left" and talk[2].ask.place == 1
    assert [round.text for round in talk] == [prompt["prompt"] for prompt in DIALOGUE]


def test_what_is_not_certain_is_not_asked_for():
    unsure = [
        asked("I am thirsty.", "ask", "Several.", fits=())
        | {"facts": {"goal": "drink", "wishes": [], "fits": None}}
    ]
    (talk,) = talks_of(SCENE, {"dialogues": [[*unsure, DIALOGUE[2]]], "objects": {}})
    assert talk[0].ask is None and talk[1].ask is not None
