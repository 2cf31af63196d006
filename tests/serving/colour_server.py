"""A server of the colour back-end in a process of its own: python -m tests.serving.colour_server --data DIR.

It needs no torch, so that a test may start and kill it as often as it likes. `--delay` is how long an answer takes.
"""

import argparse
import time
from pathlib import Path

from askmask.backend import Done
from askmask.serving.run import log_to_stderr, run
from askmask.serving.settings import Limits, Settings
from askmask.session import Model
from tests.evaluation.colour_model import ColourBackend


class PatientBackend(ColourBackend):
    """Colours that take their time. "wait 3" in a prompt waits so many seconds more; "fall" falls over."""

    def __init__(self, delay: float, name: str):
        super().__init__()
        self.delay, self.name = delay, name

    def answer(self, asked, keep):
        time.sleep(self.delay)
        for one in asked:
            if "wait" in one.prompt.text:
                time.sleep(float(one.prompt.text.split("wait ")[1].split()[0]))
            if "fall" in one.prompt.text:
                raise ZeroDivisionError(one.prompt.text)
        for event in super().answer(asked, keep):
            if isinstance(event, Done):
                object.__setattr__(event.answer, "model", self.name)
            yield event


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
