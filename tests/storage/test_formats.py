"""What a newer version wrote is refused by its format, whatever it is; all that is written says its format."""

from pathlib import Path

import pytest

from ray_userrep import storage
from ray_userrep.corpus.manifest import SCHEMA_VERSION
from ray_userrep.corpus.store import manifest_uri, open_corpus
from ray_userrep.embedding import tables
from ray_userrep.encoder import folder
from ray_userrep.encoder.user_encoder import UserEncoderConfig
from ray_userrep.endpoint.stored import check_stored
from ray_userrep.errors import UserError
from ray_userrep.report.results import load_result
from ray_userrep.training import stored


def corpus(place: str, version: int) -> None:
    storage.write_json(manifest_uri(place, 1), {"schema_version": version})
    open_corpus(place)


def encoder(place: str, version: int) -> None:
    for name in ("model.safetensors", storage.CHECKSUMS):
        storage.write_json(f"{place}/{name}", {})
    storage.write_json(f"{place}/config.json", UserEncoderConfig(format=version).to_dict())
    folder.check_folder(Path(place), place)


def vectors(place: str, version: int) -> None:
    summary = {"format": version, "sums": True, "encoder_fingerprint": "f", "users": 3}
    storage.write_json(f"{place}/_vectors.json", summary)
    assert check_stored(place, "f") == 3


def run(place: str, version: int) -> None:
    stored.store_result(place, {"job": "pretrain", "format": version})
    assert load_result(place)


@pytest.mark.parametrize(
    ("write_and_read", "known"),
    [(corpus, SCHEMA_VERSION), (encoder, folder.FORMAT), (vectors, tables.FORMAT), (run, stored.FORMAT)],
)
def test_a_newer_format_is_refused_by_name(tmp_path, write_and_read, known):
    said = rf"{tmp_path} has format {known + 1}, this ray_userrep reads up to {known}: it was written by a newer one"
    with pytest.raises(UserError, match=said):
        write_and_read(str(tmp_path), known + 1)


def test_what_is_written_says_its_format(tmp_path):
    assert UserEncoderConfig().to_dict()["format"] == folder.FORMAT
    stored.store_result(str(tmp_path), {"job": "pretrain"})
    assert storage.read_json(f"{tmp_path}/result.json")["format"] == stored.FORMAT
