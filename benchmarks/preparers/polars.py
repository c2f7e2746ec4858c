"""Polars: streaming scans, a global sort by bucket, user, time and row, and lists in that order."""

import os
from pathlib import Path

from preparers.job import Job, answer, job


def main(given: Job) -> None:
    os.environ["POLARS_MAX_THREADS"] = str(given.threads)  # read when polars is imported
    import polars as pl

    log = pl.scan_parquet(f"{given.log}/*.parquet").with_row_index("row")
    valid = pl.all_horizontal(pl.col("user", "item", "time").is_not_null(), pl.col("time") >= 0)
    good = log.filter(valid)
    rejected = log.filter(~valid.fill_null(False))
    Path(given.output).mkdir(parents=True)
    rejected.sink_parquet(f"{given.output}/quarantine.parquet", compression="zstd")
    items = good.group_by("item").len().sort(["len", "item"], descending=[True, False]).with_row_index("index")
    items = items.collect(engine="streaming")
    items.write_parquet(f"{given.output}/items.parquet", compression="zstd")
    day = pl.from_epoch("time", "us").dt.date().alias("day")
    days = good.group_by(day).len().collect(engine="streaming")
    rows = good.join(items.lazy().select("item", "index"), on="item")
    rows = rows.with_columns((pl.col("user").hash() % given.buckets).alias("bucket"))
    ordered = rows.select("bucket", "user", "time", "row", pl.col("index").cast(pl.Int64))
    ordered = ordered.sort("bucket", "user", "time", "row")
    sequences = ordered.group_by("bucket", "user", maintain_order=True).agg("index", "time").collect(engine="streaming")
    for (bucket,), part in sequences.partition_by("bucket", as_dict=True, include_key=False).items():
        folder = Path(given.output) / f"bucket={bucket}"
        folder.mkdir()
        part.write_parquet(folder / "part-0.parquet", compression="zstd")
    answer(
        interactions=int(sequences["index"].list.len().sum()),
        users=sequences.height,
        items=items.height,
        rejected=pl.scan_parquet(f"{given.output}/quarantine.parquet").select(pl.len()).collect().item(),
        days=days.height,
        version=pl.__version__,
    )


if __name__ == "__main__":
    main(job())
