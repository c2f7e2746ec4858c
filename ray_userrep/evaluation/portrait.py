"""What a page shows of an encoder beside its figures: the nearest items of common ones, and users on a plane.

Nothing here is measured; what cannot be made is said in its place and ends no run.
"""

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ray_userrep.corpus.sampling import order_keys
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences, sequences_of
from ray_userrep.evaluation.profile import Features, read_vectors

_MAP_USERS, _ITEMS_SHOWN, _NEIGHBOURS = 1000, 6, 5
_FEWEST_USERS = 5  # fewer make no map


def nearest_items(encoder: UserEncoder) -> dict[str, list[tuple[str, float]]]:
    """The commonest items that have names, each with those of the nearest vectors and their cosines."""
    table = encoder.item_table
    texts = table.texts() if table is not None else None
    if texts is None:
        return {}
    with torch.inference_mode():
        vectors_VD = torch.nn.functional.normalize(encoder.items(None).float().cpu(), dim=1)
    shown = [index for index, text in enumerate(texts) if text][:_ITEMS_SHOWN]
    cosines, found = (vectors_VD[shown] @ vectors_VD.T).topk(min(_NEIGHBOURS + 1, len(vectors_VD)))
    return {
        texts[item]: [(texts[j] or "?", float(c)) for j, c in zip(found[i], cosines[i], strict=True) if j != item][
            :_NEIGHBOURS
        ]
        for i, item in enumerate(shown)
    }


def map_of_users(corpus: Corpus, encoder: UserEncoder) -> dict[str, Any] | None:
    """User vectors on a plane, with the first attribute that the log has of each; None where it has none.

    `xy` and `labels` are aligned; `failed` says why there are none.
    """
    attribute = next((name for name in corpus.user_columns() if name != "user_id"), None)
    if attribute is None:
        return None
    found: dict[str, Any] = {"attribute": attribute, "xy": [], "labels": [], "failed": None}
    try:
        ids, histories = _some(corpus, encoder)
        xy_U2 = _plane(read_vectors(encoder, histories))
    except UserError as error:
        return found | {"failed": str(error)}
    except Exception as error:  # a picture's input is worth less than the result that it stands beside
        return found | {"failed": f"{type(error).__name__}: {error}"}
    users = corpus.users_of(histories.users_U)
    label_of = dict(zip(users["user_id"].to_pylist(), users[attribute].to_pylist(), strict=True))
    return found | {"xy": xy_U2.round(3).tolist(), "labels": [str(label_of.get(user)) for user in ids]}


def _plane(vectors_UD: Features) -> Features:
    if not np.ptp(vectors_UD, axis=0).any():  # scikit-learn 1.x crashes on points in one place
        raise UserError("all users have the same vector")
    reduced = PCA(min(30, *vectors_UD.shape), random_state=0).fit_transform(vectors_UD)
    perplexity = min(30.0, (len(vectors_UD) - 1) / 3)
    plane: Features = TSNE(random_state=0, init="pca", perplexity=perplexity, n_jobs=-1).fit_transform(reduced)
    return plane


def _some(corpus: Corpus, encoder: UserEncoder) -> tuple[list[Any], Sequences]:
    """Ids and histories of users with at least five interactions, so many as the map shows.

    Raises:
        UserError: they are too few for a map.
    """
    ids: list[Any] = []
    histories: list[Sequences] = []
    for number in corpus.buckets():
        bucket = corpus.bucket(number, encoder.side_columns)
        told = np.flatnonzero(bucket.lengths_U >= 5)
        rows = told[np.argsort(order_keys(bucket.user_hash_U[told]))[: _MAP_USERS - len(ids)]]
        ids += bucket.user_ids.take(rows).to_pylist()
        histories.append(sequences_of(bucket).take(rows))
        if len(ids) == _MAP_USERS:
            break
    if len(ids) < _FEWEST_USERS:
        raise UserError(f"only {len(ids)} users have five interactions")
    return ids, Sequences.concat(histories)
