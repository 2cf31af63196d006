"""A server of the colour back-end in a process of its own: python -m tests.serving.colour_server --data DIR.

It needs no torch, so that a test may start and kill it as often as it likes. `--delay` is how long an answer takes.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from askmask.answer import Answer
from askmask.backend import Done, Found
from askmask.conversation import Round, Segment
from askmask.errors import PromptError
from askmask.imaging.mask import Mask
from askmask.serving.run import log_to_stderr, run
from askmask.serving.settings import Limits, Settings
from askmask.session import Model
from tests.evaluation.colour_model import COLOURS, ColourBackend


class PatientBackend(ColourBackend):
    """Colours that take their time. "wait 3" in a prompt waits so many seconds more; "fall" falls over.

    A mark means all of the colour that lies there. With a drawn mask it is added to that, by a point outside cut from
    it; the model "second" takes no mask with marks.
    """

    def __init__(self, delay: float, name: str):
        super().__init__()
        self.delay, self.name = delay, name

    def check(self, prompt):
        if self.name == "second" and prompt.masks and (prompt.points or prompt.boxes):
            raise PromptError("this model mends no outlines")
        return super().check(prompt)

    def answer(self, asked, keep):
        time.sleep(self.delay)
        for one in asked:
            if "wait" in one.prompt.text:
                time.sleep(float(one.prompt.text.split("wait ")[1].split()[0]))
            if "fall" in one.prompt.text:
                raise ZeroDivisionError(one.prompt.text)
        for row, one in enumerate(asked):
            for event in _marked(one) if one.prompt.marks else super().answer([one], keep):
                if isinstance(event, Done):
                    event = replace(event, answer=replace(event.answer, model=self.name))
                yield replace(event, row=row)


def _marked(one):
    rgb, prompt = one.state.view.picture.rgb.astype(int), one.prompt
    region = prompt.masks[0].to_array() if prompt.masks else np.zeros(rgb.shape[:2], bool)
    middles = [((x0 + x1) / 2, (y0 + y1) / 2, True) for x0, y0, x1, y1 in prompt.boxes]
    for x, y, inside in (*prompt.points, *middles):
        there = rgb[min(int(y), len(rgb) - 1), min(int(x), rgb.shape[1] - 1)]
        if any(np.abs(there - colour).max() < 40 for colour in COLOURS.values()):
            near = np.abs(rgb - there).max(axis=2) < 40
            region = region | near if inside else region & ~near
    mask = Mask.from_array(region)
    segments = (Segment(mask=mask, source="predicted"),) if mask else ()
    yield from (Found(0, segment) for segment in segments)
    yield Done(
        0,
        Answer(
            round=Round(prompt=prompt, segments=segments),
            size=mask.size,
            score=0.0,
            presence=1.0,
            score_trained=False,
            presence_trained=False,
            found=bool(segments),
            model="",
            protocol="native",
            picture=one.state.view.picture,
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--models", default="colours")
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--allow-urls", action="store_true")
    parser.add_argument("--label-studio-url")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    limits = {name: float(value) for name, value in (one.split("=") for one in given.limit)}
    settings = Settings(
        data=given.data,
        port=given.port,
        keys=tuple(given.key),
        allow_urls=given.allow_urls,
        label_studio_url=given.label_studio_url,
        label_studio_key="the-label-studio-key",
        limits=Limits(**{name: int(v) if v.is_integer() else v for name, v in limits.items()}),
    )
    openers = {
        name: lambda name=name: Model(PatientBackend(given.delay, name)) for name in given.models.split(",")
    }
    log_to_stderr(20)
    run(settings, openers, on_start=lambda address: print(address, flush=True))


if __name__ == "__main__":
    main()
