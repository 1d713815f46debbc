"""The few things we ask of MLflow, all of them synchronous: asynchronous writes that fail are only logged.

Everything goes through ``MlflowClient`` with a tracking URI of ours. The fluent interface (``mlflow.start_run``) is not used: it takes run,
experiment and server from the environment (``MLFLOW_RUN_ID``, ``MLFLOW_EXPERIMENT_ID``, ``MLFLOW_EXPERIMENT_NAME``). The one variable that
reaches ``MlflowClient`` too, ``MLFLOW_ACTIVE_MODEL_ID``, is cleared: it would hang our metrics on somebody's model.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from seedbank.errors import OutsideError
from seedbank.tracking.links import public_uri, run_address, split_address

COMPLETE = "seedbank.complete"
"""Tag of a run that has everything; it is set last."""
PARAMS_KEPT = "seedbank.params_kept"
"""Tag that names parameters which a later log would have set otherwise; MLflow never changes a parameter."""
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Tags of an experiment of runs and charts, for the pages that ask; the others go by the address (:mod:`~seedbank.tracking.links`)."""
METRICS_A_REQUEST = 1000
"""MLflow's servers refuse more."""
ATTEMPTS, PAUSE_S = 4, 0.2
"""How often a write is made, and how long the first pause is, when the database refuses it because another process writes the same run."""
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Unless the environment says otherwise: a server that is down is noticed in seconds, not in the default four minutes; a value that is too
long is an error, not silently cut; standard output is ours; nothing is reported to anybody."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run as it was found."""

    address: str
    """``experiments/<id>/runs/<id>``."""
    start_ms: int
    """When it was created; every timestamp in it counts from here."""
    tags: Mapping[str, str]

    @property
    def id(self) -> str:
        """MLflow's id of the run."""
        return split_address(self.address)[1]

    @property
    def experiment(self) -> str:
        """MLflow's id of its experiment."""
        return split_address(self.address)[0]

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return self.tags.get(COMPLETE) == "true"


