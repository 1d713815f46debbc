"""The expansion stage: many images from one find or several of one trial, kept in the store.

An expansion's key is the digest of everything that decides its outcome, so asking again finds it. Its folder holds::

    expansions/<concept>/<key>/
      expansion.json                      the record, written last: when it is there, everything is
      images/<sha256>.png                 the accepted pictures
      seeds/<digest>.safetensors          their seeds, and those they come from
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from seedbank.errors import RefusedError, UsageError, VerificationError
from seedbank.records import canonical_json, sha256
from seedbank.references.photos import reference_images
from seedbank.storage.images import pixel_digest, png
from seedbank.trials.code import EXPANSION, code_version
from seedbank.trials.records import (
    Candidate,
    Expanded,
    ExpansionRecord,
    Tally,
    Trial,
    expansion_folder,
)

if TYPE_CHECKING:
    from seedbank.bank import Bank
    from seedbank.selection.expansion.results import Expansion, Offspring
    from seedbank.selection.judging.acceptance import Acceptance
    from seedbank.selection.sampling.sampler import Sampler
    from seedbank.selection.seeds import Seed

PREFIX = 6
"""Hex digits of a seed's digest that are enough to name it."""


def expand_seeds(
    bank: Bank,
    digests: Sequence[str],
    count: int,
    *,
    requested_by: Collection[str] = (),
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> ExpansionRecord:
    """``count`` accepted, pairwise distinct images from the seeds with these ``digests`` (or prefixes), or the expansion that already did.

    Args:
        bank: where everything is kept.
        digests: of the seeds of accepted candidates of one finished trial; in which order makes no difference.
        count: how many images are wanted; the record may hold fewer.
        requested_by: ids of who asks for it, beside the actor; none of them may review images of the concept.
        progress: told the stage (``load``, ``expand``), images accepted, and images wanted.

    Raises:
        UsageError: none, no such seed, several with one prefix, or seeds of several trials.
        RefusedError: a candidate that was not accepted.
        VerificationError: the models or photos are no longer those of the trial.
    """
    trial, seeds = _of_one_trial([find_candidate(bank, digest) for digest in digests])
    bank.request("expansion", concept=trial.concept, subject=trial.key, requested_by=requested_by)
    key = _key(trial, seeds, count)
    folder = expansion_folder(trial.concept, key)
    if not bank.store.exists(f"{folder}/expansion.json"):
        progress("load", 0, 1)
        parts = _parts(bank, trial)
        progress("load", 1, 1)
        finds = [_seed(bank, trial, digest) for digest in seeds]
        _store(bank, trial, finds, key, count, _expand(finds, count, parts, progress))
    return bank.load(ExpansionRecord, key, concept=trial.concept)


def find_candidate(bank: Bank, digest: str) -> tuple[Trial, Candidate]:
    """The accepted candidate whose seed has this digest or prefix, and its trial: the newest one where a seed is in several.

    Raises:
        UsageError: fewer than :data:`PREFIX` digits, no such seed, or seeds of several candidates.
        RefusedError: the guard did not accept it.
    """
    if len(digest) < PREFIX:
        raise UsageError(
            f"expected at least {PREFIX} digits of a seed's digest, got {digest!r}; `seedbank optimise` lists them"
        )
    found: dict[str, tuple[Trial, Candidate]] = {}
    for entry in bank.ledger.entries(event="trial.finished"):
        trial = bank.load(Trial, Trial.announced(entry), concept=entry.concept)
        for candidate in trial.candidates:
            if candidate.seed.startswith(digest):
                found[candidate.seed] = trial, candidate
    if len(found) > 1:
        raise UsageError(f"{digest!r} names {len(found)} seeds: {', '.join(sorted(found))}; give more digits")
    if not found:
        raise UsageError(f"no candidate of a finished trial has the seed {digest!r}; `seedbank optimise` lists them")
    trial, candidate = next(iter(found.values()))
    if not candidate.accepted:
        raise RefusedError(
            f"the guard did not accept the candidate of seed {candidate.seed[:12]} ({candidate.explanation}); expand an accepted one"
        )
    return trial, candidate


def _of_one_trial(found: Sequence[tuple[Trial, Candidate]]) -> tuple[Trial, tuple[str, ...]]:
    """The trial, and each seed once, sorted."""
    trials = {trial.key: trial for trial, _ in found}
    if not trials:
        raise UsageError("expected at least one seed to expand, got none; `seedbank optimise` lists them")
    if len(trials) > 1:
        raise UsageError(
            f"expected seeds of one trial, got seeds of {', '.join(key[:12] for key in trials)}; expand each trial's by themselves"
        )
    return next(iter(trials.values())), tuple(sorted({candidate.seed for _, candidate in found}))


def _key(trial: Trial, seeds: Sequence[str], count: int) -> str:
    from seedbank.selection.expansion.expand import Plan

    return sha256(
        canonical_json(
            {
                "expansion": 2,
                "trial": trial.digest,
                "seeds": list(seeds),
                "count": count,
                "plan": Plan().digest,
                "code": code_version(EXPANSION),
            }
        )
    )


def _parts(bank: Bank, trial: Trial) -> tuple[Sampler, Acceptance]:
    """What drew and what judged in the trial, made exactly as the search made them."""
    from seedbank.models import load_encoder, load_guard, load_pipeline
    from seedbank.references.records import ReferenceSet
    from seedbank.selection.judging.acceptance import make_acceptance
    from seedbank.selection.judging.targets import stack_images
    from seedbank.selection.sampling.sampler import make_sampler
    from seedbank.selection.search.pool import Pool

    model, embed = load_pipeline(trial.model.source), load_guard(trial.guard.source)
    encoder = load_encoder(trial.encoder.source)
    for name, card, wanted in (
        ("model", model.card, trial.model),
        ("guard", embed.card, trial.guard),
        ("encoder", encoder.card, trial.encoder),
    ):
        if card.content != wanted.content:
            raise VerificationError(
                f"expected the {name} {wanted.name} {wanted.content[:12]} of trial {trial.key[:12]}, got {card.content[:12]}; "
                "search again with the new one"
            )
    references = bank.load(ReferenceSet, trial.reference_set)
    sampler = make_sampler(model.pipeline, trial.prompt, trial.sampler)
    photos = stack_images(reference_images(bank, references), trial.sampler.height, trial.sampler.width)
    pool = Pool.from_safetensors(bank.store.get(f"{trial.folder}/pool.safetensors"))
    acceptance = make_acceptance(
        photos.to(sampler.family.device),
        sampler.family,
        encoder=encoder,
        guard=embed,
        criteria=trial.recipe,
        plain=pool.guard_embeddings,
    )
    return sampler, acceptance


def _expand(
    finds: Sequence[Seed],
    count: int,
    parts: tuple[Sampler, Acceptance],
    progress: Callable[[str, int, int], None],
) -> Expansion:
    from seedbank.selection.expansion.expand import expand

    sampler, acceptance = parts
    return expand(
        sampler,
        acceptance,
        finds,
        count,
        root=finds[0].digest,
        observe=lambda done, total: progress("expand", done, total),
    )


def _seed(bank: Bank, trial: Trial, digest: str) -> Seed:
    from seedbank.selection.seeds import Seed

    seed = Seed.from_safetensors(bank.store.get(f"{trial.folder}/seeds/{digest}.safetensors"))
    if seed.digest != digest:
        raise VerificationError(f"expected seed {digest}, got {seed.digest}; the stored object was changed")
    return seed


def _store(bank: Bank, trial: Trial, finds: Sequence[Seed], key: str, count: int, expansion: Expansion) -> None:
    """Write blobs first, then the record that names them, then the ledger."""
    folder = expansion_folder(trial.concept, key)
    for find in finds:
        bank.store.put(f"{folder}/seeds/{find.digest}.safetensors", find.to_safetensors())
    images = tuple(_keep(bank, folder, child) for child in expansion.offspring)
    record = bank.keep(
        ExpansionRecord(
            key=key,
            concept=trial.concept,
            trial=trial.key,
            finds=tuple(find.digest for find in finds),
            asked=count,
            prompt=trial.prompt,
            model=trial.model,
            guard=trial.guard,
            encoder=trial.encoder,
            sampler=trial.sampler,
            code_version=code_version(EXPANSION),
            images=images,
            cosine=expansion.cosine,
            probed={f"{cosine:g}": share for cosine, share in expansion.probed.items()},
            apart=expansion.apart,
            bar=expansion.bar,
            semantic_limit=expansion.semantic_limit,
            acceptance=expansion.rate,
            tried={
                kind: Tally(drawn=tried.drawn, accepted=tried.accepted, alike=tried.alike, undone=tried.undone)
                for kind, tried in expansion.tried.items()
            },
            vendi=expansion.vendi,
            distances=expansion.distances,
            network_evaluations=expansion.network_evaluations,
            plain_samples_each=expansion.plain_samples_each if images else 0.0,
        )
    )
    bank.record_once(
        "expansion.finished",
        concept=record.concept,
        key=key,
        expansion=record.digest,
        trial=record.trial,
        seeds=list(record.finds),
        images=len(record.images),
        asked=count,
    )


def _keep(bank: Bank, folder: str, child: Offspring) -> Expanded:
    """Store a picture and its seed; return the record of it."""
    data = png(child.pixels)
    image = sha256(data)
    bank.store.put(f"{folder}/images/{image}.png", data)
    bank.store.put(f"{folder}/seeds/{child.seed.digest}.safetensors", child.seed.to_safetensors())
    return Expanded(
        seed=child.seed.digest,
        image=image,
        pixels=pixel_digest(child.pixels),
        guard=child.guard,
        copy_score=child.copy,
        semantic=child.semantic,
        apart=child.apart,
        cosine=child.cosine,
        norm_z=child.norm_z,
        whiteness=child.whiteness,
    )
