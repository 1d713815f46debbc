"""Search without gradients: engines that propose seeds and are told how good they are, and know nothing else.

For models or scores that cannot be differentiated. :mod:`seedbank.selection.runners` runs one.
"""

from seedbank.selection.engines.base import Asked, Engine
from seedbank.selection.engines.bayes import BayesianMixes
from seedbank.selection.engines.evolution import EvolvedMixes
from seedbank.selection.engines.zero_order import RestartedNeighbours

__all__ = ["Asked", "BayesianMixes", "Engine", "EvolvedMixes", "RestartedNeighbours"]
