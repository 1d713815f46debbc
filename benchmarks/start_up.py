"""What it costs to start: seconds of processor time of whole commands, each in an interpreter of its own.

- ``seedbank --version``, which scripts ask (wanted: at most 0.3 s);
- ``seedbank --help``;
- ``seedbank verify`` of a release of 100 images of 64x64 pixels (wanted: at most 1 s);
- what of that is imports, measured by importing what it imports.

Each is run once to warm the caches, then in turns; the median and the least are kept. The release is made for this and thrown away.
Writes ``results/start_up.json`` and ``.md`` beside this file.

    python benchmarks/start_up.py                      # 9 turns
    python benchmarks/start_up.py --turns 3 --out /tmp/quick
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from seedbank.evaluation.machine import machine
from seedbank.release.publish import publish

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from support.trials import make_bank, make_trial  # noqa: E402 - the small trial that the tests publish

IMAGES = 100


@dataclass(frozen=True)
class Command:
    """A command and what it may cost."""

    what: str
    words: tuple[str, ...]
    wanted: float | None


@dataclass(frozen=True)
class Cost:
    """Seconds of processor time of one command."""

    what: str
    median: float
    least: float
    wanted: float | None
    turns: int

    @property
    def met(self) -> str:
        """Whether the median is what was wanted."""
        return "" if self.wanted is None else "yes" if self.median <= self.wanted else "no"


def main() -> None:
    """Measure and write."""
    options = _options()
    with tempfile.TemporaryDirectory() as home:
        folder, key = make_release(Path(home))
        costs = measure(commands(folder, key), options.turns)
    write(costs, Path(options.out))


def make_release(home: Path) -> tuple[Path, Path]:
    """A signed release of :data:`IMAGES` images, and the key to verify it with."""
    bank = make_bank(home)
    release = publish(bank, make_trial(bank, starts=IMAGES + 1, iterations=1).approve().digest)
    if len(release.manifest.images) != IMAGES:
        raise SystemExit(f"expected a release of {IMAGES} images, got {len(release.manifest.images)}")
    return home / "store" / release.folder, bank.settings.keys / "release.pub"


def commands(folder: Path, key: Path) -> list[Command]:
    """What is measured."""
    seedbank = (sys.executable, "-m", "seedbank")
    imports = "import seedbank.cli.release, seedbank.release.verify, typer._adapters, securesystemslib.dsse"
    return [
        Command("an interpreter that does nothing", (sys.executable, "-c", "pass"), None),
        Command("--version", (*seedbank, "--version"), 0.3),
        Command("--help", (*seedbank, "--help"), None),
        Command(f"verify {IMAGES} images", (*seedbank, "verify", str(folder), "--key", str(key)), 1.0),
        Command("of which imports", (sys.executable, "-c", imports), None),
    ]


def measure(todo: list[Command], turns: int) -> list[Cost]:
    """Every command once to warm up, then all of them ``turns`` times, one after the other."""
    seconds: dict[str, list[float]] = {command.what: [] for command in todo}
    for turn in range(turns + 1):
        for command in todo:
            spent = processor_seconds(command.words)
            if turn:
                seconds[command.what].append(spent)
    return [
        Cost(
            command.what,
            round(statistics.median(seconds[command.what]), 3),
            round(min(seconds[command.what]), 3),
            command.wanted,
            turns,
        )
        for command in todo
    ]


def processor_seconds(words: tuple[str, ...]) -> float:
    """User and system time of a command and its children; it must end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write(costs: list[Cost], folder: Path) -> None:
    """The figures as JSON and as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"machine": machine(), "python": platform.python_version()}
    rows = [{**asdict(cost), "met": cost.met} for cost in costs]
    (folder / "start_up.json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=2) + "\n")
    lines = [
        f"{facts['machine']}, Python {facts['python']}; seconds of processor time, {costs[0].turns} turns.\n",
        "| command | median | least | wanted | met |",
        "|---|---|---|---|---|",
        *(
            f"| {cost.what} | {cost.median:.2f} | {cost.least:.2f} | "
            f"{'' if cost.wanted is None else f'<= {cost.wanted:g}'} | {cost.met} |"
            for cost in costs
        ),
    ]
    (folder / "start_up.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--out", default=str(HERE / "results"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
