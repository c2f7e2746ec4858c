"""A T5 with whole-word embeddings, built from its config: no pretrained weights are read.

Which word a token is of is told to the encoder in training and in generation alike; P5's own notebooks leave it out
when they generate, so that their figures are of a model that was trained with more than it was measured with.

Shapes: B texts, L tokens of the longest, D width.
"""

from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from ray_userrep.generative.rows import WORD
from ray_userrep.generative.tokens import Vocabulary
from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.generative import GenerativeConfig

_WORDS = 512  # words of a prompt that are told apart, as in P5


class TextModelConfig(T5Config):
    """T5's config, the longest row and whether words are told, as transformers stores them."""

    model_type = "ray_userrep_text"

    max_len: int = 256
    whole_words: bool = True


class TextModel(T5ForConditionalGeneration):
    """The model; `words` is added to what the encoder is given, where the config asks for it."""

    config_class = TextModelConfig
    side_columns = (WORD,)
    reads_times = False

    def __init__(self, config: TextModelConfig) -> None:
        super().__init__(config)
        assert isinstance(config.pad_token_id, int) and isinstance(config.eos_token_id, int), "as it is built here"
        self.max_len, self.pad, self.end = config.max_len, config.pad_token_id, config.eos_token_id
        self.words = nn.Embedding(_WORDS, config.d_model) if config.whole_words else None
        self.post_init()

    def embedded(self, ids_BL: Tensor, words_BL: Tensor) -> Tensor:
        """What the encoder reads of tokens and the words they are of, `[B, L, D]`."""
        embedded_BLD: Tensor = self.shared(ids_BL)
        return embedded_BLD if self.words is None else embedded_BLD + self.words(words_BL.clamp(max=_WORDS - 1))

    def parameters_by_kind(self) -> dict[str, int]:
        """Numbers of parameters: tables of tokens and words, and all else."""
        tables = [self.shared, *([] if self.words is None else [self.words])]
        embedding = sum(_size(table.weight) for table in tables)
        return {"embedding": embedding, "backbone": sum(map(_size, self.parameters())) - embedding}


def build_text_model(config: GenerativeConfig, stream: StreamConfig, vocabulary: Vocabulary) -> TextModel:
    """A model of the recipe's size over a vocabulary, with weights drawn by torch's seed."""
    return TextModel(
        TextModelConfig(
            vocab_size=len(vocabulary),
            d_model=config.width,
            d_kv=config.width // config.heads,
            d_ff=config.feed_forward,
            num_layers=config.layers,
            num_heads=config.heads,
            dropout_rate=config.dropout,
            pad_token_id=vocabulary.pad,
            eos_token_id=vocabulary.end,
            max_len=stream.max_len,
            whole_words=config.whole_words,
        )
    )


def _size(parameter: Tensor) -> int:
    # One that is partitioned among workers is empty here; DeepSpeed keeps its real size beside it.
    return int(getattr(parameter, "ds_numel", parameter.numel()))
