"""What the job says of the log that it wrote."""

from ray_userrep import storage
from ray_userrep.recipe.logs import SyntheticConfig
from ray_userrep.workflows.synthesize import run_synthesize


def test_the_floors_and_the_place_are_printed(ray_session, tmp_path, capsys):
    config = SyntheticConfig(interactions=500, users=20, items=200, days=2, files=2)
    run_synthesize(config, f"{tmp_path}/log")
    printed, told = capsys.readouterr().out, storage.read_json(f"{tmp_path}/log/_synthetic.json")
    assert f"floor     full         {told['floors_nats']['full']:.4f} nats" in printed
    assert f"floor     this log     {told['floor_nats']:.4f} nats" in printed
    assert f"log       {tmp_path}/log" in printed and SyntheticConfig(**told["config"]) == config
