"""What known models cost and which model names float. Override any price with `--price IN,OUT`.

List prices in dollars per million tokens as last checked in September 2025. They change: a budget in dollars rests
on them, so check them against the provider's page, or pass `--price`.
"""

from __future__ import annotations

import re

from askmask.errors import SettingError
from askmask.vlm.budget import Price

PRICES = {
    "gemini-2.5-pro": Price(1.25, 10.00),
    "gemini-2.5-flash": Price(0.30, 2.50),
    "gemini-2.5-flash-lite": Price(0.10, 0.40),
    "gpt-4o-2024-08-06": Price(2.50, 10.00),
    "gpt-4o-mini-2024-07-18": Price(0.15, 0.60),
    "gpt-4.1-2025-04-14": Price(2.00, 8.00),
    "gpt-4.1-mini-2025-04-14": Price(0.40, 1.60),
}
# Aliases their providers move to newer models without notice.
_FLOATING = re.compile(r"(^|[-:/@.])latest$")
_UNDATED = {"gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "gpt-5-mini", "chatgpt-4o-latest"}


def price_of(model: str, override: str | None = None) -> Price | None:
    """Return the price of a model, None if it is not known."""
    return Price.parse(override) if override else PRICES.get(model.rsplit("/", 1)[-1])


def check_pinned(model: str, *, allow_floating: bool) -> None:
    """Refuse a name that means another model tomorrow."""
    if not allow_floating and (_FLOATING.search(model) or model in _UNDATED):
        raise SettingError(
            "a floating model name: the same run could meet another model tomorrow",
            got=repr(model),
            do="Name a dated version, or pass --allow-floating.",
        )
