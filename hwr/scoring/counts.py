"""The four integers every error rate is made of."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Counts:
    """Edits that turn a reference into a hypothesis, and the reference's length, in characters or words."""

    reference: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @classmethod
    def total(cls, counts: "Iterable[Counts]") -> "Counts":
        """Return the sum of `counts`."""
        return sum(counts, cls())

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per unit of reference, 0 or more; an empty reference counts as one unit long."""
        return self.errors / max(self.reference, 1)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.reference + other.reference,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    def as_dict(self) -> dict[str, int]:
        """Return the four integers under their names."""
        return asdict(self)
