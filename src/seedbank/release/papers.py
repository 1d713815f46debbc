"""The papers of a release for people: README and datasheet, written from its manifest and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from seedbank.models.card import ModelCard
from seedbank.release.records import Manifest


def readme(manifest: Manifest) -> str:
    """What this folder is and how to check it."""
    scripted = "\n**A script answered this review. Nobody has looked at these images.**\n" if manifest.scripted else ""
    files = "\n".join(
        f"| `{item.file}` | `{item.seed_file}` | {item.candidate.scores.guard:.3f} |" for item in manifest.images
    )
    return f"""# {manifest.concept}: {len(manifest.images)} images, drawn by an unchanged model from chosen seeds

Prompt: *{_cell(manifest.prompt)}*. Model: {_model(manifest.model)}.
{scripted}
## Check it

    seedbank verify . --key release.pub

needs only this folder and the publisher's public key, which must reach you by another way than this folder. It checks every byte, the
reviewers' signatures, and that each image and seed is the one they approved. `seedbank replay .` draws the images again from their seeds.

| image | seed | guard |
|---|---|---|
{files}

`manifest.json` says where everything came from; `datasheet.md` says the same in words.
"""


def datasheet(manifest: Manifest) -> str:
    """Where the images came from, who allowed them, and what is not known (after Gebru et al., Datasheets for Datasets)."""
    sampler = manifest.sampler
    return f"""# Datasheet: {manifest.concept}

## Why
Images of a rare concept that the model hardly ever draws from a random seed. The model's weights were not touched: only the initial noise
was chosen, guided by {len(manifest.references)} reference photos (after SeedSelect, arXiv 2304.14530).

## What is in it
{len(manifest.images)} synthetic images of {sampler.width}x{sampler.height} pixels and the seed (initial noise) of each.
No reference photo is included.

## How it was made
{_list(_making(manifest))}

## Reference photos
| photo | licence | source | cleared by | expires | SHA-256 |
|---|---|---|---|---|---|
{_references(manifest)}

Checked by Great Expectations, result `{manifest.validation}`; frozen as reference set `{manifest.reference_set}`.

## Who decided
Asked for by {_cell(", ".join(manifest.requested_by))}. Reviewed by two others, on dossier `{manifest.dossier}`:

{_list(_decisions(manifest))}

## Known gaps
{_list(_gaps(manifest))}

## Proof
Ledger entry {manifest.ledger.number} (`{manifest.ledger.entry}`) pins everything before it. Immutability of the
storage at publication: {manifest.keeping.immutability}.
"""


def _making(manifest: Manifest) -> list[str]:
    sampler = manifest.sampler
    return [
        f"Model {_model(manifest.model)}",
        f"Semantic encoder {_model(manifest.encoder)}; guard, which was in no loss, {_model(manifest.guard)}",
        f"{sampler.scheduler}, {sampler.num_inference_steps} steps, guidance {sampler.guidance_scale}, {sampler.dtype}",
        f"Recipe {manifest.recipe.name}, code {manifest.code_version}, trial `{manifest.trial}`",
        "; ".join(f"{name} {version}" for name, version in sorted(manifest.software.items())),
    ]


def _references(manifest: Manifest) -> str:
    return "\n".join(
        f"| {_cell(item.name)} | {_cell(item.rights.licence)} | {_cell(item.rights.source)} | {_cell(item.rights.cleared_by)} | "
        f"{item.rights.expires or 'never'} | `{item.photo}` |"
        for item in manifest.references
    )


def _decisions(manifest: Manifest) -> list[str]:
    return [
        f"seat {item.seat}, {item.time}: {_cell(item.name)} ({item.reviewer}{', by script' if item.scripted else ''}): "
        f"{item.verdict}, “{_cell(item.reason)}”"
        for item in manifest.decisions
    ]


def _gaps(manifest: Manifest) -> list[str]:
    gaps = [
        "The images show what the reference photos share; what no photo shows is not in them.",
        "Scores are similarities under models, not measurements of the real part.",
    ]
    if manifest.scripted:
        gaps.append("The review was answered by a script, for a demonstration: nobody has looked at the images.")
    return gaps


def _model(card: ModelCard) -> str:
    revision = f" at {card.revision}" if card.revision else ""
    return f"{card.name}{revision} (files `{card.content}`)"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _cell(text: str) -> str:
    """``text`` on one line and without what Markdown would read as structure."""
    return " ".join(text.split()).replace("|", "/").replace("<", "(").replace("`", "'")
