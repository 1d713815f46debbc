"""The expansion stage: many images from one find or several of one trial, kept in the store.

An expansion's key is the digest of everything that decides its outcome, so asking again finds it. Its folder holds::

    expansions/<concept>/<key>/
      expansion.json                      the record, written last: when it is there, everything is
      images/<sha256>.png                 the accepted images
      seeds/<digest>.safetensors          their seeds, and those they come from
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedbank.errors import RefusedError, UsageError
from seedbank.models.card import FOLDER, ModelCard
from seedbank.records import canonical_json, sha256
from seedbank.references.photos import reference_images
from seedbank.storage.images import pixel_digest, png
from seedbank.trials.code import EXPANSION, code_version
from seedbank.trials.images import read_seed
from seedbank.trials.records import Candidate, Expansion, KeptImage, Trial, expansion_folder

if TYPE_CHECKING:
    import torch

    from seedbank.bank import Bank
    from seedbank.models.profiles import ModelProfile
    from seedbank.selection.expansion.results import ExpandedImage, ExpansionResult
    from seedbank.selection.judging.acceptance import Acceptance
    from seedbank.selection.sampling.sampler import Sampler
    from seedbank.selection.seeds import Seed
    from seedbank.trials.observe import Report

PREFIX = 6
"""Hex digits of a seed's digest that are enough to name it."""


@dataclass(frozen=True)
class Places:
    """Where the models of a trial are, where they are not where the trial says or its profile does.

    Attributes:
        model: of the pipeline; None is not said.
        encoder: of each of its networks; none is not said.
        guard: likewise.
    """

    model: str | None = None
    encoder: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()

    def among(self, trial: Trial, profile: ModelProfile | None) -> Places:
        """These, and of models in local folders, which a trial does not say, those of ``profile``."""
        if profile is None:
            return self
        return Places(
            model=self.model or (profile.pipeline if trial.model.source == FOLDER else None),
            encoder=self.encoder or (profile.encoder if _in_folders(trial.encoder) else ()),
            guard=self.guard or (profile.guard if _in_folders(trial.guard) else ()),
        )


def _in_folders(card: ModelCard) -> bool:
    return any(network.source == FOLDER for network in card.members or (card,))


def expand_seeds(
    bank: Bank,
    digests: Sequence[str],
    count: int,
    *,
    places: Places | None = None,
    requested_by: Collection[str] = (),
    progress: Report = lambda _stage, _done, _total: None,
) -> Expansion:
    """``count`` accepted, pairwise distinct images from the seeds with these ``digests`` (or prefixes), or the expansion that already did.

    Args:
        bank: where everything is kept.
        digests: of the seeds of accepted candidates of one finished trial; in which order makes no difference.
        count: how many images are wanted; the record may hold fewer.
        places: where the trial's models are, where the trial's profile does not say.
        requested_by: ids of who asks for it, beside the actor; none of them may review images of the concept.
        progress: told the stage (``load``, ``expand``), images accepted, and images wanted.

    Raises:
        UsageError: none, no such seed, several with one prefix, seeds of several trials, or a model whose place nobody knows.
        RefusedError: a candidate that was not accepted.
        VerificationError: the models or photos are no longer those of the trial.
    """
    trial, seeds = _of_one_trial([find_candidate(bank, digest) for digest in digests])
    # First: whoever asks may not review the images, even where they are there already.
    bank.request("expansion", concept=trial.concept, subject=trial.key, requested_by=requested_by)
    key = _key(trial, seeds, count)
    if not bank.store.exists(f"{expansion_folder(trial.concept, key)}/expansion.json"):
        from seedbank.models.device import at_work

        finds = [read_seed(bank, trial.folder, digest) for digest in seeds]
        known = (places or Places()).among(trial, _profile(bank, trial))
        with at_work(bank.settings, "nothing of the expansion is kept, it begins again") as device:
            result = _expanded(bank, trial, finds, count, known, progress, device)
        _store(bank, trial, finds, key=key, count=count, result=result)
    # Read from the store also after a run of ours: another process may have kept its record first.
    return bank.load(Expansion, key, concept=trial.concept)


def _expanded(
    bank: Bank,
    trial: Trial,
    finds: Sequence[Seed],
    count: int,
    places: Places,
    progress: Report,
    device: torch.device,
) -> ExpansionResult:
    from seedbank.selection.expansion.expand import expand

    progress("load", 0, 1)
    sampler, acceptance = _judged_as(bank, trial, places, device)
    progress("load", 1, 1)
    return expand(
        sampler,
        acceptance,
        finds,
        count,
        # Seeds are sorted, so the root does not depend on the order they were named in.
        root=finds[0].digest,
        observe=lambda done, total: progress("expand", done, total),
    )


