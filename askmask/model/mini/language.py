"""mini's prompt encoder: words and the picture's regions in one small transformer.

    once per picture:  Features -> Percept -> Instances -> region states and what each pair is (Seen)
    once per prompt:   words, with those of earlier rounds -> text layers -> joint layers over words and regions;
                       half-way, which region the words speak *of* ("left of the mug": the mug), and what every other
                       region is to that one -> which regions, which part of them, whether anything matches

Letters as in seams.py; O regions (objects and stuff), P part names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.mini.compose import Compose
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.instances import RELATION, Instances, evidence_width
from askmask.model.mini.memory import Memory, Recalled, References
from askmask.model.mini.pairs import Pairs
from askmask.model.mini.perception import part_names
from askmask.model.mini.reading import MATCHES, Read, Reading, names_of
from askmask.model.mini.recognise import Recognise
from askmask.model.mini.words import FARTHEST, Earlier, MiniTokens, WordEmbedding, WordHasher
from askmask.model.seams import TokenStates

LIKELIEST = 1.0  # least logit of the likeliest region; chosen on validation views of an earlier network
DECIDED = 4.0  # what logits of regions are multiplied by before they are painted; chosen on validation views
PAIR = 64  # numbers per pair of regions
HUSHED = -2.0  # see `attend`
NEVER = -30.0  # the logit of a region that is only padding
WHOLE = 512  # states up to which all attend at once
ROWS = 128  # beyond it so many do at a time: memory stays bounded


@dataclass(frozen=True)
class Regions:
    """Regions of B pictures, padded: what `Instances` says, ready for the transformer."""

    evidence: Tensor  # [B, O, E]
    relation: Tensor  # [B, O, O, RELATION]
    real: Tensor  # [B, O] bool


@dataclass(frozen=True)
class Seen:
    """Regions after the part of the network that no prompt can change."""

    states: Tensor  # [B, O, D]
    evidence: Tensor  # [B, O, E - pooled maps], standardised
    names: Tensor  # [B, O, N]: chance of each name
    bias: Tensor  # [B, layers, heads, O, O]
    pairs: Tensor  # [B, O, O, PAIR]
    facts: Tensor  # [B, O, O, FACTS] logits
    real: Tensor  # [B, O] bool
    things: Tensor  # [B, O] 0 or 1: not stuff
    measures: Tensor  # [B, O, Q] of compose.py; Q = 0 if the network does not compose

    def expand(self, count: int) -> Seen:
        """Serve `count` prompts with one picture."""
        return Seen(*(t.expand(count, *t.shape[1:]) for t in self._all()))

    def rows(self, index: Tensor) -> Seen:
        """Select along the batch."""
        return Seen(*(t[index] for t in self._all()))

    def _all(self) -> tuple[Tensor, ...]:
        first = self.states, self.evidence, self.names, self.bias, self.pairs, self.facts, self.real
        return *first, self.things, self.measures


@dataclass(frozen=True)
class Choice(TokenStates):
    """Token states (summary, words, regions) and what they choose."""

    select: Tensor  # [B, O] logit per region
    gate: Tensor  # [B, P] logits over parts, index 0 = the whole region
    presence: Tensor  # [B] logit
    read: Read  # what the words say by themselves
    of: Tensor  # [B, O + M + 1] logits: which region or remembered mask the words speak of; the last means none
    order: Tensor | None = None  # [B, 1 + 2Q] logits: by what the words sort; None if it does not compose
    place: Tensor | None = None  # [B, PLACES] logits: which place in it
    spoken: Tensor | None = None  # [B, M] logits: which remembered masks the words speak of, one or several
    among: Tensor | None = (
        None  # [B] logit: whether only what was answered takes part ("the red ones of those")
    )
    paint: Tensor | None = None  # [B, S/2, S/2] in [0, 1]: the choice on the picture

    def rows(self, index: Tensor) -> Choice:
        """Select along the batch."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        tensors = {name: value[index] for name, value in known.items() if isinstance(value, Tensor)}
        return replace(self, **tensors, read=self.read.rows(index))

    @property
    def painted(self) -> Tensor:
        """`paint`, of a choice that `on` has made."""
        assert self.paint is not None, "only a choice that was put on the picture is painted"
        return self.paint

    def on(self, masks: Tensor, parts: Tensor) -> Choice:
        """Paint the choice with region masks [B, O, h, w] and part probabilities [B, P, h, w].

        What is chosen by a little is painted nearly whole: the mask decoder would draw half of a thing that is half
        painted, and half a thing is right for nobody.
        """
        select = lifted(self.select[:, : masks.shape[1]]) * DECIDED
        return replace(self, paint=paint(select, self.gate, masks, parts))


