"""Commands about what comes after the search: review, release, verify, replay, log, status, trace, keys."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seedbank.cli.output import JsonFlag, console, known_place, needs, open_bank, print_json, table, visible, waiting
from seedbank.errors import RefusedError

if TYPE_CHECKING:
    from seedbank.bank import Bank
    from seedbank.inspection.trace import Node, Trace
    from seedbank.release.replay import Replayed
    from seedbank.release.verify import Files
    from seedbank.review.records import Decision, Dossier

ConceptArgument = Annotated[str, typer.Argument(help="Name of the concept.")]
ReleaseArgument = Annotated[
    str, typer.Argument(help="A release folder, or a concept for its newest release in the store.")
]


def review(concept: ConceptArgument, json: JsonFlag = False) -> None:
    """Show the dossier of a concept and where each seat stands. Answers are given in Airflow only.

    Where none is frozen yet it freezes one, which is a request: whoever asked for images cannot review them.

    Example: seedbank review wingnut
    """
    from seedbank.review.dossier import frozen_dossier, prepare_dossier
    from seedbank.review.records import decision_of
    from seedbank.review.roster import SEATS
    from seedbank.trials.records import Trial

    bank = open_bank()
    trial = bank.newest(Trial, concept)
    dossier = frozen_dossier(bank, trial) or prepare_dossier(bank, trial)
    answers = {seat: decision_of(bank, dossier.digest, seat) for seat in range(1, SEATS + 1)}
    if json:
        seats = {str(seat): answer.model_dump(mode="json") if answer else None for seat, answer in answers.items()}
        print_json(
            {
                "digest": dossier.digest,
                "dossier": dossier.model_dump(mode="json"),
                "sheet": dossier.sheet,
                "seats": seats,
            }
        )
    else:
        _print_dossier(bank, dossier, answers)


def release(concept: ConceptArgument, json: JsonFlag = False) -> None:
    """Publish what two people approved; exit code 1 while they have not. Publishing again returns the same release.

    Example: seedbank release wingnut
    """
    from seedbank.release.publish import publish
    from seedbank.review.records import Dossier

    bank = open_bank()
    with waiting(f"publishing {concept}"):
        made = publish(bank, bank.newest_address(Dossier, concept))
    if json:
        print_json(
            {"folder": made.folder, "statement": made.statement, "manifest": made.manifest.model_dump(mode="json")}
        )
    else:
        console().print(f"{len(made.manifest.images)} images of {concept} released in {bank.store.url}/{made.folder}")
        console().print(f"next: seedbank verify {concept} --key {bank.settings.keys / 'release.pub'}")


def verify(
    release: ReleaseArgument,
    key: Annotated[
        Path | None, typer.Option("--key", help="The publisher's public key; default this installation's own.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Check every byte of a release, its signatures and its approval; needs only the folder and the key. Exit code 1 if anything is off.

    Example: seedbank verify ./wingnut-release --key release.pub
    """
    from seedbank.evidence.signing import PublicKey
    from seedbank.release.verify import verify_files
    from seedbank.settings import Settings

    public = PublicKey.read(key or Settings.from_env().keys / "release.pub")
    held = verify_files(release_files(release), public)
    manifest = held.manifest
    if json:
        print_json(
            {"verified": True, "files": held.files, "key": held.key, "manifest": manifest.model_dump(mode="json")}
        )
        return
    print(
        f"verified: {len(manifest.images)} images of {manifest.concept}, {held.files} files signed by key {held.key[:12]}"
    )
    for decision in manifest.decisions:
        print(f"  {_sentence(decision)}")


