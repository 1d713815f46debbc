"""Which seed is meant: looked up by digest among trials and expansions, or in the files of a release."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedbank.errors import RefusedError, UsageError, VerificationError
from seedbank.models.card import ModelCard
from seedbank.release.records import MANIFEST, Manifest
from seedbank.selection.records import SamplerConfig
from seedbank.selection.seeds import Seed
from seedbank.trials.expand import PREFIX
from seedbank.trials.images import read_seed
from seedbank.trials.records import Expansion, Trial

if TYPE_CHECKING:
    from seedbank.bank import Bank
    from seedbank.release.verify import Files


@dataclass(frozen=True)
class FoundSeed:
    """A seed and how its image was drawn."""

    seed: Seed
    prompt: str
    model: ModelCard
    sampler: SamplerConfig
    origin: str
    """Where it was found, in words."""
    concept: str
    released: bool
    """Whether it comes from a release, so that two people approved its image."""


@dataclass(frozen=True)
class _Match:
    """A seed on record."""

    record: Trial | Expansion
    seed: str
    fault: str = ""
    """Why its image was not accepted."""


def find_seed(bank: Bank, digest: str) -> FoundSeed:
    """The seed with this ``digest`` or prefix: of an accepted candidate or plain image of a finished trial, or of an expansion's image.

    Where several records have it, the newest counts.

    Raises:
        UsageError: fewer than :data:`~seedbank.trials.expand.PREFIX` digits, no such seed, or several.
        RefusedError: its image was not accepted.
        VerificationError: the stored seed is gone or was changed.
    """
    _check_prefix(digest)
    found = {match.seed: match for match in _on_record(bank) if match.seed.startswith(digest)}
    match = found[_only(digest, found, "no finished trial and no expansion has")]
    if match.fault:
        raise RefusedError(
            f"the image of seed {match.seed[:12]} was not accepted ({match.fault}); export an accepted one"
        )
    record = match.record
    return FoundSeed(
        seed=read_seed(bank, record.folder, match.seed),
        prompt=record.prompt,
        model=record.model,
        sampler=record.sampler,
        origin=f"{record.KIND} {record.key[:12]} of {record.concept}",
        concept=record.concept,
        released=False,
    )


def released_seed(files: Files, digest: str) -> FoundSeed:
    """The seed with this ``digest`` or prefix in the ``files`` of a release. Signatures are not checked here; ``seedbank verify`` does.

    Raises:
        UsageError: as :func:`find_seed`.
        VerificationError: the files are no release, or the seed's is missing or another one.
    """
    _check_prefix(digest)
    if MANIFEST not in files:
        raise VerificationError(f"expected {MANIFEST} in the release, it is missing; get the release again")
    manifest = Manifest.from_bytes(files[MANIFEST])
    found = {image.candidate.seed: image for image in manifest.images if image.candidate.seed.startswith(digest)}
    image = found[_only(digest, found, "the release has no image that has")]
    seed = Seed.from_safetensors(files.get(image.seed_file, b""))
    if seed.digest != image.candidate.seed:
        raise VerificationError(
            f"{image.seed_file} is not the seed of the manifest; run `seedbank verify` on the release"
        )
    return FoundSeed(
        seed=seed,
        prompt=manifest.prompt,
        model=manifest.model,
        sampler=manifest.sampler,
        origin=f"release of dossier {manifest.dossier[:12]} of {manifest.concept}",
        concept=manifest.concept,
        released=True,
    )


def _on_record(bank: Bank) -> Iterator[_Match]:
    """Every seed of a kept image, the oldest record first."""
    for entry in bank.ledger.entries():
        if entry.event == Trial.EVENT:
            trial = bank.load(Trial, Trial.announced(entry), concept=entry.concept)
            for candidate in (*trial.plain, *trial.candidates):
                yield _Match(trial, candidate.seed, "" if candidate.accepted else candidate.explanation)
        elif entry.event == Expansion.EVENT:
            expansion = bank.load(Expansion, Expansion.announced(entry), concept=entry.concept)
            yield from (_Match(expansion, image.seed) for image in expansion.images)


def _check_prefix(digest: str) -> None:
    if len(digest) < PREFIX:
        raise UsageError(
            f"expected at least {PREFIX} digits of a seed's digest, got {digest!r}; `seedbank optimise` lists them"
        )


def _only(digest: str, found: Collection[str], none: str) -> str:
    if len(found) > 1:
        raise UsageError(f"{digest!r} names {len(found)} seeds: {', '.join(sorted(found))}; give more digits")
    if not found:
        raise UsageError(f"{none} the seed {digest!r}; `seedbank optimise` and `seedbank expand` list them")
    return next(iter(found))
