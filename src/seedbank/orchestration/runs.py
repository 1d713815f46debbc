"""What a run was asked to do, read from facts of the run that cannot change once it exists.

A run's partition key, its configuration, who triggered it and the asset events that caused it are fixed when Airflow creates it. Every
task reads them anew, instead of trusting an XCom of an earlier task: an XCom can be overwritten by anyone who may edit task instances.

Somebody asks for every run, and whoever asks may not review. A run of which nobody can say who asked for it is refused: one that was
caused by asset events from outside (Airflow does not remember who posted them), or by hand without a name.
"""

from __future__ import annotations

import dataclasses
import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.sdk import Asset, BaseHook

from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.errors import UsageError
from seedbank.orchestration.assets import PRODUCERS
from seedbank.settings import Settings


@dataclass(frozen=True)
class Order:
    """One run's order.

    Attributes:
        dag_id: the DAG it runs.
        run_id: the run.
        concept: the partition, or ``conf["concept"]`` of a run that was started without one; may be empty.
        message: ``extra`` of the newest of our own asset events that caused the run, or its configuration.
        user: who triggered it by hand (a login); empty where a clock did, or events of runs that were asked for themselves.
        scheduled: whether a clock triggered it.
        since: when the run may start; what happened later cannot have been meant.
    """

    dag_id: str
    run_id: str
    concept: str
    message: Mapping[str, Any]
    user: str
    scheduled: bool
    since: datetime

    @classmethod
    def of(cls, context: Mapping[str, Any], listens_to: Asset | None = None) -> Order:
        """The order of the run that ``context`` belongs to.

        Raises:
            UsageError: nobody can say who asked for this run.
        """
        run = context["dag_run"]
        conf = dict(run.conf or {})
        kind = str(getattr(run.run_type, "value", run.run_type))
        message = _newest(context, listens_to)
        if not (message or run.triggering_user_name or kind == "scheduled"):
            raise UsageError(_stranger(run.dag_id, kind))
        return cls(
            dag_id=run.dag_id,
            run_id=run.run_id,
            concept=run.partition_key or str(conf.get("concept") or ""),
            message=message or conf,
            user=run.triggering_user_name or "",
            scheduled=kind == "scheduled",
            since=run.run_after,
        )

    @property
    def via(self) -> str:
        """How a record names this run."""
        return f"airflow:{self.dag_id}/{self.run_id}"

    def bank(self) -> Bank:
        """The bank the environment names; what is recorded in it is recorded in the name of this DAG."""
        return Bank.open(dataclasses.replace(Settings.from_env(), actor=f"airflow:{self.dag_id}"), s3=s3_access())

    def one_concept(self) -> str:
        """The concept, for a DAG that cannot do without one."""
        if not self.concept:
            raise UsageError(
                f"expected a run of {self.dag_id} for one concept, got neither a partition key nor a 'concept' in its configuration; "
                "trigger it with the concept's name as the partition key"
            )
        return self.concept

    def requested_by(self, concept: Concept) -> tuple[str, ...]:
        """Who asks by this run: the concept's owner, and whoever triggered it. Who asked for what caused it is on the ledger."""
        return tuple(sorted({who for who in (concept.owner, self.user) if who}))


def s3_access() -> dict[str, str] | None:
    """How to reach S3 (:func:`seedbank.storage.s3.connect`) as the Airflow connection says that ``SEEDBANK_S3_CONNECTION`` names.

    Login and password are the keys; ``extra`` holds ``endpoint_url`` and, if wanted, ``region_name`` and ``aws_session_token``, as for the
    Amazon provider. Airflow keeps the password out of its logs. None when no connection is named: the environment says it all.

    Raises:
        UsageError: the connection does not say where the server is.
    """
    name = os.environ.get("SEEDBANK_S3_CONNECTION", "")
    if not name:
        return None
    found = BaseHook.get_connection(name)
    extra = found.extra_dejson
    # Airflow masks login and password in logs; credentials inside the URL it would not.
    url = urllib.parse.urlparse(str(extra.get("endpoint_url") or extra.get("host") or ""))
    if url.scheme not in {"http", "https"} or not url.netloc or "@" in url.netloc:
        raise UsageError(
            f"expected the Airflow connection {name!r} to have an extra 'endpoint_url' like https://s3.example.org; add it"
        )
    access = {
        "SEEDBANK_S3_ENDPOINT": url.netloc,
        "SEEDBANK_S3_SECURE": "true" if url.scheme == "https" else "false",
        "AWS_ACCESS_KEY_ID": found.login or "",
        "AWS_SECRET_ACCESS_KEY": found.password or "",
        "AWS_REGION": extra.get("region_name"),
        "AWS_SESSION_TOKEN": extra.get("aws_session_token"),
    }
    return {key: str(value) for key, value in access.items() if value}


def _newest(context: Mapping[str, Any], asset: Asset | None) -> dict[str, Any]:
    """What the newest event says that our own task caused; Airflow's server writes an event's source, whoever posts one has none."""
    events = context.get("triggering_asset_events") or {}
    if asset is None or asset not in events:
        return {}
    ours = [event for event in events[asset] if (event.source_dag_id, event.source_task_id) == PRODUCERS[asset.name]]
    return dict(max(ours, key=lambda event: event.timestamp).extra) if ours else {}


def _stranger(dag_id: str, kind: str) -> str:
    """Why a run is refused that nobody can be held to have asked for, and what to do instead."""
    if kind == "asset_triggered":
        found = "an asset event that none of seedbank's tasks caused; Airflow does not say who posted it"
    else:
        found = f"a run ({kind}) without a user"
    return (
        f"expected to know who asks for this run of {dag_id}, for they may not review what comes of it; got {found}. "
        "Sign in to Airflow and trigger the DAG by hand with the concept's name as partition key"
    )
