"""What mini remembers of a conversation: its words, each mask as a reference, and what regions are to it.

    once per round:   masks -> evidence under each, how every region lies from it and overlaps with it
    once per prompt:  references join words and regions in the joint layers; half-way, which of them the words speak
                      of: one ("its handle") or several ("of those, the red ones"), the last or an earlier one

References can be spoken of like a region, but never chosen: answers are made of regions. Their order means nothing;
what tells them apart is their evidence and when and where they were answered. Letters as in language.py; M references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.instances import (
    RELATION,
    Instances,
    look_under,
    nearness,
    order_among,
    seen_from,
    shown_by,
)
from askmask.model.mini.perception import Percept
from askmask.model.mini.words import UNSAID, Said

OVERLAP = 3  # numbers per reference and region: IoU, share of the reference, share of the region
SAME = (
    0.5  # IoU above which a reference is taken to be a region itself, so that it is not counted beside itself
)
ROUNDS, PLACES, MANY = 12, 8, 8  # told apart by number: rounds, places within an answer, sizes of an answer
FEATURES = 10  # numbers per region about what is spoken of
KIND_ALIKE = 15  # where in RELATION the likeness of categories stands
GONE = -1  # the round of a mask that `only` left out
GIVEN = 6.0  # what being named adds to the logit of a reference, to begin with


@dataclass(frozen=True)
class Remembered:
    """The words of one conversation so far and its masks, whoever made them, in the order they came."""

    evidence: Tensor  # [M, E]
    relation: Tensor  # [M, O, RELATION]
    overlap: Tensor  # [M, O, OVERLAP]
    round: Tensor  # [M] which round gave it, from 0; GONE
    place: Tensor  # [M] which mask of its answer it was
    many: Tensor  # [M] how many masks that answer had
    rounds: int  # so far; some may have found nothing
    said: Said = UNSAID

    def then(self, evidence: Tensor, relation: Tensor, overlap: Tensor) -> Remembered:
        """Return the memory after one more round, given what `refer` says of its masks; its words go by `said`."""
        count, device = len(evidence), evidence.device
        return Remembered(
            torch.cat([self.evidence, evidence]),
            torch.cat([self.relation, relation]),
            torch.cat([self.overlap, overlap]),
            torch.cat([self.round, torch.full((count,), self.rounds, device=device)]),
            torch.cat([self.place, torch.arange(count, device=device)]),
            torch.cat([self.many, torch.full((count,), count, device=device)]),
            self.rounds + 1,
            self.said,
        )

    def only(self, rounds: Sequence[int]) -> Remembered:
        """Return the memory as if only these rounds had been, in this order; masks keep their numbers.

        Those of other rounds are no longer there to be spoken of.
        """
        place = torch.full((self.rounds,), GONE, dtype=torch.long, device=self.round.device)
        place[list(rounds)] = torch.arange(len(rounds), device=place.device)
        return replace(self, round=place[self.round], rounds=len(rounds), said=self.said.only(rounds))

    @classmethod
    def nothing(cls, regions: int, evidence: int, device: torch.device | None = None) -> Remembered:
        """Begin a memory over a picture of some regions."""
        none = torch.zeros(0, dtype=torch.long, device=device)
        first = torch.zeros(0, evidence, device=device)
        relation, overlap = (first.new_zeros(0, regions, numbers) for numbers in (RELATION, OVERLAP))
        return cls(first, relation, overlap, none, none, none, 0)


def refer(
    percept: Percept,
    maps: tuple[Tensor, ...],
    row: int,
    instances: Instances,
    masks: Tensor,
    config: MiniConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """Look under any masks [M, S/2, S/2] of picture `row` as `gather` does under its regions.

    Returns their evidence [M, E], how each region lies from them [M, O, RELATION], and their overlap [M, O, OVERLAP].
    """
    shown = look_under(percept, maps, row, masks, config)
    regions = shown_by(instances, config)
    overlap = overlaps(masks, instances.masks)
    same = overlap[..., 0] > SAME
    things = instances.things
    ranks = order_among(
        shown.place, shown.boxes, regions.place[:things], regions.boxes[:things], same[:, :things]
    )
    is_stuff = same[:, things:].any(1, keepdim=True).float()
    evidence = torch.cat([shown.numbers, ranks * (1 - is_stuff), is_stuff], 1)
    ranked = nearness(shown.place, regions.place, same, things)
    return evidence, seen_from(shown, regions, ranked), overlap


def overlaps(masks: Tensor, regions: Tensor) -> Tensor:
    """Return IoU, share of the mask and share of the region, [M, O, OVERLAP], of masks and regions above a half."""
    ours, theirs = (masks > 0.5).float().flatten(1), (regions > 0.5).float().flatten(1)
    both, mine, other = ours @ theirs.T, ours.sum(1)[:, None], theirs.sum(1)[None]
    return torch.stack([both / (whole.clamp(min=1)) for whole in (mine + other - both, mine, other)], -1)


@dataclass(frozen=True)
class References:
    """What B prompts may speak of, padded."""

    evidence: Tensor  # [B, M, E]
    relation: Tensor  # [B, M, O, RELATION]
    overlap: Tensor  # [B, M, O, OVERLAP]
    when: Tensor  # [B, M, 4]: rounds ago (1 = the last), round, place in its answer, masks of that answer
    given: Tensor  # [B, M] 0 or 1: the prompt names it
    real: Tensor  # [B, M] bool

    def rows(self, index: Sequence[int]) -> References:
        """Select along the batch."""
        return References(*(getattr(self, field.name)[list(index)] for field in fields(self)))


def pad_memories(
    memories: Sequence[Remembered | None], meant: Sequence[Sequence[int]], regions: int
) -> References | None:
    """Bring the memories of B prompts together, over pictures of at most `regions`; None if all are empty."""
    most = max((len(one.evidence) for one in memories if one is not None), default=0)
    if not most:
        return None
    first = next(one for one in memories if one is not None).evidence
    batch = len(memories)
    evidence = first.new_zeros(batch, most, first.shape[1])
    relation = first.new_zeros(batch, most, regions, RELATION)
    overlap = first.new_zeros(batch, most, regions, OVERLAP)
    when = torch.zeros(batch, most, 4, dtype=torch.long, device=first.device)
    given = first.new_zeros(batch, most)
    real = torch.zeros(batch, most, dtype=torch.bool, device=first.device)
    for row, one in enumerate(memories):
        if one is None or not len(one.evidence):
            continue
        count, seen = one.relation.shape[:2]
        evidence[row, :count] = one.evidence
        relation[row, :count, :seen] = one.relation
        overlap[row, :count, :seen] = one.overlap
        when[row, :count] = torch.stack([one.rounds - one.round, one.round, one.place, one.many], 1)
        given[row, list(meant[row])] = 1
        real[row, :count] = one.round != GONE
    return References(evidence, relation, overlap, when, given, real)


@dataclass(frozen=True)
class Recalled:
    """References after the part of the network that no word changes."""

    states: Tensor  # [B, M, D]
    pairs: Tensor  # [B, M, O, PAIR]
    towards: Tensor  # [B, layers, heads, M, O]: for the attention of references to regions
    back: Tensor  # [B, layers, heads, O, M]: and of regions to references
    references: References

    def bias(self, layer: int) -> Tensor:
        """Return what is added to the attention of a layer, [B, heads, O + M, O + M]: zero among regions.

        Made layer by layer: over a long conversation it is what takes most memory.
        """
        ours, theirs = self.towards[:, layer], self.back[:, layer]
        count, regions = ours.shape[-2:]
        return F.pad(ours, (0, count, regions, 0)) + F.pad(theirs, (regions, 0, 0, count))


class Memory(nn.Module):
    """References -> states beside words and regions, and what they add to regions. Adds nothing where it is empty."""

    def __init__(self, config: MiniConfig, pair: int):
        super().__init__()
        width, self.layers, self.heads = config.language_width, config.joint_layers, config.heads
        self.kind, self.named = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.when = nn.ModuleList(nn.Embedding(size, width) for size in (ROUNDS, ROUNDS, PLACES, MANY))
        for table in self.when:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.02)
        self.from_reference = nn.Linear(pair + OVERLAP, config.joint_layers * config.heads)
        self.to_reference = nn.Linear(pair + OVERLAP, config.joint_layers * config.heads)
        self.meant = nn.Linear(2 * width, 1)
        self.lift = nn.Parameter(torch.full((2,), GIVEN))  # of a named one: as the one, as one of those
        self.among = nn.Linear(width, 1)  # whether only what was answered takes part
        self.heard = nn.Linear(FEATURES, width, bias=False)  # or it would speak where nothing is remembered
        self.weigh = nn.Parameter(torch.zeros(len(config.kinds), FEATURES))
        nn.init.zeros_(self.heard.weight)
        for layer in (self.from_reference, self.to_reference):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer, bias in ((self.meant, -2.0), (self.among, -3.0)):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.constant_(layer.bias, bias)

    def recall(self, states: Tensor, pairs: Tensor, references: References) -> Recalled:
        """Place references in time: `states` [B, M, D] of their evidence, `pairs` [B, M, O, PAIR] to regions."""
        when = references.when.unbind(-1)
        for table, value in zip(self.when, when, strict=True):
            assert isinstance(table, nn.Embedding)
            states = states + table(value.clamp(0, table.num_embeddings - 1))
        states = states + self.kind + references.given[..., None] * self.named
        both = torch.cat([pairs, references.overlap], -1)
        ours, theirs = (
            layer(both)
            .permute(0, 3, 1, 2)
            .unflatten(1, (self.layers, self.heads))  # [B, layers, heads, M, O]
            for layer in (self.from_reference, self.to_reference)
        )
        return Recalled(states, pairs, ours, theirs.transpose(-1, -2), references)

    def spoken(self, summary: Tensor, states: Tensor, references: References) -> Tensor:
        """Return for each reference the logit that the words speak of it, alone or among others: [B, M]."""
        logits = (
            self.meant(torch.cat([states, states * summary], -1))[..., 0] + self.lift[1] * references.given
        )
        return logits.masked_fill(~references.real, -30.0)

    def features(self, spoken: Tensor, fits: Tensor, references: References) -> Tensor:
        """Return FEATURES numbers per region, [B, O, FEATURES]: `spoken` [B, M] in 0..1, `fits` [B, O, 2]."""
        same, cover, inside = (spoken[..., None, None] * references.overlap).amax(1).unbind(-1)
        alike = (spoken[..., None] * references.relation[..., KIND_ALIKE].clamp(min=0)).amax(1)
        real = references.real[..., None]
        last = references.when[..., 0].eq(1)[..., None]
        before, lately = ((references.overlap[..., 0] * which).amax(1) for which in (real, real & last))
        any_ = spoken.amax(1, keepdim=True).expand_as(same)
        fit = fits[..., 0]
        numbers = [same, cover, inside, alike, alike * (1 - same), fit * inside, fit * any_ * (1 - same)]
        return torch.stack([*numbers, any_, before, lately], -1)

    def taking_part(self, summary: Tensor, fits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return what takes part in an order or a choice [B, O], where the words may speak of an answer alone.

        And the logit [B] that they do.
        """
        among = self.among(summary)[:, 0]
        chance = among.sigmoid()[:, None] * features[..., 7]
        return fits * (1 - chance * (1 - features[..., 2])), among
