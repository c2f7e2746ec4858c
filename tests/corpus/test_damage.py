"""What a corpus's manifests may hold in place of what was written: one clear line."""

import json
from pathlib import Path

import pytest

from ray_userrep.corpus.store import open_corpus
from ray_userrep.errors import UserError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_buckets": [None]}, r"000001\.json is no manifest of a corpus \(num_buckets: "),
        ({"sequences": [{"bucket": 0}]}, r"is no manifest of a corpus \(sequences"),
        ({"more": 1}, r"is no manifest of a corpus \(more: "),
        ({"schema_version": 1}, "has schema 1, this is"),
    ],
)
def test_a_manifest_that_says_something_else_is_named(corpus, change, message):
    place = Path(corpus.uri) / "manifests" / "000001.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | change))
    with pytest.raises(UserError, match=message):
        open_corpus(corpus.uri)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"x"'])
def test_a_manifest_that_is_no_object_is_named(corpus, content):
    (Path(corpus.uri) / "manifests" / "000001.json").write_text(content)
    with pytest.raises(UserError, match=r"000001\.json is a JSON .*an object is needed"):
        open_corpus(corpus.uri)


def test_other_files_beside_manifests_are_passed_over(corpus):
    (Path(corpus.uri) / "manifests" / "notes.json").write_text("{}")
    assert open_corpus(corpus.uri).manifest.version == 1
