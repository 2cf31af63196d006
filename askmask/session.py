"""Model and Session: a network ready to use, and one picture opened with it; the things users hold.

A Session encodes its picture once and then answers any number of prompts about it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from askmask.answer import Answer
from askmask.conversation import Round
from askmask.errors import AskMaskError, PromptError
from askmask.imaging.files import Picture, read_picture
from askmask.imaging.mask import Mask
from askmask.model.config import NetConfig
from askmask.model.net import AskMaskNet
from askmask.model.protocols import Protocol
from askmask.model.seams import MAX_PROMPT_CHARS, Features, MaskOutput

OUT_OF_MEMORY = ("allocate memory", "out of memory")  # as the processor and Apple's GPU say it
AT_ONCE = 64  # prompts that go through the language side together


class Model:
    """A network with its weights, a protocol and a device. Made by `askmask.load`."""

    def __init__(self, net: AskMaskNet, config: NetConfig, protocol: Protocol, *, fingerprint: str = ""):
        self.net = net
        self.config = config
        self.protocol = protocol
        self.fingerprint = fingerprint  # of the weights: two checkpoints may share a name

    def __repr__(self) -> str:
        return f"Model({self.name!r}, protocol={self.protocol.name!r}, device={str(self.net.device)!r})"

    @property
    def name(self) -> str:
        """What results are labelled with."""
        return self.config.name

    def open(self, picture: Any) -> Session:
        """Encode a picture (path, bytes, Pillow image, uint8 array) and return a Session to ask.

        Raises PictureError for what cannot be read.
        """
        return Session(self, read_picture(picture))

    def batch(self, items: Iterable[tuple[Any, str]], *, at_once: int = 8) -> Iterator[Answer]:
        """Answer (picture, prompt) pairs in order, `at_once` together; equal to asking each alone.

        Neighbouring prompts on the same picture object or path share its encoding. A picture or prompt that
        cannot be used raises before its `at_once` neighbours are answered; `askmask.batch` isolates them.
        """
        window: list[tuple[Any, str]] = []
        for item in items:
            window.append(item)
            if len(window) == at_once:
                yield from self._answer_window(window)
                window = []
        if window:
            yield from self._answer_window(window)

    def _answer_window(self, window: list[tuple[Any, str]]) -> Iterator[Answer]:
        runs = [(run[0][0], [prompt for _, prompt in run]) for run in _runs(window)]
        singles = [(read_picture(source), prompts[0]) for source, prompts in runs if len(prompts) == 1]
        answered = iter(self._answer_pairs(singles) if singles else ())
        for source, prompts in runs:
            yield from [next(answered)] if len(prompts) == 1 else self.open(source).ask_many(prompts)

    @torch.no_grad()
    def _answer_pairs(self, pairs: list[tuple[Picture, str]]) -> list[Answer]:
        prompts = [self.checked(prompt) for _, prompt in pairs]
        with memory_guard(f"{len(pairs)} pictures at once"):
            start = time.perf_counter()
            pixels = torch.stack([self.prepare(picture) for picture, _ in pairs]).to(self.net.device)
            features = self.net.segmenter.encode(pixels)
            encoded = time.perf_counter()
            out = self.net(
                features,
                [picture.rgb for picture, _ in pairs],
                prompts,
                multimask=self.protocol.best_of_three,
            )
            decoded = time.perf_counter()
        timings = {
            "picture": (encoded - start) / len(pairs),
            "prompt": (decoded - encoded) / len(pairs),
        }
        return [
            self.read_off(out, row, picture, prompt, timings=timings)
            for row, ((picture, _), prompt) in enumerate(zip(pairs, prompts, strict=True))
        ]

    # -- steps shared by Session and batch ------------------------------------------------------------------

    def prepare(self, picture: Picture) -> torch.Tensor:
        """Turn a picture into the visual side's input [3, S, S], by the protocol."""
        return self.net.segmenter.prepare(self.protocol.rgb(picture), letterbox=self.protocol.letterbox)

    def checked(self, prompt: str) -> str:
        """Return the prompt if it can be asked. Raises PromptError."""
        if not isinstance(prompt, str):
            raise PromptError("a prompt must be text", got=type(prompt).__name__)
        if any("\ud800" <= letter <= "\udfff" for letter in prompt[:MAX_PROMPT_CHARS]):
            raise PromptError(
                "the prompt holds bytes that are no text", got=ascii(prompt[:60]), do="Use UTF-8."
            )
        if self.protocol.published_text:  # cuts long prompts and takes empty ones
            return prompt
        if not prompt.strip():
            raise PromptError("the prompt is empty", do="Say what to look for.")
        if len(prompt) > MAX_PROMPT_CHARS:
            raise PromptError(
                f"a prompt has at most {MAX_PROMPT_CHARS} characters", got=len(prompt), do="Shorten it."
            )
        return prompt

    def read_off(
        self,
        out: MaskOutput,
        row: int,
        picture: Picture,
        prompt: str,
        *,
        timings: dict[str, float],
        keep_logits: bool = False,
        notices: tuple[str, ...] = (),
    ) -> Answer:
        """Turn one row of the network's output into an Answer in picture pixels."""
        start = time.perf_counter()
        chosen = int(self.protocol.choose(out.scores[row : row + 1].float().cpu())[0])
        logits = self.protocol.restore(
            out.logits[row, chosen : chosen + 1], picture, self.net.segmenter.image_size
        )
        presence = float(out.presence_logits[row].float().sigmoid())
        if np.isnan(logits).any() or math.isnan(presence):  # would read as "nothing found"
            raise AskMaskError(
                "the network computed what is no number (NaN)",
                do="Load with dtype='bfloat16' or 'float32'; if you did, check the weights with `askmask doctor`.",
            )
        mask = Mask.from_array(logits[0] > 0)
        # Training supervises the heads for mask token 0 only.
        trained = {} if self.protocol.best_of_three else self.config.trained_heads
        knows_presence = bool(trained.get("presence"))
        found = bool(mask) and (not knows_presence or presence >= self.config.presence_threshold)
        score = min(1.0, max(0.0, float(out.scores[row, chosen])))
        return Answer(
            prompt=prompt,
            size=picture.size,
            masks=(mask,) if found else (),
            scores=(score,) if found else (),
            score=score,
            presence=presence,
            presence_trained=knows_presence,
            score_trained=bool(trained.get("score")),
            found=found,
            model=self.name,
            protocol=self.protocol.name,
            mask_token=chosen + self.protocol.best_of_three,
            notices=notices,
            timings=timings | {"mask": time.perf_counter() - start},
            logits=logits[0] if keep_logits else None,
            picture=picture,
        )


