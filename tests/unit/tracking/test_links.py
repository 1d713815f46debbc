import pytest

from seedbank.errors import UsageError
from seedbank.tracking.links import page_url, public_uri, run_address, split_address

RUN = "0123456789abcdef" * 2


def test_an_address_is_taken_apart_as_it_was_put_together() -> None:
    assert split_address(run_address("17", RUN)) == ("17", RUN)


def test_a_page_names_experiment_run_and_workflow() -> None:
    assert page_url("https://host/mlflow/", run_address("1", RUN)) == (
        f"https://host/mlflow/#/experiments/1/runs/{RUN}?workflowType=machine_learning"
    )
    assert page_url("http://host:5000", "experiments/1") == (
        "http://host:5000/#/experiments/1/runs?workflowType=machine_learning"
    )


@pytest.mark.parametrize(
    "address", ["", RUN, "experiments/", "experiments/a", f"experiments/1/runs/{RUN}0", "experiments/1)[x](http://evil"]
)
def test_what_is_no_address_makes_no_link(address: str) -> None:
    with pytest.raises(UsageError, match="expected the address of an MLflow run"):
        page_url("http://host", address)


def test_an_experiment_is_no_run() -> None:
    with pytest.raises(UsageError, match="expected the address of an MLflow run"):
        split_address("experiments/1")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://mlflow:hush@db:5432/mlflow", "postgresql://mlflow:***@db:5432/mlflow"),
        ("https://user:p@ss@host", "https://user:***@host"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/mia/mlflow.db", "sqlite:////home/mia/mlflow.db"),
    ],
)
def test_no_password_is_shown(uri: str, shown: str) -> None:
    assert public_uri(uri) == shown
