"""The search itself: explore plain seeds, optimise the best, keep what is accepted; and the diagnosis of what was explored.

In: a sampler, references, judges, a recipe. Out: a :class:`~seedbank.selection.search.results.Selection`.
"""
