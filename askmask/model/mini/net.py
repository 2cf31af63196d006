"""Mini: the small back-ends behind the common seams, and the network they make. Letters as in seams.py.

MiniSegmenter       encoder, mask decoder, clicks
MiniPromptEncoder   dense heads and instances (once per picture), words x regions (per prompt)
MiniAdapter         in decoder.py; paints the chosen regions as the dense prompt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.errors import PromptError
from askmask.imaging.resize import Letterbox
from askmask.model.mini.blend import Blend, blended
from askmask.model.mini.clicks import ClickEncoder, region_at
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.decoder import MaskDecoder, MiniAdapter, Painted
from askmask.model.mini.domain import Domain
from askmask.model.mini.encoder import Encoder, pyramid
from askmask.model.mini.instances import Instances, gather
from askmask.model.mini.language import Choice, Language, Seen, pad_regions
from askmask.model.mini.memory import References, Remembered, pad_memories, refer
from askmask.model.mini.perception import Percept, Perception
from askmask.model.mini.score import Score, signs
from askmask.model.mini.specks import without_specks
from askmask.model.mini.speech import HEARD, Speech
from askmask.model.mini.spoken import read_again
from askmask.model.mini.words import UNSAID, MiniTokens, Said, split
from askmask.model.net import AskMaskNet, Look
from askmask.model.seams import Features, Marks, MaskOutput, PastRound, Piece, Prompts

UNLIKE = (
    "this picture is unlike the simulated table scenes that mini was trained on: do not trust its answers. "
    "For photographs: --model point --vlm-model ID --base-url URL (see `askmask models`)"
)


STRANGE = 1.5  # how much a word that was never taught lowers the logit of presence


class MiniSegmenter(nn.Module):
    """The visual back-end."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        self.channels, self.image_size = config.channels, config.image_size
        self.mask_size = config.image_size // (1 if config.blends else 2)
        self.encoder = Encoder(config.widths)
        self.blend = Blend(config.widths[0]) if config.blends else None
        self.decoder = MaskDecoder(config)
        self.clicks = ClickEncoder(config)

    def prepare(self, rgb: np.ndarray, *, letterbox: bool = False) -> Tensor:
        """Turn uint8 [H, W, 3] into [3, S, S] in -1..1: stretched, or between grey bars."""
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
        side = self.image_size
        box = Letterbox.of(rgb.shape[:2], side)
        fit = box.inner if letterbox else (side, side)
        if rgb.shape[:2] != fit:
            pixels = F.interpolate(pixels, size=fit, mode="bilinear", antialias=True)
        pixels = pixels[0] / 127.5 - 1
        if letterbox:
            square = pixels.new_zeros(3, side, side)
            square[:, box.rows, box.columns] = pixels
            return square
        return pixels

    def encode(self, pixels: Tensor) -> Features:
        """[B, 3, S, S] -> maps at strides 2, 4, 8; before them, if it blends, the shares of blend.py."""
        maps = self.encoder(pixels)
        return Features(maps if self.blend is None else (self.blend(pixels, maps[0]), *maps))

    def enlarged(self, features: Features, masks: Tensor, row: Tensor) -> Tensor:
        """Bring masks [Q, K, S/2, S/2] to the side `mask_size`; those of prompt q lie in picture `row[q]`."""
        if self.blend is None:
            return masks
        shares = features.maps[0]
        return blended(shares if len(shares) == 1 else shares[row], masks)

    def decode(self, features: Features, prompts: Prompts, *, multimask: bool) -> MaskOutput:
        """Return the supervised mask, or with `multimask` the three alternatives."""
        out = self.decoder(features, prompts)
        kept = slice(1, None) if multimask else slice(0, 1)
        logits = self.enlarged(features, out.logits[:, kept], out.row)
        return replace(out, logits=logits, scores=out.scores[:, kept])

    def mark(self, marks: Marks) -> Prompts:
        """Refuse: what a mark means depends on the regions of the picture, see `Mini.point`."""
        raise PromptError("mini reads marks only on a picture it has looked at")

    def click(self, instances: Instances, places: Tensor) -> Painted:
        """Encode B clicks [B, 1, 2] or boxes [B, 2, 2] (x, y), in picture sides."""
        return self.clicks(places, self.decoder.waves, region_at(instances, places))


