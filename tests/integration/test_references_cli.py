"""``seedbank intake`` and ``seedbank validate`` on the shipped example photos, judged with the shipped guard."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seedbank.evidence.ledger import Ledger
from seedbank.models.parts import GUARD
from seedbank.storage import open_store

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not GUARD.is_dir(), reason="the shipped guard is not trained yet"),
]


def environment(home: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "SEEDBANK_HOME": str(home),
        "SEEDBANK_CONCEPTS": str(ROOT / "concepts"),
        "OMP_NUM_THREADS": "2",
        "SEEDBANK_ACTOR": "cli:test",
    }


def seedbank(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seedbank", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(home), check=False)


def read(home: Path, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(seedbank(home, *arguments, "--json").stdout))


def test_the_shipped_bad_photos_are_all_caught_each_for_its_own_reason(tmp_path: Path) -> None:
    took = read(tmp_path, "intake", str(ROOT / "examples" / "photos" / "hook"), "--concept", "hook")
    judged = read(tmp_path, "validate", "hook")
    said = {item["name"]: item["reason"] for kind in ("duplicate", "quarantined") for item in took[kind]}
    said |= {item["name"]: item["reasons"][0] for item in judged["assessments"] if not item["chosen"]}
    for name, reason in {
        "blurred": "blurred: ",
        "corrupt": "corrupt: ",
        "duplicate-of": "exact duplicate: ",
        "near-duplicate-of": "near duplicate of ",
        "no-rights": "no rights on record: ",
        "tiny": "too small: ",
        "wrong-part": "looks like something else: ",
    }.items():
        (why,) = [words for shown, words in said.items() if shown.startswith(name)]
        assert why.startswith(reason)
    good = [item for item in judged["assessments"] if item["name"].startswith("photo-")]
    assert sum(item["chosen"] for item in good) == sum(item["chosen"] for item in judged["assessments"]) >= 5
    # A good photo unlike the others, which a limit in deviations of a small pool put out as a stranger.
    (rare,) = [item for item in good if item["name"] == "photo-04.webp"]
    assert not rare["reasons"][0].startswith("looks like something else")
    assert judged["reference_set"]
    assert judged["unmeasured"] == []
    margins = {item["name"]: item["measures"]["sibling_margin"] for item in judged["assessments"]}
    assert margins["wrong-part-01.jpg"] < min(margin for name, margin in margins.items() if name.startswith("photo-"))
    read_again = read(tmp_path, "validate", "hook")
    assert read_again["reference_set"] == judged["reference_set"]
    report = (tmp_path / "store" / judged["report"]).read_text(encoding="utf-8")
    assert "What the model draws for the siblings" in report


def test_what_is_refused_ends_with_one_and_says_why(tmp_path: Path) -> None:
    done = seedbank(tmp_path, "validate", "hook")
    assert done.returncode == 1
    assert "hook: 0 photos in the batch, at least 2 are needed" in done.stderr
    assert "0 usable photos, at least 5 are needed" in done.stderr
    assert "Data Docs: " in done.stdout
    assert "report: " in done.stdout


def test_people_read_a_table_and_what_to_do_next(tmp_path: Path) -> None:
    done = seedbank(tmp_path, "intake", str(ROOT / "examples" / "photos" / "hook"), "--concept", "hook")
    assert done.returncode == 0
    assert "next: seedbank validate hook" in done.stdout
    assert "in quarantine" in done.stdout


def test_intake_that_is_killed_again_and_again_ends_like_one_that_was_not(tmp_path: Path) -> None:
    photos = ROOT / "examples" / "photos"
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    said = seedbank(calm, "intake", str(photos), "--json").stdout
    dice, kills, done = random.Random(7), 0, False
    while not done:
        command = [sys.executable, "-m", "seedbank", "intake", str(photos)]
        started = subprocess.Popen(
            command, env=environment(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        enough = files_in(killed) + dice.randint(20, 120)
        while started.poll() is None and files_in(killed) < enough:
            time.sleep(0.005)
        done = started.poll() is not None
        started.kill()
        kills += not done
        assert started.wait() == (0 if done else -signal.SIGKILL)
    assert kills
    again = read(killed, "intake", str(photos))
    assert again["counts"]["accepted"] == 0
    assert sum(again["counts"].values()) == sum(json.loads(said)["counts"].values())
    assert contents(killed) == contents(calm)


def files_in(home: Path) -> int:
    return sum(1 for _ in home.rglob("*"))


def contents(home: Path) -> tuple[dict[str, bytes], Counter[tuple[str, str, str]]]:
    """What the store holds but notes about scans; and what is on the ledger, without its times."""
    store = open_store(str(home / "store"))
    kept = {key: store.get(key) for key in store.keys() if not key.startswith(("scans/", "ledger/"))}  # noqa: SIM118
    ledger = Ledger(store)
    ledger.verify()
    return kept, Counter((entry.event, entry.concept, entry.data["key"]) for entry in ledger.entries())


@pytest.mark.parametrize(
    "arguments", [("intake", "nowhere"), ("intake", ".", "--concept", "sprocket"), ("validate", "sprocket")]
)
def test_what_is_not_there_is_used_wrongly(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = seedbank(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("seedbank: ")
