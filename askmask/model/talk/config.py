"""TalkConfig: how a large network remembers masks and reads its replies; a part of NetConfig, ablations included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from askmask.errors import CheckpointError

CHOICES = {
    "adapter": ("askmask", "miras"),
    "read": ("sign", "picture"),
    "box": ("fourier", "linear", "text", "none"),
    "align": ("attention", "seg", "mean", "tokens"),
    "inject": ("adapter", "native", "none"),
}


@dataclass(frozen=True, kw_only=True)
class TalkConfig:
    """Defaults are the proposal; other values are its ablations. Source: SegLLM (ICLR 2025), MIRAS (ACL 2025)."""

    mask_tokens: int = 1  # 0..4 for each remembered mask; 0: masks are not shown to the language side
    box: str = "fourier"  # token of its box: "fourier", "linear", "text" (digits), or "none"
    # What of `[OBJ] ... [SEG]` reaches the decoder: "attention" over it, the state of [SEG] alone ("seg"), its "mean",
    # or all states ("tokens").
    align: str = "attention"
    # How the masks that a prompt refers to reach the decoder: a gated "adapter", SAM2's own mask prompt ("native"), or
    # only through the language side ("none").
    inject: str = "adapter"
    # How states become prompts: ours, (REF, SEG) with what is remembered; or MIRAS's, one token for each mask, made of
    # the state of its [SEG] and the words before it, with nothing remembered but words.
    adapter: str = "askmask"
    # Where the state that asks for a mask stands: at its [SEG]; or among the picture's tokens, which no word can reach,
    # as in MIRAS's published code: to measure what that mistake costs.
    read: str = "sign"

    def __post_init__(self) -> None:
        if type(self.mask_tokens) is not int or not 0 <= self.mask_tokens <= 4:
            raise CheckpointError("mask_tokens must be 0, 1, 2, 3 or 4", got=repr(self.mask_tokens))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise CheckpointError(
                    f"{name} is one of {', '.join(known)}", got=repr(getattr(self, name))[:80]
                )
        if not self.refers and (self.mask_tokens, self.box, self.inject) != (0, "none", "none"):
            raise CheckpointError(
                "adapter=miras remembers no masks",
                got=f"mask_tokens={self.mask_tokens}, box={self.box}, inject={self.inject}",
                do="Put mask_tokens=0 box=none inject=none before it.",
            )

    @property
    def refers(self) -> bool:
        """Whether replies say what a mask is about, [REF], and masks that are referred to change answers."""
        return self.adapter != "miras"

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self)

    @classmethod
    def miras(cls) -> TalkConfig:
        """Return MIRAS's own."""
        return cls(adapter="miras", mask_tokens=0, box="none", inject="none")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TalkConfig:
        """Read what `to_dict` wrote. Raises CheckpointError for a setting that it does not know."""
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(map(str, data)) - known):
            raise CheckpointError("unknown settings of conversation", got=", ".join(unknown)[:120])
        return cls(**data)
