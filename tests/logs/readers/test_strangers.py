"""Public logs that no reader is made for: what a first try says leads to a second one that reads them."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from ray_userrep.errors import UserError

Files = dict[str, str | bytes]


def zipped(files: dict[str, str]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return sink.getvalue()


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


STEAM_200K = (
    '151603712,"The Elder Scrolls V Skyrim",purchase,1.0,0\n'
    '151603712,"The Elder Scrolls V Skyrim",play,273.0,0\n'
    '187131847,"Dota 2, the ""free"" one",play,2.3,0\n'
)
LASTFM = {
    "artists.dat": "id\tname\turl\tpictureURL\n51\tDuran Duran\thttp://x\thttp://y\n52\tMorcheeba\thttp://x\thttp://y\n",
    "user_artists.dat": "userID\tartistID\tweight\n2\t51\t13883\n2\t52\t11690\n3\t51\t228\n",
}
COUNTED = {"user_artists.dat": "18800\n92834\n2\t51\t13883\n2\t52\t11690\n3\t51\t228\n"}
GOODBOOKS = {
    "ratings.csv": "user_id,book_id,rating\n1,258,5\n2,4081,4\n2,258,5\n",
    "books.csv": "book_id,authors,title\n258,Carlos Ruiz Zafón,The Shadow of the Wind\n",
}
DIGINETICA = (
    "sessionId;userId;itemId;timeframe;eventdate\n"
    "1;NA;81766;526309;2016-05-09\n1;NA;31331;1031018;2016-05-09\n2;7;31331;243569;2016-05-10\n"
)
TWEETINGS = {
    "ratings.dat": "1::0114508::8::1381006850\n2::0208092::5::1586466072\n2::0114508::5::1586466073\n",
    "movies.dat": "0114508::Species (1995)::Action|Horror\n0208092::Snatch (2000)::\n",
    "users.dat": "1::139564917\n2::522540374\n",
}
PAIRS = "1 1\n1 2\n2 2\n"
REVIEWS = (
    "{u'username': u'Chaos Syren', u'hours': 0.1, u'product_id': u'725280', u'date': u'2017-12-17', u'early': False}\n"
    "{u'username': u'Chaos Syren', u'text': u\"it's fine\", u'product_id': u'328100', u'date': u'2017-12-18'}\n"
    "{u'username': u'\\xc4', u'product_id': u'328100', u'date': u'2017-12-18', u'page': 1}\n"
)
STEAM_ZIP = zipped(
    {
        "steam/game_play.dat": "User_ID\tGame_ID\tHours\n1\t1\t273.0\n1\t2\t87.0\n2\t2\t14.9\n",
        "steam/item_info.dat": "Game_ID\tGame Name\n1\tThe Elder Scrolls V Skyrim\n2\tFallout 4\n",
        "steam/README": "SUMMARY & USAGE LICENSE\n",
    }
)


@pytest.mark.parametrize(
    ("files", "log"),
    [
        (TWEETINGS, ""),
        ({"ml-1m.txt": PAIRS, "README.txt": "BERT4Rec"}, ""),
        ({"Video.txt": PAIRS.replace(" ", "\t")}, "Video.txt"),
    ],
)
def test_read_at_once(read, tmp_path: Path, files: Files, log: str) -> None:
    write(tmp_path, files)
    found = read(tmp_path / log)
    assert found.counts == (3, 2, 2) and found.reasons == {}


@pytest.mark.parametrize(
    ("files", "told", "log", "fields"),
    [
        (
            {"steam-200k.csv": STEAM_200K},
            r'no header, so that columns are named by their places, as in {"user_id": "0", .*',
            "steam-200k.csv",
            {"columns": {"user_id": "0", "item_id": "1", "event": "2"}, "order": "row"},
        ),
        (
            LASTFM,
            r"without times is read with logs\.order row.*; user_artists\.dat has userID, artistID, weight: .* --logs",
            "user_artists.dat",
            {"columns": {"user_id": "userID", "item_id": "artistID"}, "order": "row"},
        ),
        (
            COUNTED,
            r"its columns are 0, 1, 2: .* without times .*it has no header",
            "user_artists.dat",
            {"columns": {"user_id": "0", "item_id": "1"}, "order": "row"},
        ),
        (
            GOODBOOKS,
            r"; ratings\.csv has user_id, book_id, rating: .* name the log's own with --logs",
            "ratings.csv",
            {"columns": {"item_id": "book_id"}, "order": "row"},
        ),
        (
            {"train-item-views.csv": DIGINETICA},
            r"its columns are sessionId, userId, itemId, timeframe, eventdate: map them with logs\.columns",
            "train-item-views.csv",
            {"columns": {"user_id": "sessionId", "item_id": "itemId", "timestamp": "eventdate"}},
        ),
        (
            {"steam_reviews.json.gz": gzip.compress(REVIEWS.encode())},
            r"its columns are username, hours, product_id, date, .*: map them with logs\.columns",
            "",
            {"columns": {"user_id": "username", "item_id": "product_id", "timestamp": "date"}},
        ),
        (
            {"steam.zip": STEAM_ZIP},
            r"no column 'item_id' .* user_id, Game_ID, Hours: .*; item_info\.dat has Game_ID, Game Name: .* --logs",
            "steam.zip/steam/game_play.dat",
            {"columns": {"item_id": "Game_ID"}, "order": "row"},
        ),
    ],
)
def test_read_at_the_second_try(read, tmp_path: Path, files: Files, told: str, log: str, fields: dict) -> None:
    write(tmp_path, files)
    with pytest.raises(UserError, match=told):
        read(tmp_path)
    found = read(tmp_path / log, **fields)
    assert found.counts == (3, 2, 2) and found.reasons == {}
