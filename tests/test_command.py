"""The command line: every field by path, and one clear error for what cannot be."""

import pytest

from ray_userrep import recipes, storage
from ray_userrep.command import load, parse, read
from ray_userrep.errors import UserError
from ray_userrep.jobs import JOBS, job_named
from ray_userrep.recipe.embedding import RecommendConfig
from ray_userrep.recipe.logs import SyntheticConfig
from ray_userrep.recipe.objective import SampledSoftmaxConfig
from ray_userrep.recipe.scale import ScaleConfig


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ("s3://AKIA:abc/def+x@bucket/log", True),
        ("https://me:pw@host/log.csv", True),
        ('{"uri": "s3://k:s@b"}', True),
        ("s3://bucket/a:b/c", False),
        ("sftp://me@host/log", False),
        ("http://host:8080/a@b", False),
        ("logs/a:b@c.csv", False),
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(value, refused):
    if not refused:
        assert parse(["--logs", value]).logs.uri == value
        return
    with pytest.raises(UserError, match="holds credentials") as caught:
        parse(["--logs", value])
    assert value not in str(caught.value) and "abc" not in str(caught.value)


def test_fields_and_aliases_are_set_by_path():
    recipe = parse(
        ["--recipe", "sasrec", "--logs", "s3://bucket/log", "--reader", "movielens", "--train.num_workers", "8",
         "--train.learning_rate=1e-4", "--train.patience", "none", "--logs.columns", '{"user_id": "Invoice"}',
         "--evaluation.ks", "[5]", "--evaluation.exclude_seen", "true"])  # fmt: skip
    assert (recipe.name, recipe.logs.uri, recipe.logs.reader) == ("sasrec", "s3://bucket/log", "movielens")
    assert (recipe.train.num_workers, recipe.train.learning_rate, recipe.train.patience) == (8, 1e-4, None)
    assert recipe.logs.columns == {"user_id": "Invoice"}
    assert (recipe.evaluation.ks, recipe.evaluation.exclude_seen) == ((5,), True)


def test_another_kind_of_part_starts_from_its_own_defaults_in_any_order():
    recipe = parse(["--objective.softmax.num_negatives", "64", "--objective.softmax.kind", "sampled"])
    assert recipe.objective.softmax == SampledSoftmaxConfig(num_negatives=64)


def test_none_is_a_choice_where_it_is_one_and_nothing_where_it_is_not():
    recipe = parse(["--train.zero.stage", "1", "--train.zero.offload_optimizer", "none", "--run", "none"])
    assert (recipe.train.zero.offload_optimizer, recipe.run) == ("none", None)


def test_text_that_looks_like_a_number_stays_text_where_text_is_wanted():
    assert parse(["--run", "2024", "--logs", "7"]).run == "2024"


@pytest.mark.parametrize("name", recipes.names())
def test_a_run_s_recipe_is_accepted_back(name, tmp_path):
    recipe = load(name)
    storage.write_text(str(tmp_path / "recipe.json"), recipe.model_dump_json())
    assert parse(["--recipe", str(tmp_path / "recipe.json")]) == recipe


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--train.num_wokers", "2"], r"unknown field train\.num_wokers: did you mean train\.num_workers\?"),
        (["--num_workers", "2"], r"unknown field num_workers: did you mean train\.num_workers"),
        (["--train.num_workers", "two"], r"train\.num_workers: .*integer.*'two'"),
        (["--train.zero.stage", "4"], r"train\.zero\.stage: .*0, 1, 2 or 3.*4"),
        (["--train.precision", "fp8"], r"train\.precision: .*'fp32' or 'bf16'"),
        (["--recipe", "bert"], r"unknown recipe 'bert': it is one of bert4rec, .*online_retail, .*sasrec"),
        (["--encoder.backbone.causal", "false"], r"needs encoder\.backbone\.causal"),
        (["--stream.batch_tokens", "10"], r"stream\.batch_tokens 10 is smaller than stream\.max_len 64"),
        (["--encoder.width", "30", "--encoder.backbone.num_heads", "4"], r"encoder.*width 30 .* 4 heads"),
        (["--train.zero.init", "true"], r"train\.zero\.init.*stage 3"),
        (["--train.zero.offload_optimizer", "cpu"], r"train\.zero\.offload_optimizer.*stage"),
        (["--objective.softmax.num_negatives", "64"], r"^objective\.softmax\.num_negatives .* kind full$"),
        (
            ["--objective.softmax.kind", "sampled", "--objective.softmax.num_negatives", "x"],
            r"^objective\.softmax\.num_negatives: .*integer.*'x'",
        ),
        (["pretrain"], r"'pretrain' is not an option"),
        (["--train.epochs"], r"--train\.epochs needs a value"),
    ],
)
def test_what_cannot_be_is_refused_by_name(argv, message):
    with pytest.raises(UserError, match=message) as caught:
        parse(argv)
    assert "\n" not in str(caught.value)


