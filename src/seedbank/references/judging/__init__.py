"""Each photo as a row of numbers, beside the others and beside what the model draws for sibling prompts, and the suites that judge them.

In: photos, the policy, the steward's picks. Out: :class:`~seedbank.references.judging.measured_photos.MeasuredPhotos`, and every check that
Great Expectations made of them. Chooses nothing, and imports neither intake, choosing nor report.
"""
