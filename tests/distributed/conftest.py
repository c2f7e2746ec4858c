"""The small corpus and recipe that workers train on, and the log of whole jobs."""

from tests.training.conftest import corpus, recipe
from tests.workflows.conftest import small, write_log

__all__ = ["corpus", "recipe", "small", "write_log"]
