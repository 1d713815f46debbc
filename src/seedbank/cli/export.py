"""``seedbank export``: a seed as other tools take it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from seedbank.cli.output import JsonFlag, console, known_place, needs, open_bank, print_json, waiting
from seedbank.errors import UsageError

if TYPE_CHECKING:
    from seedbank.export.finds import FoundSeed
    from seedbank.export.run import Exported


@needs("selection")
def export(
    find: Annotated[
        str,
        typer.Argument(
            metavar="FIND",
            help="Digest, or its first digits, of the seed of a trial's or an expansion's accepted image.",
        ),
    ],
    to: Annotated[str, typer.Option(help="For whom: diffusers, comfyui or a1111.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default FIND-TOOL here.")] = None,
    release: Annotated[
        str | None, typer.Option(help="Look in this release: its folder, or a concept for its newest release.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Where the model is, if not where the record or the profile says.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Write the seed FIND as diffusers, ComfyUI or the web UI of AUTOMATIC1111 (a1111) take it, with what draws the same image.

    diffusers: the tensor for latents= and a script. comfyui: a .latent file and a graph. a1111: the integer and the settings, for a
    plain seed only: the web UI draws its noise itself. Where a tool cannot draw the same image it says why; exit code 1.

    Example: seedbank export 3f9a1c04be77 --to comfyui
    """
    from seedbank.export.run import Tool, export_seed

    if to not in get_args(Tool):
        raise UsageError(f"expected --to {', '.join(get_args(Tool))}, got {to!r}")
    found = _find(find, release)
    model = model or known_place(open_bank(), found.concept, found.model)
    folder = out or Path(f"{found.seed.digest[:12]}-{to}")
    with waiting("loading the model"):
        exported = export_seed(found, cast("Tool", to), folder, model=model)
    if json:
        print_json(_document(found, to, exported))
    else:
        _print(found, exported)


def _find(find: str, release: str | None) -> FoundSeed:
    from seedbank.cli.release import release_files
    from seedbank.export.finds import find_seed, released_seed

    return released_seed(release_files(release), find) if release else find_seed(open_bank(), find)


def _document(found: FoundSeed, tool: str, exported: Exported) -> dict[str, object]:
    return {
        "seed": found.seed.digest,
        "origin": found.origin,
        "lineage": found.seed.lineage.model_dump(mode="json"),
        "tool": tool,
        "folder": str(exported.folder),
        "files": sorted(exported.package.files),
        "settings": dict(exported.package.settings),
        "notes": list(exported.package.notes),
    }


def _print(found: FoundSeed, exported: Exported) -> None:
    out = console()
    out.print(f"seed {found.seed.digest[:12]} of {found.origin}, in {exported.folder}:", markup=False)
    for name in exported.package.files:
        out.print(f"  {name}", markup=False)
    for note in exported.package.notes:
        out.print(f"- {note}", markup=False)
