"""Pictures drawn for tests, and a language model of a few thousand weights."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from transformers import BertConfig, BertModel

TINY = {"width": 8, "num_heads": 2, "hidden": 16}  # of the language model, as the recipe says it


def drawn(seed: int, kind: str = "PNG", size: tuple[int, int] = (20, 30)) -> bytes:
    """A picture of two colours that hang on the seed."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:] = rng.integers(0, 256, 3)
    pixels[: size[1] // 2] = rng.integers(0, 256, 3)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind)
    return target.getvalue()


def pictures(seeds) -> pa.Array:
    """A column of pictures, none for None."""
    return pa.array([None if seed is None else drawn(seed) for seed in seeds], pa.large_binary())


def states(seeds, width: int) -> pa.Array:
    """A column of states of two to four tokens, as if frozen layers had made them, none for None."""
    rows = [
        None if s is None else np.random.default_rng(s).normal(size=(2 + s % 3) * width).astype(np.float16)
        for s in seeds
    ]
    return pa.array(rows, pa.large_list(pa.float16()))


def tiny_bert(folder: Path) -> BertModel:
    """A BERT of three layers in a folder."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16,
        initializer_range=0.3,
    )  # fmt: skip
    model = BertModel(config).eval()
    model.save_pretrained(folder)
    return model