def lifted(select: Tensor) -> Tensor:
    """Return the logits [B, O] that are painted: "whether" is presence's to say, so the likeliest is always in it."""
    if not select.shape[1]:
        return select
    likeliest = select.amax(1, keepdim=True)
    lift = (LIKELIEST - likeliest).clamp(min=0)
    return select + torch.where(likeliest > NEVER / 2, lift, 0.0)  # nothing to see, nothing painted


def picked(select: Tensor) -> Tensor:
    """Return which regions logits [B, O] choose, bool: those above zero, or else the likeliest."""
    if not select.shape[1]:
        return select > 0
    likeliest = select.amax(1, keepdim=True)
    return (select > 0) | ((select == likeliest) & (likeliest <= 0) & (likeliest > NEVER / 2))


class Layer(nn.Module):
    """A pre-norm transformer layer with an additive attention bias."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, bias: Tensor, drop: float = 0.0) -> Tensor:
        """x [B, N, D]; bias [B, 1 or heads, 1 or N, N], -inf where attention is forbidden."""
        q, k, v = self._asked(x)
        return self._then(x, F.scaled_dot_product_attention(q, k, v, attn_mask=bias), drop)

    def by_rows(self, x: Tensor, bias: Callable[[int, int], Tensor]) -> Tensor:
        """Return what `forward` does, some rows at a time; `bias` gives those of rows `first` to `last`."""
        q, k, v = self._asked(x)
        ends = [(first, min(first + ROWS, x.shape[1])) for first in range(0, x.shape[1], ROWS)]
        parts = [
            F.scaled_dot_product_attention(q[:, :, first:last], k, v, attn_mask=bias(first, last))
            for first, last in ends
        ]
        return self._then(x, torch.cat(parts, 2), 0.0)

    def _asked(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _then(self, x: Tensor, mixed: Tensor, drop: float) -> Tensor:
        x = x + F.dropout(self.out(mixed.transpose(1, 2).flatten(2)), drop, self.training)
        return x + F.dropout(self.mlp(self.norm2(x)), drop, self.training)


class Language(nn.Module):
    """Regions and words -> Choice."""

    evidence_mean: Tensor  # [E]
    evidence_scale: Tensor  # [E]

    def __init__(self, config: MiniConfig, drop: float = 0.1):
        super().__init__()
        width, heads = config.language_width, config.heads
        self.layers, self.heads, self.drop = config.joint_layers, heads, drop
        self.register_buffer("evidence_mean", torch.zeros(evidence_width(config)))
        self.register_buffer("evidence_scale", torch.ones(evidence_width(config)))
        self.look = nn.Sequential(
            nn.Linear(evidence_width(config), 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.pairs = Pairs(width, PAIR)
        self.relate = nn.Linear(PAIR, config.joint_layers * heads)
        self.words = WordHasher(
            config.word_buckets, config.piece_buckets, config.max_words, config.vocabulary
        )
        self.embed = WordEmbedding(config.word_buckets, config.piece_buckets, width, config.max_words)
        self.summary = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.summary, std=0.3)
        self.graphs: Callable[..., Choice] | None = None  # what stands for `choose`; see graphs.py
        self.read = nn.ModuleList(Layer(width, heads) for _ in range(config.text_layers))
        self.join = nn.ModuleList(Layer(width, heads) for _ in range(config.joint_layers))
        self.kind = nn.Parameter(torch.zeros(2, width))
        self.reading = Reading(config)
        self.matched = nn.Linear(MATCHES, width)
        self.pooled, self.names = sum(config.widths[:3]), len(names_of(config))
        # Each kind of request weighs evidence, and what a region is to the one spoken of, in its own way.
        self.weigh = nn.Parameter(torch.zeros(len(config.kinds), evidence_width(config) - self.pooled))
        self.weigh_told = nn.Parameter(torch.zeros(len(config.kinds), PAIR))
        self.weigh_match = nn.Parameter(torch.zeros(len(config.kinds), MATCHES))
        self.halfway = config.joint_layers // 2  # joint layers before the words' "of" is found
        self.half_norm = nn.LayerNorm(width)
        self.point, self.nobody = nn.Linear(2 * width, 1), nn.Linear(width, 1)
        self.hear, self.ask = nn.Linear(PAIR, width), nn.Linear(width, width)
        self.this = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.pick = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.gate = nn.Linear(2 * width, len(part_names(config)))
        self.presence = nn.Sequential(nn.Linear(2 * width + 3, width), nn.GELU(), nn.Linear(width, 1))
        self.recognise = Recognise(config, evidence_width(config)) if config.recognises else None
        self.compose = Compose(config, evidence_width(config)) if config.composes else None
        self.memory = Memory(config, PAIR) if config.remembers else None
        self.listen = nn.Embedding(FARTHEST + 1, width) if config.listens else None
        # What is added to the attention that earlier words get, per layer: at first they hardly speak.
        self.attend = nn.Parameter(torch.full((config.text_layers,), HUSHED)) if config.listens else None
        if self.listen is not None:
            nn.init.normal_(self.listen.weight, std=0.3)

    def see(self, regions: Regions) -> Seen:
        """Do the part that depends on the picture alone."""
        evidence = ((regions.evidence - self.evidence_mean) / self.evidence_scale).clamp(-6, 6)
        names = regions.evidence[..., self.pooled : self.pooled + self.names]
        if self.recognise is not None:
            names = self.recognise(evidence, names) * regions.real[..., None]
        states = self.look(evidence)
        facts, pairs = self.pairs(states, states, regions.relation)
        bias = self.relate(pairs).permute(0, 3, 1, 2).unflatten(1, (self.layers, self.heads))
        things = regions.real * (1 - regions.evidence[..., -1])
        measures = self.compose.measure(evidence) if self.compose else states.new_zeros(*states.shape[:2], 0)
        return Seen(
            states + self.kind[1],
            evidence[..., self.pooled :],
            names,
            bias,
            pairs,
            facts,
            regions.real,
            things,
            measures,
        )

    def recall(self, seen: Seen, references: References | None) -> Recalled | None:
        """Do the part of remembering that no word changes; None where there is nothing to remember, or no memory."""
        if self.memory is None or references is None:
            return None
        evidence = ((references.evidence - self.evidence_mean) / self.evidence_scale).clamp(-6, 6)
        states = self.look(evidence)
        # As `see` does it: without the mark that says "a region".
        _, pairs = self.pairs(states, seen.states - self.kind[1], references.relation)
        return self.memory.recall(states, pairs, references)

    def forward(
        self,
        seen: Seen,
        tokens: MiniTokens,
        word_drop: float = 0.0,
        references: References | None = None,
        earlier: Earlier | None = None,
    ) -> Choice:
        """Answer B prompts, row by row about the regions of the same row of `seen`, and of `references`.

        In the light of `earlier`, what was said before.
        """
        drop = self.drop if self.training else 0.0
        words, real, read = self._understood(tokens, word_drop, earlier, drop)
        choose = self.choose if self.graphs is None else self.graphs
        return choose(seen, words, real, read, references)

    def choose(
        self, seen: Seen, words: Tensor, real: Tensor, read: Read, references: References | None
    ) -> Choice:
        """Do what comes after the words were read by themselves: `words` [B, T, D], of them `real` [B, T]."""
        drop = self.drop if self.training else 0.0
        batch, objects = words.shape[0], seen.states.shape[1]
        match = self.reading.match(read, seen.names)
        length = words.shape[1]
        regions = seen.states + self.matched(match)
        order = place = None
        fits, named = seen.names.new_zeros(batch, objects, 2), seen.names.new_zeros(batch, objects)
        if self.compose:
            fits = self.compose.fits(read, seen.names) * (seen.things * seen.real)[..., None]
            regions = regions + self.compose.fitted(fits)
            order, place = self.compose.order(words[:, 0]), self.compose.place(words[:, 0])
            if read.of is not None and self.compose.fits_of is not None:
                named = self.compose.fits_of * self.compose.fit(read.of, seen.names) * seen.real
        recalled = self.recall(seen, references)
        found = [seen.real] if recalled is None else [seen.real, recalled.references.real]
        later = [regions] if recalled is None else [regions, recalled.states]
        both = torch.cat([words + self.kind[0], *later], 1)
        keep = torch.cat([real, *found], 1)
        regional = slice(length, length + objects)
        hidden = both.new_zeros(keep.shape).masked_fill(~keep, -torch.inf)[:, None, None]
        extra = keep.shape[1] - length - objects  # M
        of, told = both.new_zeros(batch, objects + extra + 1), seen.states.new_zeros(batch, objects, PAIR)
        spoken = among = memories = None
        memory = self.memory if recalled is not None else None
        for number, layer in enumerate(self.join):
            if number == self.halfway:
                summary, candidates = self.half_norm(both).split([length, objects + extra], 1)
                of = self._of(summary[:, :1], candidates, torch.cat(found, 1)) + F.pad(named, (0, extra + 1))
                if memory is not None and recalled is not None:
                    of = of + F.pad(memory.lift[0] * recalled.references.given, (objects, 1))
                chance = of.softmax(1)[:, :objects]
                told, heard = self._told(summary[:, :1], of, seen, recalled)
                member = fits[..., 0]
                if memory is not None and recalled is not None:
                    spoken = memory.spoken(summary[:, :1], candidates[:, objects:], recalled.references)
                    memories = memory.features(spoken.sigmoid(), fits, recalled.references)
                    heard = heard + memory.heard(memories)
                    member, among = memory.taking_part(summary[:, 0], member, memories)
                    chance = chance + _covered(of, recalled)
                if self.compose and order is not None and place is not None:
                    ranks = self.compose.rank(order, place, member, chance, seen.measures)
                    heard = heard + self.compose.ranked(ranks)
                both = both + F.pad(heard, (0, 0, length, extra))
            if both.shape[1] > WHOLE and not self.training:
                both = layer.by_rows(both, partial(_bias, seen, recalled, number, length, hidden))  # type: ignore[operator]
                continue
            pairs = F.pad(
                seen.bias[:, number], (length, extra, length, extra)
            )  # [B, heads, T + O + M, T + O + M]
            if recalled is not None:
                pairs = pairs + F.pad(recalled.bias(number), (length, 0, length, 0))
            both = layer(both, pairs + hidden, drop)
        both = self.norm(both[:, : length + objects])
        keep = keep[:, : length + objects]
        summary, regions = both[:, 0], both[:, regional]
        select = self.pick(torch.cat([regions, regions * summary[:, None]], -1))[..., 0]
        select = select + self._weighed(read, seen.evidence, told, match)
        if self.compose:
            weights = read.kind.softmax(1) @ self.compose.weigh
            select = select + torch.einsum("bf,bof->bo", weights, torch.cat([fits, ranks], -1))
        if memory is not None and memories is not None:
            weights = read.kind.softmax(1) @ memory.weigh
            select = select + torch.einsum("bf,bof->bo", weights, memories)
        select = select.masked_fill(~seen.real, NEVER)
        strongest = (regions * select.softmax(1)[..., None]).sum(1) if objects else torch.zeros_like(summary)
        known = torch.stack(
            [
                F.pad(select, (1, 0), value=NEVER).amax(1).clamp(min=-10),
                F.pad(select, (1, 0), value=NEVER).sigmoid().sum(1).clamp(max=4),
                of.softmax(1)[:, -1],
            ],
            1,
        )
        presence = self.presence(torch.cat([summary, strongest, known], 1))[:, 0]
        sparse = keep.clone()
        sparse[:, 0] = False
        return Choice(
            both,
            sparse,
            torch.zeros(batch, dtype=torch.long, device=both.device),
            select,
            self.gate(torch.cat([summary, strongest], 1)),
            presence,
            read,
            of,
            order,
            place,
            spoken,
            among,
        )

    def understand(self, tokens: MiniTokens, word_drop: float = 0.0) -> Read:
        """Return what B prompts say by themselves, without a picture."""
        return self._understood(tokens, word_drop, None, self.drop if self.training else 0.0)[2]

    def _understood(
        self, tokens: MiniTokens, word_drop: float, earlier: Earlier | None, drop: float
    ) -> tuple[Tensor, Tensor, Read]:
        """Return states of the words [B, T, D], the summary first, which are real [B, T], and what they say."""
        words, real = self.embed(tokens, word_drop)
        words = torch.cat([self.summary.expand(len(tokens), 1, -1), words], 1)
        real = F.pad(real, (1, 0), value=True)
        words = self._read_words(words, real, earlier, word_drop, drop)
        return words, real, self.reading(words[:, 0], words[:, 1:], real[:, 1:])

    def _read_words(
        self, words: Tensor, real: Tensor, earlier: Earlier | None, word_drop: float, drop: float
    ) -> Tensor:
        """Put the words [B, T, D] through the text layers, beside the words of earlier rounds; these end here."""
        length, hear = words.shape[1], words.new_zeros(len(self.read))
        if self.listen is not None and self.attend is not None and earlier is not None:
            heard, heard_real = self.embed(earlier.tokens, word_drop, earlier.place)
            heard = heard + self.listen(earlier.ago.to(words.device))
            words, real = torch.cat([words, heard], 1), torch.cat([real, heard_real], 1)
            hear = self.attend
        bias = words.new_zeros(real.shape).masked_fill(~real, -torch.inf)
        for number, layer in enumerate(self.read):
            less = F.pad(hear[number].expand(1, words.shape[1] - length), (length, 0))
            words = layer(words, (bias + less)[:, None, None], drop)
        return words[:, :length]

    def _of(self, summary: Tensor, regions: Tensor, real: Tensor) -> Tensor:
        """Return logits over regions, references and "none", [B, O + M + 1]: what the words speak of."""
        point = self.point(torch.cat([regions, regions * summary], -1))[..., 0].masked_fill(~real, NEVER)
        return torch.cat([point, self.nobody(summary[:, 0])], 1)

    def _told(
        self, summary: Tensor, of: Tensor, seen: Seen, recalled: Recalled | None
    ) -> tuple[Tensor, Tensor]:
        """Return what each region is to the one spoken of [B, O, PAIR], and what of it the words ask [B, O, D]."""
        objects = seen.states.shape[1]
        chance = of.softmax(1)[:, :objects]
        pairs = torch.einsum("bi,bijp->bjp", chance, seen.pairs)
        if recalled is not None:
            of_references = of.softmax(1)[:, objects:-1]
            pairs = pairs + torch.einsum("bi,bijp->bjp", of_references, recalled.pairs)
            same = recalled.references.overlap[..., 0]
            chance = chance + torch.einsum("bi,bij->bj", of_references, same)
        return pairs, self.hear(pairs) * (1 + self.ask(summary)) + chance[..., None] * self.this

    def _weighed(self, read: Read, evidence: Tensor, told: Tensor, match: Tensor) -> Tensor:
        """Return the part of each region's logit that is linear for each kind of request, [B, O]."""
        kind = read.kind.softmax(1)
        pairs = ((self.weigh, evidence), (self.weigh_told, told), (self.weigh_match, match))
        own, towards, said = (torch.einsum("bf,bof->bo", kind @ weights, values) for weights, values in pairs)
        return own + towards + said


