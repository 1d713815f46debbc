"""Reference photos: intake, rights, measures, and the frozen reference set.

In: files with rights beside them, and a concept's policy. Out: a frozen :class:`~seedbank.references.records.ReferenceSet` and the pages
that say why these photos. Upward: ``records``, ``photos``, ``rights``, ``clearance``, ``measures``, ``intake``, ``judging``, ``choosing``,
``report``, ``validation``; none imports what stands after it. Who only reads imports ``records`` or ``clearance``, which load nothing
heavy. Never imports trials, review or release.
"""
