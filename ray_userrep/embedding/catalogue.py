"""An encoder over a corpus's items: those it knows keep their vectors, new ones get the mean or are made from texts."""

from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.text import items_with_text
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.prepare.encode_text import ensure_text_vectors
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.encoder import EncoderConfig


def on_corpus(encoder: UserEncoder, corpus: Corpus, text: TextConfig, use_gpu: bool | None = None) -> UserEncoder:
    """The encoder over the corpus's items; `use_gpu` is for texts that were not encoded yet.

    Raises:
        UserError: it knows none of them, makes items from texts that the log lacks, or reads times that it lacks.
    """
    corpus.manifest.require_times(EncoderConfig.model_validate(encoder.config.encoder).reads_times())
    items = corpus.items()
    if encoder.item_table is None or not encoder.item_table.ids.equals(items.ids):
        if not encoder.config.text_width and not (encoder.known(items) >= 0).any():
            raise UserError(f"the encoder knows none of the {len(items)} items of {corpus.uri}: is it of another log?")
        if encoder.config.text_width:
            ensure_text_vectors(corpus, text, use_gpu)
            items = items_with_text(corpus, text)
        encoder = encoder.with_items(items)
    return encoder.eval()
