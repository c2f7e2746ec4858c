"""What a run left is read back, and what is no run is refused."""

import subprocess
import sys

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.report.results import load_result, machine, read_environment
from ray_userrep.training.runs import read_records


def test_a_result_is_read_back_and_what_is_none_is_refused(tmp_path):
    storage.write_json(f"{tmp_path}/run/result.json", {"job": "pretrain", "metrics": {}})
    assert load_result(f"{tmp_path}/run/")["job"] == "pretrain"
    for name, content in (("list", [1]), ("other", {"a": 1})):
        storage.write_json(f"{tmp_path}/{name}/result.json", content)
        with pytest.raises(UserError, match=f"{name}/result.json is no result of a job"):
            load_result(f"{tmp_path}/{name}")
    with pytest.raises(UserError, match="nothing is no run that has ended"):
        load_result(f"{tmp_path}/nothing")


def test_what_a_run_did_not_record_is_empty(tmp_path):
    assert read_records(str(tmp_path)) == [] and read_environment(str(tmp_path)) == {}
    assert machine({}) == {"machine": "not recorded"}
    installed = {"cores": 2, "processor": "x", "gpu": None, "commit": None, "date": "2024-01-01"}
    assert machine(installed)["commit"] == "not a checkout"


def test_pages_are_drawn_where_there_is_neither_torch_nor_ray():
    pages = ", ".join(
        f"ray_userrep.report.pages.{name}" for name in ("continual", "data", "pretrain", "scaling", "transfer")
    )
    script = f"import sys, {pages}; sys.exit(str({{'torch', 'ray', 'sklearn'}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
