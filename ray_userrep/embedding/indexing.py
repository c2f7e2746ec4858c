"""An index is built from what embed wrote, and measured beside a search of everything before it is used.

Its form goes by size. Up to 50,000 vectors all are compared. Above, they lie in lists around centres, of which a query
reads the nearest ones: as many as find the share of true neighbours that is asked for, on one half of a sample of
queries; the other half says what that share is. From two million on numbers have half precision. While it is built all
vectors are in memory in float32, for a moment twice.

Shapes: N vectors, F numbers of a vector, Q queries, K neighbours.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.embedding.index import ABOUT, IDS, VECTORS, Of, faiss, others, unit
from ray_userrep.embedding.outputs import ITEMS, SUMMARY, refuse_occupied, whole_or_nothing
from ray_userrep.errors import UserError
from ray_userrep.recipe.embedding import IndexConfig

K = 10
_FLAT, _FULL = 50_000, 2_000_000
_QUERIES = 1000  # to choose with; and as many to measure with
_SEEN_PER_LIST, _ROUNDS = 64, 10  # of k-means: more move the centres little
_TIES = 1e-6


class Exact(NamedTuple):
    """Queries, by their rows, the cosine of each one's tenth true neighbour, and how many a search of all answers."""

    rows_Q: NDArray[np.int64]
    tenth_Q: NDArray[np.float32]
    per_second: float


def build_index(vectors: str, output: str, config: IndexConfig) -> dict[str, Any]:
    """Index the vectors of a folder that embed wrote; returns what is written as `index.json`, last.

    Raises:
        UserError: the output folder holds something; there are no such vectors, or those of several days; or faiss is
            missing.
    """
    refuse_occupied(output)
    faiss()
    made_from = _summary(vectors)
    ids, x_NF = _read(vectors, config.of)
    index, figures = indexed(x_NF, config.recall)
    named = {name: made_from[name] for name in ("encoder", "encoder_fingerprint", "corpus", "corpus_version")}
    about = {"of": config.of, "vectors": vectors, "number": len(ids), "width": x_NF.shape[1]} | figures | named
    with whole_or_nothing(output):
        with storage.local_file(storage.join(output, VECTORS)) as path:
            faiss().write_index(index, str(path))
        storage.write_parquet(storage.join(output, IDS), pa.table({"id": ids}), dictionary=False)
        sums = {name: storage.file_checksum(storage.join(output, name)) for name in (VECTORS, IDS)}
        storage.write_json(storage.join(output, ABOUT), about | {"checksums": sums})
    return about


def indexed(x_NF: NDArray[np.float32], recall: float) -> tuple[Any, dict[str, Any]]:
    """An index of vectors of length one, and its figures: what it finds of the true ten nearest, and how fast.

    Raises:
        UserError: there are fewer than two.
    """
    if len(x_NF) < 2:
        raise UserError(f"there are {len(x_NF)} vectors: nearest ones take two")
    began = time.perf_counter()
    index = _filled(x_NF)
    seconds = time.perf_counter() - began
    choose, measure = (_exact(x_NF, rows) for rows in _samples(len(x_NF)))
    lists = _lists_read(index, x_NF, choose, recall)
    found, per_second = _recall(index, x_NF, measure)
    return index, {
        "form": form(len(x_NF)),
        "lists_read": lists,
        "recall@10": found,
        "queries_per_second": {"index": per_second, "exact": measure.per_second},
        "queries": len(measure.rows_Q),
        "threads": faiss().omp_get_max_threads(),
        "seconds": seconds,
    }


def form(number: int) -> str:
    """What an index of so many vectors is, in the words of faiss."""
    if number <= _FLAT:
        return "Flat"
    return f"IVF{round(4 * number**0.5)},{'Flat' if number < _FULL else 'SQfp16'}"


