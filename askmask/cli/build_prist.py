"""`askmask build prist`: pictures in, dialogues that end on one object out, with masks, in PRIST's format and ours."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from askmask.cli.app import say
from askmask.cli.build import build
from askmask.cli.engine import Concurrency, FirstWait, Floating, MaxCalls, MaxUsd, Rpm, Tpm, Yes, need_engine
from askmask.cli.options import confirm_with

EPILOG = "Example: askmask build prist photos --model gemini-2.5-flash --base-url URL --out run1 --max-usd 5"


@build.command(epilog=EPILOG)
def prist(
    pictures: Annotated[Path, typer.Argument(help="A folder, one picture, or a .txt list of paths.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; the data set is OUT/data.")],
    model: Annotated[str, typer.Option(help="Model id, pinned; a folder for local; a file for replay.")],
    vlm: Annotated[str, typer.Option(help="openai, google, local or replay.")] = "openai",
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible endpoint.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Variable that holds the key.")] = None,
    price: Annotated[str | None, typer.Option(help="Dollars per million tokens: IN,OUT.")] = None,
    verifier: Annotated[str | None, typer.Option(help="Another model id for the checks.")] = None,
    detector: Annotated[str, typer.Option(help="vlm, grounding-dino or moondream.")] = "vlm",
    segmenter: Annotated[str, typer.Option(help="classical, mini or sam2.")] = "classical",
    segmenter_at: Annotated[str | None, typer.Option(help="Its model folder.")] = None,
    device: Annotated[str, typer.Option(help="For local models.")] = "cpu",
    sent_px: Annotated[int, typer.Option(help="Longer side of what models see.")] = 768,
    leaked: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="At most this share has its target named by the person before."),
    ] = 0.1,
    val: Annotated[float, typer.Option(min=0, max=0.5, help="Share of pictures for validation.")] = 0.05,
    test: Annotated[float, typer.Option(min=0, max=0.5, help="Share of pictures for testing.")] = 0.0,
    licence: Annotated[str, typer.Option(help="The pictures' licence; kept with each.")] = "",
    retry: Annotated[str | None, typer.Option(help="Ask again what failed so: parse,refusal,...")] = None,
    max_usd: MaxUsd = None,
    max_calls: MaxCalls = None,
    concurrency: Concurrency = 8,
    rpm: Rpm = None,
    tpm: Tpm = None,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Tries per call.")] = 6,
    first_wait: FirstWait = 1.0,
    allow_floating: Floating = False,
    yes: Yes = False,
) -> None:
    """Build reasoning dialogues; run it again to go on. No answered call is repeated.

    What can be seen, reasoning questions with their grades, a tree of thought, dialogues that end on one object, masks.
    """
    need_engine()
    from askmask.engine.dialogues.export import export_dialogues
    from askmask.engine.dialogues.store import DialogueStore
    from askmask.engine.opening import VisionChoice
    from askmask.engine.pictures import find_pictures
    from askmask.engine.pipeline import add_pictures
    from askmask.engine.runs import Limits, RunPlan, begin, opened
    from askmask.engine.settings import Settings
    from askmask.vlm.errors import ERROR_CLASSES
    from askmask.vlm.opening import ModelChoice

    def choice(name: str) -> ModelChoice:
        name = str(Path(name).resolve()) if vlm == "replay" else name
        return ModelChoice(
            provider=vlm, model=name, base_url=base_url, api_key_env=api_key_env, price=price
        ).placed()

    classes = [] if retry is None else [name.strip() for name in retry.split(",")]
    if unknown := sorted(set(classes) - set(ERROR_CLASSES)):
        from askmask.errors import SettingError

        raise SettingError(
            "--retry takes error classes", got=unknown, do=f"Known: {', '.join(ERROR_CLASSES)}."
        )
    vision = VisionChoice(detector=detector, segmenter=segmenter, segmenter_at=segmenter_at, device=device)
    limits = Limits(
        max_usd=max_usd, max_calls=max_calls, concurrency=concurrency, requests_per_minute=rpm, tokens_per_minute=tpm,
        attempts=attempts, first_wait_s=first_wait, allow_floating=allow_floating,
    )  # fmt: skip
    second = choice(verifier) if verifier else None
    plan = RunPlan(writer=choice(model), verifier=second, vision=vision, settings=Settings(sent_px=sent_px))
    found = find_pictures(pictures)
    models = opened(plan, limits, confirm=confirm_with(yes))
    with DialogueStore(out, create=True) as store:
        store.lock()
        begin(store, plan)
        new, known, bad = add_pictures(store, found, licence=licence)
        say(f"{new} new pictures, {known} already there, {bad} unreadable", err=True)
        if classes:
            say(f"{store.retry(classes)} failed units are asked again", err=True)
        asyncio.run(_work(store, limits, models))
        stats = export_dialogues(store, out / "data", val=val, test=test, most_leaked_share=leaked)
        for _, stage, failure in store.failures()[:5]:
            say(f"  {stage}{' ' + failure.unit if failure.unit else ''}: {failure.reason}", err=True)
    _print(stats, out / "data")
    if stats["undecided"] or bad:
        raise typer.Exit(1)


async def _work(store: Any, limits: Any, models: Any) -> None:
    from askmask.engine.dialogues.stages import run_stage
    from askmask.engine.runs import work

    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        say("stopping: calls in flight are finished first (again to stop at once)", err=True)
        stop.set()

    try:
        loop.add_signal_handler(signal.SIGINT, on_signal)
    except NotImplementedError:  # Windows: Ctrl-C ends at once, which loses only calls in flight
        pass
    await work(
        store, limits, models, stage=run_stage, tell=lambda line: say(f"askmask: {line}", err=True), stop=stop
    )
    if stop.is_set():
        raise KeyboardInterrupt


def _print(stats: dict[str, Any], data: Path) -> None:
    turns = ", ".join(f"{count} {kind}" for kind, count in stats["turns"].items())
    say(f"{stats['pictures']} pictures, {stats['paths']} paths, {stats['shared_nodes']} shared nodes")
    say(f"{stats['dialogues']} of {stats['dialogues_written']} dialogues in {data} ({turns})")
    dropped = ", ".join(f"{count} {rule}" for rule, count in stats["dropped_by_rule"].items())
    say(
        f"{stats['rejects']} for review; dropped by rule: {dropped or 'none'}; undecided {stats['undecided']}"
    )
    for who, share in stats["leakage"].items():
        say(f"target named before it is asked for, by {who}: {'-' if share is None else f'{share:.1%}'}")
    cost = stats["cost"]
    say(
        f"{cost['calls']} calls, tokens {cost['input_tokens']} in, {cost['output_tokens']} out, ${cost['usd']:.4f}"
    )
