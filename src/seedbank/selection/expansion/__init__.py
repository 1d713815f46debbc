"""Many images from one find: seeds around it, as far away as they are still accepted.

In: a sampler, an acceptance, accepted seeds. Out: accepted, pairwise distinct images.
"""
