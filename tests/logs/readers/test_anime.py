"""MyAnimeList's cut: the history, and the items' genres."""

import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.readers import anime
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig


def test_history_and_items(read, tmp_path):
    (tmp_path / "anime_history.dat").write_text("User_ID\tAnime_ID\tFeedback\n1\t32\t1\n1\t5\t1\nx\n")
    (tmp_path / "anime_info.dat").write_text(
        "anime_ids\tname\tgenre\ttype\tepisodes\trating\tmembers\n"
        '32\tGintama°\tDrama, Sci-Fi\tTV\t51\t9.25\t1\n5\t"X\t\tMovie\t1\t\t1\n'
    )
    log = read(tmp_path)
    assert log.logs.reader == "anime" and log.logs.users is None
    assert log.short()[:2] == [(1, 32, 0), (1, 5, 1)] and log.reasons == {"malformed_line": 1}
    assert log.logs.items.to_pylist() == [
        {"item_id": 32, "text": "Gintama°", "category": "Drama|Sci-Fi", "type": "TV"},
        {"item_id": 5, "text": '"X', "category": None, "type": "Movie"},
    ]
    assert not anime.recognise(["anime_info.dat"])


def test_a_missing_column_is_named(ray_session, tmp_path):
    (tmp_path / "anime_history.dat").write_text("User\tAnime_ID\n1\t32\n")
    with pytest.raises(UserError, match=r"anime_history\.dat has no column 'User_ID'; its columns are User, Anime_ID"):
        open_logs(LogsConfig(uri=str(tmp_path)))


def test_published_figures(read, sample_data):
    log = read(sample_data / "anime-5k")
    assert log.logs.reader == "anime" and not log.reasons
    assert log.counts == (520_609, 5_000, 7_390)
    assert log.logs.items.num_rows == 7_390 and log.logs.items["text"].null_count == 0
