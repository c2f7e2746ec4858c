"""What is measured, over whom, and how sure the figures are."""

from pydantic import Field, PositiveInt

from ray_userrep.recipe.settings import Settings


class EvaluationConfig(Settings):
    """Full-catalogue ranking of one held-out item a user."""

    ks: tuple[PositiveInt, ...] = Field((5, 10, 20), description="cut-offs; 10 is always measured")
    exclude_seen: bool = Field(False, description="rank only items new to the user; off where repeats are legitimate")
    num_bootstrap: int = Field(1000, ge=100, le=1_000_000, description="resamples of the users behind every interval")
    confidence: float = Field(0.95, gt=0, lt=1, description="of every interval")
    max_users: int | None = Field(
        100_000, ge=1, description="measure at most so many users, chosen by hash; none: all, which takes memory"
    )
    fitted_users: int | None = Field(
        100_000,
        ge=1,
        description="baselines count, and linear probes learn from, at most so many users, chosen by hash; none: all",
    )
    baselines: bool = Field(True, description="also measure the simple baselines, each tuned on validation")
