"""Erased users are nowhere below the corpus, and what is left is what a log without them gives."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ray_userrep as ur
from ray_userrep import storage
from ray_userrep.cli import main
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.upkeep import EraseConfig
from ray_userrep.workflows.erase import run_erase
from ray_userrep.workflows.prepare import run_prepare

pytestmark = pytest.mark.usefixtures("ray_session")

GONE = ["gone-anna", "gone-bert"]
STAY = [f"u{number}" for number in range(12)]
DAY = 86_400


def write_log(folder: Path, users: list[str], day: int) -> None:
    """Five interactions of each user on a day, some at the same moment, and a line that no user can be told of."""
    lines = ["user_id,item_id,timestamp"]
    for user in users:
        draws = np.random.default_rng([day, *user.encode()])
        times = 1_600_000_000 + day * DAY + np.sort(draws.integers(0, 6, 5))
        rows = zip(draws.integers(0, 9, 5), times, strict=True)
        lines += [f"{user},i{item}{'-own' * (user in GONE)},{time}" for item, time in rows]
    lines += [f"{user},i1,-5" for user in users if user in GONE]
    lines.append("gone-anna,i1,1600000000,one,too,many")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"day-{day}.csv").write_text("\n".join(lines) + "\n")
    (folder / "users.csv").write_text("user_id,colour\n" + "".join(f"{user},c-{user}\n" for user in users))
    pairs = "".join(f"{user},u0\nu1,{user}\n" for user in users if user not in ("u0", "u1"))
    (folder / "relations.csv").write_text(f"user_id,other_id\n{pairs}")


def prepared(place: Path, users: list[str]) -> Corpus:
    """Two days of a log, the second one appended."""
    for day in (0, 1):
        write_log(place / "log", users, day)
        fields = {"logs.max_quarantined_share": 0.9, "corpus.num_buckets": 4, "corpus.append": day == 1}
        run_prepare(ur.recipe("sasrec", logs=f"{place}/log", corpus=f"{place}/corpus", **fields))
    return open_corpus(f"{place}/corpus")


def content(corpus: Corpus) -> dict[str, object]:
    """Sequences by user with the items' ids, the items that occur with their counts, attributes and counts."""
    items, found = corpus.items(), {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        bounds, ids = bucket.offsets_U1, items.ids_of(bucket.items_N).to_pylist()
        for user, low, high in zip(bucket.user_ids.to_pylist(), bounds, bounds[1:], strict=False):
            found[user] = list(zip(ids[low:high], bucket.timestamps_N[low:high].tolist(), strict=True))
    users, relations = corpus.users(), corpus.relations()
    assert users is not None and relations is not None and len(relations) == corpus.manifest.num_relations
    counts = {row["item_id"]: row["count"] for row in items.table.to_pylist() if row["count"]}
    facts = {"num_users", "num_interactions", "num_ties", "num_duplicates", "quarantined", "interactions_per_day"}
    told = corpus.manifest.model_dump(include=facts | {"users_per_length"})
    tables = {"attributes": users, "relations": relations}
    rows = {name: sorted(map(str, table.to_pylist())) for name, table in tables.items()}
    return {"users": found, "items": counts} | rows | told


def texts_below(folder: str) -> str:
    """The bytes of all files, and all that tables hold, which are compressed."""
    found = []
    for path in (path for path in Path(folder).rglob("*") if path.is_file()):
        data = path.read_bytes()
        found.append(f"{path} {data.decode('latin-1')}")
        if data[:4] == b"PAR1":
            found.append(str(pq.read_table(pa.BufferReader(data)).to_pylist()))
    return "\n".join(found)


def write_vectors(folder: str, users: list[str]) -> None:
    for number in (0, 1):
        ids = users[number::2]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(2.0 * len(ids)), pa.float32()), 2)
        storage.write_parquet(f"{folder}/bucket-{number:05d}.parquet", pa.table({"user_id": ids, "vector": vectors}))
    storage.write_json(f"{folder}/_vectors.json", {"rows": len(users), "users": len(users), "width": 2})


def test_after_it_no_file_holds_them_and_the_rest_is_as_if_they_never_were(tmp_path, capsys):
    corpus, vectors = prepared(tmp_path, [*STAY[:5], *GONE, *STAY[5:]]), f"{tmp_path}/vectors"
    write_vectors(vectors, [*GONE, *STAY])
    reference = content(prepared(tmp_path / "without", STAY))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").rglob("part-0.parquet")}
    assert all(user in texts_below(corpus.uri) and user in texts_below(vectors) for user in GONE)
    (tmp_path / "gone.csv").write_text("user_id\n" + "\n".join([*GONE, "nobody"]) + "\n")
    main(["erase", corpus.uri, "--users", f"{tmp_path}/gone.csv", "--vectors", vectors])
    assert "2 of 3 users; 1 are not in the corpus" in capsys.readouterr().out
    for place in (corpus.uri, vectors):
        assert not any(user in texts_below(place) for user in ("gone-", "gone-anna"))
    assert content(open_corpus(corpus.uri)) == reference
    assert any(path.exists() and path.stat().st_mtime_ns == when for path, when in before.items())
    summary = storage.read_json(f"{vectors}/_vectors.json")
    assert summary == {"rows": len(STAY), "users": len(STAY), "width": 2}
    assert sorted(pq.read_table(vectors)["user_id"].to_pylist()) == sorted(STAY)
    assert ur.load_result(corpus.uri)["counts"]["users"] == len(STAY)
    again = run_erase(corpus.uri, f"{tmp_path}/gone.csv", EraseConfig())
    assert again["erased"] == 0 and again["version"] == 3
    (tmp_path / "all.csv").write_text("user_id\n" + "\n".join(STAY) + "\n")
    with pytest.raises(UserError, match="has no other users than these"):
        run_erase(corpus.uri, f"{tmp_path}/all.csv", EraseConfig())
    with pytest.raises(UserError, match=r"--vectors: no .*_vectors\.json"):
        run_erase(corpus.uri, f"{tmp_path}/gone.csv", EraseConfig(vectors=[f"{tmp_path}/log"]))
