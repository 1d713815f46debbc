"""What reading costs: whoever reads a record, verifies, traces or asks for the version imports none of what makes them."""

import json
import subprocess
import sys
from pathlib import Path

import seedbank

SRC = Path(seedbank.__file__).parent
HEAVY = {
    "accelerate",
    "airflow",
    "diffusers",
    "great_expectations",
    "jinja2",
    "matplotlib",
    "minio",
    "mlflow",
    "pandas",
    "scipy",
    "skimage",
    "torch",
    "transformers",
}
"""What takes a second or more to import, or is not in the base install."""
RECORDS = sorted(
    ".".join(("seedbank", *path.relative_to(SRC).with_suffix("").parts)) for path in SRC.rglob("records.py")
)
READERS = [
    *RECORDS,
    "seedbank.bank",
    "seedbank.concepts",
    "seedbank.evidence.ledger",
    "seedbank.evidence.signing",
    "seedbank.inspection.status",
    "seedbank.inspection.trace",
    "seedbank.models",
    "seedbank.models.card",
    "seedbank.release",
    "seedbank.release.publish",
    "seedbank.release.verify",
    "seedbank.review.decisions",
    "seedbank.review.dossier",
    "seedbank.selection",
    "seedbank.selection.seeds",
    "seedbank.trials.code",
]


def imported_by(code: str) -> set[str]:
    """Every module that a fresh interpreter has imported after ``code``."""
    probe = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_there_are_records_of_every_stage() -> None:
    assert {f"seedbank.{stage}.records" for stage in ("selection", "references", "trials", "review", "release")} <= set(
        RECORDS
    )


def test_reading_is_light() -> None:
    probe = f"""
import importlib, json, sys
found = {{}}
for module in {READERS!r}:
    importlib.import_module(module)
    found[module] = sorted({HEAVY!r} & set(sys.modules))
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert {module: heavy for module, heavy in json.loads(done.stdout).items() if heavy} == {}


def test_the_version_is_told_before_anything_is_imported() -> None:
    code = "import sys; sys.argv = ['seedbank', '--version']; from seedbank.cli import main; main()"
    packages = {name.partition(".")[0] for name in imported_by(code)}
    assert packages & (HEAVY | {"pydantic", "typer", "rich", "numpy", "yaml"}) == set()


def test_the_commands_are_listed_without_what_they_need() -> None:
    code = "from seedbank.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass"
    assert imported_by(code) & HEAVY == set()


def test_verifying_imports_what_it_uses_and_no_more() -> None:
    """Neither the tables nor the YAML of other commands, nor the keys' library before there is a signature to check."""
    assert (
        imported_by("import seedbank.cli.release, seedbank.release.verify") & {"rich", "yaml", "securesystemslib"}
        == set()
    )
