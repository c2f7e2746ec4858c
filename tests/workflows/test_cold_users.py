"""PT-GNN by its two commands: pretrained on warm users, fine-tuned for new ones, who must not be in its graph."""

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.workflows.pretrain import run_pretrain
from ray_userrep.workflows.transfer import run_transfer

PT_GNN = [
    "--recipe", "pt_gnn", "--stream.max_len", "3", "--encoder.backbone.num_heads", "2",
    "--encoder.backbone.warm_above", "4", "--encoder.backbone.sampler", "learned", "--train.max_steps", "6",
]  # fmt: skip
FITS = [
    "--objective.kind", "autoregressive", "--transfer.epochs", "2", "--transfer.num_seeds", "1",
    "--transfer.learning_rates", "[0.01]", "--transfer.batch_tokens", "256",
]  # fmt: skip


@pytest.mark.system
def test_an_encoder_with_a_graph_is_pretrained_and_ranks_for_new_users(ray_session, write_log, small, tmp_path):
    write_log(f"{tmp_path}/log")
    pretrained = run_pretrain(small(str(tmp_path), *PT_GNN))
    assert pretrained["recipe"]["name"] == "pt_gnn" and storage.exists(f"{tmp_path}/run/encoder/graph/users.arrow")
    next_items = [*PT_GNN, *FITS, "--transfer.encoder", f"{tmp_path}/run", "--run", f"{tmp_path}/next"]
    (found,) = run_transfer(small(str(tmp_path), *next_items))["tasks"].values()
    assert {"scratch", "full", "popularity", "co-occurrence"} <= set(found["shares"]["1"]["metrics"])
    assert storage.exists(f"{tmp_path}/next/models/next_item,_cold_users/encoder/graph/items.arrow")
    run_pretrain(small(str(tmp_path), *PT_GNN, "--split.seed", "1", "--run", f"{tmp_path}/other"))
    other = [*PT_GNN, *FITS, "--transfer.encoder", f"{tmp_path}/other", "--run", f"{tmp_path}/refused"]
    with pytest.raises(UserError, match=r"cold users are nodes of the encoder's graph, .* split\.rule cold_user"):
        run_transfer(small(str(tmp_path), *other))
