"""The corpora written by hand that are fed from."""

from tests.corpus.conftest import corpus, write_corpus

__all__ = ["corpus", "write_corpus"]
