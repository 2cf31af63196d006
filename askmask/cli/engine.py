"""`askmask engine`: run, resume, retry, status, estimate, inspect, export."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from askmask.cli.app import app, say, say_json
from askmask.cli.options import confirm_with
from askmask.errors import AskMaskError, SettingError
from askmask.notes import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from askmask.engine.runs import Limits
    from askmask.engine.values import Concept

engine_app = typer.Typer(
    no_args_is_help=True,
    help="Raw pictures in, verified prompt-mask pairs out. Resumable, budgeted, every verdict kept.",
)
app.add_typer(engine_app, name="engine")

Run = Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)]
MaxUsd = Annotated[float | None, typer.Option(help="Never start a call that could pass this many dollars.")]
MaxCalls = Annotated[int | None, typer.Option(help="Never start a call beyond this many, retries included.")]
Concurrency = Annotated[int, typer.Option(min=1, max=512, help="Calls in flight at once.")]
Rpm = Annotated[float | None, typer.Option(help="Requests per minute.")]
Tpm = Annotated[float | None, typer.Option(help="Tokens per minute.")]
Floating = Annotated[bool, typer.Option("--allow-floating", help="Allow model names like *-latest.")]
Ray = Annotated[
    int | None, typer.Option("--ray", min=1, help="Workers on Ray (extra \\[ray]) instead of this process.")
]
RayAddress = Annotated[str | None, typer.Option(help="Of a Ray cluster; without it, one on this machine.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Fetch weights from the Hub without asking.")]
FirstWait = Annotated[
    float, typer.Option(help="Seconds: the first retry waits a random part of this.", hidden=True)
]


@engine_app.command()
def run(
    pictures: Annotated[Path, typer.Argument(help="A folder, one picture, or a .txt list of paths.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    model: Annotated[str, typer.Option(help="Model id, pinned; a folder for local; a file for replay.")],
    vlm: Annotated[str, typer.Option(help="openai, google, local or replay.")] = "openai",
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible endpoint.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Variable that holds the key.")] = None,
    price: Annotated[str | None, typer.Option(help="Dollars per million tokens: IN,OUT.")] = None,
    thinking_tokens: Annotated[
        int | None, typer.Option(help="Tokens allowed beside each reply, for models that think first.")
    ] = None,
    extra: Annotated[
        str | None,
        typer.Option(help="Further request parameters as JSON; null leaves one out: '{\"seed\": null}'."),
    ] = None,
    verifier: Annotated[str | None, typer.Option(help="Another model id for the verifiers.")] = None,
    verifier_url: Annotated[str | None, typer.Option(help="Its endpoint, if another.")] = None,
    verifier_price: Annotated[str | None, typer.Option(help="Its price.")] = None,
    concepts: Annotated[str | None, typer.Option(help="Some of the five, with commas.")] = None,
    detector: Annotated[str, typer.Option(help="vlm, grounding-dino or moondream.")] = "vlm",
    detector_at: Annotated[str | None, typer.Option(help="Its model folder or base URL.")] = None,
    detector_price: Annotated[str | None, typer.Option(help="Of Moondream's cloud: IN,OUT.")] = None,
    coordinates: Annotated[
        str | None, typer.Option(help="How the model writes them, e.g. qwen2.5-vl, if not as its name says.")
    ] = None,
    segmenter: Annotated[str, typer.Option(help="classical, mini or sam2.")] = "classical",
    segmenter_at: Annotated[str | None, typer.Option(help="Its model folder.")] = None,
    device: Annotated[str, typer.Option(help="For local models.")] = "cpu",
    votes: Annotated[int, typer.Option(min=1, max=9, help="Votes per verdict.")] = 1,
    sent_px: Annotated[int, typer.Option(help="Longer side of what models see.")] = 768,
    verify_masks: Annotated[bool, typer.Option(help="Stage 3.")] = True,
    refine: Annotated[bool, typer.Option(help="Stage 3, the pool of better masks.")] = True,
    verify_pairs: Annotated[bool, typer.Option(help="Stage 5.")] = True,
    source: Annotated[str, typer.Option(help="Where the pictures are from; kept with each.")] = "",
    licence: Annotated[str, typer.Option(help="The pictures' licence; kept with each.")] = "",
    max_usd: MaxUsd = None,
    max_calls: MaxCalls = None,
    concurrency: Concurrency = 8,
    rpm: Rpm = None,
    tpm: Tpm = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one reply.")] = 120.0,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Tries per call.")] = 6,
    first_wait: FirstWait = 1.0,
    allow_floating: Floating = False,
    yes: Yes = False,
    ray: Ray = None,
    ray_address: RayAddress = None,
) -> None:
    """Run the five stages over pictures; run it again to go on.

    Example: askmask engine run photos --vlm openai --base-url http://127.0.0.1:8000/v1
    --model Qwen/Qwen2.5-VL-7B-Instruct --out run1 --max-calls 2000 --concurrency 16
    """
    need_engine()
    from pydantic import ValidationError

    from askmask.engine.opening import VisionChoice
    from askmask.engine.pictures import find_pictures
    from askmask.engine.pipeline import add_pictures
    from askmask.engine.runs import RunPlan, begin, opened
    from askmask.engine.settings import Settings
    from askmask.engine.store import RunStore
    from askmask.vlm.opening import ModelChoice

    if vlm == "replay":
        model = str(Path(model).resolve())  # a resume may come from another folder
    choice = partial(
        ModelChoice,
        provider=vlm,
        api_key_env=api_key_env,
        timeout_s=timeout,
        thinking_tokens=thinking_tokens,
        extra=_parameters(extra),
    )
    writer = choice(model=model, base_url=base_url, price=price).placed()
    second = None
    if verifier:
        second = choice(model=verifier, base_url=verifier_url or base_url, price=verifier_price).placed()
    try:
        settings = Settings(
            concepts=_concepts(concepts),
            votes=votes,
            sent_px=sent_px,
            verify_masks=verify_masks,
            refine=refine,
            verify_pairs=verify_pairs,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        name = "--" + str(fault["loc"][0]).replace("_", "-")
        raise SettingError(f"{name}: {fault['msg']}", got=repr(fault["input"])) from error
    vision = VisionChoice(
        detector=detector,
        detector_at=detector_at,
        detector_price=detector_price,
        coordinates=coordinates,
        segmenter=segmenter,
        segmenter_at=segmenter_at,
        device=device,
    )
    limits = _limits(
        max_usd=max_usd, max_calls=max_calls, concurrency=concurrency, rpm=rpm, tpm=tpm, attempts=attempts,
        first_wait=first_wait, allow_floating=allow_floating,
    )  # fmt: skip
    plan = RunPlan(writer=writer, verifier=second, vision=vision, settings=settings)
    # A wrong name, number or key shows before anything is written.
    found = find_pictures(pictures)
    models = opened(plan, limits, confirm=confirm_with(yes))
    with RunStore(out, create=True) as store:
        store.lock()
        begin(store, plan)
        new, known, bad = add_pictures(store, found, source=source, licence=licence)
        say(f"{new} new pictures, {known} already there, {bad} unreadable", err=True)
        _work(store, limits, models, ray, ray_address)


@engine_app.command()
def resume(
    run: Run,
    max_usd: MaxUsd = None,
    max_calls: MaxCalls = None,
    concurrency: Concurrency = 8,
    rpm: Rpm = None,
    tpm: Tpm = None,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Tries per call.")] = 6,
    first_wait: FirstWait = 1.0,
    allow_floating: Floating = False,
    yes: Yes = False,
    ray: Ray = None,
    ray_address: RayAddress = None,
) -> None:
    """Go on with a run, with its own settings; answered calls are not repeated.

    Limits count from the run's beginning: --max-usd 5 means five dollars in all.
    """
    need_engine()
    limits = _limits(
        max_usd=max_usd, max_calls=max_calls, concurrency=concurrency, rpm=rpm, tpm=tpm, attempts=attempts,
        first_wait=first_wait, allow_floating=allow_floating,
    )  # fmt: skip
    _go_on(run, limits, yes, ray=ray, ray_address=ray_address)


@engine_app.command()
def retry(
    run: Run,
    only: Annotated[str, typer.Option(help="Error classes, with commas: parse,rate_limit,...")],
    max_usd: MaxUsd = None,
    max_calls: MaxCalls = None,
    concurrency: Concurrency = 8,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Tries per call.")] = 6,
    first_wait: FirstWait = 1.0,
    allow_floating: Floating = False,
    yes: Yes = False,
) -> None:
    """Ask again where it failed in these ways; everything answered well is kept."""
    need_engine()
    from askmask.vlm.errors import ERROR_CLASSES

    classes = [name.strip() for name in only.split(",") if name.strip()]
    unknown = sorted(set(classes) - set(ERROR_CLASSES))
    if unknown or not classes:
        raise SettingError(
            "--only takes error classes", got=repr(only), do=f"Known: {', '.join(ERROR_CLASSES)}."
        )
    limits = _limits(
        max_usd=max_usd, max_calls=max_calls, concurrency=concurrency, attempts=attempts, first_wait=first_wait,
        allow_floating=allow_floating,
    )  # fmt: skip
    _go_on(run, limits, yes, failed=classes)


@engine_app.command()
def status(
    run: Run,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show stages, accept rates, failures by class, cost and time left."""
    need_engine()
    from dataclasses import asdict

    from rich.console import Console
    from rich.live import Live

    from askmask.cli.engine_tables import status_table
    from askmask.engine.report import report_of
    from askmask.engine.store import RunStore

    with RunStore(run, read_only=True) as store:
        if as_json:
            say_json(asdict(report_of(store)), indent=1)
            return
        if not watch:
            Console().print(status_table(run, report_of(store)))
            return
        with Live(status_table(run, report_of(store)), auto_refresh=False) as live:
            while True:
                time.sleep(2)
                live.update(status_table(run, report_of(store)), refresh=True)


