"""Book-Crossing: an archive read as it is, ampersands that split titles, and text that is not UTF-8."""

import zipfile

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

FILES = {
    "book_history.dat": "user\titem\taccessed\n1\t152\t1\n1\t7\t1\n2\t152\t1\n",
    "book_ratings.dat": "user\titem\trating\n1\t152\t7.0\n",
    "users_info.dat": "User-ID\tLocation\tAge\n1\tlima, per\xfa\t24\t\n2\tx\t16\t\n",
    "items_info.dat": (
        "Book_ID\tISBN\tBook-Title\tBook-Author\tYear-Of-Publication\tPublisher\tURL\tURL\tURL\n"
        '7\t0060\tSalt &amp\t Pepper "now"\tA. Writer\t1991\tNorton &amp\t Sons\ta\tb\tc\t\n'
        "152\t01X\tCaf\xe9\tB\t0\tP\ta\tb\tc\t\n"
    ),
}


@pytest.mark.parametrize("packed", [True, False])
def test_history_items_and_users(read, tmp_path, packed):
    if packed:
        with zipfile.ZipFile(tmp_path / "books.zip", "w") as archive:
            for name, text in FILES.items():
                archive.writestr(f"books/{name}", text.encode("latin-1"))
    else:
        for name, text in FILES.items():
            (tmp_path / name).write_bytes(text.encode("latin-1"))
    log = read(tmp_path)
    assert log.logs.reader == "book_crossing"
    assert log.short() == [(1, 152, 0), (1, 7, 1), (2, 152, 2)]
    assert [(row["item_id"], row["text"], row["publisher"]) for row in log.logs.items.to_pylist()] == [
        (7, 'Salt & Pepper "now"', "Norton & Sons"),
        (152, "Café", "P"),
    ]
    assert log.logs.users.to_pylist() == [
        {"user_id": 1, "location": "lima, perú", "age": 24},
        {"user_id": 2, "location": "x", "age": 16},
    ]


def test_no_history(ray_session, tmp_path):
    (tmp_path / "users_info.dat").write_text(FILES["users_info.dat"])
    with pytest.raises(UserError, match=r"no book_history\.dat among 1 files"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="book_crossing"))


def test_published_figures(read, sample_data):
    log = read(sample_data / "book-crossing")
    assert log.logs.reader == "book_crossing" and not log.reasons
    assert log.counts == (272_678, 2_946, 17_384)
    assert log.logs.items.num_rows == 17_384 and log.logs.items["text"].null_count == 0
    assert log.logs.users.num_rows == 2_946 and log.logs.users["age"].null_count == 0
