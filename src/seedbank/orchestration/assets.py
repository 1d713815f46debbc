"""The assets that join the DAGs. Each event of theirs carries one partition key: the concept's name.

A DAG that listens to one of them gets one run a concept, with that key as ``dag_run.partition_key``, so that no concept's search or
waiting review ever holds up another's. What an event's ``extra`` says is an address, never evidence: every stage looks the record up.

Only events that our own tasks caused are believed. Airflow's API takes events from anyone who may post them and does not remember who
did, so nobody could be barred from reviewing what such an event asks for.
"""

from __future__ import annotations

from airflow.sdk import Asset

REFERENCE_SETS = Asset(name="reference_sets", uri="seedbank://reference_sets", group="seedbank")
"""A reference set was frozen. Extra: ``digest`` of the set, ``report`` (its page)."""
DOSSIERS = Asset(name="dossiers", uri="seedbank://dossiers", group="seedbank")
"""A dossier was frozen and may be reviewed. Extra: ``dossier``, ``trial``, ``mlflow_run`` (its address there)."""
RELEASES = Asset(name="releases", uri="seedbank://releases", group="seedbank")
"""A release was signed. Extra: ``dossier``, ``release`` (its folder in the store)."""

PRODUCERS: dict[str, tuple[str, str]] = {
    REFERENCE_SETS.name: ("reference_intake", "validate"),
    DOSSIERS.name: ("seed_optimisation", "freeze_dossier"),
    RELEASES.name: ("release_review", "publish"),
}
"""By asset: the DAG and the task that announce it."""