@engine_app.command()
def estimate(
    pictures: Annotated[Path, typer.Argument(help="A folder, one picture, a .txt list, or a run.")],
    model: Annotated[str | None, typer.Option(help="Model id, for its price.")] = None,
    price: Annotated[str | None, typer.Option(help="Dollars per million tokens: IN,OUT.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="Pictures to look at.")] = 20,
    concepts: Annotated[str | None, typer.Option(help="Some of the five, with commas.")] = None,
    detector: Annotated[str, typer.Option(help="vlm, grounding-dino or moondream.")] = "vlm",
    votes: Annotated[int, typer.Option(min=1, max=9)] = 1,
    sent_px: Annotated[int, typer.Option(help="Longer side of what models see.")] = 768,
) -> None:
    """Say what a run would take, from a sample and without a call; given a run, from its finished pictures."""
    need_engine()
    from rich.console import Console

    from askmask.cli.engine_tables import estimate_table
    from askmask.engine.estimate import estimate as estimate_of
    from askmask.engine.estimate import from_run
    from askmask.engine.pictures import find_pictures
    from askmask.engine.runs import plan_of
    from askmask.engine.settings import Settings
    from askmask.engine.store import RunStore
    from askmask.vlm.prices import price_of

    if (pictures / RunStore.FILE).is_file():
        with RunStore(pictures, read_only=True) as store:
            count = sum(1 for _ in store.pictures())
            rows = from_run(store, count)
            choice = plan_of(store).writer
        if not rows:
            raise SettingError("no picture of this run is finished yet", got=pictures)
        model, price = model or choice.model, price or choice.price
    else:
        paths = find_pictures(pictures)
        count = len(paths)
        settings = Settings(concepts=_concepts(concepts), votes=votes, sent_px=sent_px)
        rows = estimate_of(paths, settings, sample=sample, detector=detector)
    Console().print(estimate_table(rows, count, model, price_of(model or "", price)))


@engine_app.command()
def inspect(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file; default RUN/gallery.html.")
    ] = None,
    most: Annotated[int, typer.Option(help="Pictures to show.")] = 60,
) -> None:
    """Write a gallery to look at: regions, masks, prompts, every verdict with its reason."""
    need_engine()
    from askmask.engine.gallery import write_gallery
    from askmask.engine.store import RunStore

    path = out or run / "gallery.html"
    with RunStore(run, read_only=True) as store:
        shown = write_gallery(store, path, most=most)
    say(f"{path}: {shown} pictures")


@engine_app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the data set.")],
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "askmask-engine",
    val: Annotated[float, typer.Option(min=0, max=0.5, help="Share of pictures for validation.")] = 0.05,
    test: Annotated[float, typer.Option(min=0, max=0.5, help="Share of pictures for testing.")] = 0.0,
    parquet: Annotated[bool, typer.Option(help="Also examples.parquet (needs pyarrow).")] = False,
) -> None:
    """Write the accepted pairs: ConverSeg's and askmask's formats, COCO, a card; rejects as a review queue."""
    need_engine()
    from askmask.engine.export import export_run
    from askmask.engine.store import RunStore

    with RunStore(run, read_only=True) as store:
        counts = export_run(store, out, name=name, val=val, test=test, parquet=parquet)
    for label, count in counts.items():
        say(f"{label:>24}  {count}")


