"""The roster: who may review. A YAML file that the people who run seedbank keep; ids are those of Airflow's auth manager::

    reviewers:
      "1": {name: Alice Example, email: alice@example.org, identities: [alice]}
      "2": {name: Bob Example, identities: [bob, rob]}

Whoever asked for images may not review them, whatever they were called when they asked. A request says a login, an id, an e-mail address
or the user of a command line; ``identities`` lists what else a person is called, beside id, name and e-mail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from seedbank.errors import UsageError
from seedbank.evidence.requests import identity
from seedbank.records import Record

SEATS = 2
"""Four eyes: how many different people must say yes. Not a setting: a roster that asks for fewer would undo the gate."""


class _Person(Record):
    """What the file says about somebody."""

    name: str = Field(min_length=1)
    email: str = ""
    identities: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """What else this person is called: logins, other addresses, users of machines."""
    scripted: bool = False
    """Whether a program answers in this name, as in the demo; every decision of theirs is recorded as scripted."""


class Reviewer(_Person):
    """Somebody who may answer."""

    id: str = Field(min_length=1)
    """What the auth manager calls this person."""

    @property
    def called(self) -> frozenset[str]:
        """Everything this person is called."""
        return frozenset({self.id, self.name, self.email, *self.identities} - {""})


class Roster(Record):
    """Everybody who may review, by id."""

    required: ClassVar[int] = SEATS
    reviewers: dict[str, Reviewer]


class _File(Record):
    """The file: like the roster, with each id written once."""

    reviewers: dict[str, _Person] = Field(min_length=SEATS)

    @model_validator(mode="after")
    def _tell_apart(self) -> Self:
        """One person on two lines would be two pairs of eyes."""
        owners: dict[str, str] = {}
        for who, person in self.reviewers.items():
            for name in {identity(name) for name in (who, person.name, person.email, *person.identities) if name}:
                if (other := owners.setdefault(name, who)) != who:
                    raise ValueError(f"{other} and {who} are both called {name!r}; give each person one entry")
        return self


def load_roster(path: Path) -> Roster:
    """Read the roster file.

    Raises:
        UsageError: missing, not YAML, fewer than two people, or a field is wrong; the message names it.
    """
    import yaml

    try:
        file = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        people = {who: Reviewer(id=who, **person.model_dump()) for who, person in file.reviewers.items()}
        return Roster(reviewers=people)
    except OSError as error:
        raise UsageError(
            f"expected a roster of reviewers at {path}: {error.strerror}; write one or set SEEDBANK_ROSTER"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"{path} is not a roster of at least {SEATS} reviewers: {faults}") from error
