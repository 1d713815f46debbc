"""``seedbank models``: the profiles of models, and what of them is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seedbank.cli.output import JsonFlag, console, duration, needs, print_json, table
from seedbank.settings import Settings

if TYPE_CHECKING:
    from seedbank.models.profiles import ModelProfile
    from seedbank.trials.checks.records import Check

app = typer.Typer(help="Models of your own: profiles, their files, and what they cost here.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a model profile.")]
Judge = list[str] | None


@app.command("list")
def list_profiles(json: JsonFlag = False) -> None:
    """The model profiles: what draws, what is followed, what accepts.

    Example: seedbank models list
    """
    from seedbank.models.profiles import load_profiles

    settings = Settings.from_env()
    profiles = load_profiles(settings.models)
    if json:
        print_json([profile.model_dump(mode="json") for profile in profiles.values()])
        return
    rows = [
        (name, _short(profile.pipeline), *(_several(sources) for sources in (profile.encoder, profile.guard)))
        for name, profile in profiles.items()
    ]
    console().print(table(f"model profiles in {settings.models}", ("profile", "draws", "is followed", "accepts"), rows))


@app.command()
@needs("selection")
def add(
    name: Annotated[str, typer.Argument(help="What to call the profile.")],
    pipeline: Annotated[
        str, typer.Argument(help="A diffusers pipeline: a folder, repository@revision, or parts.")
    ] = "parts",
    encoder: Annotated[
        Judge, typer.Option(help="CLIP or SigLIP to follow, a folder or repository@revision; several judge together.")
    ] = None,
    guard: Annotated[Judge, typer.Option(help="DINOv2 or another that accepts, likewise.")] = None,
    orientation: Annotated[str, typer.Option(help="upright for what has an up, else any.")] = "upright",
) -> None:
    """Write the profile of a model, with judges for photographs unless others are named.

    Example: seedbank models add engine models/engine-sd15 --guard facebook/dinov2-base
    """
    from seedbank.models.adding import new_profile, unpinned, write_profile
    from seedbank.models.profiles import load_profile

    text = new_profile(name, pipeline, encoder=encoder or (), guard=guard or (), orientation=orientation)
    path = write_profile(Settings.from_env().models, name, text)
    out = console()
    out.print(f"wrote {path}")
    if unpinned(load_profile(path)):
        out.print(f"next: seedbank models pin {name}")
    out.print(f"name it in a concept file: model: {name}")


@app.command()
@needs("selection")
def pin(name: Name) -> None:
    """Find out at which commit each repository of a profile is that names none, and write it into the profile.

    Example: seedbank models pin engine
    """
    from seedbank.models import adding
    from seedbank.models.hub import resolve
    from seedbank.models.profiles import load_profile, profile_path

    path = profile_path(Settings.from_env().models, name)
    commits = adding.commits_of(adding.unpinned(load_profile(path)), resolve)
    # All of them are found before anything is written.
    path.write_text(adding.pin(path.read_text(encoding="utf-8"), commits), encoding="utf-8")
    for source, commit in commits.items():
        console().print(f"{source} is at {commit}")
    if not commits:
        console().print("every repository is pinned")


@app.command()
@needs("selection")
def fetch(
    name: Name,
    to: Annotated[
        Path | None, typer.Option(help="A folder to carry to a machine without network, where HF_HOME names it.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of the machine that will draw: auto (this one), float32, bfloat16 or float16.")
    ] = "auto",
) -> None:
    """Fetch the safetensors and settings of a profile's models, going on where an earlier fetch ended. Nothing that can run code comes.

    Example: seedbank models fetch sd-1.5 --to carried --precision float16
    """
    from seedbank.models.profiles import load_profile, profile_path

    settings = Settings.from_env()
    profile = load_profile(profile_path(settings.models, name))
    chosen = _precision(profile, settings, precision)
    for source, part in profile.sources:
        _fetch(source, part, chosen, to)
    if to:
        console().print(f"carry {to} along and set HF_HOME={to.name} there; HF_ENDPOINT names a mirror to fetch from")


@app.command()
@needs("selection")
def check(
    name: Name,
    prompt: Annotated[str, typer.Option(help="What to draw.")] = "a photo of a gear",
    quick: Annotated[
        bool, typer.Option(help="Leave out which gradient mode suits, which takes as long as some thirty images.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Load a profile here, draw one image beside the stock pipeline, and measure what a trial will take. Writes nothing but speeds.

    Exit code 1: the two images differ, so a seed would draw something else elsewhere.

    Example: seedbank models check engine --prompt "a photo of an engine"
    """
    from seedbank.cli.search import bars
    from seedbank.models.device import at_work
    from seedbank.models.profiles import load_profile, profile_path
    from seedbank.trials.checks.run import check_profile

    settings = Settings.from_env()
    profile = load_profile(profile_path(settings.models, name))
    with bars() as report, at_work(settings, "nothing of the check is kept, it begins again") as device:
        found = check_profile(profile, device=device, home=settings.home, prompt=prompt, quick=quick, progress=report)
    if json:
        print_json(found.to_dict())
    else:
        _print_check(found)
    if refusal := found.refusal():
        raise refusal


