"""Train the parts model and its judges: one command, fixed seeds, resumable.

::

    python -m seedbank.models.parts.train --stage all --work .seedbank/train --out src/seedbank/models/parts/weights

Stages: ``vae``, ``unet``, ``auditor``, ``encoder``, ``guard``; ``export`` writes out the averaged weights of whatever has been
trained so far. A stage that was stopped goes on from its last checkpoint in the work folder; a finished one is only written out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from seedbank.errors import SeedbankError

STAGES = ("vae", "unet", "auditor", "encoder", "guard")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m seedbank.models.parts.train", description=__doc__)
    parser.add_argument("--stage", choices=("all", "export", *STAGES), default="all")
    parser.add_argument("--work", type=Path, required=True, help="folder for data and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished weights")
    options = parser.parse_args(arguments)
    try:
        if options.stage == "export":
            export_all(options.work, options.out)
            return
        for stage in STAGES if options.stage == "all" else (options.stage,):
            train_stage(stage, options.work, options.out)
    except SeedbankError as error:
        raise SystemExit(f"{error}") from error


def train_stage(stage: str, work: Path, out: Path) -> None:
    """Bring one stage to its last step and write its weights below `out`."""
    from seedbank.models.parts import diffusion, export, judges, vae

    if stage == "vae":
        vae.train(work)
    elif stage == "unet":
        diffusion.train(work)
        export.export_pipeline(work, out)
    else:
        judges.train(stage, work)
        export.export_judge(stage, work, out)


def export_all(work: Path, out: Path) -> None:
    """Write whatever has a checkpoint, finished or not."""
    from seedbank.models.parts import export

    for stage in STAGES[1:]:
        if (work / f"{stage}.pt").exists():
            export.export_pipeline(work, out) if stage == "unet" else export.export_judge(stage, work, out)


if __name__ == "__main__":
    main()
