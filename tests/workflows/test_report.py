"""Pages again: of a corpus, and what has none. Those of runs are drawn again where the jobs are tested."""

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.workflows.prepare import run_prepare
from ray_userrep.workflows.report import run_report


def test_a_corpus_s_page_is_drawn_again(ray_session, write_log, small, tmp_path, same_page_again):
    write_log(f"{tmp_path}/log")
    result = run_prepare(small(str(tmp_path)))
    assert result == storage.read_json(f"{tmp_path}/corpus/result.json")
    same_page_again(f"{tmp_path}/corpus")


def test_what_has_no_page_says_so(tmp_path):
    storage.write_json(f"{tmp_path}/result.json", {"job": "embed"})
    with pytest.raises(UserError, match=r"is a run of embed, which has no page; prepare, pretrain, .* have one"):
        run_report(str(tmp_path))
