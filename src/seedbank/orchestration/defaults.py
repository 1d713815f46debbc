"""What every task of every DAG starts from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule

from seedbank.errors import RefusedError, UsageError

ANSWERS_ARE_FINAL = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=RefusedError, action=RetryAction.FAIL, reason="a gate said no; asking again gives the same answer"
        ),
        RetryRule(exception=UsageError, action=RetryAction.FAIL, reason="the request itself is wrong; mend it first"),
    ]
)
"""Only what fails outside (a store, a server, a killed worker) is tried again: stages are idempotent and continue where they were."""

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "seedbank",
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "retry_policy": ANSWERS_ARE_FINAL,
}
