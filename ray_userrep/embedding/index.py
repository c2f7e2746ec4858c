"""An index of vectors on disk, opened to find the nearest users or items by cosine.

It lies in memory as a whole while it is open, and answers approximately where it is large: its `index.json` says how
much of a full search it finds. It knows which encoder made its vectors, as those of another mean nothing beside them.

Shapes: Q queries, F numbers of a vector, K neighbours.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from ray_userrep import storage
from ray_userrep.encoder.folder import fingerprint, own_folder
from ray_userrep.encoder.top_k import Top, refuse_beyond
from ray_userrep.errors import UserError

Of = Literal["users", "items"]
ABOUT, VECTORS, IDS = "index.json", "index.faiss", "ids.parquet"


def faiss() -> ModuleType:
    """The package that searches.

    Raises:
        UserError: it is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise UserError("an index needs faiss, which is not installed: pip install 'ray_userrep[ann]'") from error
    return faiss


class VectorIndex:
    """The nearest of many stored vectors; `about` is what `index.json` says of them."""

    def __init__(self, about: dict[str, Any], index: Any, ids: pa.Array) -> None:
        self.about, self._index, self._ids = about, index, ids

    @classmethod
    def open(cls, folder: str, encoder: str | None = None) -> Self:
        """The index in a folder at any URI; name the encoder whose vectors you ask with, by its folder or run.

        Raises:
            UserError: there is no whole index, or it is of another encoder's vectors.
        """
        about = read_about(folder, encoder)
        for name, checksum in about["checksums"].items():
            if storage.file_checksum(storage.join(folder, name)) != checksum:
                raise UserError(f"the index {folder} is not whole: {name} was changed after it was written: index anew")
        return cls(about, _read(folder), storage.read_parquet(storage.join(folder, IDS))["id"].combine_chunks())

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> pa.Array:
        """The ids of its users or items, in the order of its rows."""
        return self._ids

    def nearest(self, vectors: ArrayLike, k: int = 10) -> pa.Table:
        """The `k` nearest of each vector by cosine, best first: lists of `users` (or `items`) and `scores`.

        Raises:
            UserError: the vectors are of another width, or there are no `k`.
        """
        vectors_QF = np.asarray(vectors, np.float32)
        width = self.about["width"]
        if vectors_QF.ndim != 2 or vectors_QF.shape[1] != width:
            raise UserError(f"vectors: takes rows of {width} numbers (given an array of shape {vectors_QF.shape})")
        refuse_beyond(k, len(self))
        scores_QK, rows_QK = self._index.search(unit(vectors_QF), k)
        return pa.table(self._lists(rows_QK, scores_QK))

    def nearest_users(self, user_ids: Iterable[Any], k: int = 10) -> pa.Table:
        """The `k` users most alike to each of these, themselves left out: `user_id`, lists of `users` and `scores`.

        Raises:
            UserError: it is an index of items; a user is not in it; there are no `k` others.
        """
        return self._alike("users", "user_id", user_ids, k)

    def nearest_items(self, item_ids: Iterable[Any], k: int = 10) -> pa.Table:
        """The `k` items most alike to each of these, themselves left out: `item_id`, lists of `items` and `scores`.

        Raises:
            UserError: it is an index of users; an item is not in it; there are no `k` others.
        """
        return self._alike("items", "item_id", item_ids, k)

    def _alike(self, of: Of, key: str, ids: Iterable[Any], k: int) -> pa.Table:
        if self.about["of"] != of:
            raise UserError(f"this is an index of {self.about['of']}, not of {of}: build another with --of {of}")
        asked = pa.array(list(ids), from_pandas=True)
        return pa.table({key: asked} | self.nearest_rows(self._rows(asked, key), k))

    def nearest_rows(self, rows_Q: NDArray[np.int64], k: int) -> dict[str, pa.ListArray]:
        """The `k` most alike to what stands in each of these rows, itself left out: lists by name.

        Raises:
            UserError: there are no `k` others.
        """
        refuse_beyond(k, len(self) - 1)
        scores_QK, rows_QK = self._index.search(unit(self._index.reconstruct_batch(rows_Q)), k + 1)
        return self._lists(*others(rows_Q, k, rows_QK, scores_QK))

    def _rows(self, asked: pa.Array, key: str) -> NDArray[np.int64]:
        try:
            found = pc.index_in(asked.cast(self._ids.type), value_set=self._ids)
        except pa.ArrowInvalid as error:
            raise UserError(f"{key}: takes ids of type {self._ids.type}, as they are in the index: {error}") from error
        if found.null_count:
            stranger = asked[found.is_null().index(True).as_py()].as_py()
            raise UserError(f"{key} {stranger!r} is not among the {len(self):,} of the index")
        return found.to_numpy().astype(np.int64)

    def _lists(self, rows_QK: NDArray[np.int64], scores_QK: NDArray[np.float32]) -> dict[str, pa.ListArray]:
        """Those of fewer than `K` in the lists that were read are shorter."""
        scores_QK = np.where(rows_QK < 0, -np.inf, scores_QK).astype(np.float32)
        found, scores = Top(rows_QK, scores_QK).lists(self._ids)
        return {self.about["of"]: found, "scores": scores}


def read_about(folder: str, encoder: str | None = None) -> dict[str, Any]:
    """What `index.json` of a folder says, of the vectors of this encoder where one is named.

    Raises:
        UserError: there is no such index.
    """
    place = storage.join(folder, ABOUT)
    if not storage.exists(place):
        raise UserError(f"no {place}: name the output folder of an index that ended")
    about = storage.read_object(place)
    if encoder is not None and fingerprint(own_folder(encoder)) != about["encoder_fingerprint"]:
        raise UserError(
            f"the index {folder} is of vectors of another encoder ({about['encoder']}) than {encoder}: "
            "embed with this one, and index anew"
        )
    return about


def unit(vectors_QF: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length one, whose products are cosines; those of nothing stay zeros."""
    lengths_Q1 = np.linalg.norm(vectors_QF, axis=1, keepdims=True)
    unit_QF: NDArray[np.float32] = vectors_QF / np.maximum(lengths_Q1, 1e-12)
    return unit_QF


def others(
    rows_Q: NDArray[np.int64], k: int, found_QK: NDArray[np.int64], *more_QK: NDArray[Any]
) -> list[NDArray[Any]]:
    """The first `k` of what was found for each row that are not the row itself, and what goes with them."""
    order_QK = np.argsort(found_QK == rows_Q[:, None], axis=1, kind="stable")[:, :k]
    return [np.take_along_axis(one, order_QK, 1) for one in (found_QK, *more_QK)]


def _read(folder: str) -> Any:
    if storage.is_local(folder):
        return faiss().read_index(storage.absolute(storage.join(folder, VECTORS)))
    with tempfile.TemporaryDirectory() as scratch:
        storage.download_dir(folder, scratch)
        return faiss().read_index(str(Path(scratch) / VECTORS))
