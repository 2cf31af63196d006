"""The budget: dollars and calls, reserved at their worst before a call is sent, settled after.

Nothing is sent that could pass a limit. The ledger of calls is on disk (`ledger.py`), so a killed run still knows
what it may have spent: a call that was sent and never settled counts with its worst case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from askmask.errors import SettingError
from askmask.vlm.errors import BudgetSpent

MOST_USD_PER_MILLION = 1e5
MOST_USD = 1e9


def sane(name: str, value: float | None, *, least: float = 0.0, most: float = 1e9) -> float | None:
    """Return a number that a user set; raises SettingError for NaN and what is outside [least, most]."""
    if value is not None and not (math.isfinite(value) and least <= value <= most):
        raise SettingError(f"{name} must be a number from {least:g} to {most:g}", got=f"{value:g}")
    return value


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return dollars."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6

    @classmethod
    def parse(cls, text: str) -> Price:
        """Read "0.30,2.50": dollars per million input and output tokens."""
        try:
            low, high = (float(part) for part in text.split(","))
        except ValueError as error:
            raise SettingError(
                "a price is two numbers, dollars per million input and output tokens",
                got=repr(text),
                do='For example "0.30,2.50".',
            ) from error
        for value in (low, high):
            sane("a price", value, most=MOST_USD_PER_MILLION)
        return cls(low, high)


class Budget:
    """What may still be spent. `spent_usd` and `calls` start from the ledger of an earlier run."""

    def __init__(
        self,
        *,
        max_usd: float | None = None,
        max_calls: int | None = None,
        spent_usd: float = 0.0,
        calls: int = 0,
    ):
        self.max_usd = sane("--max-usd", max_usd, most=MOST_USD)
        self.max_calls = max_calls
        sane("--max-calls", max_calls, most=1e12)
        self.spent_usd, self.calls = spent_usd, calls
        self._reserved_usd = 0.0

    def reserve(self, worst_usd: float) -> None:
        """Set aside one call of at most `worst_usd`; raises BudgetSpent if that could pass a limit."""
        if self.max_calls is not None and self.calls + 1 > self.max_calls:
            raise BudgetSpent(
                f"the budget of {self.max_calls} calls is used up", do="Go on with a higher --max-calls."
            )
        committed = self.spent_usd + self._reserved_usd
        if self.max_usd is not None and committed + worst_usd > self.max_usd:
            raise BudgetSpent(
                f"the next call could pass the budget of ${self.max_usd:g}",
                got=f"${self.spent_usd:.4f} spent and up to ${self._reserved_usd + worst_usd:.4f} at stake",
                do="Go on with a higher --max-usd.",
            )
        self.calls += 1
        self._reserved_usd += worst_usd

    def settle(self, worst_usd: float, cost_usd: float) -> None:
        """Turn a reservation into what the call really cost."""
        self._reserved_usd -= worst_usd
        self.spent_usd += cost_usd