def _bias(
    seen: Seen, recalled: Recalled | None, layer: int, words: int, hidden: Tensor, first: int, last: int
) -> Tensor:
    """Return rows `first` to `last` of what is added to the attention of a layer, [B, heads, last - first, N]."""
    own = seen.bias[:, layer]
    objects, every = own.shape[-1], hidden.shape[-1]
    bias = own.new_zeros(*own.shape[:2], last - first, every)
    regions, memories = slice(words, words + objects), slice(words + objects, every)
    for part in (regions, memories):
        begin, end = max(first, part.start), min(last, part.stop)
        if begin >= end:
            continue
        mine, theirs = slice(begin - first, end - first), slice(begin - part.start, end - part.start)
        if part is regions:
            bias[:, :, mine, regions] = own[:, :, theirs]
            if recalled is not None:
                bias[:, :, mine, memories] = recalled.back[:, layer, :, theirs]
        elif recalled is not None:
            bias[:, :, mine, regions] = recalled.towards[:, layer, :, theirs]
    return bias + hidden


def _covered(of: Tensor, recalled: Recalled) -> Tensor:
    """Return how much of the references spoken of lies in each region, [B, O]."""
    cover = recalled.references.overlap[..., 1]
    return torch.einsum("bi,bij->bj", of.softmax(1)[:, cover.shape[2] : -1], cover)


def pad_regions(pictures: list[Instances]) -> Regions:
    """Bring pictures with different numbers of regions together."""
    most = max(1, max(len(one.evidence) for one in pictures))
    first = pictures[0].evidence
    evidence = first.new_zeros(len(pictures), most, first.shape[1])
    relation = first.new_zeros(len(pictures), most, most, RELATION)
    real = torch.zeros(len(pictures), most, dtype=torch.bool, device=first.device)
    for row, one in enumerate(pictures):
        count = len(one.evidence)
        evidence[row, :count] = one.evidence
        relation[row, :count, :count] = one.relation
        real[row, :count] = True
    return Regions(evidence, relation, real)


def paint(select: Tensor, gate: Tensor, masks: Tensor, parts: Tensor) -> Tensor:
    """Paint the chosen regions, or the chosen part of them: probabilities [B, S/2, S/2].

    masks [B, O, h, w] soft; parts [B, P, h, w] probabilities of each part name per pixel, index 0 unused.
    """
    region = torch.einsum("bo,bohw->bhw", select.sigmoid(), masks).clamp(max=1)
    share = gate.softmax(1)
    keep = share[:, :1, None] + torch.einsum("bp,bphw->bhw", share[:, 1:], parts[:, 1:])
    return region * keep
