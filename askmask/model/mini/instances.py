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
    embedding = percept.embedding[row].flatten(1)[:, cells].T.contiguous()  # [cells, 2 + FREE]
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
        near = torch.exp(-(embedding - embedding[at]).square().sum(1)) * inside
        weight = near * (near > 0.5)
        centre = weight @ embedding / weight.sum()
        near = torch.exp(-(embedding - centre).square().sum(1)) * inside
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
    pooled = [_pool(map_[row], masks) for map_ in maps]
    chances = [
        _pool(percept.category[row].softmax(0), masks),
        _pool(percept.colour[row].softmax(0), masks),
        _pool(percept.attributes[row].sigmoid(), masks),
        _pool(percept.shares[row], masks),
    ]
    depth = percept.depth[row]
    mean = _pool(depth, masks)
    spread = (_pool(depth.square(), masks) - mean.square()).clamp(min=0).sqrt()
    certain = (masks * percept.seed[row].sigmoid()).flatten(1).amax(1, keepdim=True)
    is_stuff = torch.zeros(len(masks), 1, device=masks.device)
    is_stuff[len(things) :] = 1
    shape, boxes = geometry(masks)
    place = positions(boxes, mean[:, 0])
    ranks = order(place, boxes, len(things))
    evidence = torch.cat([*pooled, *chances, mean, spread, certain, shape, ranks, is_stuff], 1)
    category, colour, attributes = chances[:3]
    material = [i for i, name in enumerate(config.attributes) if name.startswith("material=")]
    alike = [_alike(category), _alike(colour), _alike(attributes[:, material])]
    pairs = torch.cat(
        [
            relations(masks, boxes, mean[:, 0]),
            torch.stack([distance_ranks(place, len(things)), *_apart(place), *alike], -1),
        ],
        -1,
    )
    return Instances(masks, evidence, pairs, len(things))


def positions(boxes: Tensor, depth: Tensor) -> Tensor:
    """Return where the middle of each box is in the camera's space, [O, 3] (right, down, forward)."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2 - 0.5, (boxes[:, 1] + boxes[:, 3]) / 2 - 0.5
    return torch.stack([x * depth * VIEW, y * depth * VIEW, depth], 1)


def order(place: Tensor, boxes: Tensor, things: int) -> Tensor:
    """Return ORDER numbers per region: where it comes if the things are counted from each side; 0 for stuff."""
    right, _, far = place[:things].unbind(1)
    x0, y0, x1, y1 = boxes[:things].unbind(1)
    high = (y1 - y0) * far
    big = high * (x1 - x0) * far
    numbers: list[Tensor] = []
    for value in (right, -right):
        rank = (value[None] < value[:, None]).sum(1).float()
        numbers += [(1 - (rank - k).abs()).clamp(min=0) for k in range(5)]
    for value in (far, -far, -high, -big, x0, -x1):
        rank = (value[None] < value[:, None]).sum(1).float()
        numbers.append(1 / (1 + rank))
    return F.pad(torch.stack(numbers, 1), (0, 0, 0, len(place) - things))


def distance_ranks(place: Tensor, things: int) -> Tensor:
    """Return 1 / (1 + number of things nearer to region i than thing j is), [O, O]; 0 for stuff and itself."""
    apart = torch.cdist(place, place)
    apart = apart.masked_fill(torch.eye(len(place), dtype=torch.bool, device=place.device), torch.inf)
    apart[:, things:] = torch.inf
    rank = (apart[:, None, :] < apart[:, :, None]).sum(2)  # for each i and j: how many k are nearer
    return (1 / (1 + rank.float())).masked_fill(apart.isinf(), 0)


def _apart(place: Tensor) -> tuple[Tensor, Tensor]:
    """Return distance in space, and to the right in space, from region i to region j."""
    return torch.cdist(place, place), place[None, :, 0] - place[:, None, 0]


def _alike(chances: Tensor) -> Tensor:
    """Return the cosine of each pair of rows [O, n]: [O, O]."""
    unit = F.normalize(chances, dim=1)
    return unit @ unit.T


def _pool(map_: Tensor, masks: Tensor) -> Tensor:
    """Average [n, h, w] under each of [O, S/2, S/2]: [O, n]."""
    if masks.shape[-2:] != map_.shape[-2:]:
        masks = F.adaptive_avg_pool2d(masks[None], (map_.shape[-2], map_.shape[-1]))[0]
    weight = masks.flatten(1)
    return weight @ map_.flatten(1).T / weight.sum(1, keepdim=True).clamp(min=1e-4)


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


def relations(masks: Tensor, boxes: Tensor, depth: Tensor) -> Tensor:
    """Return how region j lies in the picture as seen from region i: [O, O, 12]."""
    x0, y0, x1, y1 = boxes.unbind(1)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    dx, dy = x[None] - x[:, None], y[None] - y[:, None]
    inner_w = (torch.minimum(x1[None], x1[:, None]) - torch.maximum(x0[None], x0[:, None])).clamp(min=0)
    inner_h = (torch.minimum(y1[None], y1[:, None]) - torch.maximum(y0[None], y0[:, None])).clamp(min=0)
    area = ((x1 - x0) * (y1 - y0)).clamp(min=1e-4)
    inner = inner_w * inner_h
    hard = (masks > 0.5).float()
    hard = F.max_pool2d(hard[None], 2)[0]
    grown = F.max_pool2d(hard[None], 3, 1, 1)[0]
    touch = grown.flatten(1) @ hard.flatten(1).T / hard.flatten(1).sum(1).clamp(min=1)  # share of j near i
    ahead = depth[None] - depth[:, None]
    return torch.stack(
        [
            dx,
            dy,
            (dx.square() + dy.square()).sqrt(),
            y0[None] - y1[:, None],  # j's top against i's bottom: resting, hanging above
            y1[None] - y0[:, None],
            y1[None] - y1[:, None],
            inner / area[None],
            inner / area[:, None],
            touch,
            touch.T,
            ahead,
            (area[None] / area[:, None]).log() / 4,
        ],
        -1,
    )
