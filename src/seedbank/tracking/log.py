"""MLflow: what people look at of a trial. The evidence lies in the store and the ledger; nothing reads it back from here.

One run a trial, and below it one run for each start with every loss term at every step and the pictures of the seed turning. Logging a
trial again adds nothing twice, also when it was killed half-way:

- runs are found again by their tags (:data:`TRIAL`, :data:`START`), and a run that is whole says so (:data:`WHOLE`);
- every timestamp and every file name follows from the trial, so that writing something again replaces it: MLflow keeps one value of a
  metric for each (step, timestamp, value), and one file for each name.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbank.bank import Bank
from seedbank.errors import OutsideError, UsageError
from seedbank.references.records import ReferenceSet
from seedbank.selection.seeds import Seed
from seedbank.trials.contact_sheet import to_png
from seedbank.trials.images import decode, read_picture
from seedbank.trials.records import Candidate, Trial
from seedbank.trials.sheet import TrialPictures, draw_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

    from seedbank.release import Release
    from seedbank.review.records import Decision

TRIAL, START, WHOLE = "seedbank.trial_key", "seedbank.start", "seedbank.whole"
EVERY = "every"
"""The value of :data:`START` on the run of the whole trial."""
TURNING = "turning"
"""Key of the pictures in the UI's image grid."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Asks the UI to treat the experiment as model development (runs and charts) instead of guessing; not every page of it obeys."""
BATCH = 1000
"""Metrics in one request; MLflow's servers refuse more."""
DATASET_DIGEST = 32
"""Hex digits of a reference set's digest that MLflow takes for a dataset (at most 36 characters); the whole is in a tag."""
MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Unless the environment says otherwise: a server that is down is noticed in seconds, not in the default four minutes; a value that is too
long is an error, not silently cut; standard output is ours; nothing is reported to anybody."""


def log_trial(bank: Bank, trial: Trial) -> str:
    """Log ``trial`` and return the id of its MLflow run; logging it again returns the same run.

    Raises:
        OutsideError: the server cannot be reached or refuses.
    """
    with _connected(bank) as mlflow:
        experiment = mlflow.experiment(f"seedbank/{trial.concept}")
        run = mlflow.find_or_create(
            experiment, {TRIAL: trial.key, START: EVERY}, name=f"{trial.concept} {trial.key[:8]}"
        )
        if not run.whole:
            for candidate in trial.candidates:
                _log_start(bank, mlflow, experiment, run.id, trial, candidate)
            _log_whole(bank, mlflow, run, trial)
        return run.id


def log_decision(bank: Bank, decision: Decision) -> None:
    """Tag the trial's run with a reviewer's answer.

    Raises:
        UsageError: the trial was never logged.
        OutsideError: the server cannot be reached or refuses.
    """
    from seedbank.review.records import Dossier

    script = " by script" if decision.scripted else ""
    said = {f"seedbank.seat_{decision.seat}": f"{decision.verdict} ({decision.reviewer}{script}): {decision.reason}"}
    _tag(bank, decision.concept, bank.load(Dossier, decision.dossier).trial, said)


def log_release(bank: Bank, release: Release) -> None:
    """Tag the trial's run with its release; raises like :func:`log_decision`."""
    manifest = release.manifest
    _tag(
        bank,
        manifest.concept,
        manifest.trial,
        {"seedbank.release": release.folder, "seedbank.statement": release.statement},
    )


@dataclass(frozen=True)
class _Run:
    """A run as it was found."""

    id: str
    start_ms: int
    """When it was created; every timestamp in it counts from here."""
    whole: bool