def _asks(method: Callable[Concatenate[TrackingClient, P], T]) -> Callable[Concatenate[TrackingClient, P], T]:
    """What goes wrong with the server in ``method`` becomes an :class:`OutsideError`."""

    @wraps(method)
    def asked(self: TrackingClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with _outside(self.uri):
            return method(self, *args, **kwargs)

    return asked


def _writes(method: Callable[Concatenate[TrackingClient, P], T]) -> Callable[Concatenate[TrackingClient, P], T]:
    """The same for what may be written twice: it is written again when the database refuses, for another process may be at the same rows.

    MLflow looks whether a row is there and then inserts it; of two that do so at once, one fails.
    """

    @wraps(method)
    def written(self: TrackingClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        from mlflow.exceptions import MlflowException

        with _outside(self.uri):
            for attempt in range(1, ATTEMPTS):
                try:
                    return method(self, *args, **kwargs)
                except MlflowException as error:
                    never_arrived = isinstance(_root(error), OSError)  # in spite of MLflow's own repeats
                    if never_arrived:
                        raise
                    time.sleep(PAUSE_S * attempt)
            return method(self, *args, **kwargs)

    return written


@contextmanager
def _outside(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:  # what requests raises is an OSError
        raise OutsideError(
            f"cannot log to MLflow at {public_uri(uri)}: {_reason(error)}; see that it runs and log again: nothing is logged twice"
        ) from error


def _reason(error: BaseException) -> str:
    """Why, in one line: what the network or the disk said, which clients wrap several times over, or else the error's own first line."""
    root = _root(error)
    words = str(root if isinstance(root, OSError) else error) or type(error).__name__
    return words.splitlines()[0][:300]


def _root(error: BaseException) -> BaseException:
    """The first of the errors of which each came out of the one before."""
    while before := error.__cause__ or error.__context__:
        error = before
    return error


@dataclass(frozen=True)
class TrackingClient:
    """A connection to one MLflow server or database. Every method raises :class:`OutsideError` when it cannot be reached or refuses."""

    client: Any
    uri: str
    artifacts: str | None
    """Where a new experiment's artifacts go; None leaves it to the server."""

    @classmethod
    def connect(cls, uri: str, home: Path) -> TrackingClient:
        """Connect to ``uri``. Without a server, artifacts go to ``home/mlartifacts``; a new database is made by one process at a time."""
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, clear_active_model, get_active_model_id

        if get_active_model_id() is not None:
            clear_active_model()
        # MlflowClient opens its store at once, and a new SQLite database gets its tables then.
        with _outside(uri), _alone(uri):
            client = MlflowClient(tracking_uri=uri)
        return cls(client, uri, None if uri.startswith("http") else (home / "mlartifacts").as_uri())

    @_asks
    def experiment(self, name: str) -> str:
        """The id of the experiment, which is made on first use."""
        from mlflow.exceptions import MlflowException

        if found := self.client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(name, self.artifacts, MODEL_TRAINING))
        except MlflowException:  # another process was first
            if found := self.client.get_experiment_by_name(name):
                return str(found.experiment_id)
            raise

    @_asks
    def find(self, address: str) -> Run | None:
        """The run at ``address``; None where this server has none there, or it was deleted."""
        from mlflow.exceptions import MlflowException

        experiment, run_id = split_address(address)
        try:
            found = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        # MLflow finds deleted runs too.
        here = found.info.lifecycle_stage == "active" and found.info.experiment_id == experiment
        return Run(address, found.info.start_time, found.data.tags) if here else None

    @_asks
    def create(self, experiment: str, *, name: str, tags: Mapping[str, str]) -> str:
        """The address of a new run."""
        info = self.client.create_run(experiment, tags=dict(tags), run_name=name).info
        return run_address(experiment, info.run_id)

    @_asks
    def delete(self, address: str) -> None:
        """Mark a run as deleted; it disappears from every page, and an administrator may restore it."""
        self.client.delete_run(split_address(address)[1])

    @_asks
    def incomplete(self, experiment: str, tags: Mapping[str, str]) -> list[str]:
        """Addresses of the runs with these tags that are not complete."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found, page = [], None
        # None asks for the first page; after the last one MLflow gives an empty token.
        while page != "":
            runs = self.client.search_runs([experiment], wanted, page_token=page)
            found += [run.info.run_id for run in runs if run.data.tags.get(COMPLETE) != "true"]
            page = runs.token or ""
        return [run_address(experiment, run_id) for run_id in found]

    @_writes
    def log(
        self, run: Run, *, params: Mapping[str, str], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Parameters, single values and tags of a run. Parameters that are there stay; :data:`PARAMS_KEPT` names those that differ."""
        from mlflow.entities import Metric, Param

        # One parameter that would change makes MLflow refuse the whole batch: those that are there are not sent.
        there = self.client.get_run(run.id).data.params
        kept = _kept(there, params)
        self.client.log_batch(
            run.id,
            metrics=[Metric(name, value, run.start_ms, 0) for name, value in metrics.items()],
            params=[Param(name, value) for name, value in params.items() if name not in there],
            tags=_tags({**tags, **({PARAMS_KEPT: kept} if kept else {})}),
            synchronous=True,
        )

    @_writes
    def tag(self, run: Run, tags: Mapping[str, str]) -> None:
        """Set tags, replacing those that are there."""
        self.client.log_batch(run.id, tags=_tags(tags), synchronous=True)

    @_writes
    def log_curves(self, run: Run, points: Sequence[tuple[int, str, float]]) -> None:
        """Curves as (step, metric, value)."""
        from mlflow.entities import Metric

        rest = (Metric(name, value, run.start_ms + step, step) for step, name, value in points)
        while batch := list(islice(rest, METRICS_A_REQUEST)):
            self.client.log_batch(run.id, metrics=batch, synchronous=True)

    @_writes
    def log_files(self, run: Run, files: Mapping[str, bytes]) -> None:
        """Artifacts by name; those that are there are replaced."""
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self.client.log_artifacts(run.id, folder)

    @_writes
    def log_dataset(self, run: Run, dataset: Mapping[str, str], *, context: str) -> None:
        """What went into the run: name, digest, source_type, source and profile of a dataset."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(run.id, [DatasetInput(Dataset(**dataset), tags)])

    @_writes
    def finish(self, run: Run) -> None:
        """Say that everything is there; the tag last, so that a run with it is finished in every way."""
        self.client.set_terminated(run.id, "FINISHED")
        self.client.log_batch(run.id, tags=_tags({COMPLETE: "true"}), synchronous=True)


def _tags(tags: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(name, value) for name, value in tags.items()]


def _kept(there: Mapping[str, str], params: Mapping[str, str]) -> str:
    """Which parameters would be other ones now, in words."""
    differ = [name for name in params if name in there and there[name] != params[name]]
    return "; ".join(f"{name}: {there[name]} kept, {params[name]} when logged again" for name in differ)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Alone on this machine with a database that MLflow may be about to make: two at once would both create its tables, and one fail."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    database = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        # The kernel lets go of it when the file is closed, also for a process that is killed.
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
