"""The log's files that a corpus version was made from, by name and size: what an append leaves out.

They are a file of their own beside the manifest, which every reader loads and only an append wants them of.
"""

import pyarrow as pa

from ray_userrep import storage

FILE = "sources.parquet"


def write_sources(sources: dict[str, int], uri: str, build: str) -> str:
    """Write files with their sizes into a build of a corpus; returns the path in the corpus."""
    names = pa.array(sources.keys(), pa.string())
    path = f"{build}/{FILE}"
    storage.write_parquet(storage.join(uri, path), pa.table({"uri": names, "size": pa.array(sources.values())}))
    return path


def read_sources(uri: str, path: str) -> dict[str, int]:
    """The files of a corpus version with their sizes."""
    table = storage.read_parquet(storage.join(uri, path))
    return dict(zip(table["uri"].to_pylist(), table["size"].to_pylist(), strict=True))
