"""The examination of a pool: what came of it, as a record."""

from __future__ import annotations

from seedbank.records import Record
from seedbank.references.reference import Verdict


class Examination(Record):
    """What came of a pool: a reference set, or a refusal; and the verdict on every photo."""

    concept: str
    validation: str
    """Digest of the checks."""
    reference_set: str = ""
    """Digest of the frozen set; empty when it was refused."""
    refusal: str = ""
    """Why there is no set; empty when there is one."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the set as a whole without refusing it."""
    advice: tuple[str, ...] = ()
    """What to photograph next."""
    unmeasured: tuple[str, ...] = ()
    """What could not be measured, and why."""
    verdicts: tuple[Verdict, ...]
    measures: dict[str, float]

    @property
    def folder(self) -> str:
        """Key prefix of what people look at."""
        return f"reference-sets/{self.reference_set}" if self.reference_set else f"validations/{self.validation}"

    @property
    def data_docs(self) -> str:
        """Key of the first page of the Data Docs."""
        return f"{self.folder}/data-docs/index.html"

    @property
    def report(self) -> str:
        """Key of the report."""
        return f"{self.folder}/report.html"

    def explain_refusal(self) -> str:
        """Why the pool was refused, with a line for each photo that is out."""
        lines = [f"  {verdict.name}: {'; '.join(verdict.reasons)}" for verdict in self.verdicts if not verdict.chosen]
        return "\n".join([f"{self.concept}: {self.refusal}", *lines])
