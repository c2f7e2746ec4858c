"""The small corpus whose users are encoded."""

from tests.training.conftest import corpus, recipe

__all__ = ["corpus", "recipe"]
