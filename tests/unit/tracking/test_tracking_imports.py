"""Only this package imports MLflow, and whoever imports it pays nothing for MLflow, torch or pictures until they log."""

import ast
import subprocess
import sys
from pathlib import Path

import seedbank

SOURCE = Path(seedbank.__file__).parent
HEAVY = ("mlflow", "torch", "diffusers", "PIL", "matplotlib", "pandas", "sqlalchemy", "requests")


def imports_mlflow(path: Path) -> bool:
    text = path.read_text()
    nodes = list(ast.walk(ast.parse(text))) if "mlflow" in text else []
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return any(name.partition(".")[0] == "mlflow" for name in names)


def test_only_tracking_imports_mlflow() -> None:
    found = {path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py") if imports_mlflow(path)}
    assert found == {"tracking"}


def test_importing_it_loads_nothing_heavy() -> None:
    script = f"import sys, seedbank.tracking.log; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
