"""The text of an item as a vector: the last layers of a language model, trained with everything else.

What the frozen layers below make of a text is stored with the item table, a megabyte for a hundred titles: in
training only the top runs, jagged, over the tokens that there are. The layers are BERT's (Devlin et al., NAACL 2019):
norms after each branch, biases everywhere, no dropout. Their states are averaged over a text's tokens, which is what
sentence encoders are trained for, and mapped.

Shapes: N texts, T tokens of all of them, E width of the language model, H heads, D width.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import cached_file

from ray_userrep.corpus.items import TEXT_STATES, ItemTable
from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.text import packaged_model
from ray_userrep.encoder.backbones.attention import AttentionLayout, attend, attention_layout, has_varlen
from ray_userrep.encoder.items.content import Content, Head, Tower, Weights
from ray_userrep.encoder.readout import readout
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import LanguageItemsConfig

_EPSILON = 1e-12  # of BERT's norms


class LanguageTower(Tower):
    """The trained layers over stored states, and a map of their mean."""

    def __init__(self, config: LanguageItemsConfig, width: int, start: Weights | None = None) -> None:
        super().__init__()
        self._width, self._max_tokens = config.width, config.max_tokens
        last = 0 if start is None else 1 + max(int(name.split(".")[2]) for name in start)
        numbers = range(last - config.trained_layers, last)
        self.layers = nn.ModuleList(BertLayer(config, number, start) for number in numbers)
        self.head = Head(config.width, width)

    def attach(self, table: ItemTable) -> NDArray[np.bool_]:
        """Take the states of frozen layers.

        Raises:
            UserError: there are texts, and they have not been through those layers, or through others.
        """
        states, texts = table.states(TEXT_STATES), table.texts()
        if states is None:
            if any(text and text.strip() for text in texts or ()):
                raise UserError("encoder.items.kind language: texts of the item table lack their states")
            return np.zeros(len(table), bool)
        lengths_V = states.value_lengths().fill_null(0).to_numpy()
        if (lengths_V % self._width).any() or (lengths_V > self._width * self._max_tokens).any():
            raise UserError("encoder.items.kind language: states are of another width, or of more tokens")
        tokens_V, values_TE = lengths_V // self._width, states.flatten().to_numpy().reshape(-1, self._width)
        first_V = np.cumsum(tokens_V) - tokens_V

        def read(ids_N: NDArray[np.int64]) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
            return values_TE[ranges(first_V[ids_N], tokens_V[ids_N])], tokens_V[ids_N]

        self._read = read
        return tokens_V > 0

    def read(self, ids_N: NDArray[np.int64]) -> Content:
        if not len(ids_N):
            return {
                "states": torch.zeros(0, self._width, dtype=torch.float16),
                "offsets": torch.zeros(1, dtype=torch.int32),
            }
        states_TE, tokens_N = self._read(ids_N)
        offsets = np.concatenate([[0], np.cumsum(tokens_N)]).astype(np.int32)
        return {"states": torch.from_numpy(states_TE), "offsets": torch.from_numpy(offsets)}

    def forward(self, content: Content) -> Tensor:
        x_TE, offsets_N1 = content["states"].to(self.head.bias), content["offsets"]
        if len(self.layers):
            first = self.layers[0]
            assert isinstance(first, BertLayer)
            layout = attention_layout(offsets_N1, self._max_tokens, False, has_varlen(x_TE, first.head_width))
            for layer in self.layers:
                x_TE = layer(x_TE, layout)
        vectors_ND: Tensor = self.head(readout(x_TE, offsets_N1, "mean"))
        return vectors_ND


class BertLayer(nn.Module):
    """norm(x + attention(x)), then norm(x + feed-forward(x))."""

    def __init__(self, config: LanguageItemsConfig, number: int, start: Weights | None) -> None:
        super().__init__()
        width, self._num_heads = config.width, config.num_heads
        self.head_width = width // config.num_heads
        name = f"encoder.layer.{number}."
        qkv = tuple(f"{name}attention.self.{part}" for part in ("query", "key", "value"))
        self.qkv = _Affine(width, 3 * width, _started(qkv, start))
        self.out = _Affine(width, width, _started((f"{name}attention.output.dense",), start))
        self.attention_norm = _Norm(width, _started((f"{name}attention.output.LayerNorm",), start))
        self.up = _Affine(width, config.hidden, _started((f"{name}intermediate.dense",), start))
        self.down = _Affine(config.hidden, width, _started((f"{name}output.dense",), start))
        self.ffn_norm = _Norm(width, _started((f"{name}output.LayerNorm",), start))

    def forward(self, x_TE: Tensor, layout: AttentionLayout) -> Tensor:
        """States of every token, `[T, E]`."""
        qkv_T3HE = self.qkv(x_TE).unflatten(-1, (3, self._num_heads, -1))
        x_TE = self.attention_norm(x_TE + self.out(attend(qkv_T3HE, layout).flatten(1)))
        y_TE: Tensor = self.ffn_norm(x_TE + self.down(F.gelu(self.up(x_TE))))
        return y_TE


class _Start(NamedTuple):
    weight: Tensor
    bias: Tensor


class _Affine(nn.Module):
    """A linear map with a bias."""

    def __init__(self, in_width: int, out_width: int, start: _Start | None) -> None:
        super().__init__()
        drawn = start or _Start(torch.empty(out_width, in_width), torch.empty(out_width))
        self.weight, self.bias = nn.Parameter(drawn.weight), nn.Parameter(drawn.bias)

    def forward(self, x_TE: Tensor) -> Tensor:
        return F.linear(x_TE, self.weight, self.bias)


class _Norm(nn.Module):
    """LayerNorm with BERT's epsilon."""

    def __init__(self, width: int, start: _Start | None) -> None:
        super().__init__()
        self._width = width
        drawn = start or _Start(torch.empty(width), torch.empty(width))
        self.weight, self.bias = nn.Parameter(drawn.weight), nn.Parameter(drawn.bias)

    def forward(self, x_TE: Tensor) -> Tensor:
        return F.layer_norm(x_TE, (self._width,), self.weight, self.bias, eps=_EPSILON)


