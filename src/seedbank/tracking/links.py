"""Where a person looks: addresses of MLflow's pages that open on the runs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from seedbank.errors import UsageError

_ADDRESS = re.compile(r"(experiments/\d+)(/runs/[0-9a-f]{32})?")
_WORKFLOW = "workflowType=machine_learning"
"""MLflow's pages show the *GenAI* workflow, which is empty for us, unless the address or the browser's last choice says otherwise (3.17):
they ask neither the experiment's tag nor the server. ``#/runs/<id>`` drops the parameter, so the experiment must be named too."""


def run_address(experiment: str, run: str) -> str:
    """The address of a run below any server: ``experiments/<id>/runs/<id>``."""
    return f"experiments/{experiment}/runs/{run}"


def split_address(address: str) -> tuple[str, str]:
    """Experiment and run of a :func:`run_address`; raises :class:`UsageError` for anything else."""
    _, experiment, _, run = _checked(address, run=True).split("/")
    return experiment, run


def page_url(server: str, address: str) -> str:
    """What a browser opens to see the run, or the runs of the experiment, at ``address`` of the MLflow server at ``server``.

    Args:
        server: where a person reaches MLflow, ``http(s)://host[:port][/path]``.
        address: ``experiments/<id>/runs/<id>``, as :func:`~seedbank.tracking.log.log_trial` gives it, or ``experiments/<id>``.

    Raises:
        UsageError: not such an address.
    """
    page = _checked(address)
    return f"{server.rstrip('/')}/#/{page if '/runs/' in page else page + '/runs'}?{_WORKFLOW}"


def public_uri(uri: str) -> str:
    """A tracking URI as it may be shown: without a password in it."""
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}")) if at and ":" in user else uri


def _checked(address: str, *, run: bool = False) -> str:
    found = _ADDRESS.fullmatch(address)
    if not found or (run and not found[2]):
        raise UsageError(f"expected the address of an MLflow run, experiments/1/runs/<32 hex digits>, got {address!r}")
    return address
