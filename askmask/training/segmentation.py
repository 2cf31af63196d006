"""Phases one and two for any network behind the common seams: what is read, what trains, what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from askmask.errors import DataError, SettingError
from askmask.model.net import AskMaskNet
from askmask.training.batches import Batch, Batches, Collate, Loader
from askmask.training.data import Mixture, Source, check_all
from askmask.training.evaluator import Evaluator
from askmask.training.objective import Objective

LANGUAGE = ("auto", "lora", "lora+tables", "full", "frozen")
FRONT = ("", "projections", "full", "frozen")
OF_FRONT = "prompt_encoder.front."
TOWERS = (f"{OF_FRONT}clip.", f"{OF_FRONT}convnext.")
TABLES = ("prompt_encoder.head.weight", "embed_tokens.weight")
SEGMENTER = ("decoder", "full", "frozen")


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig:
    """What a phase reads and which parts it trains."""

    data: tuple[str, ...] = ()  # sources: folders, files, or NAME:ROOT[@SPLIT]
    weights: tuple[float, ...] = ()  # of the sources in the mixture; () = equal
    val: tuple[str, ...] = ()
    batch: int = 6
    workers: int = 0  # processes that prepare batches ahead; the results do not depend on it
    language: str = "auto"  # "lora", "full" or "frozen"; "auto": lora if the network has it, else full
    segmenter: str = "decoder"  # "decoder", "full" or "frozen"
    presence_weight: float = 0.1
    score_weight: float = 0.1
    on_bad: str = "stop"  # "stop" or "skip" rows that cannot be read
    check: bool = False  # read every row before step 0
    cache: str = ""  # folder of cached features; "" = none
    cache_gb: float = 20.0
    bf16: bool = False  # autocast; parameters and their updates stay fp32
    val_items: int = 100
    seed: int = 0


class SegmentationTask:
    """The loop's Task of phases one and two. Checkpoints hold what trains: the rest is the model's own."""

    saves_all = False

    def __init__(self, net: AskMaskNet, config: SegmentationConfig):
        if config.on_bad not in ("stop", "skip"):
            raise SettingError("on_bad must be stop or skip", got=repr(config.on_bad))
        if not config.data:
            raise SettingError("there is nothing to train on", do="Name it: data=FOLDER.")
        self.module, self.config = net, config
        choose_trainable(net, language=config.language, segmenter=config.segmenter)
        self.sources = [Source(source) for source in config.data]
        collate = Collate(net)
        mixture = Mixture(
            [*map(len, self.sources)], config.weights or (1.0,) * len(self.sources), config.seed
        )
        batches = Batches(self.sources, collate, config.on_bad)
        self.loader = Loader(batches, mixture, batch=config.batch, workers=config.workers)
        self.skipped = self._check() if config.check else []
        self.objective = Objective(
            net,
            presence_weight=config.presence_weight,
            score_weight=config.score_weight,
            cache=config.cache,
            cache_gb=config.cache_gb,
            bf16=config.bf16,
        )
        val = [Source(source, "val") for source in config.val]
        self.evaluator = Evaluator(val, config.val_items, collate, self.objective)
        self.seen = {
            "present": 0,
            "absent": 0,
        }  # rounds whose truth has pixels, and those where nothing matches

    def _check(self) -> list[str]:
        wrong = check_all(self.sources)
        if wrong and self.config.on_bad == "stop":
            raise DataError(
                f"{len(wrong)} rows cannot be read", got="; ".join(wrong[:5]), do="Mend them, or on_bad=skip."
            )
        return wrong

    def facts(self) -> dict[str, Any]:
        """Return what the run should say of its data."""
        return {
            "data": [source.facts() for source in self.sources],
            "val": [source.facts() for source, number in self.evaluator.rounds if number == 0],
        }

    def close(self) -> None:
        """End the workers that read ahead."""
        self.loader.close()

    def next_batch(self, progress: float) -> Batch:
        """Read the next rounds."""
        batch = self.loader.next()
        self.skipped += batch.skipped
        self.seen["present"] += int((batch.present > 0).sum())
        self.seen["absent"] += int((batch.present == 0).sum())
        return batch

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Return the objective, and how many rows could not be read so far."""
        loss, figures = self.objective(batch)
        return loss, figures | {"skipped": float(len(self.skipped))}

    def evaluate(self) -> dict[str, float]:
        """Score the first validation rounds."""
        return self.evaluator.scores()

    def panels(self, folder: Path, step: int) -> None:
        """Draw the first validation rounds."""
        self.evaluator.draw(folder / f"answers-{step:08d}.png")

    def state_dict(self) -> dict[str, Any]:
        """Return the data position, and what was seen on the way."""
        return {"mixture": self.loader.state_dict(), "skipped": list(self.skipped), "seen": dict(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""
        self.loader.load_state_dict(state["mixture"])
        self.skipped = list(state["skipped"])
        self.seen = dict(state["seen"])


def choose_trainable(net: nn.Module, *, language: str, segmenter: str, front: str = "") -> None:
    """Let gradients into the adapter, and into the parts asked for.

    "lora+tables": the embeddings and the head as well. `front` is of networks whose language model has not always seen
    pictures; "": "projections", what is between its towers and the language model.
    """
    if language not in LANGUAGE or segmenter not in SEGMENTER or front not in FRONT:
        raise SettingError(
            f"language is one of {', '.join(LANGUAGE)}; segmenter one of {', '.join(SEGMENTER)}; front one of "
            f"{', '.join(FRONT[1:])}",
            got=f"language={language}, segmenter={segmenter}, front={front}",
        )
    names = [name for name, _ in net.named_parameters()]
    has_lora = any(map(_is_lora, names))
    if language.startswith("lora") and not has_lora:
        raise SettingError("this network has no LoRA", do="Train it with language=full or language=frozen.")
    if front and not any(name.startswith(OF_FRONT) for name in names):
        raise SettingError("this network has no front of its own", do="Leave front= out.")
    if language == "auto":
        language = "lora" if has_lora else "full"
    for name, parameter in net.named_parameters():
        if name.startswith("adapter."):
            wanted = True
        elif name.startswith("segmenter."):
            wanted = segmenter == "full" or (segmenter == "decoder" and "decoder." in name)
        elif name.startswith(OF_FRONT):
            wanted = front == "full" or (front in ("", "projections") and not name.startswith(TOWERS))
        else:
            tables = language == "lora+tables" and name.endswith(TABLES)
            wanted = language == "full" or tables or (language.startswith("lora") and _is_lora(name))
        parameter.requires_grad_(wanted)
        if wanted:
            parameter.data = parameter.data.float()


def _is_lora(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name
