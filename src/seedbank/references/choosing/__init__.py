"""Which of the usable photos stand for the concept, and the words that say why.

In: measured photos and the checks on them. Out: the choice, the measures of the set, an assessment of each photo, and advice. Imports
``judging``, never ``report``.
"""
