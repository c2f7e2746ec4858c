"""Ciao, and Epinions in the same form: MATLAB's `rating.mat` and `trustnetwork.mat` (Tang et al. 2012).

Both are matrices that a single process holds in memory. Ratings are rows of user, item, category, rating and how
helpful the review was; there are no times, so that a user's items are a set, put in an order drawn by a hash (see
`untimed`).
Items have their categories; who trusts whom is a relation. Nothing is told of users.
"""

import io

import numpy as np
import pyarrow as pa

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import ColumnMapping, canonicalise
from ray_userrep.logs.dimensions import RELATED, keyed, related
from ray_userrep.logs.files import stem
from ray_userrep.logs.hive import refuse_range
from ray_userrep.logs.parts import whole
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import COLUMNS, joined, shuffled
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_RATINGS, _TRUST = "rating.mat", "trustnetwork.mat"


def recognise(names: list[str]) -> bool:
    """Both files."""
    return {_RATINGS, _TRUST} <= {stem(name) for name in names}


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of one data set.

    Raises:
        UserError: a file is missing, or is not what it should be.
    """
    by_stem = {stem(file.uri): file for file in files}
    missing = next((name for name in (_RATINGS, _TRUST) if name not in by_stem), None)
    if missing is not None:
        raise UserError(f"no {missing} among {len(files)} files")
    if config.columns:
        raise UserError(f"logs.columns: Ciao's layout has no columns to map, got {config.columns}")
    refuse_range(config, by_stem[_RATINGS].uri)
    kind = pa.string() if config.ids == "string" else pa.int64()
    ratings = _matrix(by_stem[_RATINGS], "rating", ("user", "item", "category", "rating"))
    raw = shuffled(ratings, user="user", item="item")
    mapping = ColumnMapping(COLUMNS | {"rating": "rating"}, kind, kind)
    categories = pa.table({"item_id": ratings["item"], "category": ratings["category"]})
    return Tables(
        whole(canonicalise(raw, mapping, by_stem[_RATINGS].uri, 0)),
        keyed(joined(categories, "category"), "item_id", kind, by_stem[_RATINGS].uri),
        None,
        "row",
        related(_matrix(by_stem[_TRUST], "trustnetwork", RELATED), kind, by_stem[_TRUST].uri),
    )


def _matrix(file: FileEntry, name: str, columns: tuple[str, ...]) -> pa.Table:
    """The first columns of a matrix of whole numbers."""
    from scipy.io import loadmat  # every reader is asked whether a log is its own

    wrong = UserError(f"{file.uri} is not in Ciao's layout, a matrix `{name}` of {len(columns)} columns or more")
    with storage.open_stream(file.uri) as source:
        data = io.BytesIO(source.read())
    try:
        matrix = np.asarray(loadmat(data)[name])
    except Exception as error:  # of scipy's own, of zlib, or of whatever its reading of bytes runs into
        raise wrong from error
    if matrix.ndim != 2 or matrix.shape[1] < len(columns):
        raise wrong
    return pa.table({column: matrix[:, place].astype(np.int64) for place, column in enumerate(columns)})
