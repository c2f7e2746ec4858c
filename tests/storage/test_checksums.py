"""What files held is written down as sha256sum would, and what differs is found."""

import subprocess

import pytest

from ray_userrep import storage


def test_the_sums_are_those_of_sha256sum(tmp_path):
    (tmp_path / "below").mkdir()
    for name, size in (("a.json", 0), ("below/b", 9_000_000)):
        (tmp_path / name).write_bytes(b"\x07" * size)
    storage.write_checksums(str(tmp_path), ["a.json", "below/b"], {"c": b"coming"})
    (tmp_path / "c").write_bytes(b"coming")
    sums = storage.read_json(f"{tmp_path}/checksums.json")
    told = "".join(f"{value}  {name}\n" for name, value in sums.items())
    subprocess.run(["sha256sum", "--check", "--strict"], input=told.encode(), cwd=tmp_path, check=True)
    assert len(sums) == 3 and storage.changed(str(tmp_path), ["a.json"]) is None


@pytest.mark.parametrize("harm", ["flip", "delete", "name", "folder"])
def test_what_differs_is_named(tmp_path, harm):
    for name in "abc":
        (tmp_path / name).write_text(name)
    storage.write_checksums(str(tmp_path), "abc")
    if harm == "flip":
        (tmp_path / "b").write_text("c")
    elif harm == "name":
        text = (tmp_path / "checksums.json").read_text()
        (tmp_path / "checksums.json").write_text(text.replace('"b"', '"d"'))
    else:
        (tmp_path / "b").unlink()
    if harm == "folder":
        (tmp_path / "b").mkdir()
    assert storage.changed(str(tmp_path), "abc") == "b"
