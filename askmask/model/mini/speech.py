"""mini speaks: a small causal transformer that says in words what was chosen, and points at what it names.

    Choice, Seen -> Known                 what a reply may speak of: the words asked, the regions, what was chosen
    Known -> numbers, one by one          reply_words.py says what they mean
    Known, numbers -> Uttered             the same numbers read once more, as in training: what comes next at each
                                          place, and for each [SEG] which regions its phrase names, and which part

A phrase points by attention over its own words, from its [OBJ] to its [SEG]. Where [SEG] stands is found by its
number, in training and in use alike. Letters as in language.py; L numbers of a reply, S phrases of all B replies, H
words of earlier rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.grammar import circles
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.instances import evidence_width
from askmask.model.mini.language import Choice, Layer, Seen, picked
from askmask.model.mini.memory import References
from askmask.model.mini.perception import part_names
from askmask.model.mini.reading import names_of
from askmask.model.mini.reply_words import (
    ALONE,
    BEGIN,
    END,
    FOUND,
    KINDS,
    LONGEST,
    NOTHING,
    OBJ,
    PAD,
    SEG,
    ReplyWords,
    Writer,
)
from askmask.model.seams import Piece

HEARD = 32  # words of earlier rounds, the latest, that a reply may take up
NUMBERS = 7  # per region, about the choice; see `Speech.know`
LAYERS = 2
TRUST = 0.5  # how much of what was chosen a phrase takes over before it has learnt to point


@dataclass(frozen=True)
class Known:
    """What the replies to B prompts may speak of."""

    states: Tensor  # [B, T + H + O, D], the regions last
    real: Tensor  # [B, T + H + O] bool
    select: Tensor  # [B, O] logits of the choice
    gate: Tensor  # [B, P] logits of the choice
    names: Tensor  # [B, O, N] chance of each name in each region

    def rows(self, index: Tensor) -> Known:
        """Select along the batch."""
        return Known(*(getattr(self, one.name)[index] for one in fields(self)))

    @property
    def regions(self) -> Tensor:
        """States of the regions, [B, O, D]."""
        return self.states[:, self.states.shape[1] - self.select.shape[1] :]


@dataclass(frozen=True)
class Uttered:
    """Replies as they were read."""

    logits: Tensor  # [B, L, V] of the number that comes next
    row: Tensor  # [S] whose phrase it is
    first: Tensor  # [S] place of its [OBJ]
    last: Tensor  # [S] place of its [SEG]
    point: Tensor  # [S, O] logit of each region
    gate: Tensor  # [S, P] logits over parts, index 0 = the whole region


@dataclass
class Kept:
    """What a layer keeps of a reply that is being made: keys and values of the numbers so far."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def grown(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of the next numbers, and return all."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2)
        self.keys, self.values = keys, values
        return keys, values


