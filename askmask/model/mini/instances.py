"""Objects out of a Percept: soft masks by clustering pixel embeddings, and one evidence vector per object.

Besides the objects there is one region for each kind of stuff (table, floor, wall): "clear the table" needs them.
Letters as in seams.py; O objects and stuff regions together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.perception import Percept, part_names, plane_of

MIN_CELLS = 8  # stride-2 cells; less is noise (8 cells = 32 px at 192 px)
SEED_FLOOR = 0.35  # tuned on nothing: a pixel that is not sure to stand for an object founds none
GEOMETRY = 12  # numbers per object about its place and shape
ORDER = 16  # numbers per object about its place in the order of all: from the left, from the right, ...
RELATION = 18  # numbers per ordered pair of objects
VIEW = 0.8  # width of the picture at depth 1, about: places in space are good to a few centimetres, no more


@dataclass(frozen=True)
class Instances:
    """The regions of one picture: `masks` soft in [0, 1], their evidence, and how each pair lies."""

    masks: Tensor  # [O, S/2, S/2]
    evidence: Tensor  # [O, E]
    relation: Tensor  # [O, O, RELATION]
    things: int  # the first `things` are objects, the rest stuff


def evidence_width(config: MiniConfig) -> int:
    """Return E."""
    names = len(config.categories) + len(config.colours) + len(config.attributes)
    return sum(config.widths[:3]) + names + len(part_names(config)) + 3 + GEOMETRY + ORDER + 1


def cluster(percept: Percept, row: int, limit: int) -> Tensor:
    """Find the objects of one picture: soft masks [K, S/2, S/2], K <= limit, most certain first."""
    inside = percept.foreground[row, 0].flatten().sigmoid()
    cells = (inside > 0.5).nonzero()[:, 0]  # only these can belong to an object
    inside = inside[cells]
    embedding = percept.embedding[row].flatten(1)[:, cells]  # [2 + FREE, cells]
    standing = percept.seed[row, 0].flatten()[cells].sigmoid()
    free = torch.ones_like(inside)
    masks: list[Tensor] = []
    for _ in range(limit + 12):
        if len(masks) == limit or free.sum() < MIN_CELLS:
            break
        score, at = (standing * free).max(0)
        if score < SEED_FLOOR:
            break
        # The founder's neighbours vote on the centre once: one mean-shift step.
        near = torch.exp(-(embedding - embedding[:, at, None]).square().sum(0)) * inside
        weight = near * (near > 0.5)
        centre = embedding @ weight / weight.sum()
        near = torch.exp(-(embedding - centre[:, None]).square().sum(0)) * inside
        members = (near > 0.5).float()
        fresh = members @ free
        free = free * (1 - members)
        free[at] = 0
        if fresh >= MIN_CELLS and fresh * 2 > members.sum():
            masks.append(near)
    shape = percept.foreground.shape[-2:]
    if not masks:
        return percept.foreground.new_zeros(0, *shape)
    stack = torch.stack(masks)
    # A cell between two objects belongs to the nearer one; soft where undecided.
    stack = stack * (stack / stack.sum(0).clamp(min=1e-6)).clamp(max=1)
    whole = stack.new_zeros(len(stack), shape[0] * shape[1])
    whole[:, cells] = stack
    return whole.view(-1, *shape)


def stuff_masks(percept: Percept, row: int, config: MiniConfig) -> Tensor:
    """Return one soft mask per stuff category, [len(stuff), S/2, S/2]."""
    shape = percept.foreground.shape[-2:]
    if not config.stuff:
        return percept.foreground.new_zeros(0, *shape)
    index = [config.categories.index(name) for name in config.stuff]
    chance = percept.category[row : row + 1].softmax(1)[:, index]
    background = 1 - percept.foreground[row : row + 1].sigmoid()
    return (F.interpolate(chance, size=shape, mode="bilinear") * background)[0]


def gather(percept: Percept, maps: tuple[Tensor, ...], row: int, config: MiniConfig) -> Instances:
    """Find the regions of picture `row` and pool its maps over each."""
    things = cluster(percept, row, config.max_objects)
    masks = torch.cat([things, stuff_masks(percept, row, config)])
    is_stuff = torch.zeros(len(masks), 1, device=masks.device)
    is_stuff[len(things) :] = 1
    shown = look_under(percept, maps, row, masks, config)
    ranks = order(shown.place, shown.boxes, len(things))
    evidence = torch.cat([shown.numbers, ranks, is_stuff], 1)
    ranked = distance_ranks(shown.place, len(things))
    return Instances(masks, evidence, seen_from(shown, shown, ranked), len(things))


@dataclass(frozen=True)
class Shown:
    """What the maps show under each of N masks."""

    masks: Tensor  # [N, S/2, S/2]
    numbers: Tensor  # [N, E - ORDER - 1]: the part of the evidence that no other mask decides
    boxes: Tensor  # [N, 4]
    depth: Tensor  # [N]
    place: Tensor  # [N, 3]
    names: tuple[Tensor, ...]  # [N, n] each: chances of categories, colours, materials


def shown_by(instances: Instances, config: MiniConfig) -> Shown:
    """Return what the maps show under the regions themselves, read off their evidence."""
    sizes = [len(config.categories), len(config.colours), len(config.attributes), len(part_names(config)), 3]
    numbers = instances.evidence[:, : -ORDER - 1]
    named = numbers[:, sum(config.widths[:3]) :].split([*sizes, GEOMETRY], 1)
    category, colour, attributes, _, depth, shape = named
    boxes = shape[:, 2:6]
    place = positions(boxes, depth[:, 0])
    names = category, colour, attributes[:, _materials(config)]
    return Shown(instances.masks, numbers, boxes, depth[:, 0], place, names)


def look_under(
    percept: Percept, maps: tuple[Tensor, ...], row: int, masks: Tensor, config: MiniConfig
) -> Shown:
    """Pool the maps of picture `row` over any masks [N, S/2, S/2]."""
    shrunk = {size: _shrunk(masks, size) for size in {map_.shape[-2:] for map_ in maps}}

    def pool(map_: Tensor) -> Tensor:
        weight = shrunk[map_.shape[-2:]]
        return weight @ map_[row].flatten(1).T / weight.sum(1, keepdim=True).clamp(min=1e-4)

    pooled = [pool(map_) for map_ in maps]
    chances = [pool(map_) for map_ in (*percept.chances, percept.shares)]
    mean = pool(percept.depth)
    spread = (pool(percept.depth.square()) - mean.square()).clamp(min=0).sqrt()
    certain = (masks * percept.seed[row].sigmoid()).flatten(1).amax(1, keepdim=True)
    shape, boxes = geometry(masks)
    category, colour, attributes = chances[:3]
    return Shown(
        masks,
        torch.cat([*pooled, *chances, mean, spread, certain, shape], 1),
        boxes,
        mean[:, 0],
        positions(boxes, mean[:, 0]),
        (category, colour, attributes[:, _materials(config)]),
    )


def _materials(config: MiniConfig) -> list[int]:
    return [number for number, name in enumerate(config.attributes) if name.startswith("material=")]


def seen_from(one: Shown, other: Shown, ranked: Tensor) -> Tensor:
    """Return how each mask of `other` lies from each of `one`, [N, O, RELATION]; `ranked`: of `distance_ranks`."""
    alike = [_alike(mine, theirs) for mine, theirs in zip(one.names, other.names, strict=True)]
    right = other.place[None, :, 0] - one.place[:, None, 0]
    more = torch.stack([ranked, torch.cdist(one.place, other.place), right, *alike], -1)
    return torch.cat([relations(one, other), more], -1)


def positions(boxes: Tensor, depth: Tensor) -> Tensor:
    """Return where the middle of each box is in the camera's space, [O, 3] (right, down, forward)."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2 - 0.5, (boxes[:, 1] + boxes[:, 3]) / 2 - 0.5
    return torch.stack([x * depth * VIEW, y * depth * VIEW, depth], 1)


