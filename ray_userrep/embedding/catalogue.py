"""An encoder over a corpus's items: those it knows keep their vectors, new ones get the mean or are made anew."""

from ray_userrep.corpus.states import items_with_content
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.prepare.encode_states import ensure_content
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.encoder import EncoderConfig


def on_corpus(encoder: UserEncoder, corpus: Corpus, text: TextConfig, use_gpu: bool | None = None) -> UserEncoder:
    """The encoder over the corpus's items; `use_gpu` is for texts that were not encoded yet.

    Raises:
        UserError: it knows none of them, makes items from texts or pictures that the log lacks, or reads times that it
            lacks.
    """
    config = EncoderConfig.model_validate(encoder.config.encoder)
    corpus.manifest.require_times(config.reads_times())
    items = corpus.items()
    if encoder.item_table is None or not encoder.item_table.ids.equals(items.ids):
        is_told = encoder.config.text_width or config.content_parts()
        if not is_told and not (encoder.known(items) >= 0).any():
            raise UserError(f"the encoder knows none of the {len(items)} items of {corpus.uri}: is it of another log?")
        ensure_content(corpus, config, text, use_gpu)
        encoder = encoder.with_items(items_with_content(corpus, config, text))
    return encoder.eval()