@dataclass(frozen=True)
class MiniPrefix:
    """What one picture gives to any number of prompts."""

    instances: Instances
    seen: Seen  # of one picture
    parts: Tensor  # [P, S/2, S/2] probabilities of part_names
    percept: Percept | None = None  # of one picture, kept where masks are to be remembered
    unlike: float = 0.0  # distance from the training domain in limits: above 1, answers mean little

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about this picture."""
        return (UNLIKE,) if self.unlike > 1 else ()


class MiniPromptEncoder(nn.Module):
    """The language back-end: it sees the picture as regions found in the features."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        self.config, self.width = config, config.language_width
        self.perception = Perception(config)
        self.language = Language(config)
        self.words = self.language.words
        self.domain = Domain(config.widths[2])

    def prefix(self, rgb: np.ndarray | None, features: Features, row: int = 0) -> MiniPrefix:
        """Find the regions of one picture; `rgb` is not needed (the large network's encoder reads it)."""
        return self.prefixes(features)[row]

    def prefixes(self, features: Features) -> list[MiniPrefix]:
        """Find the regions of every picture in the batch."""
        percept = self.perception(pyramid(features))
        parts = percept.shares
        unlike = self.domain(features).tolist()
        found = [gather(percept, pyramid(features), row, self.config) for row in range(len(parts))]
        return [
            MiniPrefix(
                instances,
                self.language.see(pad_regions([instances])),
                parts[row],
                percept.row(row) if self.config.remembers else None,
                unlike[row],
            )
            for row, instances in enumerate(found)
        ]

    def remember(
        self,
        prefix: MiniPrefix,
        features: Features,
        memory: Remembered | None,
        masks: Tensor,
        text: str = "",
        reply: str = "",
    ) -> Remembered:
        """Return a memory after one more round: a prompt, its reply and its masks [m, S, S] or [m, S/2, S/2]."""
        assert prefix.percept is not None, "only a network that remembers keeps what pools under a mask"
        regions, numbers = prefix.instances.evidence.shape
        before = memory or Remembered.nothing(regions, numbers, masks.device)
        before = replace(before, said=before.said.then(text, reply))
        if not len(masks):
            return replace(before, rounds=before.rounds + 1)
        side = prefix.instances.masks.shape[-1]
        if masks.shape[-1] != side:
            masks = F.adaptive_avg_pool2d(masks, side)
        found = refer(prefix.percept, pyramid(features), 0, prefix.instances, masks, self.config)
        return before.then(*found)

    def encode(
        self,
        prefix: MiniPrefix,
        tokens: MiniTokens,
        references: References | None = None,
        said: Sequence[Said] = (),
    ) -> Choice:
        """Encode B prompts about the picture of `prefix`, each as if it were alone.

        `references`: the masks that each may speak of; `said`: the words before each, () if there were none.
        """
        count = len(tokens)
        masks = prefix.instances.masks.expand(count, -1, -1, -1)
        earlier = self.words.earlier(said) if self.config.listens else None
        choice = self.language(prefix.seen.expand(count), tokens, references=references, earlier=earlier)
        choice = replace(choice, presence=choice.presence - STRANGE * tokens.strange.to(choice.presence))
        return choice.on(masks, prefix.parts.expand(count, -1, -1, -1))

    def heard(self, earlier: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        """Return the last words of what was said before each of B prompts, [B, H, D], and which are real, [B, H]."""
        if not any(earlier):
            return None
        tokens = self.words.tokens([" ".join(split(text, len(text))[-HEARD:]) for text in earlier])
        vectors, real = self.language.embed(tokens)
        said = torch.tensor([bool(text) for text in earlier], device=real.device)
        return vectors, real & said[:, None]

    def encode_pairs(self, features: Features, tokens: MiniTokens) -> Choice:
        """Encode B prompts, each about the picture in its row of `features`."""
        found = self.prefixes(features)
        seen = self.language.see(pad_regions([one.instances for one in found]))
        y2 = pyramid(features)[0]
        masks = y2.new_zeros(len(found), seen.states.shape[1], *y2.shape[-2:])
        for row, one in enumerate(found):
            masks[row, : len(one.instances.masks)] = one.instances.masks
        return self.language(seen, tokens).on(masks, torch.stack([one.parts for one in found]))


class Mini(AskMaskNet):
    """The whole small network, built from its sizes."""

    segmenter: MiniSegmenter
    prompt_encoder: MiniPromptEncoder
    threads = 1

    def __init__(self, config: MiniConfig):
        super().__init__(MiniSegmenter(config), MiniPromptEncoder(config), MiniAdapter(config))
        self.config = config
        self.remembers = config.remembers
        self.score = Score() if config.doubts else None
        self.speech = Speech(config) if config.replies else None

    @torch.no_grad()
    def remember(self, look: Look, memory: Remembered | None, round: PastRound) -> Remembered | None:
        """Return the memory of a conversation after one more round."""
        if not self.remembers:
            return None
        return self.prompt_encoder.remember(
            look.prefix, look.features, memory, round.masks, round.text, round.reply
        )

    def ask(
        self,
        look: Look,
        tokens: Any,
        memories: Sequence[Any] = (),
        meant: Sequence[Sequence[int]] = (),
        chains: Sequence[Sequence[int]] = (),
        *,
        multimask: bool = False,
    ) -> MaskOutput:
        """Answer B prompts about one picture without words, and say which of its objects each answer is made of."""
        return self._answered(look, tokens, memories, meant, chains, multimask)[2]

    @torch.no_grad()
    def _answered(
        self,
        look: Look,
        tokens: Any,
        memories: Sequence[Any],
        meant: Sequence[Sequence[int]],
        chains: Sequence[Sequence[int]],
        multimask: bool,
    ) -> tuple[Choice, References | None, MaskOutput]:
        regions = look.prefix.seen.states.shape[1]
        if chains:  # what is told is trusted above what else was said, and when
            pairs = zip(memories, chains, strict=True)
            memories = [one.only(rounds) if one is not None and rounds else one for one, rounds in pairs]
        references = pad_memories(memories, meant, regions) if self.remembers else None
        said = [UNSAID if memory is None else memory.said for memory in memories]
        choice = self.prompt_encoder.encode(look.prefix, tokens, references, said)
        out = self._decoded(look, choice, multimask)
        return choice, references, replace(out, references=_spoken_of(choice))

    def _decoded(self, look: Look, choice: Choice, multimask: bool) -> MaskOutput:
        painted = self.adapter(choice)
        out = self._drawn(look, painted, multimask)
        if self.score is not None and not multimask:
            out = replace(out, scores=self.score(self.signs(look.prefix, choice, out)))
        instances = look.prefix.instances
        return replace(out, objects=instances.masks, chosen=painted.chosen[:, : len(instances.masks)])

    def signs(self, prefix: MiniPrefix, choice: Choice, out: MaskOutput) -> Tensor:
        """Return what tells how good the supervised masks of one picture are; see score.py."""
        names = prefix.seen.names[0, : len(prefix.instances.masks)]
        return signs(out.scores[:, 0], out.logits[:, 0], choice, prefix.instances.masks, names)

    @torch.no_grad()
    def stream(
        self,
        look: Look,
        tokens: Any,
        memories: Sequence[Any] = (),
        meant: Sequence[Sequence[int]] = (),
        chains: Sequence[Sequence[int]] = (),
        *,
        multimask: bool = False,
        least: float = 0.0,
        earlier: Sequence[str] = (),
    ) -> Iterator[Piece | MaskOutput]:
        """Answer as `ask` does, with a reply to each prompt where it has learnt to speak; see `AskMaskNet.stream`."""
        choice, references, out = self._answered(look, tokens, memories, meant, chains, multimask)
        if self.speech is None:
            yield out
            return
        found = (out.presence_logits.sigmoid() >= least) & (out.logits > 0).flatten(1).any(1)
        seen = look.prefix.seen.expand(len(tokens))
        known = self.speech.know(choice, seen, references, self.prompt_encoder.heard(earlier))
        for step in self.speech.say(known, found, tokens.strange):
            if isinstance(step, Piece):
                yield step
            else:
                spoken = read_again(self.speech, known, step)
                count = 0 if out.objects is None else len(out.objects)
                named = torch.stack([spoken.named(row) for row in out.row.tolist()])[:, :count]
                yield replace(out, named=named, replies=spoken.replies)

    @torch.no_grad()
    def point(self, look: Look, marks: Marks, *, multimask: bool = False) -> MaskOutput:
        """Segment the object that one point or one box means. Raises PromptError for other marks."""
        if (
            marks.mask is not None
            or len(marks.points) + (marks.box is not None) != 1
            or not marks.inside.all()
        ):
            raise PromptError(
                "mini takes one point inside a thing, or one box around it",
                do="Mark one thing at a time, or use a model with SAM2.",
            )
        places = marks.points[None] if marks.box is None else marks.box.reshape(1, 2, 2)
        prompts = self.segmenter.click(look.prefix.instances, places)
        return self._drawn(look, prompts, multimask)

    def _drawn(self, look: Look, prompts: Prompts, multimask: bool) -> MaskOutput:
        out = self.segmenter.decode(look.features, prompts, multimask=multimask)
        return replace(out, logits=without_specks(out.logits))

    def notices(self, look: Look) -> tuple[str, ...]:
        """Say so where the picture is unlike those trained on."""
        return look.prefix.notices

    def unread(self, text: str) -> tuple[str, ...]:
        """Name the words of a prompt that were never taught."""
        notice = self.prompt_encoder.words.vocabulary.notice(text)
        return () if notice is None else (notice,)

    @property
    def language(self) -> Language:
        """Words x regions."""
        return self.prompt_encoder.language

    def perceive(self, features: Features) -> Percept:
        """Read the dense heads."""
        return self.prompt_encoder.perception(pyramid(features))


def _spoken_of(choice: Choice) -> Tensor | None:
    return None if choice.spoken is None else choice.spoken.sigmoid()
