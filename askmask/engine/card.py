"""The data set card: what is in it, where it is from, which models made it, what it cost, what was declined."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from askmask.engine.report import report_of
from askmask.engine.runs import plan_of
from askmask.engine.store import RunStore
from askmask.engine.templates import file_text
from askmask.runs.whole_files import write_text


def write_card(store: RunStore, path: Path, *, name: str, counts: dict[str, int]) -> None:
    """Write the card of one export."""
    plan, report, manifest = plan_of(store), report_of(store), store.meta("manifest")
    sources = store.query(
        "SELECT source, licence, COUNT(*) FROM pictures GROUP BY source, licence ORDER BY 3 DESC"
    )
    failed: dict[str, int] = {}
    for classes in report.failures.values():
        for error_class, count in classes.items():
            failed[error_class] = failed.get(error_class, 0) + count
    write_text(
        path,
        file_text("card.txt").format(
            name=_text(name),
            title=json.dumps(_line(name), ensure_ascii=False),  # YAML reads JSON's texts
            counts="\n".join(f"| {label} | {count} |" for label, count in counts.items()),
            writer=_text(plan.writer.name),
            verifier=_text((plan.verifier or plan.writer).name),
            votes=plan.settings.votes,
            detector=plan.vision.detector,
            segmenter=plan.vision.segmenter,
            verify_masks=_yes(plan.settings.verify_masks),
            refine=_yes(plan.settings.refine and plan.settings.verify_masks),
            verify_pairs=_yes(plan.settings.verify_pairs),
            accepted=report.regions_accepted,
            found=report.regions_found,
            refined=report.refined,
            dropped=_listed(report.dropped),
            calls=_listed(report.calls),
            tokens_in=report.input_tokens,
            tokens_out=report.output_tokens,
            cost=f"${report.spent_usd:.4f}" if report.spent_usd else "unknown (no price given)",
            failed=_listed(failed),
            versions=", ".join(f"{k} {v}" for k, v in manifest["versions"].items()),
            git=manifest["git"] or "a released package",
            templates=", ".join(f"{k} {v}" for k, v in manifest["templates"].items()),
            sources="\n".join(
                f"- {count} pictures from {_text(source) or 'an unnamed source'}, licence: "
                f"{_text(licence) or '**not stated; check before you share this set**'}"
                for source, licence, count in sources
            ),
        ),
    )


def _line(given: str) -> str:
    return "".join(letter for letter in " ".join(given.split()) if letter.isprintable())


def _text(given: str | None) -> str:
    """Return what a user gave as one line in which no markup lives."""
    return escape(_line(given or ""), quote=False)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
