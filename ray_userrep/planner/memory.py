"""Bytes on one GPU: model states by ZeRO stage, what autograd keeps for the backward pass, and working buffers.

Weights are fp32 also where the products are bf16, as `training.zero` sets DeepSpeed up: autocast keeps bf16 copies
beside them. The figures are those of this package's own modules, counted layer by layer; only the Transformer's
activations are worked out.

Shapes: T tokens of a micro-batch, V items, D width, F hidden width, H heads, L layers, W workers.
"""

from typing import NamedTuple, assert_never

import torch

from ray_userrep.encoder.backbones.transformer import SwiGLU
from ray_userrep.encoder.items.build import build_items
from ray_userrep.encoder.items.rows import row_tables
from ray_userrep.errors import UserError
from ray_userrep.planner.accounting import Catalogue
from ray_userrep.recipe.encoder import EncoderConfig, RowItemsConfig, TransformerConfig
from ray_userrep.recipe.objective import (
    AutoregressiveConfig,
    FullSoftmaxConfig,
    InBatchSoftmaxConfig,
    ObjectiveConfig,
    SampledSoftmaxConfig,
)
from ray_userrep.recipe.train import ZeroConfig

_FP32, _BF16 = 4, 2
_INDEX = 8
_ADAM = 2 * _FP32
_BUCKET = 500_000_000  # elements that DeepSpeed reduces together
_LIVE = 1_000_000_000  # parameters that stage 3 keeps gathered
_CHUNK_LOGITS = 2**26  # of the full softmax, on a GPU


class Memory(NamedTuple):
    """Bytes on one GPU, and those of the host's memory that its worker takes by offloading."""

    parameters: float
    gradients: float
    optimizer: float
    activations: float
    softmax: float
    buffers: float
    host: float = 0.0

    @property
    def states(self) -> float:
        """Model states on the GPU."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def total(self) -> float:
        """All that is on the GPU."""
        return self.states + self.activations + self.softmax + self.buffers


def item_parameters(encoder: EncoderConfig, catalogue: Catalogue) -> int:
    """Parameters of the item embedder, without making it."""
    with torch.device("meta"):
        items = build_items(encoder.items, catalogue.num_items, encoder.width, catalogue.text_width, None)
    tables = [table.weight for table in row_tables(items)]
    kept = min(encoder.bag_kept, encoder.bag_width)
    bag = catalogue.num_items * (encoder.bag_width + 1) + kept * encoder.bag_width if encoder.bag_width else 0
    return sum(weight.numel() for weight in [*items.parameters(), *tables]) + bag


def row_numbers(encoder: EncoderConfig, catalogue: Catalogue) -> int:
    """How many of the item embedder's are trained by rows."""
    return catalogue.num_items * encoder.width if isinstance(encoder.items, RowItemsConfig) else 0


def model_states(num_parameters: float, zero: ZeroConfig, world: int, in_rows: float = 0.0) -> Memory:
    """Bytes of parameters, gradients and optimiser states (ZeRO: Rajbhandari et al. 2020, section 5).

    So many numbers more are trained by rows: a rank holds its share of them and of their moments, at every stage.
    Stages 1 to 3 update an fp32 copy of a rank's share, which DeepSpeed keeps also where the weights are fp32 already.
    Under stage 2 the gradient of a parameter that the border of a share cuts may be held whole beside: it is left out.
    """
    share, rows = num_parameters / world, in_rows / world
    whole, part = _FP32 * num_parameters, _FP32 * share
    held, moments = _FP32 * rows, _ADAM * rows
    if zero.stage == 0:
        optimizer = _ADAM * num_parameters + moments
        return Memory(whole + held, whole, optimizer, 0, 0, _FP32 * min(num_parameters, _BUCKET))
    parameters = part if zero.stage == 3 else whole
    gradients = whole if zero.stage == 1 else part
    optimizer, host = part + _ADAM * share, 0.0
    if zero.offload_optimizer == "cpu":  # gradients follow the states that they update
        optimizer, host = 0.0, optimizer + part
        gradients = whole if zero.stage == 1 else 0.0
    if zero.offload_parameters == "cpu":
        parameters, host = 0.0, host + part
    live = _FP32 * min(num_parameters, _LIVE) if zero.stage == 3 else 0
    return Memory(parameters + held, gradients, optimizer + moments, 0, 0, _FP32 * _BUCKET + live, host)


def activations(encoder: EncoderConfig, tokens: float, is_half: bool, on_gpu: bool = True) -> float:
    """Bytes that autograd saves for the backward pass of so many tokens, parameters not counted.

    The residual stream is fp32 also under autocast. Without the varlen kernel (on CPU, or in fp32) attention works on
    padded copies; the padding itself is not counted.

    Raises:
        UserError: the backbone is no Transformer.
    """
    backbone, width = encoder.backbone, encoder.width
    if not isinstance(backbone, TransformerConfig):
        raise UserError(f"encoder.backbone.kind {backbone.kind}: a plan knows the activations of a transformer only")
    element = _BF16 if is_half else _FP32
    jagged = is_half and on_gpu
    mask = 1 if on_gpu else element
    inside = (_BF16 if jagged else _FP32) * (3 + 1 - jagged) * width  # q, k, v, and what comes of them at each place
    attention = 2 * element * width + inside + _FP32 * backbone.num_heads
    masks = 2 * mask * width if backbone.dropout else 0
    gates = 2 * (2 * element + (_BF16 if is_half else 0)) * width if backbone.gated else 0
    ffn = element * (width + _ffn(backbone, width))
    # On CPUs an RMS norm works its scale out again.
    norm = _FP32 * (width + 2 if backbone.norm == "layer" else width + 1 if on_gpu else width)
    layer = 2 * norm + attention + masks + gates + ffn
    entry = (1 if on_gpu else _FP32) * width if encoder.dropout else 0
    entry += _INDEX * (1 + 2 * (not jagged) + (backbone.positions == "learned"))
    turn = _FP32 * (width // backbone.num_heads) if backbone.positions == "rotary" else 0
    return float(tokens * (backbone.num_layers * layer + norm + entry + turn))


def _ffn(backbone: TransformerConfig, width: int) -> int:
    """Elements a token that the feed-forward keeps: both halves and their gated product, or two of GELU's."""
    if backbone.ffn == "swiglu":
        with torch.device("meta"):
            return 3 * SwiGLU(width, backbone.ffn_mult).down.in_features
    return 2 * round(width * backbone.ffn_mult)


def softmax_bytes(
    objective: ObjectiveConfig, encoder: EncoderConfig, catalogue: Catalogue, tokens: float, batch_tokens: float
) -> float:
    """What next-item prediction keeps: gradients made ahead by the full softmax, or the logits of a sampled one.

    In-batch negatives are all of a global batch's, of `batch_tokens`.

    Raises:
        UserError: the objective is another.
    """
    if not isinstance(objective, AutoregressiveConfig):
        raise UserError(f"objective.kind {objective.kind}: a plan knows autoregressive only")
    match objective.softmax:
        case FullSoftmaxConfig():
            kept = _FP32 * (tokens + catalogue.num_items) * encoder.width
            return kept + 2 * _FP32 * min(_CHUNK_LOGITS, tokens * catalogue.num_items)
        case SampledSoftmaxConfig(num_negatives=num_negatives):
            return 3 * _FP32 * tokens * (num_negatives + 1)
        case InBatchSoftmaxConfig():
            return 3 * _FP32 * tokens * (batch_tokens + 1)
        case never:
            assert_never(never)