def order(place: Tensor, boxes: Tensor, things: int) -> Tensor:
    """Return ORDER numbers per region: where it comes if the things are counted from each side; 0 for stuff."""
    among = place[:things], boxes[:things]
    numbers = order_among(*among, *among, torch.zeros(things, things, dtype=torch.bool, device=place.device))
    return F.pad(numbers, (0, 0, 0, len(place) - things))


def order_among(place: Tensor, boxes: Tensor, places: Tensor, others: Tensor, same: Tensor) -> Tensor:
    """Return ORDER numbers of N masks counted among things at `places` with boxes `others`, [N, ORDER].

    `same` [N, things]: which of the things a mask itself shows, so that it does not come behind itself.
    """
    ours, theirs = _sides(place, boxes), _sides(places, others)
    ranks = [
        ((their[None] < our[:, None]) & ~same).sum(1).float() for our, their in zip(ours, theirs, strict=True)
    ]
    numbers = [(1 - (rank - k).abs()).clamp(min=0) for rank in ranks[:2] for k in range(5)]
    return torch.stack([*numbers, *(1 / (1 + rank) for rank in ranks[2:])], 1)


def _sides(place: Tensor, boxes: Tensor) -> list[Tensor]:
    """Return by what masks are counted: to the right and left, then nearness and the like."""
    right, _, far = place.unbind(1)
    x0, y0, x1, y1 = boxes.unbind(1)
    high = (y1 - y0) * far
    return [right, -right, far, -far, -high, -(high * (x1 - x0) * far), x0, -x1]


def distance_ranks(place: Tensor, things: int) -> Tensor:
    """Return 1 / (1 + number of things nearer to region i than thing j is), [O, O]; 0 for stuff and itself."""
    return nearness(place, place, torch.eye(len(place), dtype=torch.bool, device=place.device), things)