def test_a_broken_recipe_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not JSON"):
        load(str(tmp_path / "a.json"))
    (tmp_path / "b.json").write_text('{"name": "x", "train": {"epoch": 1}}')
    with pytest.raises(UserError, match=r"unknown field train\.epoch: did you mean train\.epochs"):
        load(str(tmp_path / "b.json"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"name": "\xff"}', "is not JSON: .*utf-8"),
        (b"[1, 2]", "is not a recipe: it holds a list"),
        (b"[" * 10_000 + b"]" * 10_000, "is not JSON"),
        (b'{"seed": ' + b"9" * 5_000 + b"}", "is not JSON"),
        (b" " * 2**20 + b"{}", "is not a recipe: it has more than 1,048,576 bytes"),
        (b'{"name": "a", "train": {"epochs": 1, "epochs": 2}}', "'epochs' is given twice"),
        (b'{"name": "a", "seed": 1e999}', "seed: takes a finite number"),
    ],
    ids=["latin-1", "list", "deep", "digits", "huge", "twice", "infinite"],
)
def test_what_no_recipe_file_holds_is_refused_in_one_line(data, message, tmp_path):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        load(str(tmp_path / "a.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("job", "words", "message"),
    [
        ("report", ["a\0b"], "RUN takes text that has no NUL"),
        ("runs", ["x" * 200_000], "FOLDER takes text that has at most 4,096 characters"),
        ("embed", ["--encoder", "a\udce9", "--output", "b"], "--encoder takes text that is valid Unicode"),
        ("pretrain", ["--recipe", "x" * 300 + ".json"], "--recipe takes text that has at most 255 bytes between"),
        ("pretrain", ["--seed", "9" * 5_000], "seed: takes an integer"),
        ("pretrain", ["--logs.columns", "[" * 10_000], r"logs\.columns: takes a JSON object"),
        (
            "pretrain",
            ["--logs.columns", '{"item_id": "a", "item_id": "b"}'],
            r"logs\.columns: 'item_id' is given twice",
        ),
        ("synthesize", ["--output", "o", "--interactions", str(2**70)], "^interactions: takes whole numbers"),
        ("scale", ["--scale.budgets", "[1e400]"], r"scale\.budgets\.0: takes a finite number"),
        ("plan", ["--plan.interactions", "inf"], r"plan\.interactions: takes a finite number"),
    ],
    ids=str.split("nul long surrogate name digits deep twice beyond infinite-list infinite"),
)
def test_what_no_computer_can_use_is_refused_by_every_job(job, words, message):
    with pytest.raises(UserError, match=message) as caught:
        read(job_named(job), words)
    assert len(str(caught.value)) < 1000


def test_a_job_s_own_arguments_are_taken_and_missed_by_name():
    evaluate = job_named("evaluate")
    given = read(evaluate, ["--encoder", "a", "--seed", "3", "--output=b"])
    assert (given.own, given.recipe.seed) == ({"encoder": "a", "output": "b"}, 3)
    with pytest.raises(UserError, match="--output is missing"):
        read(evaluate, ["--encoder", "a"])


def test_a_job_that_is_given_a_place_takes_it_without_an_option():
    assert read(job_named("report"), ["runs/a"]).places == ("runs/a",)
    for words in ([], ["--run", "runs/a"]):
        with pytest.raises(UserError, match="report needs RUN"):
            read(job_named("report"), words)
    with pytest.raises(UserError, match="unknown option --seed: report takes no recipe"):
        read(job_named("report"), ["runs/a", "--seed", "1"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "1", "--seed=2"], "--seed is given twice"),
        (["--logs", "a", "--logs.uri", "b"], r"--logs\.uri is given twice"),
        (["--logs", ""], "--logs is empty: is a variable unset"),
        (["--logs="], "--logs is empty"),
        (["--scale.sizes", "[3]"], r"--scale\.sizes is an option of scale, not of pretrain"),
        (["--encoder", "a"], "--encoder is an option of evaluate and embed and .*, not of pretrain"),
    ],
)
def test_options_given_twice_empty_or_to_another_job_are_refused(words, message):
    pretrain = job_named("pretrain")
    with pytest.raises(UserError, match=message):
        read(pretrain, words, [job for job in JOBS if job is not pretrain])