class ReplyLayer(nn.Module):
    """A pre-norm layer: a reply looks back at itself, then at what is known."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ask, self.tell = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.heard = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def told(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of what is known, [B, heads, T + O, D / heads] each."""
        keys, values = self.tell(states).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return keys, values

    def forward(
        self, x: Tensor, told: tuple[Tensor, Tensor], bias: Tensor, kept: Kept, drop: float
    ) -> Tensor:
        """x [B, L, D], the next L numbers; `told`: what is known, under bias [B, 1, 1, T + O]."""
        first, second, third = self.norms
        q, k, v = self.qkv(first(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        k, v = kept.grown(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=x.shape[1] > 1)
        x = x + F.dropout(self.out(mixed.transpose(1, 2).flatten(2)), drop, self.training)
        asked = self.ask(second(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(asked, *told, attn_mask=bias)
        x = x + F.dropout(self.heard(mixed.transpose(1, 2).flatten(2)), drop, self.training)
        return x + F.dropout(self.mlp(third(x)), drop, self.training)


class Align(nn.Module):
    """Words of a phrase -> which regions it names, and which part of them."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        width = config.language_width
        self.heads = config.heads
        self.query, self.own = nn.Linear(width, width), nn.Parameter(torch.zeros(width))
        self.words, self.out = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.pick = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.gate = nn.Linear(width, len(part_names(config)))
        self.called = nn.Linear(width, len(names_of(config)))  # which names the words say, and deny
        self.trust = nn.Parameter(torch.full((2,), TRUST))  # of the choice's regions, of its part

    def forward(self, states: Tensor, inside: Tensor, last: Tensor, known: Known) -> tuple[Tensor, Tensor]:
        """Return logits of regions [S, O] and parts [S, P].

        states [S, L, D], `inside` bool [S, L] and `last` [S] say where the phrase is, `known` [S] what it may name.
        """
        at = states[torch.arange(len(states), device=states.device), last]
        query = (self.query(at) + self.own).unflatten(-1, (self.heads, -1))[:, :, None]
        keys, values = self.words(states).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = states.new_zeros(inside.shape).masked_fill(~inside, -torch.inf)[:, None, None]
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
        phrase = self.norm(at + self.out(mixed[:, :, 0].flatten(1)))
        regions = known.regions
        point = self.pick(torch.cat([regions, regions * phrase[:, None]], -1))[..., 0]
        called = torch.einsum("sn,son->so", self.called(phrase), known.names)
        return (
            point + called + self.trust[0] * known.select.clamp(-10, 10),
            self.gate(phrase) + self.trust[1] * known.gate.clamp(-10, 10),
        )


class Speech(nn.Module):
    """Known -> replies."""

    def __init__(self, config: MiniConfig, drop: float = 0.1):
        super().__init__()
        width, heads = config.language_width, config.heads
        self.drop, self.vocabulary = drop, ReplyWords(config.replies)
        self.names = [len(config.categories), len(config.colours)]
        parts, pooled = len(part_names(config)), sum(config.widths[:3])
        numbers = evidence_width(config) - pooled + len(names_of(config)) + NUMBERS
        self.word = nn.Linear(width, width)
        self.region = nn.Sequential(
            nn.Linear(width + numbers, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.whole = nn.Linear(width + parts + 2, width)
        self.earlier = nn.Linear(width, width)
        self.kind = nn.Parameter(torch.zeros(4, width))
        self.reader = Layer(width, heads)
        self.norm = nn.LayerNorm(width)
        self.embed = nn.Embedding(len(self.vocabulary), width)
        self.place = nn.Parameter(torch.zeros(LONGEST, width))
        self.layers = nn.ModuleList(ReplyLayer(width, heads) for _ in range(LAYERS))
        self.last, self.bias = nn.LayerNorm(width), nn.Parameter(torch.zeros(len(self.vocabulary)))
        self.align = Align(config)
        for table, spread in ((self.kind, 0.1), (self.place, 0.02), (self.embed.weight, width**-0.5)):
            nn.init.normal_(table, std=spread)

    # -- what there is to speak of --------------------------------------------------------------------------

    def know(
        self,
        choice: Choice,
        seen: Seen,
        references: References | None = None,
        heard: tuple[Tensor, Tensor] | None = None,
    ) -> Known:
        """Bring together what a reply may speak of; `heard`: words of earlier rounds [B, H, D], and which are real.

        Besides states and evidence, a region has NUMBERS: how surely it was chosen, whether it was, how surely the
        words speak of it, how many chosen and how many other things have its name and colour, and how much of it was
        answered before and is spoken of again.
        """
        objects = seen.states.shape[1]
        chosen = picked(choice.select).float()
        alike = self._alike(seen)
        among = torch.einsum("bij,bj->bi", alike, chosen)
        rivals = torch.einsum("bij,bj->bi", alike, seen.things * seen.real)
        before = spoken = torch.zeros_like(chosen)
        if references is not None and choice.spoken is not None:
            overlap = references.overlap[..., 0] * references.real[..., None]
            before, spoken = overlap.amax(1), (choice.spoken.sigmoid()[..., None] * overlap).amax(1)
        of = choice.of.softmax(1)[:, :objects]
        numbers = [choice.select.sigmoid(), chosen, of, among / 4, rivals / 4, before, spoken]
        states = choice.states.split([choice.states.shape[1] - objects, objects], 1)
        words, regions = self.word(states[0][:, 1:]), states[1]
        told = torch.cat([regions, seen.evidence, seen.names, torch.stack(numbers, -1)], -1)
        counts = torch.stack([chosen.sum(1) / 4, choice.of.softmax(1)[:, -1]], 1)
        whole = self.whole(torch.cat([choice.states[:, 0], choice.gate.softmax(1), counts], 1))[:, None]
        spoken_of = [whole + self.kind[0], words + self.kind[1], self.region(told) + self.kind[2]]
        real = choice.sparse.clone()
        real[:, 0] = True
        if heard is not None:
            spoken_of.insert(2, self.earlier(heard[0]) + self.kind[3])
            real = torch.cat([real[:, :-objects], heard[1], real[:, -objects:]], 1)
        all_ = torch.cat(spoken_of, 1)
        all_ = self.reader(all_, _hidden(real, all_), self.drop if self.training else 0.0)
        return Known(self.norm(all_), real, choice.select, choice.gate, seen.names)

    def _alike(self, seen: Seen) -> Tensor:
        """Return how likely any two regions have the same name and the same colour, [B, O, O]."""
        names, colours, _ = seen.names.split([*self.names, seen.names.shape[-1] - sum(self.names)], -1)
        return (names @ names.transpose(1, 2)) * (colours @ colours.transpose(1, 2))

    # -- reading a reply, in training and in use ------------------------------------------------------------

    def forward(self, known: Known, ids: Tensor) -> Uttered:
        """Read whole replies, [B, L], padded at the end."""
        told, bias = self._told(known)
        states = self._states(ids, 0, told, bias, [Kept() for _ in self.layers])
        row, last = (ids == SEG).nonzero().unbind(1)
        steps = torch.arange(ids.shape[1], device=ids.device)
        began = (ids[row] == OBJ) & (steps < last[:, None])
        first = (began * steps).amax(1) if len(row) else row
        inside = (steps >= first[:, None]) & (steps <= last[:, None])
        point, gate = self.align(states[row], inside, last, known.rows(row))
        return Uttered(self._next(states), row, first, last, point, gate)

    def _told(self, known: Known) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        told = [layer.told(known.states) for layer in self.layers]  # type: ignore[operator]
        return told, _hidden(known.real, known.states)

    def _states(
        self,
        ids: Tensor,
        start: int,
        told: list[tuple[Tensor, Tensor]],
        bias: Tensor,
        kept: list[Kept],
    ) -> Tensor:
        drop = self.drop if self.training else 0.0
        x = self.embed(ids) + self.place[start : start + ids.shape[1]]
        for layer, known, past in zip(self.layers, told, kept, strict=True):
            x = layer(x, known, bias, past, drop)
        states: Tensor = self.last(x)
        return states

    def _next(self, states: Tensor) -> Tensor:
        return F.linear(states, self.embed.weight, self.bias)

    # -- making a reply -------------------------------------------------------------------------------------

    def say(
        self, known: Known, found: Tensor, strange: Tensor | None = None
    ) -> Iterator[Piece | list[list[int]]]:
        """Make B replies together; yields their words as they come, and at the end the numbers of all.

        `found` [B] bool: whether the choice shows anything. That is not asked again: the reply decides only whether
        to answer in words alone; not where a prompt is `strange` [B] bool, with a word that was never taught.
        """
        making = Making(found, self.vocabulary, strange)
        told, bias = self._told(known)
        kept = [Kept() for _ in self.layers]
        device = known.states.device
        for at in range(LONGEST - 1):
            states = self._states(making.latest().to(device), at, told, bias, kept)
            yield from making.add(self._next(states[:, -1]).float().cpu())
            if all(making.done):
                break
        yield making.ids


@dataclass
class Making:
    """Replies that are being made: the numbers and the text of each so far."""

    found: Tensor  # [B] bool
    vocabulary: ReplyWords
    strange: Tensor | None = None  # [B] bool: not understood, so not answered in words alone
    ids: list[list[int]] = field(init=False)
    done: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.found)
        self.ids, self.done = [[BEGIN] for _ in range(count)], [False] * count
        self.writers = [Writer() for _ in range(count)]

    def latest(self) -> Tensor:
        """Return the last number of each, [B, 1]; padding where a reply has ended."""
        ids = [PAD if done else ids[-1] for ids, done in zip(self.ids, self.done, strict=True)]
        return torch.tensor(ids)[:, None]

    def add(self, logits: Tensor) -> Iterator[Piece]:
        """Append the likeliest number of each, [B, V]; a reply that goes round in circles ends there."""
        if len(self.ids[0]) == 1 and all(len(ids) == 1 for ids in self.ids):
            alone = logits[:, KINDS].softmax(1)[:, KINDS.index(ALONE)] > 0.5
            if self.strange is not None:
                alone &= ~self.strange.cpu()
            kinds = torch.where(alone, ALONE, torch.where(self.found.cpu(), FOUND, NOTHING))
            for ids, kind in zip(self.ids, kinds.tolist(), strict=True):
                ids.append(kind)
            return
        for row, number in enumerate(logits.argmax(1).tolist()):
            if self.done[row]:
                continue
            ids = self.ids[row]
            ids.append(number)
            self.done[row] = number == END or circles(ids)
            if number > END:
                yield Piece(row, self.writers[row].add(self.vocabulary.names[number]))


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Bring the numbers of replies together, [B, L]."""
    most = max(map(len, rows))
    return torch.tensor([[*ids, *[PAD] * (most - len(ids))] for ids in rows])


def _hidden(real: Tensor, like: Tensor) -> Tensor:
    return like.new_zeros(real.shape).masked_fill(~real, -torch.inf)[:, None, None]
