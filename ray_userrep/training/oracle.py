"""The vectors that an encoder that looks into a graph learns to foresee: of what is trained on alone.

Items' oracle vectors are the leading right singular vectors of who took what, by tf-idf, each times the root of its
singular value; a user's is the mean of those of their items (inspired by PT-GNN, whose oracles come with its data).
Every worker makes them by itself: the same numbers on like machines. Users that a split holds out for validation have
one, too, of all that they did, so that it can be told what is foreseen of new users; those held out for test have none.

Shapes: U warm users, V items, W users of a bucket, N interactions of a bucket, D width.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.splits import NONE, Split
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.simple_vectors import tf_idf
from ray_userrep.objectives.reconstruct import Oracle
from ray_userrep.recipe.encoder import EncoderConfig, GNNConfig

Vectors = NDArray[np.float32]


def read_oracle(config: EncoderConfig, corpus: Corpus, split: Split, graph: UserItemGraph) -> Oracle:
    """Oracle vectors as wide as the encoder's.

    Raises:
        UserError: there are too few warm users or items for that.
    """
    assert isinstance(config.backbone, GNNConfig), "refused where it is none"
    items_VD, warm_above = _items(graph, config.width), config.backbone.warm_above
    parts = [graph, *(_validating(corpus.bucket(n), split, items_VD, warm_above) for n in corpus.buckets())]
    hashes = np.concatenate([part.users_U for part in parts])
    vectors = np.concatenate([_means(part, items_VD) for part in parts])
    order = np.argsort(hashes)
    return Oracle(hashes[order], vectors[order], items_VD)


def _items(graph: UserItemGraph, width: int) -> Vectors:
    """Vectors of the warm items; NaN in the rows of others."""
    is_warm_V = graph.users_of.value_lengths().to_numpy() > 0
    num_users, num_warm = len(graph.users_U), int(is_warm_V.sum())
    if width >= min(num_users, num_warm):
        raise UserError(
            f"encoder.width {width}: oracle vectors need more warm users and items than that, and there are "
            f"{num_users} and {num_warm}: lower it, or encoder.backbone.warm_above"
        )
    _, item_E = graph.edges()
    taken = Sequences(item_E, np.zeros_like(item_E), graph.items_of.offsets.to_numpy(), graph.users_U)
    factors = TruncatedSVD(width, random_state=0).fit(tf_idf(taken, len(is_warm_V)))
    vectors_VD = factors.components_.T * np.sqrt(factors.singular_values_)
    return np.where(is_warm_V[:, None], vectors_VD, np.nan).astype(np.float32)


def _validating(bucket: Bucket, split: Split, items_VD: Vectors, warm_above: int) -> UserItemGraph:
    """The warm items of a bucket's users who are held out whole for validation, where there are enough."""
    cut = split.positions(bucket)
    rows = np.flatnonzero((cut.valid_U != NONE) & (cut.train_end_U == 0))
    asked = bucket.heads(rows, bucket.lengths_U[rows])
    is_warm_N = ~np.isnan(items_VD[asked.items_N, 0])
    is_kept_N = is_warm_N & np.repeat(asked.counts(is_warm_N) > warm_above, asked.lengths_U)
    hash_N = np.repeat(asked.user_hash_U, asked.lengths_U)
    return UserItemGraph.of(hash_N[is_kept_N], asked.items_N[is_kept_N], len(items_VD))


def _means(graph: UserItemGraph, items_VD: Vectors) -> Vectors:
    """The mean of each user's items, of which none is without a vector."""
    lengths_U, item_E = graph.items_of.value_lengths().to_numpy(), graph.edges()[1]
    shares_E, shape = np.repeat(1 / lengths_U, lengths_U), (len(lengths_U), len(items_VD))
    shares_UV = csr_matrix((shares_E, item_E, graph.items_of.offsets.to_numpy()), shape)
    return (shares_UV @ np.nan_to_num(items_VD)).astype(np.float32)
