"""Every error seedbank raises on purpose, and the exit code each means on the command line.

::

    SeedbankError                something went wrong that we foresaw
    ├── UsageError        (2)    the caller asked for something that cannot be: a bad file, name or option
    ├── RefusedError      (1)    the answer is no: a gate held
    │   ├── UnusableReferences   too few usable photos, or the set failed validation
    │   ├── Unreachable          no seed of this model draws the concept
    │   ├── NotApproved          the people asked have not (both) said yes to exactly this
    │   └── VerificationError    a digest, signature or chain does not hold
    └── OutsideError      (3)    something outside failed: a store, a server, a disk
        ├── OutOfMemory          not even one image fits into memory
        └── StoreError           the object store

A message says what was expected, what came, and what to do next.
"""

from __future__ import annotations


class SeedbankError(Exception):
    """The root of all foreseen errors."""

    exit_code: int = 3


class UsageError(SeedbankError):
    """The request itself is wrong; asking again the same way gives the same error."""

    exit_code = 2


class RefusedError(SeedbankError):
    """A gate said no. Nothing was lost and nothing was let through."""

    exit_code = 1


class UnusableReferences(RefusedError):
    """The reference photos do not make a usable reference set."""


class Unreachable(RefusedError):
    """Exploration shows that no seed makes this model draw the concept."""


class NotApproved(RefusedError):
    """The decisions on record do not allow publication."""


class VerificationError(RefusedError):
    """Evidence does not hold: a digest, a signature or a chain is broken."""


class OutsideError(SeedbankError):
    """Something that is not seedbank failed; trying again later may help."""

    exit_code = 3


class OutOfMemory(OutsideError):
    """Not even one image fits into memory."""


class StoreError(OutsideError):
    """The object store refused, lost or could not be reached."""
