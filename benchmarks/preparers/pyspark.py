"""Spark in local mode: a broadcast or sorted join with the vocabulary, a shuffle by user, lists of sorted structs."""

from pathlib import Path

import pyspark
from preparers.job import Job, answer, job
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as f


def main(given: Job) -> None:
    spark = (
        SparkSession.builder.master(f"local[{given.threads}]")
        .config("spark.driver.memory", f"{given.memory_bytes // 2**20}m")
        .config("spark.sql.shuffle.partitions", given.buckets)
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.local.dir", f"{given.output}-spill")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    Path(given.output).mkdir(parents=True)
    log = spark.read.parquet(given.log)
    row = (f.col("_metadata.file_name").alias("file"), f.monotonically_increasing_id().alias("row"))
    valid = f.coalesce(f.col("user").isNotNull() & f.col("item").isNotNull() & (f.col("time") >= 0), f.lit(False))
    log.filter(~valid).write.parquet(f"{given.output}/quarantine")
    good = log.select("user", "item", "time", *row).filter(valid)
    counts = good.groupBy("item").count()
    index = (f.row_number().over(Window.orderBy(f.desc("count"), "item")) - 1).cast("long").alias("index")
    counts.select("item", "count", index).write.parquet(f"{given.output}/items")
    items = spark.read.parquet(f"{given.output}/items")
    days = good.groupBy(f.timestamp_micros("time").cast("date")).count().collect()
    events = good.join(items.select("item", "index"), "item").groupBy("user")
    events = events.agg(f.sort_array(f.collect_list(f.struct("time", "file", "row", "index"))).alias("events"))
    bucket = f.pmod(f.xxhash64("user"), f.lit(given.buckets)).alias("bucket")
    sequences = events.select("user", bucket, f.col("events.index").alias("items"), f.col("events.time").alias("times"))
    sequences = sequences.repartition(given.buckets, "bucket").sortWithinPartitions("bucket", "user")
    sequences.write.partitionBy("bucket").parquet(f"{given.output}/sequences")
    answer(
        interactions=sum(day["count"] for day in days),
        users=spark.read.parquet(f"{given.output}/sequences").count(),
        items=items.count(),
        rejected=spark.read.parquet(f"{given.output}/quarantine").count(),
        days=len(days),
        version=pyspark.__version__,
    )
    spark.stop()


if __name__ == "__main__":
    main(job())
