"""What a run has done so far, read from its store: stages, accept rates, failures, cost, time left."""

from __future__ import annotations

from dataclasses import dataclass, field

from askmask.engine.store import RunStore
from askmask.engine.values import STAGES, Aligned, Segmented, Verified, Written

STATES = ("done", "pending", "running", "failed", "quarantined", "refused", "skipped")


@dataclass
class Report:
    """Counts of one run."""

    pictures: int = 0
    unreadable: int = 0
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: dict[str, dict[str, int]] = field(default_factory=dict)  # stage -> class -> count
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)  # stage -> class -> the commonest one
    regions_found: int = 0
    regions_accepted: int = 0
    refined: int = 0
    prompts: dict[str, int] = field(default_factory=dict)  # concept -> written
    accepted: dict[str, int] = field(default_factory=dict)  # concept -> accepted with a mask
    negatives: dict[str, int] = field(default_factory=dict)  # concept -> accepted negatives
    dropped: dict[str, int] = field(default_factory=dict)  # rule -> count
    agreement: float | None = None  # mean over verdicts with several votes
    calls: dict[str, int] = field(default_factory=dict)  # outcome -> count
    spent_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    calls_left: int | None = None
    seconds_left: float | None = None

    @property
    def finished(self) -> int:
        """Pictures whose last stage is over."""
        return self.pictures - self.stages["align"]["pending"] - self.stages["align"]["running"]

    @property
    def failed_units(self) -> int:
        """Units without a decision, and files that are no pictures."""
        return self.unreadable + sum(sum(classes.values()) for classes in self.failures.values())


def report_of(store: RunStore, *, details: bool = True) -> Report:
    """Count everything; `details` False leaves out what needs every result to be read."""
    report = Report(unreadable=len(store.unreadable()))
    report.pictures = store.query("SELECT COUNT(*) FROM pictures")[0][0]
    for stage in STAGES:
        counts = dict.fromkeys(STATES, 0) | {
            state: count
            for state, count in store.query(
                "SELECT state, COUNT(*) FROM stages WHERE stage = ? GROUP BY state", (stage,)
            )
        }
        counts["pending"] += report.pictures - sum(counts.values())
        report.stages[stage] = counts
    for stage, name, reason, count in store.query(
        "SELECT stage, error_class, reason, COUNT(*) FROM failures GROUP BY 1, 2, 3 ORDER BY 4 DESC, 3"
    ):
        counts = report.failures.setdefault(stage, {})
        counts[name] = counts.get(name, 0) + count
        report.reasons.setdefault(stage, {}).setdefault(name, reason)
    report.calls = dict(store.query("SELECT state, COUNT(*) FROM calls GROUP BY state"))
    report.spent_usd = store.spent()[0]
    report.input_tokens, report.output_tokens = store.tokens()
    _add_time_left(store, report)
    if details:
        _add_details(store, report)
    return report


def _add_time_left(store: RunStore, report: Report) -> None:
    left = report.pictures - report.finished
    if not report.finished:
        return
    calls = report.calls.get("ok", 0)
    report.calls_left = round(calls / report.finished * left)
    # The pace of the last calls, so that a pause between two sittings does not count.
    rows = store.query("SELECT started FROM calls WHERE state = 'ok' ORDER BY id DESC LIMIT 200")
    if len(rows) > 10 and rows[0][0] > rows[-1][0]:
        report.seconds_left = report.calls_left * (rows[0][0] - rows[-1][0]) / (len(rows) - 1)


def _add_details(store: RunStore, report: Report) -> None:
    agreements = []
    for picture in store.pictures():
        for stage in STAGES[1:]:
            _, result = store.stage(picture.sha256, stage)
            if isinstance(result, Segmented):
                report.regions_found += len(result.regions)
                _count(report.dropped, [d.rule for d in result.dropped])
            elif isinstance(result, Verified):
                report.regions_accepted += len(result.accepted)
                report.refined += sum(region.origin == "refined" for region in result.accepted)
                verdicts = [r.verdict for r in (*result.accepted, *result.rejected) if r.verdict]
                agreements += [v.agreement for v in verdicts if len(v.votes) > 1]
            elif isinstance(result, Written):
                _count(report.prompts, [p.concept for p in result.prompts])
                _count(report.dropped, [d.rule for d in result.dropped])
            elif isinstance(result, Aligned):
                kept = [p for p in result.pairs if p.verdict is None or p.verdict.accept]
                _count(report.accepted, [p.prompt.concept for p in kept if p.mask])
                _count(report.negatives, [p.prompt.concept for p in kept if not p.mask])
                agreements += [
                    p.verdict.agreement for p in result.pairs if p.verdict and len(p.verdict.votes) > 1
                ]
    report.agreement = sum(agreements) / len(agreements) if agreements else None


def _count(into: dict[str, int], names: list[str]) -> None:
    for name in names:
        into[name] = into.get(name, 0) + 1
