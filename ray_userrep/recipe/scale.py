"""What a scaling study trains: sizes, data, further axes, seeds, and what is held out."""

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ray_userrep.recipe.settings import Settings


class ScaleConfig(Settings):
    """The points of a study; each is trained with every seed."""

    sizes: tuple[PositiveInt, ...] = Field(
        (3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000), min_length=1, description="backbone parameters, about"
    )
    data: tuple[PositiveInt, ...] = Field(
        (), description="interactions to train on, about; by default an eighth, a quarter, a half and all of the corpus"
    )
    budgets: tuple[PositiveFloat, ...] = Field(
        (), description="IsoFLOP: FLOPs of the backbone, spent at each size for which it pays for the study's data"
    )
    lengths: tuple[PositiveInt, ...] = Field((), description="stream.max_len of further runs, of the middle size")
    batches: tuple[PositiveInt, ...] = Field((), description="stream.batch_tokens of further runs, of the middle size")
    seeds: tuple[NonNegativeInt, ...] = Field(
        (0, 1), min_length=1, description="each point is trained with each of them"
    )
    tune: tuple[PositiveFloat, ...] = Field(
        (),
        description="factors on the ladder's rate, tried at each size on less than is held out; by default "
        "the rule alone",
    )
    hold_out: int = Field(2, ge=0, description="the settings with the most compute, predicted before they are trained")
    item_width: int = Field(64, ge=1, description="width of the item table at every point")
    max_epochs: float = Field(4.0, ge=1, description="data beyond so many passes over the corpus are refused")
    advise: tuple[PositiveFloat, ...] = Field(
        (),
        description="budgets to advise on, FLOPs of the backbone; by default 1, 10 and 100 times the largest trained",
    )
    floor: PositiveFloat | None = Field(
        None, description="the least loss possible, where it is known: the report sets the law's E beside it"
    )
    cpus_per_run: float = Field(1.0, gt=0, description="CPU cores of a run; fractions share one")
    gpus_per_run: float | None = Field(
        None, ge=0, description="GPUs of a run; fractions share one; none: one where the cluster has some"
    )

    @model_validator(mode="after")
    def _no_repeats(self) -> "ScaleConfig":
        for name in ("sizes", "data", "budgets", "lengths", "batches", "seeds", "tune"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"scale.{name} names a value twice: {list(values)}")
        return self
