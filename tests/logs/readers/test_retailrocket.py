"""RetailRocket: the published events, and the cut with one event a file."""

import zipfile
from collections import Counter

import pyarrow.compute as pc
import pytest

from ray_userrep.errors import UserError
from ray_userrep.logs.source import open_logs
from ray_userrep.recipe.logs import LogsConfig

HEADER = "visitorid\titemid\tevent\n"


def test_the_cut(read, tmp_path):
    with zipfile.ZipFile(tmp_path / "r.ZIP", "w") as archive:
        archive.writestr("r/view_ecommerce.dat", HEADER + "1\t5\t1\n1\t6\t1\n")
        archive.writestr("r/add_to_cart_ecommerce.dat", HEADER + "1\t6\t1\n")
        archive.writestr("r/purchase_ecommerce.dat", HEADER + "1\t6\t1\n")
    log = read(tmp_path)
    assert log.logs.reader == "retailrocket"
    assert log.short("event") == [
        (1, 5, 0, "view"),
        (1, 6, 1, "view"),
        (1, 6, 0, "addtocart"),
        (1, 6, 0, "transaction"),
    ]


def test_the_original(read, tmp_path):
    (tmp_path / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
    )
    (tmp_path / "category_tree.csv").write_text("categoryid,parentid\n1,2\n")
    log = read(tmp_path)
    assert log.logs.reader == "retailrocket" and log.short("event") == [(257597, 355908, 1433221332, "view")]


def test_neither(ray_session, tmp_path):
    (tmp_path / "x.csv").write_text("a\n")
    with pytest.raises(UserError, match=r"neither events\.csv nor view_ecommerce\.dat"):
        open_logs(LogsConfig(uri=str(tmp_path), reader="retailrocket"))


def test_published_figures(read, sample_data):
    log = read(sample_data / "retailrocket-5k")
    assert log.logs.reader == "retailrocket" and not log.reasons
    views = log._replace(rows=log.rows.filter(pc.equal(log.rows["event"], "view")))
    assert views.counts == (78_371, 3_423, 8_878)
    assert Counter(log.rows["event"].to_pylist()) == {"view": 78_371, "addtocart": 9_028, "transaction": 5_088}