def nearness(place: Tensor, places: Tensor, same: Tensor, things: int) -> Tensor:
    """Return 1 / (1 + number of things nearer to place i [N, 3] than region j is), [N, O]; 0 for stuff and `same`."""
    apart = torch.cdist(place, places).masked_fill(same, torch.inf)
    apart[:, things:] = torch.inf
    rank = (apart[:, None, :] < apart[:, :, None]).sum(2)  # for each i and j: how many k are nearer
    return (1 / (1 + rank.float())).masked_fill(apart.isinf(), 0)


def _alike(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosine of each row of [N, n] with each of [O, n]: [N, O]."""
    return F.normalize(one, dim=1) @ F.normalize(other, dim=1).T


def _shrunk(masks: Tensor, size: torch.Size) -> Tensor:
    """Bring masks [O, S/2, S/2] to the cells of a map of `size`, [O, cells]."""
    if masks.shape[-2:] == size:
        return masks.flatten(1)
    rows, columns = masks.shape[-2] // size[0], masks.shape[-1] // size[1]
    # Strided sums: the library's own pooling takes longer.
    parts = [masks[:, row::rows, column::columns] for row in range(rows) for column in range(columns)]
    return torch.stack(parts).mean(0).flatten(1)


def geometry(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return GEOMETRY numbers per mask and its box [O, 4] (x0, y0, x1, y1), all in picture sides."""
    height, width = masks.shape[-2:]
    hard = (masks > 0.5).float()
    area = hard.flatten(1).mean(1)
    columns, rows = hard.amax(1), hard.amax(2)  # [O, w], [O, h]
    x = (torch.arange(width, device=masks.device) + 0.5) / width
    y = (torch.arange(height, device=masks.device) + 0.5) / height
    x0 = torch.where(columns > 0, x, torch.ones_like(x)).amin(1)
    x1 = (columns * x).amax(1).maximum(x0)
    y0 = torch.where(rows > 0, y, torch.ones_like(y)).amin(1)
    y1 = (rows * y).amax(1).maximum(y0)
    plane = plane_of(masks[:1])[0].flatten(1)  # [2, cells]
    centre = masks.flatten(1) @ plane.T / masks.flatten(1).sum(1, keepdim=True).clamp(min=1e-4)
    boxes = torch.stack([x0, y0, x1, y1], 1)
    wide, high = x1 - x0, y1 - y0
    fill = area / (wide * high).clamp(min=1e-4)
    edge = ((x0 < 0.02) | (x1 > 0.98) | (y0 < 0.02) | (y1 > 0.98)).float()
    numbers = [centre[:, 0], centre[:, 1], x0, y0, x1, y1, wide, high, area.sqrt(), fill.clamp(max=1)]
    numbers += [(high + 0.01).log() - (wide + 0.01).log(), edge]
    return torch.stack(numbers, 1), boxes


def relations(one: Shown, other: Shown) -> Tensor:
    """Return how mask j of `other` lies in the picture as seen from mask i of `one`: [N, O, 12]."""
    x0, y0, x1, y1 = one.boxes.T[..., None]  # of i
    u0, v0, u1, v1 = other.boxes.T[:, None]  # of j
    dx, dy = (u0 + u1) / 2 - (x0 + x1) / 2, (v0 + v1) / 2 - (y0 + y1) / 2
    inner_w = (torch.minimum(u1, x1) - torch.maximum(u0, x0)).clamp(min=0)
    inner_h = (torch.minimum(v1, y1) - torch.maximum(v0, y0)).clamp(min=0)
    mine, theirs = ((x1 - x0) * (y1 - y0)).clamp(min=1e-4), ((u1 - u0) * (v1 - v0)).clamp(min=1e-4)
    inner = inner_w * inner_h
    (hard, grown), (their_hard, their_grown) = _hard_and_grown(one.masks), _hard_and_grown(other.masks)
    touch = grown @ their_hard.T / their_hard.sum(1).clamp(min=1)  # share of j near i
    touched = hard @ their_grown.T / hard.sum(1).clamp(min=1)[:, None]  # share of i near j
    ahead = other.depth[None] - one.depth[:, None]
    return torch.stack(
        [
            dx,
            dy,
            (dx.square() + dy.square()).sqrt(),
            v0 - y1,  # j's top against i's bottom: resting, hanging above
            v1 - y0,
            v1 - y1,
            inner / theirs,
            inner / mine,
            touch,
            touched,
            ahead,
            (theirs / mine).log() / 4,
        ],
        -1,
    )


def _hard_and_grown(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return masks [N, S/2, S/2] at half the side as 0 and 1, and one cell larger: [N, cells] each."""
    hard = F.max_pool2d((masks > 0.5).float()[:, None], 2)
    return hard.flatten(1), F.max_pool2d(hard, 3, 1, 1).flatten(1)