def need_engine() -> None:
    """Raise MissingExtra before anything else if the extra is not there."""
    from importlib.util import find_spec

    from askmask.errors import MissingExtra

    for library in ("pydantic", "scipy"):
        if find_spec(library) is None:
            raise MissingExtra(library, "engine")


def _parameters(text: str | None) -> dict[str, Any] | None:
    """Read --extra; raises SettingError for what is no JSON object."""
    import json

    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SettingError(
            "--extra takes a JSON object", got=repr(text), do="For example '{\"seed\": null}'."
        )
    return found


def _concepts(text: str | None) -> tuple[Concept, ...]:
    """Return the concepts named with commas, or all; Settings refuses a name that it does not know."""
    from askmask.conversation import CONCEPTS

    return cast("tuple[Concept, ...]", tuple(text.split(","))) if text else CONCEPTS


def _limits(
    *, first_wait: float, rpm: float | None = None, tpm: float | None = None, **others: Any
) -> Limits:
    from askmask.engine.runs import Limits

    return Limits(first_wait_s=first_wait, requests_per_minute=rpm, tokens_per_minute=tpm, **others)


def _go_on(
    run: Path,
    limits: Limits,
    yes: bool,
    *,
    failed: Sequence[str] = (),
    ray: int | None = None,
    ray_address: str | None = None,
) -> None:
    """Work on a run that is there; what failed in the ways named by `failed` is asked again."""
    from askmask.engine.runs import opened, plan_of
    from askmask.engine.store import RunStore

    with RunStore(run) as store:
        store.lock()
        models = opened(plan_of(store), limits, confirm=confirm_with(yes))
        if failed:
            say(f"{store.retry(failed)} failed units are asked again", err=True)
        _work(store, limits, models, ray, ray_address)