def test_several_configs_in_a_row_are_one_field_given_as_json():
    tasks = '[{"task": {"kind": "next_item"}}, {"corpus": "shop"}]'
    first, second = parse(["--continual.tasks", tasks]).continual.tasks
    assert first.task.kind == "next_item" and second.task.kind == "attribute" and second.corpus == "shop"
    with pytest.raises(UserError, match=r"unknown field continual\.tasks\.corpus"):
        parse(["--continual.tasks.corpus", "shop"])
    with pytest.raises(UserError, match=r"continual\.tasks\.0\.corpse"):
        parse(["--continual.tasks", '[{"corpse": "shop"}]'])


def test_a_splits_rule_brings_its_own_fields_and_refuses_those_of_others():
    recipe = parse(["--split.k", "3", "--split.rule", "leave_k_out", "--corpus.k_core.users", "5"])
    assert recipe.split.model_dump() == {"rule": "leave_k_out", "k": 3}
    assert (recipe.corpus.k_core.users, recipe.corpus.k_core.items) == (5, 1)
    with pytest.raises(UserError, match=r"^split\.k does not go with rule leave_one_out"):
        parse(["--split.k", "3"])
    with pytest.raises(UserError, match=r"^split.*leave_k_out"):
        parse(["--split.rule", "leave_some"])


def test_a_flat_config_is_set_by_its_fields():
    words = ["--interactions", "500", "--users=20", "--start", "2020-02-29", "--output", "x"]
    config = read(job_named("synthesize"), words).config_as(SyntheticConfig)
    assert (config.interactions, config.users, config.start.isoformat()) == (500, 20, "2020-02-29")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--usrs", "2"], r"unknown field usrs: did you mean users\?"),
        (["--users", "few"], r"users: .*integer.*'few'"),
        (["--items", "401"], r"items 401 is not a multiple .*: take 400 or 600"),
    ],
)
def test_what_a_flat_config_cannot_be_is_refused_by_name(argv, message):
    with pytest.raises(UserError, match=message):
        read(job_named("synthesize"), ["--output", "x", *argv])


def test_a_config_beside_the_recipe_takes_its_own_fields():
    scale = job_named("scale")
    given = read(
        scale, ["--scale.sizes", "[3000, 9000]", "--train.epochs=2", "--scale.item_width=8", "--recipe", "sasrec"]
    )
    config = given.config_as(ScaleConfig)
    assert (given.recipe.name, given.recipe.train.epochs, config.sizes, config.item_width) == (
        "sasrec",
        2,
        (3000, 9000),
        8,
    )
    near = r"unknown field scale\.size: did you mean scale\.sizes"
    for wrong, message in (("--scale.size", near), ("--scale.sizes", r"scale\.sizes: takes a list of integers > 0")):
        with pytest.raises(UserError, match=message):
            read(scale, [wrong, "x"])


def test_a_config_without_a_prefix_has_its_own_names_beside_a_recipe():
    words = ["--encoder", "e", "--output", "o", "--k", "3", "--recipe", "sasrec", "--embedding.num_actors", "2"]
    given = read(job_named("recommend"), words, JOBS)
    assert (given.config_as(RecommendConfig).k, given.recipe.name, given.recipe.embedding.num_actors) == (
        3,
        "sasrec",
        2,
    )
    with pytest.raises(UserError, match=r"k: takes an integer ≥ 1 \(given 0\)"):
        read(job_named("recommend"), [*words[:4], "--k", "0"], JOBS)
    with pytest.raises(UserError, match="unknown field nonsense"):
        read(job_named("recommend"), [*words[:4], "--nonsense", "0"], JOBS)