def _filled(x_NF: NDArray[np.float32]) -> Any:
    number, width = x_NF.shape
    index = faiss().index_factory(width, form(number), faiss().METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.cp.niter, index.cp.max_points_per_centroid = _ROUNDS, _SEEN_PER_LIST
        seen = np.random.default_rng(0).choice(number, min(number, _SEEN_PER_LIST * index.nlist), replace=False)
        index.train(x_NF[np.sort(seen)])
        index.set_direct_map_type(faiss().DirectMap.Array)  # vectors can be read back by their rows
    index.add(x_NF)
    return index


def _samples(number: int) -> list[NDArray[np.int64]]:
    """Rows to ask with, drawn without replacement, in two halves."""
    drawn = np.random.default_rng(1).permutation(number)[: 2 * _QUERIES]
    return np.array_split(drawn, 2)


def _exact(x_NF: NDArray[np.float32], rows_Q: NDArray[np.int64]) -> Exact:
    metric = faiss().METRIC_INNER_PRODUCT
    (cosines_QK, found_QK), per_second = _timed(
        len(rows_Q), lambda: faiss().knn(x_NF[rows_Q], x_NF, _asked(x_NF), metric)
    )
    _, cosines_QK = others(rows_Q, _asked(x_NF) - 1, found_QK, cosines_QK)
    return Exact(rows_Q, cosines_QK[:, -1], per_second)


def _lists_read(index: Any, x_NF: NDArray[np.float32], exact: Exact, recall: float) -> int | None:
    """Have an index read as many lists as the recall takes, by doubling; None where there are none."""
    if not hasattr(index, "nprobe"):
        return None
    index.nprobe = 1
    while _recall(index, x_NF, exact)[0] < recall and index.nprobe < index.nlist:
        index.nprobe = min(2 * index.nprobe, index.nlist)
    return int(index.nprobe)


def _recall(index: Any, x_NF: NDArray[np.float32], exact: Exact) -> tuple[float, float]:
    """The share of the true neighbours that is found, and queries a second; as good as the tenth is a true one."""
    (_, found_QK), per_second = _timed(len(exact.rows_Q), lambda: index.search(x_NF[exact.rows_Q], _asked(x_NF)))
    (found_QK,) = others(exact.rows_Q, _asked(x_NF) - 1, found_QK)
    cosines_QK = np.einsum("qf,qkf->qk", x_NF[exact.rows_Q], x_NF[found_QK])
    is_true_QK = (cosines_QK >= exact.tenth_Q[:, None] - _TIES) & (found_QK >= 0)
    return float(is_true_QK.mean()), per_second


def _asked(x_NF: NDArray[np.float32]) -> int:
    """How many are asked for: one is the query itself."""
    return min(K + 1, len(x_NF))


def _timed(number: int, search: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    found = search()
    return found, number / (time.perf_counter() - began)


def _summary(folder: str) -> dict[str, Any]:
    place = storage.join(folder, SUMMARY)
    if not storage.exists(place):
        raise UserError(f"no {place}: name the output folder of an embed that ended")
    summary = storage.read_object(place)
    if not summary["rows"]:
        raise UserError(f"{folder} has no vectors: none of its users was in the corpus")
    if isinstance(summary["until"], list) and len(summary["until"]) > 1:
        raise UserError(f"{folder} has vectors as of {len(summary['until'])} days: embed with one embedding.until")
    return summary


def _read(folder: str, of: Of) -> tuple[pa.Array, NDArray[np.float32]]:
    """Ids and vectors of length one."""
    key, places = "user_id", [file.uri for file in storage.list_files(folder, ".parquet")]
    if of == "items":
        key, places = "item_id", [storage.join(folder, ITEMS)]
        if not storage.exists(places[0]):
            raise UserError(f"{folder} has no vectors of items: embed with embedding.items true")
    ids, parts = [], []
    for place in places:
        table = storage.read_parquet(place, [key, "vector"])
        ids += table[key].chunks
        parts += [_unit_rows(chunk) for chunk in table["vector"].chunks]
    return pa.concat_arrays(ids), np.concatenate(parts)


def _unit_rows(vectors: pa.FixedSizeListArray) -> NDArray[np.float32]:
    numbers = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return unit(numbers.reshape(len(vectors), vectors.type.list_size))
