"""What every test shares: hypothesis keeps its examples with the other state, and no test is judged by the machine's speed."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from seedbank.settings import share_cores

set_hypothesis_home_dir(Path(__file__).parents[1] / ".seedbank" / "cache" / "hypothesis")
settings.register_profile("seedbank", deadline=None)
settings.load_profile("seedbank")
share_cores()
