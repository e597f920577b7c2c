"""A test set in two parts, one to choose on and one to score on; and what is to be said of a scheme that was chosen."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lynxbench.specs.base import Sha256, Spec


class Part(Spec):
    """One of two parts of the selected samples. All views and queries of one original are in the same part.

    Both parts of one `share` and `seed` add up to the whole, and have nothing in common.
    """

    which: Literal["tuning", "untouched"] = Field(description="tuning: to choose on; untouched: the rest, to score on")
    share: float = Field(gt=0, lt=1, description="of the originals that are in the tuning part")
    seed: int = Field(default=0, ge=0, description="of the draw, which is proportional over the rubric's first stratum")


class Tuned(Spec):
    """How a scheme was picked among several: on which samples, among how many, and how good it looked there.

    What was picked among many looks better than it is on the samples that it was picked on.
    """

    tried: int = Field(ge=1, description="candidates that were compared, this one and those of the suite included")
    samples: int = Field(ge=1, description="of the tuning part")
    size: Literal["quick", "standard", "thorough"] = Field(description="count of the test set that was split")
    test_set_sha256: Sha256 = Field(description="fingerprint of the tuning part")
    share: float = Field(gt=0, lt=1, description="as in a rubric's test_set.part")
    seed: int = Field(ge=0, description="as in a rubric's test_set.part")
    time_limit_s: float = Field(gt=0, description="the declared budget of the search")
    spent_s: float = Field(ge=0, description="what the search took")
    max_loss: float = Field(ge=0, description="of the primary metric, that was allowed")
    picked: bool = Field(description="chosen on the tuning part, before the untouched part was asked")
    loss: float = Field(description="of the primary metric on the tuning part")
    loss_low: float | None = Field(default=None, description="lower end of its interval")
    loss_high: float | None = Field(default=None, description="upper end")

    def split(self) -> dict[str, Any]:
        """What tells the tuning part from the rest."""
        return {
            "share": self.share, "seed": self.seed, "size": self.size, "test_set_digest": self.test_set_sha256
        }  # fmt: skip

    def spared_by(self, part: Part | None, size: str) -> bool:
        """Whether a test set of this `size` that declares `part` holds none of the samples that it was picked on.

        That goes by the declaration: it is for the rubric that the scheme was tuned by.
        """
        mine = ("untouched", self.share, self.seed, self.size)
        return part is not None and (part.which, part.share, part.seed, size) == mine
