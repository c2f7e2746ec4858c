"""The item table: the vocabulary and its aligned feature columns, memory-mapped, never parameters.

An item's index is its row. Arrow IPC costs a few more bytes than Parquet and opens without decoding, so that many
workers and servers share one copy of the pages.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.features import bucket_lists, lists_of, numbers_of
from ray_userrep.errors import UserError

FILE = "items.arrow"
TEXT_VECTOR = "text_vector"  # column of text vectors
REWORDED = "reworded_vector"  # column of vectors of the texts with words dropped; for training only
IMAGE = "image"  # column of pictures, as the bytes of their files
TEXT_STATES, IMAGE_STATES = "text_states", "image_states"  # columns of what frozen layers make of texts and pictures


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


_ALIKE = (pa.types.is_integer, _is_text)


class ItemTable:
    """Vocabulary plus aligned columns: `item_id` (int64 or string), `count`, and what the log offers (`text`, ...).

    Where the same table can be `read` again, it may be let go of while nobody asks for it.
    """

    def __init__(self, table: pa.Table, read: Callable[[], pa.Table] | None = None) -> None:
        if "item_id" not in table.column_names:
            raise UserError(f"item table: no column 'item_id' among {table.column_names}")
        self._table: pa.Table | None = table
        self._num_items, self._read = table.num_rows, read

    def __len__(self) -> int:
        return self._num_items

    @property
    def table(self) -> pa.Table:
        """All columns."""
        if self._table is None:
            assert self._read is not None, "only what can be read again is let go"
            self._table = self._read()
        return self._table

    @cached_property
    def ids(self) -> pa.Array:
        """The raw ids, `[V]`."""
        return self.table.column("item_id").combine_chunks()

    def release(self) -> None:
        """Let go of what can be read again, until somebody asks for it."""
        if self._read is not None:
            self._table = None
            self.__dict__.pop("ids", None)
            pa.default_memory_pool().release_unused()

    def index_of(self, ids: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        """Indices of raw ids, -1 where unknown; ids of another type than the table's are refused."""
        if not self.has_ids_like(ids):
            raise UserError(f"item ids are {ids.type}, the item table holds {self.ids.type}: convert them first")
        try:
            found = pc.index_in(ids.cast(self.ids.type), value_set=self.ids)
        except pa.ArrowInvalid as error:
            raise UserError(f"item ids do not fit {self.ids.type}, the type of the item table: {error}") from error
        return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def has_ids_like(self, ids: pa.Array | pa.ChunkedArray) -> bool:
        """Whether these ids are of the table's type, or integers or texts like its own."""
        return ids.type == self.ids.type or any(is_like(ids.type) and is_like(self.ids.type) for is_like in _ALIKE)

    def ids_of(self, indices: NDArray[np.integer]) -> pa.Array:
        """Raw ids at the given indices."""
        return self.ids.take(pa.array(indices))

    def counts(self) -> NDArray[np.int64]:
        """How often each item occurs in the corpus, `[V]`."""
        return self.table.column("count").to_numpy()

    def texts(self) -> list[str] | None:
        """Item texts where the log has them."""
        return self.table.column("text").to_pylist() if "text" in self.table.column_names else None

    def images(self) -> pa.LargeBinaryArray | None:
        """The picture of each item where the log has them, null where one has none; a column of texts is none."""
        kind = self.table.schema.field(IMAGE).type if IMAGE in self.table.column_names else None
        if kind is None or not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            return None
        return self.table.column(IMAGE).cast(pa.large_binary()).combine_chunks()

    def states(self, column: str) -> pa.LargeListArray | None:
        """What frozen layers make of each item where they were run, numbers an item, null where of nothing."""
        return self.table.column(column).combine_chunks() if column in self.table.column_names else None

    def categories(self) -> pa.ListArray | None:
        """The categories of each item where the log has them; text is split at `|`."""
        if "category" not in self.table.column_names:
            return None
        column = self.table.column("category").combine_chunks()
        return column if pa.types.is_list(column.type) else pc.split_pattern(column, "|")

    def prices(self) -> NDArray[np.float64] | None:
        """The price of each item where the log has them, NaN where it is not known."""
        if "price" not in self.table.column_names:
            return None
        return self.table.column("price").cast(pa.float64()).fill_null(np.nan).to_numpy()

    def features(
        self, columns: Sequence[str], numbers: Sequence[str] = (), buckets: int = 16
    ) -> dict[str, pa.ListArray]:
        """Columns of texts or lists, and numbers by their buckets: for each a list of texts an item, `[V]`.

        Raises:
            UserError: a column is not there, or of another kind.
        """
        told = {name: lists_of(self.table, name) for name in columns}
        return told | {name: bucket_lists(self.numbers(name), buckets) for name in numbers}

    def numbers(self, column: str) -> NDArray[np.float64]:
        """The numbers of a column, NaN where one is not known, `[V]`.

        Raises:
            UserError: there is no such column, or it holds other than numbers.
        """
        return numbers_of(self.table, column)

    def reworded_vectors(self) -> NDArray[np.float32] | None:
        """The vector of each item's text with words dropped where they were made, `[V, E]`."""
        return self._vectors(REWORDED)

    def text_vectors(self) -> NDArray[np.float32] | None:
        """The text vector of each item where they were made, zeros for an item without text, `[V, E]`."""
        return self._vectors(TEXT_VECTOR)

    def _vectors(self, name: str) -> NDArray[np.float32] | None:
        if name not in self.table.column_names:
            return None
        column = self.table.column(name).combine_chunks()
        return column.flatten().to_numpy().reshape(len(self), -1)

    def save(self, folder: str | Path) -> None:
        """Write the table into a local folder, without what only training wants; it may be the one it was read from."""
        table = self.table.select([name for name in self.table.column_names if name != REWORDED])
        # Beside the file that is there: this very table may be mapped from it.
        with storage.sink(str(Path(folder) / FILE)) as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())

    @staticmethod
    def load(folder: str | Path) -> "ItemTable":
        """Memory-map a saved table.

        Raises:
            UserError: the folder holds no item table, or a damaged one.
        """
        path = Path(folder) / FILE
        if not path.exists():
            raise UserError(f"no item table at {path}: the encoder folder is incomplete")
        try:
            return ItemTable(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"the item table at {path} cannot be read: {' '.join(str(error).split())}") from error