@needs("selection")
def replay(
    release: ReleaseArgument,
    model: Annotated[
        str | None, typer.Option(help="Where the model is, if not where the release or the profile says.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Draw the images of a release again from their seeds and compare every pixel. Exit code 1 if one differs by more than a level of 255.

    Example: seedbank replay wingnut
    """
    from seedbank.models.device import at_work
    from seedbank.release.replay import replay_files
    from seedbank.settings import Settings

    files = release_files(release)
    model = model or _place(release, files)
    computing = at_work(Settings.from_env(), "nothing of the replay is kept, it begins again")
    with waiting("loading the model") as update, computing as device:
        report = replay_files(
            files, model=model, device=device, progress=lambda done, whole: update(f"drawing {done} of {whole}")
        )
    if json:
        print_json({**asdict(report), "equal": report.equal, "exact": report.exact, "explanation": report.explain()})
    else:
        rows = [(item.file, _pixels(item)) for item in report.images]
        console().print(table("Drawn again", ("image", "pixels"), rows))
    if not report.equal:
        raise RefusedError(report.explain())
    if not json:
        console().print(report.explain())


def _place(release: str, files: Files) -> str | None:
    """Where the model of an own release lies, if in a folder; of a release that came from elsewhere its receiver says it."""
    from seedbank.release.records import MANIFEST, Manifest

    if _is_folder(release) or MANIFEST not in files:
        return None
    manifest = Manifest.from_bytes(files[MANIFEST])
    return known_place(open_bank(), manifest.concept, manifest.model)


def _pixels(image: Replayed) -> str:
    if image.exact:
        return "equal to the last bit"
    if image.equal:
        return "equal within one level of 255"
    return f"differs by up to {image.difference} of 255" if image.approved else "not the file that was approved"


@needs("mlflow")
def log(concept: ConceptArgument, json: JsonFlag = False) -> None:
    """Put the newest trial of a concept into MLflow. Doing it again adds nothing.

    Example: seedbank log wingnut
    """
    from seedbank.tracking.links import page_url, public_uri, split_address
    from seedbank.tracking.log import log_trial
    from seedbank.trials.records import Trial

    bank = open_bank()
    trial, uri = bank.newest(Trial, concept), public_uri(bank.settings.tracking_uri)
    with waiting(f"logging trial {trial.key[:12]} to {uri}"):
        address = log_trial(bank, trial)
    run, url = split_address(address)[1], bank.settings.tracking_url
    if json:
        print_json(
            {"run": run, "trial": trial.key, "tracking_uri": uri, "url": page_url(url, address) if url else None}
        )
    else:
        place = page_url(url, address) if url else f"{uri}; set SEEDBANK_MLFLOW_URL to where its pages are for a link"
        console().print(f"trial {trial.key[:12]} is run {run} in MLflow: {place}", soft_wrap=True, markup=False)


def status(json: JsonFlag = False) -> None:
    """Where each concept stands, by the ledger, whose chain is checked. Exit code 1 if it does not hold.

    Example: seedbank status
    """
    from seedbank.inspection.status import status as read_status
    from seedbank.release.records import pinned_entries

    bank = open_bank()
    length, found = bank.ledger.verify(pinned_entries(bank)), read_status(bank)
    if json:
        print_json({"entries": length, "concepts": [asdict(item) for item in found]})
        return
    rows = [(item.concept, item.stage, item.since, item.detail, item.next_step) for item in found]
    if rows:
        console().print(table("Concepts", ("concept", "stage", "since", "detail", "next"), rows))
    else:
        console().print("nothing has happened yet; next: seedbank intake FOLDER")
    console().print(f"ledger: {length} entries, the chain holds")


def trace(
    digest: Annotated[
        str, typer.Argument(help="A digest, or its first 8 or more digits: of a photo, seed, image, trial, release …")
    ],
    json: JsonFlag = False,
) -> None:
    """What a digest is, what it came from and what it went into.

    Example: seedbank trace 3f2a9c1b
    """
    from seedbank.inspection.trace import trace as find

    found = find(open_bank(), digest)
    if json:
        fields = {"node": asdict(found.node), "events": [entry.model_dump(mode="json") for entry in found.events]}
        print_json(
            fields | {name: [asdict(node) for node in getattr(found, name)] for name in ("came_from", "went_into")}
        )
    else:
        _print_trace(found)


def keys(json: JsonFlag = False) -> None:
    """Make the signing keys where they are missing, and say where they are and which they are.

    Example: seedbank keys
    """
    from seedbank.evidence.signing import ensure_keys
    from seedbank.settings import Settings

    folder = Settings.from_env().keys
    signers = ensure_keys(folder)
    if json:
        print_json(
            {name: {"public": str(folder / f"{name}.pub"), "id": signer.public.id} for name, signer in signers.items()}
        )
        return
    for name, signer in signers.items():
        console().print(f"{name}: key {signer.public.id[:12]}, public half in {folder / f'{name}.pub'}")
    console().print(
        "keep the .key files to yourself and a backup of them elsewhere; give the .pub files to whoever verifies"
    )


def release_files(release: str) -> Files:
    """The files of a release: those of a folder, or of the newest release of a concept."""
    from seedbank.release.records import newest_release_folder
    from seedbank.release.verify import read_folder, read_stored

    if _is_folder(release):
        return read_folder(Path(release))
    bank = open_bank()
    return read_stored(bank, newest_release_folder(bank, release))


def _is_folder(release: str) -> bool:
    return Path(release).is_dir() or "/" in release


def _print_dossier(bank: Bank, dossier: Dossier, answers: dict[int, Decision | None]) -> None:
    out = console()
    out.print(
        f"dossier {dossier.digest} of {dossier.concept}, asked for by {', '.join(sorted(bank.requesters(dossier.concept)))}",
        markup=False,
    )
    rows = [
        (
            item.seed[:12],
            f"{item.scores.guard:.3f}",
            f"{item.scores.semantic:.3f}",
            f"{item.scores.appearance:.3f}",
            item.explanation,
        )
        for item in dossier.candidates
    ]
    out.print(table("Candidates", ("seed", "guard", "semantic", "appearance", "why"), rows))
    for flag in dossier.flags:
        out.print(f"note: {flag}", markup=False)
    out.print(f"contact sheet: {bank.store.url}/{dossier.sheet}")
    for seat, answer in answers.items():
        out.print(_sentence(answer) if answer else f"seat {seat}: not answered yet", markup=False)
    out.print("answers are given in Airflow, dag release_review")


def _sentence(decision: Decision) -> str:
    script = ", by script" if decision.scripted else ""
    return visible(
        f"seat {decision.seat}: {decision.name} ({decision.reviewer}{script}) said {decision.verdict}: {decision.reason}"
    )


def _print_trace(found: Trace) -> None:
    out = console()
    out.print(f"{found.node.kind} {found.node.digest}: {found.node.label}", markup=False)
    if found.node.key:
        out.print(f"  {found.node.key}", markup=False)
    for title, nodes in (("Came from", found.came_from), ("Went into", found.went_into)):
        out.print(
            table(title, ("what", "digest", "which"), [_row(node) for node in nodes]) if nodes else f"{title}: nothing"
        )
    for entry in found.events:
        out.print(f"{entry.time}  {entry.event}  by {entry.actor}  (ledger {entry.number})", markup=False)


def _row(node: Node) -> tuple[Any, ...]:
    return node.kind, node.digest[:16], node.label