@dataclass(frozen=True)
class _Client:
    """The few things we ask of MLflow, all of them synchronous: failed asynchronous writes are only logged."""

    client: Any
    artifacts: str | None
    """Where a new experiment's artifacts go; None leaves it to the server."""

    def experiment(self, name: str) -> str:
        """The id of the experiment, which is made on first use."""
        from mlflow.exceptions import MlflowException

        if found := self.client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(name, self.artifacts, KIND))
        except MlflowException:  # another process was first
            if found := self.client.get_experiment_by_name(name):
                return str(found.experiment_id)
            raise

    def find(self, experiment: str, tags: Mapping[str, str]) -> _Run | None:
        """The oldest run with these tags."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        for run in self.client.search_runs([experiment], wanted, order_by=["attributes.start_time ASC"], max_results=1):
            return _Run(run.info.run_id, run.info.start_time, run.data.tags.get(WHOLE) == "true")
        return None

    def find_or_create(self, experiment: str, tags: Mapping[str, str], *, name: str, parent: str | None = None) -> _Run:
        """The run with these tags. MLflow cannot keep tags unique, so of two processes that create it at once one takes its own back."""
        if found := self.find(experiment, tags):
            return found
        own_tags = {**tags, "mlflow.parentRunId": parent} if parent else dict(tags)
        own = self.client.create_run(experiment, tags=own_tags, run_name=name).info
        found = self.find(experiment, tags) or _Run(own.run_id, own.start_time, whole=False)
        if found.id != own.run_id:
            self.client.delete_run(own.run_id)
        return found

    def log(
        self, run: _Run, *, params: Mapping[str, object], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Parameters, single values and tags of a run."""
        from mlflow.entities import Metric, Param, RunTag

        self.client.log_batch(
            run.id,
            metrics=[Metric(name, value, run.start_ms, 0) for name, value in metrics.items()],
            params=[Param(name, _text(value)) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
            synchronous=True,
        )

    def log_curves(self, run: _Run, steps: Sequence[Mapping[str, float | None]]) -> None:
        """Every term of every step; what was not measured at a step is left out."""
        from mlflow.entities import Metric

        points = (
            Metric(name, float(value), run.start_ms + int(step["iteration"] or 0), int(step["iteration"] or 0))
            for step in steps
            for name, value in step.items()
            if name != "iteration" and value is not None
        )
        while batch := list(islice(points, BATCH)):
            self.client.log_batch(run.id, metrics=batch, synchronous=True)

    def log_files(self, run: _Run, files: Mapping[str, bytes]) -> None:
        """Artifacts by name; those that are there are replaced."""
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self.client.log_artifacts(run.id, folder)

    def finish(self, run: _Run) -> None:
        """Say that everything is there."""
        self.client.set_tag(run.id, WHOLE, "true")
        self.client.set_terminated(run.id, "FINISHED")


@contextmanager
def _connected(bank: Bank) -> Iterator[_Client]:
    """A client of the configured server; what goes wrong with it becomes an :class:`OutsideError`."""
    for name, value in MANNERS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    uri = bank.settings.tracking_uri
    served = uri.startswith("http")
    try:
        yield _Client(MlflowClient(tracking_uri=uri), None if served else (bank.settings.home / "mlartifacts").as_uri())
    except (MlflowException, RequestException) as error:
        first = str(error).splitlines()[0][:300]
        raise OutsideError(
            f"cannot log to MLflow at {uri}: {first}; see that it runs and log again: nothing is logged twice"
        ) from error


def _log_start(bank: Bank, mlflow: _Client, experiment: str, parent: str, trial: Trial, candidate: Candidate) -> None:
    """One start: its curves, its pictures on the way, and the seed it became."""
    run = mlflow.find_or_create(
        experiment, {TRIAL: trial.key, START: candidate.start}, name=f"start {candidate.start[:8]}", parent=parent
    )
    if run.whole:
        return
    start = Seed.from_safetensors(bank.store.get(f"{trial.folder}/seeds/{candidate.start}.safetensors"))
    seed = bank.store.get(f"{trial.folder}/seeds/{candidate.seed}.safetensors")
    trace = json.loads(bank.store.get(f"{trial.folder}/traces/{candidate.start}.json"))
    mlflow.log(
        run,
        params={
            "start": candidate.start,
            "start_integer": start.lineage.integer,
            "start_generator": start.lineage.generator,
            "seed": candidate.seed,
            "image": candidate.image,
            "accepted": candidate.accepted,
            "stopped_by": trace["stopped_by"],
        },
        metrics={f"final/{name}": value for name, value in candidate.scores.model_dump().items()},
        tags={"mlflow.loggedImages": "true", "mlflow.note.content": candidate.explanation},
    )
    mlflow.log_curves(run, trace["steps"])
    mlflow.log_files(
        run,
        {
            "seeds/start.safetensors": start.to_safetensors(),
            "seeds/seed.safetensors": seed,
            "candidate.png": read_picture(bank, trial.folder, candidate),
            **_turning(bank, trial, candidate.start, run),
        },
    )
    mlflow.finish(run)


def _turning(bank: Bank, trial: Trial, start: str, run: _Run) -> dict[str, bytes]:
    """The pictures of a seed turning, as the UI's image grid wants them: a PNG and a WebP for each step."""
    files: dict[str, bytes] = {}
    prefix = f"{trial.folder}/turning/{start}/"
    for key in bank.store.keys(prefix):
        step, png = int(Path(key).stem), bank.store.get(key)
        name = image_name(TURNING, step=step, time_ms=run.start_ms + step, unique=uuid.uuid5(uuid.NAMESPACE_OID, key))
        files |= {f"{name}.png": png, f"{name}+compressed.webp": _webp(decode(png))}
    return files


def image_name(key: str, *, step: int, time_ms: int, unique: uuid.UUID) -> str:
    """Where ``MlflowClient.log_image`` keeps a picture, without its ending; ours is chosen, not random, so that it can be written again."""
    return f"images/{key}+step+{step}+timestamp+{time_ms}+{unique}"


def _webp(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    return buffer.getvalue()


def _log_whole(bank: Bank, mlflow: _Client, run: _Run, trial: Trial) -> None:
    """What concerns all starts of a trial, last: a run that is whole has whole children."""
    references = bank.load(ReferenceSet, trial.reference_set).references
    pages = _reference_pages(bank, trial)
    mlflow.log(
        run,
        params=_params(trial),
        metrics=_metrics(bank, trial),
        tags=_tags(bank, trial) | _page_tags(bank, trial, pages),
    )
    _log_dataset(mlflow, run, trial, [item.name for item in references])
    pictures = TrialPictures.read(bank, trial, references, trial.candidates)
    sheet = draw_sheet(trial, pictures, trial.candidates)
    papers = {"trial.json": trial.to_bytes(), "environment.json": json.dumps(trial.software, indent=2).encode()}
    photos = [item.model_dump(mode="json") for item in references]
    beside = {f"references/{name}": bank.store.get(key) for name, key in pages.items()}
    listed = {"references.json": json.dumps(photos, indent=2).encode()}
    mlflow.log_files(run, {"sheet.png": to_png(sheet), **listed, **papers, **beside})
    mlflow.finish(run)


def _reference_pages(bank: Bank, trial: Trial) -> dict[str, str]:
    """The report on the reference photos and their Data Docs: keys by name. Sets of earlier versions have no report."""
    folder = f"reference-sets/{trial.reference_set}/"
    return {key.removeprefix(folder): key for key in bank.store.keys(folder)}


def _page_tags(bank: Bank, trial: Trial, pages: Mapping[str, str]) -> dict[str, str]:
    """Where the first pages of both lie in the store."""
    named = {"seedbank.reference_report": "report.html", "seedbank.data_docs": "data-docs/index.html"}
    return {tag: f"{bank.store.url}/{pages[name]}" for tag, name in named.items() if name in pages}


def _params(trial: Trial) -> dict[str, object]:
    cards = {"model": trial.model, "encoder": trial.encoder, "guard": trial.guard}
    return {
        "concept": trial.concept,
        "prompt": trial.prompt,
        "reference_set": trial.reference_set,
        "code_version": trial.code_version,
        **{name: card.name for name, card in cards.items()},
        **{f"{name}.content": card.content for name, card in cards.items()},
        **{f"sampler.{name}": value for name, value in trial.sampler.model_dump().items()},
        **{f"recipe.{name}": value for name, value in trial.recipe.to_dict().items()},
        **{f"software.{name}": value for name, value in trial.software.items()},
    }


def _metrics(bank: Bank, trial: Trial) -> dict[str, float]:
    accepted = [item for item in trial.candidates if item.accepted]
    best = {"best_guard": max(item.scores.guard for item in accepted)} if accepted else {}
    return {
        "starts": len(trial.candidates),
        "accepted": len(accepted),
        **best,
        **{f"pool/{name}": float(value) for name, value in trial.pool.model_dump().items()},
        **{name: float(value) for name, value in trial.cost.model_dump().items()},
        **_seconds(bank, trial),
    }


def _seconds(bank: Bank, trial: Trial) -> dict[str, float]:
    try:
        timing = json.loads(bank.store.get(f"{trial.folder}/timing.json"))
    except KeyError:
        return {}
    return {f"seconds/{stage}": float(value) for stage, value in timing["seconds"].items()}


def _tags(bank: Bank, trial: Trial) -> dict[str, str]:
    return {
        "seedbank.trial_digest": trial.digest,
        "seedbank.reference_set": trial.reference_set,
        "seedbank.model": trial.model.content,
        "seedbank.requested_by": ", ".join(sorted(bank.requesters(trial.concept))),
        "seedbank.reachability": trial.reachability,
        "mlflow.note.content": f"“{trial.prompt}”: search for seeds, guided by reference set {trial.reference_set[:12]}",
    }


def _log_dataset(mlflow: _Client, run: _Run, trial: Trial, names: Sequence[str]) -> None:
    """The reference photos as the run's input."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=f"{trial.concept} references",
        digest=trial.reference_set[:DATASET_DIGEST],
        source_type="seedbank",
        source=json.dumps({"key": f"reference-sets/{trial.reference_set}.json"}),
        profile=json.dumps({"photos": len(names), "names": names}),
    )
    mlflow.client.log_inputs(run.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "references")])])


def _tag(bank: Bank, concept: str, trial_key: str, tags: Mapping[str, str]) -> None:
    with _connected(bank) as mlflow:
        run = mlflow.find(mlflow.experiment(f"seedbank/{concept}"), {TRIAL: trial_key, START: EVERY})
        if run is None:
            raise UsageError(
                f"trial {trial_key[:12]} of {concept!r} is not in MLflow; run `seedbank log {concept}` first"
            )
        for name, value in tags.items():
            mlflow.client.set_tag(run.id, name, value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
