"""A model of text that is trained in place of an encoder: what it is asked for, how ids are spelled, its size."""

from typing import Literal

from pydantic import Field, model_validator

from ray_userrep.recipe.settings import Settings

Family = Literal["rating", "sequential", "explanation", "review", "direct"]


class GenerativeConfig(Settings):
    """A T5 that reads and writes everything as text (P5); with no families an encoder is trained."""

    families: tuple[Family, ...] = Field((), description="what is asked for in text; none: an encoder is trained")
    ids: Literal["sequence", "shuffled", "whole"] = Field(
        "shuffled",
        description="how items are called; sequence: numbers by first appearance, user after user, which tells the "
        "next item by counting; shuffled: numbers at random; whole: a token each",
    )
    vocabulary: int = Field(2048, ge=300, description="tokens of the vocabulary that is learned from the log's texts")
    tokenizer: str | None = Field(
        None, min_length=1, description="a tokenizer.json to take in place of a vocabulary of the log's own"
    )
    whole_words: bool = Field(True, description="say of each token which word it is of, in training and in generation")
    width: int = Field(64, ge=8, description="width of the model")
    layers: int = Field(2, ge=1, description="blocks of the encoder, and as many of the decoder")
    heads: int = Field(4, ge=1, description="attention heads; width is a multiple of it")
    feed_forward: int = Field(256, ge=8, description="width inside a block")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of values dropped in training")
    max_history: int = Field(20, ge=1, description="newest items that a prompt names")
    max_target: int = Field(32, ge=2, description="tokens of an answer; a prompt has the rest of stream.max_len")
    beams: int = Field(20, ge=1, description="items that are generated for a user, and beams that search for them")
    unconstrained: int = Field(
        200, ge=0, description="users for whom items are also generated without the catalogue, to count what is none"
    )

    @model_validator(mode="after")
    def _heads(self) -> "GenerativeConfig":
        if self.width % self.heads:
            raise ValueError(f"generative.width {self.width} is no multiple of generative.heads {self.heads}")
        if len(set(self.families)) < len(self.families):
            raise ValueError("generative.families: a family is named twice")
        return self
