"""A job's lines as JSON: each an object, nothing lost, whatever pieces it was printed in."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.cli import main
from ray_userrep.log_lines import VARIABLE, as_asked


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=9)
    )
)
def test_every_line_comes_back_whatever_pieces_it_was_printed_in(pieces):
    text = "".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "json")
        read, write = os.pipe()
        with open(write, "w", encoding="utf-8", newline="") as stream:
            patch.setattr(sys, "stdout", stream)
            with as_asked("pretrain"):
                for piece in pieces:
                    print(piece, end="")
        with open(read, encoding="utf-8", newline="") as stream:
            found = [json.loads(line) for line in stream.read().split("\n") if line]
    expected = [line.strip() for line in text.split("\n") if line.strip()]
    assert all(one["job"] == "pretrain" and one["level"] in ("info", "warning", "error") for one in found)
    assert [one["message"] in line for one, line in zip(found, expected, strict=True)] == [True] * len(expected)


def test_a_job_s_error_is_one_object_and_the_exit_code_stays(tmp_path):
    command = [sys.executable, "-m", "ray_userrep", "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {VARIABLE: "json"})
    (line,) = done.stderr.splitlines()
    told = json.loads(line)
    assert done.returncode == 2 and told["level"] == "error" and told["job"] == "report"
    assert "is no run that has ended" in told["message"]
    assert datetime.now().astimezone() - datetime.fromisoformat(told["time"]) < timedelta(minutes=5)


def test_topics_and_warnings_are_told_apart(monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "json")
    with as_asked("prepare"):
        print("prepare   sort  2.0 s\nwarning   odd rows\nno topic here")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["level"], one["topic"], one["message"]) for one in found] == [
        ("info", "prepare", "sort  2.0 s"), ("warning", "warning", "odd rows"), ("info", "", "no topic here"),
    ]  # fmt: skip


def test_another_format_is_refused(monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "yaml")
    with pytest.raises(SystemExit):
        main(["report", "nowhere"])
    assert capsys.readouterr().err == "error: USERREP_LOG_FORMAT is 'yaml': text and json are known\n"
