"""From the choice of a model to its client: provider, name, address, and the variable that holds the key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from askmask.errors import SettingError
from askmask.vlm.prices import check_pinned
from askmask.vlm.request import Vlm

PROVIDERS = ("openai", "google", "local", "replay")


class ModelChoice(BaseModel):
    """Which VLM, and where. It may be stored: it holds the name of the key's variable, never the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str = "openai"  # openai | google | local | replay
    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    price: str | None = None
    timeout_s: float = 120.0
    thinking_tokens: int | None = None  # allowed beside those of each reply
    extra: Mapping[str, Any] | None = None  # parameters of the server's own; None leaves one of ours out

    @property
    def name(self) -> str:
        """The model's name for people; a local folder or file without its path."""
        return Path(self.model).name if self.provider in ("local", "replay") else self.model

    def placed(self) -> ModelChoice:
        """Return it with the address that the environment names, so that what is stored is what was asked."""
        if self.provider != "openai" or self.base_url or not os.environ.get("OPENAI_BASE_URL"):
            return self
        return self.model_copy(update={"base_url": os.environ["OPENAI_BASE_URL"]})


def open_vlm(choice: ModelChoice, *, allow_floating: bool = False, device: str = "cpu") -> Vlm:
    """Make a client; `device` is where a local model runs.

    Raises SettingError for what is wrong in the choice, before anything is sent.
    """
    if choice.provider not in PROVIDERS:
        raise SettingError(
            "unknown VLM provider", got=repr(choice.provider), do="Use openai, google, local or replay."
        )
    if choice.provider in ("local", "replay"):
        if choice.extra:
            raise SettingError(f"{choice.provider} takes no extra parameters", got=sorted(choice.extra))
        if choice.provider == "local":
            from askmask.vlm.local import LocalVlm

            return LocalVlm(choice.model, device=device)
        from askmask.vlm.replay import ReplayVlm

        return ReplayVlm(choice.model)
    if choice.provider == "openai" and choice.model.startswith("gemini") and not choice.placed().base_url:
        raise SettingError(
            f"{choice.model} is not at OpenAI",
            do="Give --base-url https://generativelanguage.googleapis.com/v1beta/openai/ and --api-key-env, or ask it "
            "through Google's SDK: google in place of openai.",
        )
    check_pinned(choice.model, allow_floating=allow_floating)
    options: dict[str, Any] = {
        "timeout_s": choice.timeout_s,
        "base_url": choice.base_url,
        "extra": choice.extra,
    }
    if choice.api_key_env:
        options["api_key_env"] = choice.api_key_env
    if choice.provider == "openai":
        from askmask.vlm.openai_api import OpenAIVlm

        return OpenAIVlm(choice.model, **options)
    from askmask.vlm.google import GoogleVlm

    return GoogleVlm(choice.model, **options)
