"""Photos in: listed, decoded in bounded processes, given their rights, addressed by content.

In: a folder or a bucket. Out: the photos of each concept, and what was set aside and why. Measures each photo where it is decoded, and
knows nothing of judging, choosing and report.
"""
