"""How long the demo takes from Airflow's being ready to the review gate, task by task, beside the search alone.

Runs the scripted demo in a folder of its own, on free ports, and reads what it left: Airflow's database says when each task ran, the
ledger when the dossier was frozen, and the trial's ``timing.json`` what the search took.

Writes ``results/demo_time.json`` and ``.md`` beside this file.

    python benchmarks/demo_time.py          # three to ten minutes, by the machine and what else runs on it
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
GATE = re.compile(r"at the review gate (\d+) s after Airflow was ready, (\d+) s of them the search")
READY = re.compile(r"^ *(\d+) s +Airflow is ready", re.M)
LIMIT = 1.5
"""Times the search alone."""


def main() -> None:
    """Measure once and write it down."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--concept", default="hook")
    concept = options.parse_args().concept
    with tempfile.TemporaryDirectory(prefix="seedbank-demo-") as folder:
        found = measure(Path(folder) / "home", concept)
    text = json.dumps(found, indent=2)
    (RESULTS / "demo_time.json").write_text(text + "\n")
    (RESULTS / "demo_time.md").write_text(page(found))
    print(page(found))


def measure(home: Path, concept: str) -> dict[str, Any]:
    """Run the demo in ``home``; what it took, in seconds."""
    before = os.getloadavg()[0]
    command = [sys.executable, "-m", "seedbank.demo", "--reviewers", "scripted", "--concepts", concept]
    command += ["--airflow-port", "0", "--mlflow-port", "0"]
    env = os.environ | {"SEEDBANK_HOME": str(home)}
    said = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    gate, ready = GATE.search(said), READY.search(said)
    if not gate or not ready:
        raise SystemExit(f"the demo did not say when it came to the gate:\n{said}")
    return {
        "cores": os.cpu_count(),
        "load": {"before": round(before, 1), "after": round(os.getloadavg()[0], 1)},
        "ready": int(ready[1]),
        "gate": int(gate[1]),
        "search": int(gate[2]),
        "ratio": round(int(gate[1]) / int(gate[2]), 2),
        "tasks": tasks(home / "airflow" / "airflow.db"),
    }


def tasks(database: Path) -> list[dict[str, Any]]:
    """Each task up to the gate: how long it waited since the one before had ended, and how long it ran."""
    query = "select dag_id, task_id, start_date, end_date from task_instance where dag_id != 'release_review' order by start_date"
    with sqlite3.connect(database) as connection:
        rows = connection.execute(query).fetchall()
    done, ended = [], None
    for dag, task, start, end in rows:
        began, over = datetime.fromisoformat(start), datetime.fromisoformat(end)
        waited = (began - ended).total_seconds() if ended else 0.0
        done.append(
            {"task": f"{dag}.{task}", "waited": round(waited, 1), "ran": round((over - began).total_seconds(), 1)}
        )
        ended = over
    return done


def page(found: dict[str, Any]) -> str:
    """What was measured, to be read."""
    lines = [f"| {item['task']} | {item['waited']:.1f} | {item['ran']:.1f} |" for item in found["tasks"]]
    load = found["load"]
    return "\n".join(
        [
            "# How long the demo takes",
            "",
            f"By `benchmarks/demo_time.py`, {found['cores']} cores; load average {load['before']} before and {load['after']} after it "
            "(the demo alone makes about two).",
            "",
            f"From Airflow's being ready to the review gate: **{found['gate']} s**, of which the search is {found['search']} s: "
            f"{found['ratio']:.2f} times the search (at most {LIMIT}). Airflow was ready {found['ready']} s after the start.",
            "",
            "| task | waited for, s | ran, s |",
            "|---|---|---|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
