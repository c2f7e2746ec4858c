"""A recipe: one typed tree of every room's config, which is a run's complete description."""

from pydantic import Field, model_validator

from ray_userrep.errors import UserError
from ray_userrep.recipe.continual import ContinualConfig
from ray_userrep.recipe.corpus import (
    CorpusConfig,
    GlobalTimeConfig,
    LeaveOneOutConfig,
    SplitConfig,
    StreamConfig,
    TextConfig,
)
from ray_userrep.recipe.embedding import EmbeddingConfig
from ray_userrep.recipe.encoder import TIME_FIELDS, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.generative import GenerativeConfig
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.recipe.objective import (
    AutoencodingConfig,
    AutoregressiveConfig,
    NextFieldsConfig,
    ObjectiveConfig,
    SocialConfig,
    WeightedConfig,
)
from ray_userrep.recipe.settings import Settings
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


class Recipe(Settings):
    """Everything that decides what a job does; stored with each run as `recipe.json`."""

    name: str = Field(
        min_length=1, description="what the run and its report are called; a recipe's is that of its system"
    )
    seed: int = Field(0, ge=0, description="decides first weights, order, negatives and dropout")
    run: str | None = Field(
        None, min_length=1, description="folder of the run; none: runs/ here, named by recipe and time"
    )
    logs: LogsConfig = Field(default_factory=LogsConfig)
    corpus: CorpusConfig = Field(default_factory=CorpusConfig)
    text: TextConfig = Field(default_factory=TextConfig)
    split: SplitConfig = Field(default_factory=LeaveOneOutConfig)
    stream: StreamConfig = Field(default_factory=StreamConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    objective: ObjectiveConfig = Field(default_factory=AutoregressiveConfig)
    generative: GenerativeConfig = Field(default_factory=GenerativeConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    transfer: TransferConfig = Field(default_factory=TransferConfig)
    continual: ContinualConfig = Field(default_factory=ContinualConfig)

    @model_validator(mode="after")
    def _combinations(self) -> "Recipe":
        refusal = self.objective.refusal(self.encoder) or self._untrained() or self._untold()
        if refusal is not None:
            raise ValueError(refusal)
        if not self.name.isprintable() or "/" in self.name or len(self.name) > 100:
            raise ValueError(f"name {self.name!r} is part of a folder's: at most 100 characters, no slash, one line")
        if self.stream.batch_tokens < self.stream.max_len:
            raise ValueError(
                f"stream.batch_tokens {self.stream.batch_tokens} is smaller than stream.max_len {self.stream.max_len}: "
                "a global batch must hold at least one window"
            )
        return self

    def objectives(self) -> list[ObjectiveConfig]:
        """What is pretrained with, one by one."""
        if isinstance(self.objective, WeightedConfig):
            return [part.objective for part in self.objective.parts]
        return [self.objective]

    def reads_times(self) -> str | None:
        """What pretraining reads times for, by its field; None where it does not."""
        split = "split.rule global_time" if isinstance(self.split, GlobalTimeConfig) else None
        return self.reads_times_of_windows() or split

    def reads_times_of_windows(self) -> str | None:
        """What encoder and objective read times for, by its field; None where they do not."""
        objectives = self.objectives()
        heads = [("heads", name) for one in objectives if isinstance(one, AutoencodingConfig) for name in one.heads]
        heads += [("fields", name) for one in objectives if isinstance(one, NextFieldsConfig) for name in one.fields]
        head = next((f"objective.{field} {name}" for field, name in heads if name in TIME_FIELDS), None)
        is_shown = any(isinstance(one, AutoregressiveConfig) and one.impressions.table for one in objectives)
        return self.encoder.reads_times() or head or ("objective.impressions" if is_shown else None)

    def needs_relations(self) -> bool:
        """Whether pretraining reads who is related to whom."""
        return any(isinstance(one, SocialConfig) for one in self.objectives())

    @property
    def generates(self) -> bool:
        """Whether a model of text is trained in place of an encoder."""
        return bool(self.generative.families)

    def require_encoder(self, job: str) -> None:
        """Refuse a recipe of a model of text, which has neither item nor user vectors, for a job that needs them.

        Raises:
            UserError: it is one.
        """
        if self.generates:
            raise UserError(f"{job} needs an encoder, and generative.families trains a model of text: take pretrain")

    def _untold(self) -> str | None:
        """What a model of text would not heed."""
        if not self.generates:
            return None
        if self.encoder != EncoderConfig() or self.objective != AutoregressiveConfig():
            return "encoder and objective are not read where generative.families are trained: leave them out"
        if not isinstance(self.split, LeaveOneOutConfig):
            return f"generative.families need split.rule leave_one_out (given {self.split.rule})"
        if self.stream.windows != "last" or self.stream.domain_temperature != 1:
            return "generative.families take stream.windows last and stream.domain_temperature 1: a text is one window"
        if self.train.warm_start is not None or self.train.select != "ranking":
            return "generative.families go neither with train.warm_start nor with train.select vector"
        if self.train.zero.init:
            return "train.zero.init partitions weights before a model of text draws them: leave it out"
        if self.generative.max_target >= self.stream.max_len:
            return "generative.max_target leaves nothing of stream.max_len for the prompt: raise stream.max_len"
        if max((10, *self.evaluation.ks)) > self.generative.beams:
            return "generative.beams is fewer than the 10 items, or evaluation.ks, that are measured: raise it"
        return None

    def _untrained(self) -> str | None:
        """What of the encoder no objective would train."""
        if self.encoder.readout == "attention" and not self.objective.trains_readout():
            return (
                "encoder.readout attention is trained through the user vector, which no objective reads here: add "
                "objective.kind next_fields or labels, or take encoder.readout last, mean or max"
            )
        kinds: set[str] = {one.kind for one in self.objectives()}
        if kinds == {"item_contrast"}:
            return "objective.kind item_contrast trains items alone: put another beside it, in objective.kind weighted"
        if self.encoder.bag_width and not (self.encoder.readout == "bag" and "history" in kinds):
            return "encoder.bag_width is trained by objective.kind history at encoder.readout bag: set both, or neither"
        if self.encoder.readout == "bag" and kinds != {"history", "autoregressive"}:
            return (
                "encoder.readout bag leaves the backbone to another objective: take objective.kind weighted with "
                "autoregressive beside history"
            )
        return None