MANY = 10  # regions found of which one must be right, unless something is wrong with all of them


def _work(
    store: Any, limits: Any, models: Any, ray: int | None = None, ray_address: str | None = None
) -> None:
    """Work with a live table; exit 1 if something is left undecided, 130 when interrupted."""
    from rich.console import Console
    from rich.live import Live

    from askmask.cli.engine_tables import status_table
    from askmask.engine.report import report_of
    from askmask.engine.runs import work
    from askmask.vlm.errors import BudgetSpent, RunStopped

    console = Console(stderr=True)
    stopped: AskMaskError | None = None
    interrupted = False

    def tell(line: str) -> None:
        console.print(visible(f"askmask: {line}"), markup=False, highlight=False)

    def update(live: Live | None) -> None:
        if live is not None:
            live.update(status_table(store.folder, report_of(store, details=False)), refresh=True)

    async def main(live: Live | None) -> None:
        nonlocal interrupted
        stop, shown = asyncio.Event(), 0.0

        def on_signal() -> None:
            nonlocal interrupted
            if interrupted:
                raise KeyboardInterrupt
            interrupted = True
            console.print("stopping: calls in flight are finished first (again to stop at once)")
            stop.set()

        def on_progress(_: object) -> None:
            nonlocal shown
            if time.monotonic() - shown > 1:
                update(live)
                shown = time.monotonic()

        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGINT, on_signal)
        except NotImplementedError:  # Windows: Ctrl-C ends at once, which loses only calls in flight
            pass
        await work(store, limits, models, on_progress=on_progress, tell=tell, stop=stop)

    def start(live: Live | None) -> None:
        if ray is None:
            asyncio.run(main(live))
            return
        from askmask.engine.ray_backend import run_on_ray

        run_on_ray(store, limits, workers=ray, address=ray_address, on_batch=lambda: update(live))

    try:
        if console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                start(live)
        else:
            start(None)
    except RunStopped as error:
        if not (interrupted or isinstance(error, BudgetSpent)):
            raise  # the endpoint refuses or is gone: exit code 2
        stopped = error
    report = report_of(store)
    console.print(status_table(store.folder, report))
    if report.regions_found >= MANY and not report.regions_accepted:
        tell(
            f"none of {report.regions_found} regions was accepted. If the model writes boxes in another way than its "
            "name says (in pixels, y first), name that with --coordinates, in another --out"
        )
    if interrupted:
        raise KeyboardInterrupt
    if stopped is not None:
        say(f"askmask: {stopped}", err=True)
    if stopped is not None or report.failed_units:
        raise typer.Exit(1)
