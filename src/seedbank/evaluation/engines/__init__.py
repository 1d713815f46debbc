"""Search without gradients: engines that propose seeds and are told how good they are, and know nothing else.

For models or scores that cannot be differentiated. :mod:`seedbank.evaluation.runners` runs one.
"""

from seedbank.evaluation.engines.base import Asked, Engine
from seedbank.evaluation.engines.bayes import BayesianMixes
from seedbank.evaluation.engines.evolution import EvolvedMixes
from seedbank.evaluation.engines.zero_order import RestartedNeighbours

__all__ = ["Asked", "BayesianMixes", "Engine", "EvolvedMixes", "RestartedNeighbours"]
