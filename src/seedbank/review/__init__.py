"""The review gate: dossiers, decisions, and what counts as approved.

In: a finished trial, people's answers. Out: a frozen dossier, signed decisions, an approval or the reason why there is
none. Knows nothing of releases, and nothing of how the answers were asked for: that is :mod:`seedbank.orchestration`'s.
"""