def _print_check(found: Check) -> None:
    out, sampler, beside = console(), found.sampler, found.comparison
    out.print(
        f"{found.profile}: {found.family} on {found.device}, {sampler.scheduler}, {sampler.num_inference_steps} steps, guidance "
        f"{sampler.guidance_scale:g}, {sampler.width}x{sampler.height}, {sampler.dtype}, {sampler.batch_size} at once"
        + (f", negative prompt {sampler.negative_prompt!r}" if sampler.negative_prompt else "")
    )
    for judge in found.judges:
        out.print(f"{judge.part}: {judge.name}, a {judge.family}")
    tokens = ", ".join(f"{each.count} of {each.limit}" for each in found.tokens)
    out.print(
        f"prompt {found.prompt!r}: {tokens} tokens" + (f"; the model does not see {found.cut!r}" if found.cut else "")
    )
    for note in found.notes:
        out.print(f"note: {note}")
    if found.memory:
        out.print(f"memory: {found.memory}")
    if beside is None:
        out.print("not drawn with the stock pipeline, all of whose parts do not fit on this device at once")
    else:
        same = "the same image" if beside.same else "another image"
        out.print(
            f"beside the stock pipeline: {same}, levels differ by up to {beside.most}, {beside.mean:.3f} on average"
        )
    for what, each in (("a sample", found.sample), (f"a gradient ({found.mode})", found.gradient)):
        most = each.mib(each.batch)
        memory = f", {most / 1024:.1f} GiB held at most" if most else ""
        out.print(f"{what}: {each.seconds:.2f} s an image, {each.batch} at once{memory}")
    if found.calibration:
        out.print(
            f"gradient mode: {found.mode}, {found.calibration.reason}; images of the model's own stood in for references"
        )
    if found.advice:
        out.print(found.advice)
    rows = [
        (
            cost.preset,
            duration(cost.seconds),
            duration(cost.most_seconds),
            cost.images,
            cost.gradients,
            f"{cost.network_evaluations} / {cost.most_network_evaluations}",
            f"{cost.mib / 1024:.1f} GiB" if cost.mib else "",
        )
        for cost in found.presets
    ]
    columns = ("preset", "expected", "at most", "images", "with a gradient", "network evaluations", "memory")
    out.print(table(f"a trial of {found.candidates} candidates here", columns, rows))


def _fetch(source: str, part: str, precision: str, to: Path | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from seedbank.models.card import SHIPPED
    from seedbank.models.hub import fetch as fetched

    if source == SHIPPED or Path(source).is_dir():
        console().print(f"{part}: {source} is here")
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(part, total=None)
        folder = fetched(
            source,
            part,
            precision=precision,
            to=to,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    console().print(f"{part}: {source} is in {folder}")


def _precision(profile: ModelProfile, settings: Settings, precision: str) -> str:
    """What ``precision`` means where it is ``auto``."""
    wanted = profile.precision if precision == "auto" else precision
    if wanted != "auto":
        return wanted
    from seedbank.models.device import drawing_precision

    return drawing_precision("auto", settings)


def _short(source: str) -> str:
    """A source without most of its commit, for a table."""
    repository, at, commit = source.rpartition("@")
    return f"{repository}@{commit[:8]}" if at else source


def _several(sources: tuple[str, ...]) -> str:
    return " and ".join(map(_short, sources))
