"""A catalogue for pyiceberg whose tables are named by their metadata file: a folder of data needs no other.

Imported by pyiceberg itself, by name, where that package is installed; it reads and never writes.
"""

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.table import StaticTable, Table


class FolderCatalog(NoopCatalog):
    """Tables by the place of their metadata."""

    def load_table(self, identifier: str | tuple[str, ...]) -> Table:
        """The table at one of its versions."""
        assert isinstance(identifier, str), "the place of a metadata file"
        return StaticTable.from_metadata(identifier, self.properties)
