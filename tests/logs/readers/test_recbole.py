"""RecBole's atomic files: interactions, benchmark splits, histories, and UniSRec's index files."""

import gzip

import pyarrow as pa
import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

PLAIN = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
HISTORY = "user_id:token\titem_id_list:token_seq\titem_id:token\n"


def test_atomic_files(read, tmp_path):
    (tmp_path / "ml.inter").write_text(PLAIN + f"196\t{2**53 + 1}\t3\t881250949.5\n186\t302\t\t891717742\n")
    (tmp_path / "ml.item").write_text(
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\tprice:float\n"
        "302\tL.A. \tCrime Film-Noir\t1.5\n9\tX\t\t\n"
    )
    (tmp_path / "ml.user").write_text("user_id:token\tage:token\n186\t39\n")
    log = read(tmp_path)
    assert log.logs.reader == "recbole"
    assert log.short("rating") == [(196, 2**53 + 1, 881250949, 3.0), (186, 302, 891717742, None)]
    assert log.logs.items.to_pylist() == [
        {"item_id": 302, "text": "L.A.", "category": "Crime|Film-Noir", "price": 1.5},
        {"item_id": 9, "text": "X", "category": None, "price": None},
    ]
    assert log.logs.users.to_pylist() == [{"user_id": 186, "age": "39"}]


def test_all_parts_of_a_split_with_times(read, tmp_path):
    for second, part in enumerate(("train", "valid", "test")):
        (tmp_path / f"d.{part}.inter").write_text(f"{PLAIN}u\t{part}\t1\t{second}\n")
    assert sorted(log[1:] for log in read(tmp_path).short()) == [("test", 2), ("train", 0), ("valid", 1)]


def test_rows_without_time_keep_their_order(read, tmp_path):
    (tmp_path / "d.inter").write_text("session_id:token\titem_id:token\n1\t8\n2\t9\n1\t7\n")
    assert read(tmp_path).short() == [(1, 8, 0), (2, 9, 1), (1, 7, 2)]


def test_a_test_row_is_a_whole_history(read, tmp_path):
    (tmp_path / "d.train.inter").write_text(HISTORY + "0\t5\t6\n0\t5 6\t7\n")
    (tmp_path / "d.test.inter").write_text(HISTORY + "0\t5 6 7\t8\n1\t\t5\n")
    (tmp_path / "d.item2index").write_text("B5\t5\nB6\t6\nB8\t8\n")
    (tmp_path / "d.user2index").write_text("A\t0\nB\t1\n")
    (tmp_path / "d.text").write_text('item_id:token\ttext:token_seq\nB6\t"six" inch \nB5\tfive\n')
    log = read(tmp_path)
    assert log.short() == [(0, 5, 0), (0, 6, 1), (0, 7, 2), (0, 8, 3), (1, 5, 0)]
    assert log.logs.items.to_pylist() == [
        {"item_id": 5, "source_id": "B5", "text": "five"},
        {"item_id": 6, "source_id": "B6", "text": '"six" inch'},
        {"item_id": 8, "source_id": "B8", "text": None},
    ]
    assert log.logs.users.to_pylist() == [{"user_id": 0, "source_id": "A"}, {"user_id": 1, "source_id": "B"}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.inter": PLAIN, "b.inter": PLAIN}, r"one data set of atomic files \(NAME\.inter\) is needed.* a, b"),
        ({"a.train.inter": HISTORY + "0\t5\t6\n"}, r"a\.test\.inter is needed"),
        ({"a.inter": PLAIN}, "the log is empty"),
        (
            {f"a.{part}.inter": "user_id:token\titem_id:token\n1\t2\n" for part in ("train", "test")},
            r"no column 'timestamp' for timestamp",
        ),
    ],
)
def test_what_cannot_be_read(ray_session, tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        open_logs(LogsConfig(uri=str(tmp_path)))


@pytest.mark.parametrize(
    ("folder", "counts", "first_text"),
    [
        ("ml-100k-recbole", (100_000, 943, 1_682), "Toy Story"),
        ("amazon-2018-Games", (440_264, 50_546, 16_859), "Fire Emblem: The Sacred Stones"),
        ("amazon-2018-Scientific", (59_384, 8_442, 4_385), "eSUN Bronze filament 1.75mm"),
    ],
)
def test_published_figures(read, sample_data, folder, counts, first_text):
    log = read(sample_data / folder)
    assert log.logs.reader == "recbole" and log.counts == counts and not log.reasons
    items = log.logs.items.sort_by("item_id")
    assert items.num_rows == counts[2] and items["text"].null_count == 0
    assert items["text"][0].as_py().startswith(first_text)


def test_both_copies_of_ml_100k_agree(read, sample_data):
    atomic, original = read(sample_data / "ml-100k-recbole"), read(sample_data / "ml-100k")
    assert atomic.rows.equals(original.rows)
    assert atomic.logs.users["user_id"].cast(pa.int64()).sort() == original.logs.users["user_id"].sort()


def test_the_scientific_texts_belong_to_their_items(read, sample_data):
    folder = sample_data / "amazon-2018-Scientific" / "Scientific"
    with gzip.open(folder / "Scientific.text.gz", "rt") as file:
        texts = dict(line.rstrip("\n").split("\t", 1) for line in list(file)[1:])
    items = read(folder).logs.items
    assert {row["source_id"]: row["text"] for row in items.to_pylist()} == {k: v.strip() for k, v in texts.items()}
