"""A real, simple back-end that uses references, and dialogues that need them."""

from dataclasses import replace

import numpy as np
from PIL import Image

from askmask.backend import Done
from askmask.conversation import Example, Round
from askmask.session import Model
from tests.evaluation.colour_model import COLOURS, SIZE, ColourBackend, Mask


class ReferringBackend(ColourBackend):
    """The colours; "the same" is what the prompt refers to, "the other" all coloured that was asked for but that."""

    name = "referring"

    def answer(self, asked, keep):
        for event in super().answer(asked, keep):
            if isinstance(event, Done):
                one = asked[event.row]
                known = {s.id: (r.id, s) for r in one.state.rounds for s in r.segments or ()}
                meant = [s for owner, s in known.values() if {owner, s.id} & set(one.prompt.refers_to)]
                if "same" in one.prompt.text:
                    event = answered(event, meant)
                elif "other" in one.prompt.text and meant:
                    event = answered(
                        event, [s for _, s in known.values() if s.mask not in [m.mask for m in meant]]
                    )
            yield event


def answered(event, segments):
    new = tuple(replace(s, id="", source="predicted", name=None) for s in segments)
    answer = event.answer
    return Done(event.row, replace(answer, round=replace(answer.round, segments=new), found=bool(new)))


class ReferringModel(Model):
    def __init__(self):
        super().__init__(ReferringBackend())


def make_talks(folder, count=4):
    """Dialogues of four rounds: two colours, the first of them again, the other one. A wrong model sees no red."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for number in range(count):
        rgb, masks = np.full((*SIZE, 3), 128, np.uint8), {}
        for column, (name, colour) in enumerate(COLOURS.items()):
            region = np.zeros(SIZE, bool)
            region[2 + number : 10 + number, 2 + 10 * column : 8 + 10 * column] = True
            rgb[region], masks[name] = colour, Mask.from_array(region)
        path = folder / f"talk-{number}.png"
        Image.fromarray(rgb).save(path)
        rounds = (
            Round.of("the red thing", [masks["red"]]),
            Round.of("the blue thing", [masks["blue"]]),
            Round.of("the same, please", [masks["red"]], refers_to=["r1"]),
            Round.of("not this, the other", [masks["red"]], refers_to=["m2"]),
        )
        examples.append(Example(id=f"t{number}", image=str(path), size=SIZE, rounds=rounds))
    return examples
