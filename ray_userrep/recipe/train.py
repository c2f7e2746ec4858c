"""How a run is trained: steps, optimiser, precision, ZeRO, workers, and when it is measured and saved."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ray_userrep.recipe.settings import Settings

Beta = Annotated[float, Field(ge=0, lt=1)]


class ScheduleConfig(Settings):
    """Learning rate over the run: linear warm-up, then a cosine to the floor, or WSD (stable, then linear decay)."""

    kind: Literal["cosine", "wsd", "constant"] = Field(
        "cosine", description="down by a cosine; wsd: stable, then a linear decay; constant: never down"
    )
    warmup_share: float = Field(0.03, ge=0, lt=1, description="share of all steps spent warming up")
    decay_share: float = Field(0.2, gt=0, le=1, description="wsd: share of all steps spent decaying at the end")
    floor: float = Field(0.05, ge=0, le=1, description="last learning rate over the highest one")


class ZeroConfig(Settings):
    """What DeepSpeed partitions over the workers, and what it keeps off the device."""

    stage: Literal[0, 1, 2, 3] = Field(
        0, description="0 nothing, 1 optimiser states, 2 and gradients, 3 and parameters"
    )
    offload_optimizer: Literal["none", "cpu"] = Field("none", description="where optimiser states live (stage 1 to 3)")
    offload_parameters: Literal["none", "cpu"] = Field("none", description="where parameters live (stage 3)")
    init: bool = Field(False, description="stage 3: partition parameters as they are built, for models that do not fit")

    @model_validator(mode="after")
    def _stages(self) -> "ZeroConfig":
        if self.stage == 0 and self.offload_optimizer != "none":
            raise ValueError("train.zero.offload_optimizer needs train.zero.stage 1, 2 or 3")
        if self.stage != 3 and (self.init or self.offload_parameters != "none"):
            field = "init" if self.init else "offload_parameters"
            raise ValueError(f"train.zero.{field} needs train.zero.stage 3")
        return self


TrackerKind = Literal["wandb", "mlflow"]


class TrainConfig(Settings):
    """The training loop and what it runs on."""

    epochs: float = Field(12.0, gt=0, description="passes over what is trained on; a fraction ends inside a pass")
    min_steps: int = Field(
        1,
        ge=1,
        description="fewest optimiser steps: little data are passed over more often, and validated on as rarely",
    )
    max_steps: int | None = Field(None, ge=1, description="most optimiser steps; none: as epochs say")
    learning_rate: float = Field(
        3e-3, gt=0, description="highest one of AdamW; 3e-3 suits small encoders, large ones take less (see the ladder)"
    )
    item_learning_rate: float | None = Field(None, gt=0, description="that of the items' own weights; none: the same")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW, on matrices; norms and biases are not decayed")
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.98), description="of AdamW; .98 forgets faster than .999, which short runs need"
    )
    clip_norm: float = Field(1.0, gt=0, description="bound of the global gradient norm")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="of forward and backward passes; weights and optimiser states are fp32. bf16 is faster on GPUs, "
        "and on processors with instructions for it (avx512_bf16)",
    )
    zero: ZeroConfig = Field(default_factory=ZeroConfig)

    warm_start: str | None = Field(
        None,
        min_length=1,
        description="run or encoder folder to take first weights from; items are matched by their ids, new ones start "
        "from random vectors",
    )

    num_workers: int = Field(1, ge=1, description="data-parallel workers")
    min_workers: int | None = Field(
        None,
        ge=1,
        description="go on with as few when nodes are lost, and with more when they are back; none: wait for all",
    )
    cpus_per_worker: int | None = Field(
        None, ge=1, description="CPU cores of a worker; none: as many as fit all workers on the nodes"
    )
    use_gpu: bool | None = Field(
        None,
        description="one GPU a worker, a fit and a measurement; none: when the cluster has enough of them; false: none",
    )
    max_failures: int = Field(
        3,
        ge=0,
        description="worker failures survived by restarting from the last checkpoint; a job that trains by itself goes "
        "on with the same command",
    )

    log_every: int = Field(20, ge=1, description="steps between progress lines")
    eval_every: float = Field(1.0, gt=0, description="epochs between validations")
    select: Literal["ranking", "vector"] = Field(
        "ranking",
        description="what decides in validation which weights are kept; ranking: NDCG@10, or the likelihood where "
        "nothing learns to rank; vector: how much of a history's newer half the vector of its older half explains",
    )
    patience: int | None = Field(
        None, ge=1, description="validations that are no better before stopping; none: all epochs"
    )
    checkpoint_every: float = Field(1.0, gt=0, description="epochs between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints that are kept; older ones are deleted")
    trackers: tuple[TrackerKind, ...] = Field(
        (),
        description="services that get the figures of a pretraining beside the run folder; wandb: Weights & Biases, "
        "mlflow: MLflow",
    )

    @property
    def item_factor(self) -> float:
        """How many times as fast as all else the items' own weights learn."""
        return 1.0 if self.item_learning_rate is None else self.item_learning_rate / self.learning_rate

    @model_validator(mode="after")
    def _workers(self) -> "TrainConfig":
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(f"train.min_workers {self.min_workers} is more than train.num_workers, {self.num_workers}")
        return self
