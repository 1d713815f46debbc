"""``python -m seedbank`` is the ``seedbank`` command."""

from seedbank.cli import main

main()
