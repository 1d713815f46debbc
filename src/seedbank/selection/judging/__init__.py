"""What the references ask for and who accepts: targets, the guard, acceptance, diversity.

In: photos and embeddings. Out: nearness, thresholds, an answer for each image in words. Knows nothing of searches.
"""
