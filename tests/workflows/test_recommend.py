"""The job, and what it is asked for in the words of the export that it shares."""

import pytest

import ray_userrep as ur
from ray_userrep import storage
from ray_userrep.cli import main
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.embedding import RecommendConfig
from ray_userrep.workflows.recommend import narrowed
from tests.training.conftest import small_recipe, write_corpus


def test_users_and_day_are_those_of_embedding():
    recipe = ur.recipe("sasrec", **{"embedding.num_actors": 3, "embedding.users": "all.csv"})
    config = narrowed(recipe, RecommendConfig(users="u.csv", until="2024-01-01"))
    assert (config.users, config.num_actors, [str(day) for day in config.until]) == ("u.csv", 3, ["2024-01-01"])
    assert narrowed(recipe, RecommendConfig()) == recipe.embedding
    with pytest.raises(UserError, match=r"leave out embedding\.until, embedding\.users"):
        narrowed(ur.recipe("sasrec", **{"embedding.sums": True}), RecommendConfig(users="u.csv"))


def test_from_the_command_line(ray_session, tmp_path, capsys):
    corpus = write_corpus(f"{tmp_path}/corpus", num_users=12)
    build_encoder(small_recipe().encoder, corpus.items(), 8).save_pretrained(tmp_path / "encoder")
    words = ["--corpus", corpus.uri, "--encoder", f"{tmp_path}/encoder", "--output", f"{tmp_path}/lists"]
    main(["recommend", *words, "--k", "3", "--exclude_seen", "false", "--embedding.batch_tokens", "64"])
    assert "12 of 12 users, at most 3 items each" in capsys.readouterr().out
    rows = [
        r for f in storage.list_files(f"{tmp_path}/lists", ".parquet") for r in storage.read_parquet(f.uri).to_pylist()
    ]
    assert sorted(row["user_id"] for row in rows) == list(range(12)) and {len(row["items"]) for row in rows} == {3}
    about = storage.read_object(f"{tmp_path}/lists/_recommended.json")
    assert (about["k"], about["exclude_seen"], about["corpus_version"]) == (3, False, 1)
