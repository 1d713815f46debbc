import re
import subprocess
import sys

import pytest

from seedbank import __version__, errors
from seedbank.cli.app import COMMANDS, app
from seedbank.extras import EXTRAS, missing_extra


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


def test_help_lists_every_command_in_the_order_of_the_story() -> None:
    done = seedbank("--help")
    assert done.returncode == 0
    assert re.findall(rf"^│ ({'|'.join(COMMANDS)}) ", done.stdout, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_its_own_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app([command, "--help"], prog_name="seedbank")
    assert ended.value.code == 0
    assert f"Usage: seedbank {command} " in capsys.readouterr().out


def test_a_mistyped_command_is_guessed() -> None:
    assert "Did you mean 'verify'" in seedbank("verfy").stderr


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_is_one_line_that_names_its_extra(extra: str) -> None:
    for package in EXTRAS[extra]:
        error = missing_extra(ModuleNotFoundError(name=f"{package}.part"))
        assert error is not None
        assert error.exit_code == 2
        assert str(error).startswith(f"this needs seedbank[{extra}]; {package} is not installed here")


def test_a_module_of_ours_that_is_missing_is_no_missing_extra() -> None:
    assert missing_extra(ModuleNotFoundError(name="seedbank.nowhere")) is None
