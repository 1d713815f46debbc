"""Photos in: listed, decoded in bounded processes, given their rights, addressed by content.

In: a folder or a bucket. Out: the photos of each concept, and what was set aside and why. Knows nothing of judging.
"""
