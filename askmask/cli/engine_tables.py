"""Tables of the engine's commands, drawn with rich."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from askmask.conversation import CONCEPTS
from askmask.notes import visible


def status_table(run: Path, report: Any) -> Group:
    """Draw a run's Report: stages, concepts, failures, cost."""
    stages = Table(
        title=Text(visible(f"{run}: {report.finished} of {report.pictures} pictures")), title_justify="left"
    )
    stages.add_column("stage")
    unusual = ("failed", "quarantined", "refused", "skipped")
    names = ["done", "running", "pending"]
    names += [name for name in unusual if any(counts[name] for counts in report.stages.values())]
    for name in names:
        stages.add_column(name, justify="right", style="" if name in names[:3] else "red")
    for stage, counts in report.stages.items():
        stages.add_row(stage, *(str(counts[name] or "") for name in names))
    parts: list[Any] = [stages]
    if report.prompts:
        concepts = Table()
        for name, right in (("concept", False), ("prompts", True), ("accepted", True), ("negatives", True)):
            concepts.add_column(name, justify="right" if right else "left")
        concepts.add_column("accept rate", justify="right")
        for concept in (c for c in CONCEPTS if c in report.prompts):
            written = report.prompts[concept]
            kept, empty = report.accepted.get(concept, 0), report.negatives.get(concept, 0)
            rate = f"{(kept + empty) / written:.0%}"
            concepts.add_row(concept, str(written), str(kept), str(empty), rate)
        parts.append(concepts)
    if report.failures:
        failures = Table(title="without a decision", title_justify="left")
        failures.add_column("stage")
        failures.add_column("class")
        failures.add_column("units", justify="right")
        failures.add_column("most often because")
        for stage, classes in report.failures.items():
            for name, count in sorted(classes.items()):
                failures.add_row(stage, name, str(count), Text(visible(report.reasons[stage][name])))
        parts.append(failures)
    lines = []
    if report.regions_found:
        rate = report.regions_accepted / report.regions_found
        lines.append(
            f"regions: {report.regions_accepted} of {report.regions_found} accepted ({rate:.0%}), "
            f"{report.refined} refined"
        )
    if report.dropped:
        rules = ", ".join(f"{n} {rule}" for rule, n in sorted(report.dropped.items(), key=lambda kv: -kv[1]))
        lines.append(f"dropped by rule: {rules}")
    if report.agreement is not None:
        lines.append(f"agreement of votes: {report.agreement:.0%}")
    calls = ", ".join(f"{count} {state}" for state, count in sorted(report.calls.items()))
    cost = f"${report.spent_usd:.4f}" if report.spent_usd else "no price known or nothing spent"
    lines.append(
        f"calls: {calls or 'none'}; tokens {report.input_tokens} in, {report.output_tokens} out; {cost}"
    )
    if report.unreadable:
        lines.append(f"files that are no pictures: {report.unreadable}")
    if report.calls_left:
        eta = "" if report.seconds_left is None else f", about {_duration(report.seconds_left)}"
        lines.append(f"left: about {report.calls_left} calls{eta}")
    return Group(*parts, Text("\n".join(lines)))


def estimate_table(rows: list[Any], pictures: int, model: str | None, price: Any) -> Group:
    """Draw Estimates with their sum."""
    table = Table(
        title=Text(visible(f"{pictures} pictures, {model or 'no model named'}")), title_justify="left"
    )
    table.add_column("stage")
    for name in ("calls", "tokens in", "tokens out", "dollars"):
        table.add_column(name, justify="right")

    def cells(calls: float, tokens_in: float, tokens_out: float) -> list[str]:
        usd = "?" if price is None else f"{price.of(round(tokens_in), round(tokens_out)):.2f}"
        return [f"{calls:,.0f}", f"{tokens_in:,.0f}", f"{tokens_out:,.0f}", usd]

    for row in rows:
        table.add_row(row.stage, *cells(row.calls, row.input_tokens, row.output_tokens))
    table.add_section()
    table.add_row(
        "all",
        *cells(
            sum(r.calls for r in rows), sum(r.input_tokens for r in rows), sum(r.output_tokens for r in rows)
        ),
    )
    note = "" if price else 'No price is known for this model: pass --price "IN,OUT".\n'
    return Group(table, Text(note + "An estimate, not a promise: set --max-usd or --max-calls for the run."))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    )