class Session:
    """One picture, encoded once, and the rounds asked about it so far."""

    def __init__(self, model: Model, picture: Picture):
        self.model = model
        self.picture = picture
        self.rounds: list[Round] = []
        start = time.perf_counter()
        with memory_guard(f"a picture of {picture.size[1]} x {picture.size[0]} px"):
            self._look = model.net.look(picture.rgb, model.prepare(picture))
        self._picture_seconds = time.perf_counter() - start

    def __repr__(self) -> str:
        return f"Session({self.picture.name!r}, {len(self.rounds)} rounds, {self.model!r})"

    @property
    def features(self) -> Features:
        """The picture's feature maps, as the mask decoder sees them."""
        return self._look.features

    def ask(self, prompt: str, *, keep_logits: bool = False) -> Answer:
        """Answer one prompt. `keep_logits` keeps the mask's logits, float32 [H, W], with the answer.

        Raises PromptError for a prompt that is empty or too long.
        """
        return self.ask_many([prompt], keep_logits=keep_logits)[0]

    def ask_many(self, prompts: Iterable[str], *, keep_logits: bool = False) -> list[Answer]:
        """Answer prompts together; each as if asked alone."""
        if isinstance(prompts, str):
            raise PromptError(
                "ask_many takes a list of prompts", got="one text", do="Use ask, or put it in a list."
            )
        checked = [self.model.checked(prompt) for prompt in prompts]
        answers: list[Answer] = []
        for first in range(0, len(checked), AT_ONCE):
            group = checked[first : first + AT_ONCE]
            start = time.perf_counter()
            with memory_guard(f"{len(group)} prompts at once"):
                out = self.model.net.ask(self._look, group, multimask=self.model.protocol.best_of_three)
            timings = {"picture": self._picture_seconds, "prompt": (time.perf_counter() - start) / len(group)}
            answers += [
                self.model.read_off(
                    out,
                    row,
                    self.picture,
                    prompt,
                    timings=timings,
                    keep_logits=keep_logits,
                    notices=tuple(getattr(self._look.prefix, "notices", ())),
                )
                for row, prompt in enumerate(group)
            ]
        self.rounds += [
            Round.of(a.prompt, a.masks, source="predicted", reply=a.text or None) for a in answers
        ]
        return answers


def _runs(window: list[tuple[Any, str]]) -> Iterator[list[tuple[Any, str]]]:
    """Split into runs of neighbours on the same picture."""

    def key(item: tuple[Any, str]) -> Any:
        return item[0] if isinstance(item[0], (str, bytes, Path)) else id(item[0])

    for _, run in groupby(window, key=key):
        yield list(run)


@contextmanager
def memory_guard(what: str) -> Iterator[None]:
    """Say in one line when memory ran out, and what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
            sign in text for sign in OUT_OF_MEMORY
        ):
            raise AskMaskError(
                f"out of memory for {what}",
                got=text.splitlines()[0] if text else type(error).__name__,
                do="Ask fewer at once, use a smaller picture, or load with dtype='bfloat16'.",
            ) from error
        raise
