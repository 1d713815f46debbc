"""How fast searches were on this machine, kept in the home: no evidence, only what the next estimate rests on.

One small JSON file for each model, judges, way of sampling and device: ``<home>/speeds/<digest>.json``. Removing one loses nothing but
that the next search measures its first batch before it can say how long it will take.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedbank.records import canonical_json, sha256
from seedbank.trials.workload import Speeds

log = logging.getLogger(__name__)

NEW = 0.5
"""Share of the newest measurement in what is kept: a machine's other work comes and goes."""


def about(models: Any, software: Mapping[str, str]) -> dict[str, Any]:
    """What speeds hold for: the models by content, how images are sampled, and what computes.

    Args:
        models: as :func:`seedbank.models.loading.load_models` gives them.
        software: as :func:`seedbank.models.software.drawing_software` says.
    """
    return {
        "profile": models.profile.name,
        "model": models.model.card.content,
        "encoder": models.encoder.card.content,
        "guard": models.guard.card.content,
        "sampler": models.model.sampler.model_dump(mode="json"),
        "device": {name: software[name] for name in ("device", "machine", "instructions", "threads", "torch")},
    }


def read_speeds(home: Path, subject: Mapping[str, Any]) -> Speeds:
    """What was measured of ``subject``; nothing where nothing was, or where the file cannot be read."""
    try:
        found = json.loads(_path(home, subject).read_text(encoding="utf-8"))
        kept = {str(name): (float(each["seconds"]), float(each["weight"])) for name, each in found["speeds"].items()}
    except FileNotFoundError:
        return Speeds()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("speeds in %s cannot be read and are measured again: %r", _path(home, subject), error)
        return Speeds()
    return Speeds({name: each[0] for name, each in kept.items()}, {name: each[1] for name, each in kept.items()})


def keep_speeds(home: Path, subject: Mapping[str, Any], measured: Speeds) -> None:
    """Keep what was measured, averaged with what was before; a home that cannot be written to keeps nothing."""
    before = read_speeds(home, subject)
    seconds = {name: NEW * each + (1 - NEW) * before.seconds.get(name, each) for name, each in measured.seconds.items()}
    kept = Speeds({**before.seconds, **seconds}, {**before.weights, **measured.weights})
    speeds = {name: {"seconds": each, "weight": kept.weights[name]} for name, each in sorted(kept.seconds.items())}
    path = _path(home, subject)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps({"about": subject, "speeds": speeds}, indent=1), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        log.warning("speeds cannot be kept in %s: %s", path, error.strerror)


def _path(home: Path, subject: Mapping[str, Any]) -> Path:
    return home / "speeds" / f"{sha256(canonical_json(subject))[:16]}.json"
