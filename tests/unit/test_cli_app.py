import subprocess
import sys

import pytest

from seedbank import __version__, errors


def seedbank(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "seedbank", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_version() -> None:
    assert seedbank("--version").stdout.strip() == __version__


def test_an_unknown_command_is_used_wrongly() -> None:
    done = seedbank("fly")
    assert done.returncode == 2
    assert "No such command 'fly'" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SeedbankError, 3),
        (errors.UsageError, 2),
        (errors.RefusedError, 1),
        (errors.UnusableReferences, 1),
        (errors.Unreachable, 1),
        (errors.NotApproved, 1),
        (errors.VerificationError, 1),
        (errors.OutsideError, 3),
        (errors.StoreError, 3),
    ],
)
def test_every_error_has_its_exit_code(error: type[errors.SeedbankError], code: int) -> None:
    assert issubclass(error, errors.SeedbankError)
    assert error.exit_code == code


def test_the_command_line_imports_nothing_heavy() -> None:
    probe = (
        "import sys, seedbank.cli.app as a; a._register();"
        "heavy = {'torch', 'diffusers', 'mlflow', 'great_expectations', 'airflow', 'pandas'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