def _started(names: tuple[str, ...], start: Weights | None) -> _Start | None:
    """Weights and biases of maps of the language model, side by side."""
    if start is None:
        return None
    return _Start(*(torch.cat([start[f"{name}.{part}"].float() for name in names]) for part in ("weight", "bias")))


def pretrained_weights(config: LanguageItemsConfig) -> Weights:
    """The layers of the language model that are trained, by their names in it.

    Raises:
        UserError: the model is not here, has too few layers or is of another shape.
    """
    place = config.model if config.model is not None else packaged_model("encoder.items.model")
    try:
        file = cached_file(place, "model.safetensors")
    except OSError as error:
        raise UserError(f"encoder.items.model {place}: {' '.join(str(error).split())}") from error
    assert file is not None, "a file that is not there is an error"
    with safe_open(file, "pt") as weights:
        there = [name for name in weights.keys() if "encoder.layer." in name]  # noqa: SIM118 (it is no dict)
        names = {name[name.find("encoder.layer.") :]: name for name in there}
        number = 1 + max((int(name.split(".")[2]) for name in names), default=-1)
        if number < config.trained_layers:
            raise UserError(f"encoder.items.trained_layers {config.trained_layers}: {place} has {number} layers")
        first = number - config.trained_layers
        found = {own: weights.get_tensor(name) for own, name in names.items() if int(own.split(".")[2]) >= first}
    if found[f"encoder.layer.{first}.intermediate.dense.weight"].shape != (config.hidden, config.width):
        raise UserError(f"encoder.items: {place} has another width or hidden than {config.width} and {config.hidden}")
    return found