def find_candidate(bank: Bank, digest: str) -> tuple[Trial, Candidate]:
    """The accepted candidate whose seed has this digest or prefix, and its trial: the newest one where a seed is in several.

    Raises:
        UsageError: fewer than :data:`PREFIX` digits, no such seed, or seeds of several candidates.
        RefusedError: it was not accepted.
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
                # Entries come in the order of the ledger, so a later trial takes the place of an earlier one.
                found[candidate.seed] = trial, candidate
    if len(found) > 1:
        raise UsageError(f"{digest!r} names {len(found)} seeds: {', '.join(sorted(found))}; give more digits")
    if not found:
        raise UsageError(f"no candidate of a finished trial has the seed {digest!r}; `seedbank optimise` lists them")
    trial, candidate = next(iter(found.values()))
    if not candidate.accepted:
        raise RefusedError(
            f"the candidate of seed {candidate.seed[:12]} was not accepted ({candidate.explanation}); expand an accepted one"
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


def _profile(bank: Bank, trial: Trial) -> ModelProfile | None:
    """The profile that the trial was made with, if there is one of that name: what it says is checked by content."""
    try:
        return bank.profile(trial.profile)
    except UsageError:
        return None


def _judged_as(bank: Bank, trial: Trial, places: Places, device: torch.device) -> tuple[Sampler, Acceptance]:
    """What drew and what accepted in the trial, made exactly as the search made them."""
    from seedbank.models.recorded import recorded_encoder, recorded_guard, recorded_sampler
    from seedbank.references.records import ReferenceSet
    from seedbank.selection.judging.acceptance import make_acceptance
    from seedbank.selection.judging.targets import stack_images
    from seedbank.selection.search.pool import Pool

    sampler = recorded_sampler(
        trial.model, prompt=trial.prompt, config=trial.sampler, source=places.model, device=device
    )
    encoder = recorded_encoder(trial.encoder, sources=places.encoder, device=device)
    guard = recorded_guard(trial.guard, sources=places.guard, device=device)
    references = reference_images(bank, bank.load(ReferenceSet, trial.reference_set))
    pool = Pool.from_safetensors(bank.store.get(f"{trial.folder}/pool.safetensors"))
    acceptance = make_acceptance(
        stack_images(references, trial.sampler.height, trial.sampler.width).to(sampler.family.device),
        sampler.family,
        encoder=encoder,
        guard_encoder=guard,
        criteria=trial.recipe,
        # The guard's contrast is made from the trial's own pool, or it would accept other images than the trial did.
        plain=pool.guard_embeddings,
    )
    return sampler, acceptance


def _store(bank: Bank, trial: Trial, finds: Sequence[Seed], *, key: str, count: int, result: ExpansionResult) -> None:
    """Write blobs first, then the record that names them, then the ledger."""
    folder = expansion_folder(trial.concept, key)
    for find in finds:
        bank.store.put(f"{folder}/seeds/{find.digest}.safetensors", find.to_safetensors())
    images = tuple(_keep(bank, folder, image) for image in result.images)
    record = bank.keep(
        Expansion(
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
            cosine=result.cosine,
            probed={f"{cosine:g}": share for cosine, share in result.probed.items()},
            min_distance=result.min_distance,
            needed=result.needed,
            semantic_limit=result.semantic_limit,
            acceptance_rate=result.acceptance_rate,
            attempts=dict(result.attempts),
            vendi=result.vendi,
            distances=result.distances,
            network_evaluations=result.network_evaluations,
            # Infinite where there are no images, which JSON cannot say.
            plain_samples_each=result.plain_samples_each if images else 0.0,
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


def _keep(bank: Bank, folder: str, expanded: ExpandedImage) -> KeptImage:
    """Store an image and its seed; return the record of it."""
    data = png(expanded.pixels)
    image = sha256(data)
    bank.store.put(f"{folder}/images/{image}.png", data)
    bank.store.put(f"{folder}/seeds/{expanded.seed.digest}.safetensors", expanded.seed.to_safetensors())
    return KeptImage(
        seed=expanded.seed.digest, image=image, pixels=pixel_digest(expanded.pixels), scores=expanded.scores
    )
