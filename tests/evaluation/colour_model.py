"""A real, simple segmenter for the tests of the runner: finds the pixels of the colour that a prompt names."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from askmask.conversation import Example, Round
from askmask.errors import PromptError
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
SIZE = (24, 32)


@dataclass
class Found:
    masks: tuple[Mask, ...]
    score: float
    text: str = ""

    @property
    def found(self) -> bool:
        return bool(self.masks)


@dataclass
class ColourSession:
    rgb: np.ndarray
    rounds: list = field(default_factory=list)

    def ask(self, prompt: str) -> Found:
        if "unanswerable" in prompt:
            raise PromptError("this prompt is refused")
        colour = next((c for c in COLOURS if c in prompt), None)
        # "that again" means the last round's answer: a model with memory.
        if colour is None and "again" in prompt and self.rounds:
            found = self.rounds[-1]
        elif colour is None:
            found = Found((), 0.1, "nothing of that kind")
        else:
            near = np.abs(self.rgb.astype(int) - COLOURS[colour]).max(axis=2) < 40
            found = Found((Mask.from_array(near),) if near.any() else (), 0.9, f"the {colour} part")
        self.rounds.append(found)
        return found

    def ask_many(self, prompts):
        """Each as if asked alone, as Session.ask_many promises."""
        return [ColourSession(self.rgb).ask(prompt) for prompt in prompts]


class ColourModel:
    """Counts how often it encodes a picture, as encoding is what real models pay for."""

    def __init__(self):
        self.opened = []

    def open(self, picture):
        self.opened.append(str(picture))
        return ColourSession(read_picture(picture).rgb)


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
