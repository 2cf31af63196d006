"""A real, simple back-end for the tests of the runner: finds the pixels of the colour that a prompt names."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from askmask.answer import Answer
from askmask.backend import Done, Found, State, Words
from askmask.conversation import Example, Round, Segment
from askmask.errors import PromptError
from askmask.imaging.files import Picture
from askmask.imaging.mask import Mask
from askmask.session import Model

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
SIZE = (24, 32)


@dataclass(frozen=True)
class ColourView:
    """A picture is as good as looked at."""

    picture: Picture
    nbytes: int = 100


class ColourBackend:
    """A back-end with memory: "that again" means what the round before answered. "whichever" makes it ask back."""

    name, protocol_name, fingerprint = "colours", "native", "0"

    def __init__(self):
        self.opened = []  # pictures looked at, as encoding is what real models pay for

    def check(self, prompt):
        if "unanswerable" in prompt.text:
            raise PromptError("this prompt is refused")
        return prompt

    def look(self, picture):
        self.opened.append(picture.name)
        return ColourView(picture)

    def begin(self, view):
        return State(view)

    def extend(self, state, round):
        return state.with_round(round)

    def answer(self, asked, keep):
        for row, one in enumerate(asked):
            picture, rounds = one.state.view.picture, one.state.rounds
            colour = next((c for c in COLOURS if c in one.prompt.text), None)
            segments, reply = (), "nothing of that kind"
            if colour is not None:
                near = np.abs(picture.rgb.astype(int) - COLOURS[colour]).max(axis=2) < 40
                mask = Mask.from_array(near)
                segments = (Segment(mask=mask, source="predicted", score=0.9),) if mask else ()
                reply = f"the {colour} part"
            elif "again" in one.prompt.text and rounds:
                segments = tuple(replace(s, source="predicted", name=None) for s in rounds[-1].segments)
                reply = rounds[-1].reply
            elif "whichever" in one.prompt.text:
                segments, reply = None, "The red one or the green one?"
            yield from (Found(row, segment) for segment in segments or ())
            yield Words(row, reply)
            answer = Answer(
                round=Round(prompt=one.prompt, segments=segments, reply=reply),
                size=picture.size,
                score=0.9 if segments else 0.1,
                presence=1.0,
                score_trained=False,
                presence_trained=False,
                found=bool(segments),
                model=self.name,
                protocol=self.protocol_name,
                picture=picture,
            )
            yield Done(row, answer)


class ColourModel(Model):
    """The colours behind the public API."""

    def __init__(self):
        super().__init__(ColourBackend())

    @property
    def opened(self):
        return self.backend.opened


def make_dataset(folder, pictures=5):
    """Write pictures with one rectangle per colour; return Examples whose masks are exactly these."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    examples = []
    for number in range(pictures):
        rgb = np.full((*SIZE, 3), 128, np.uint8)
        masks = {}
        for column, (name, colour) in enumerate(COLOURS.items()):
            top, left = int(rng.integers(0, 14)), column * 10 + int(rng.integers(0, 4))
            region = np.zeros(SIZE, bool)
            region[top : top + 8, left : left + 6] = True
            rgb[region] = colour
            masks[name] = Mask.from_array(region)
        path = folder / f"{number}.png"
        Image.fromarray(rgb).save(path)
        for name in COLOURS:
            rounds = (Round.of(f"the {name} thing", masks=(masks[name],), concept="entities"),)
            examples.append(Example(id=f"p{number}-{name}", image=str(path), size=SIZE, rounds=rounds))
        examples.append(
            Example(
                id=f"p{number}-talk",
                image=str(path),
                size=SIZE,
                rounds=(
                    Round.of("hello", reply="hello"),
                    Round.of("the red thing", masks=(masks["red"],)),
                    Round.of("that again", masks=(masks["red"],)),
                    Round.of("the purple thing", masks=()),
                ),
            )
        )
    return examples
