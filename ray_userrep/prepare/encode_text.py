"""Encoding item texts with a frozen language model, in Ray Data actors, once for each corpus and model.

The whole catalogue's vectors pass through the driver, block by block, into one array beside the item table; they are
written in one piece, so that a reader finds all of them or none. One text is encoded ahead of all others: what is wrong
with a model is then one clear error, for the price of loading it once more. After an append only new texts are encoded:
items keep their indices, so that the vectors of the version before are the first rows.

Shapes: V items, N texts of a batch, L tokens, E width of text vectors.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray
from ray.exceptions import RayTaskError

from ray_userrep.corpus.items import TEXT_VECTOR
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.corpus.text import (
    Rewording,
    has_vectors,
    packaged_model,
    read_vectors,
    rewordings,
    texts_of,
    vectors_uri,
    write_vectors,
)
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect
from ray_userrep.prepare.devices import device_of_task, gpus_asked
from ray_userrep.recipe.corpus import TextConfig

_ROWS_PER_TASK = 2048


def ensure_text_vectors(corpus: Corpus, config: TextConfig, use_gpu: bool | None = None) -> None:
    """Encode the texts of a corpus that no earlier version has vectors of; says how many items have none.

    On GPUs where the cluster has some and `use_gpu` is not false.

    Raises:
        UserError: the log has no texts, or the model cannot be loaded or does not encode text.
    """
    for reword in rewordings(config).values():
        _ensure(corpus, reword, config, use_gpu)


def _ensure(corpus: Corpus, reword: Rewording, config: TextConfig, use_gpu: bool | None) -> None:
    texts = reword(texts_of(corpus.items()))
    uri = vectors_uri(corpus, texts, config)
    if has_vectors(uri):
        return
    there = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
    rows = pa.table({"row": pa.array(np.arange(len(texts))), "text": texts}).filter(there)
    if not rows.num_rows:
        raise UserError(f"the text of all {len(texts):,} items of {corpus.uri} is empty: there is nothing to encode")
    vectors_VE = _from_earlier(corpus, texts, reword, config)
    encoded_V = np.zeros(len(texts), bool) if vectors_VE is None else np.any(vectors_VE, axis=1)
    new = rows.filter(pa.array(~encoded_V[rows["row"].to_numpy()]))
    print(f"text      encoding {new.num_rows:,} texts, {len(texts) - rows.num_rows:,} items have none", flush=True)
    if new.num_rows:
        model = model_path(config)
        num_gpus = gpus_asked(use_gpu)
        width = _width(model, config.max_tokens, new["text"][0].as_py(), num_gpus)
        vectors_VE = np.zeros((len(texts), width), np.float32) if vectors_VE is None else vectors_VE
        encoded = _encoded(new, model, config, num_gpus)
        _fill(vectors_VE, encoded.iter_batches(batch_size=None, batch_format="pyarrow"))
    assert vectors_VE is not None, "without vectors every text is new"
    write_vectors(uri, _rows_of(vectors_VE))


def _from_earlier(
    corpus: Corpus, texts: pa.ChunkedArray, reword: Rewording, config: TextConfig
) -> NDArray[np.float32] | None:
    """Vectors of the newest version this one was appended to that has some, zeros where the text is new, `[V, E]`."""
    if corpus.manifest.parent is None:
        return None
    earlier = open_corpus(corpus.uri, corpus.manifest.parent)
    if "text" not in earlier.items().table.column_names:
        return None
    their_texts = reword(texts_of(earlier.items()))
    uri = vectors_uri(earlier, their_texts, config)
    if not has_vectors(uri):
        return _from_earlier(earlier, texts, reword, config)
    column = read_vectors(uri).combine_chunks()
    theirs_VE = column.flatten().to_numpy().reshape(len(their_texts), -1)
    same_V = pc.fill_null(pc.equal(their_texts, texts[: len(their_texts)]), False).to_numpy()  # indices stay
    vectors_VE = np.zeros((len(texts), theirs_VE.shape[1]), np.float32)
    vectors_VE[: len(theirs_VE)][same_V] = theirs_VE[same_V]
    return vectors_VE


def _width(model: str, max_tokens: int, text: str, num_gpus: float) -> int:
    """The width of the model's vectors, tried out on one text.

    Raises:
        UserError: the model cannot be loaded or does not encode text.
    """
    connect()
    attempt = ray.remote(lambda: TextEncoder(model, max_tokens, num_gpus).encode([text]).shape[1])
    try:
        return int(ray.get(attempt.options(num_gpus=num_gpus).remote()))
    except RayTaskError as error:
        cause = (str(error.cause).strip() or repr(error.cause)).splitlines()[0].rstrip(" .:")
        raise UserError(
            f"text.encoder {model!r} cannot be used: {cause}; name a transformers text encoder that is here or can be "
            "downloaded"
        ) from error


def _encoded(rows: pa.Table, model: str, config: TextConfig, num_gpus: float) -> "ray.data.Dataset":
    """Row numbers and vectors, in any order; actors have a GPU each where the cluster has some."""
    num_actors = int(ray.cluster_resources().get("GPU" if num_gpus else "CPU", 1))
    rows = rows.take(pc.sort_indices(pc.utf8_length(rows["text"])))  # texts of like length need little padding
    # Cut here: tasks that cut would wait for a core which, where there is but one, an actor has.
    blocks = [rows.slice(start, _ROWS_PER_TASK) for start in range(0, rows.num_rows, _ROWS_PER_TASK)]
    return ray.data.from_arrow(blocks).map_batches(
        TextEncoder,
        fn_constructor_args=(model, config.max_tokens, num_gpus),
        batch_size=config.batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, num_actors)),
        num_gpus=num_gpus,
    )


def model_path(config: TextConfig) -> str:
    """The model's name or folder.

    Raises:
        UserError: none is named and the package that brings one is not installed.
    """
    return config.encoder if config.encoder is not None else packaged_model("text.encoder")


class TextEncoder:
    """An actor with a model: the mean of the last states of a text's tokens, scaled to length one."""

    def __init__(self, model: str, max_tokens: int, num_gpus: float) -> None:
        # Here, as a log without texts is prepared without the seconds that it takes to import.
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        loaded: Any = AutoModel.from_pretrained(model)
        self._device = device_of_task(num_gpus)
        self._model = loaded.eval().to(self._device)
        # A longer text than the model has positions for is cut, not an error of its embedding table.
        positions = getattr(loaded.config, "max_position_embeddings", None) or max_tokens
        self._max_tokens = min(max_tokens, self._tokenizer.model_max_length, positions)

    def __call__(self, batch: pa.Table) -> pa.Table:
        vectors_NE = self.encode(batch.column("text").to_pylist())
        return pa.table({"row": batch.column("row"), TEXT_VECTOR: _rows_of(vectors_NE)})

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of the texts, float32, `[N, E]`."""
        import torch

        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            states_NLE = self._model(**tokens).last_hidden_state
        is_token_NL1 = tokens["attention_mask"][..., None]
        mean_NE = (states_NLE * is_token_NL1).sum(1) / is_token_NL1.sum(1).clamp(min=1)
        vectors_NE: NDArray[np.float32] = torch.nn.functional.normalize(mean_NE, dim=1).float().cpu().numpy()
        return vectors_NE


def _fill(vectors_VE: NDArray[np.float32], parts: Iterable[pa.Table]) -> None:
    for part in parts:
        vectors = part.column(TEXT_VECTOR).combine_chunks()
        vectors_VE[part.column("row").to_numpy()] = vectors.flatten().to_numpy().reshape(-1, vectors_VE.shape[1])


def _rows_of(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
