"""DuckDB: a statement for each output over the files, ordered lists as aggregates; it may spill to disk."""

from pathlib import Path

import duckdb
from preparers.job import Job, answer, job


def main(given: Job) -> None:
    Path(given.output).mkdir(parents=True)
    database = duckdb.connect()
    database.execute(f"SET threads = {given.threads}")
    database.execute(f"SET memory_limit = '{given.memory_bytes // 2**20}MiB'")
    database.execute(f"SET temp_directory = '{given.output}/spill'")
    database.execute("SET preserve_insertion_order = false")
    source = f"read_parquet('{given.log}/*.parquet', filename = true, file_row_number = true)"
    valid = '"user" IS NOT NULL AND item IS NOT NULL AND "time" >= 0'
    rejected = _copy(
        database, f"SELECT * FROM {source} WHERE NOT coalesce({valid}, false)", f"{given.output}/quarantine.parquet"
    )
    database.execute(
        f"CREATE TABLE items AS SELECT item, n, (row_number() OVER (ORDER BY n DESC, item)) - 1 AS index "
        f"FROM (SELECT item, count(*) AS n FROM {source} WHERE {valid} GROUP BY item)"
    )
    items = _copy(database, "SELECT item, n FROM items ORDER BY index", f"{given.output}/items.parquet")
    days = database.execute(
        f'SELECT make_timestamp("time")::DATE AS day, count(*) FROM {source} WHERE {valid} GROUP BY day'
    ).fetchall()
    users = _copy(
        database,
        f'SELECT "user", hash("user") % {given.buckets} AS bucket, '
        f'list(index ORDER BY "time", filename, file_row_number) AS items, '
        f'list("time" ORDER BY "time", filename, file_row_number) AS times '
        f'FROM {source} JOIN items USING (item) WHERE {valid} GROUP BY "user" ORDER BY bucket, "user"',
        f"{given.output}/sequences",
        ", PARTITION_BY (bucket)",
    )
    interactions = sum(count for _, count in days)
    answer(
        interactions=interactions,
        users=users,
        items=items,
        rejected=rejected,
        days=len(days),
        version=duckdb.__version__,
    )


def _copy(database: duckdb.DuckDBPyConnection, query: str, target: str, options: str = "") -> int:
    done = database.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd{options})").fetchone()
    return int(done[0])


if __name__ == "__main__":
    main(job())
