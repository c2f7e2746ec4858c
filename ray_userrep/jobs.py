"""The jobs: what each is for, what it takes and what runs it.

A job's workflow is imported when its arguments have been read, so that help and wrong options take no time.
"""

from ray_userrep.command import Job, Run, unknown_job
from ray_userrep.recipe.embedding import IndexConfig, RecommendConfig
from ray_userrep.recipe.logs import SyntheticConfig
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.recipe.serve import ServeConfig
from ray_userrep.recipe.sweep import SweepConfig
from ray_userrep.recipe.upkeep import EraseConfig, VacuumConfig

_WHOSE = {"until": "embedding.until", "users": "embedding.users"}


def _prepare() -> Run:
    from ray_userrep.workflows.prepare import run_prepare

    return lambda given: run_prepare(given.recipe)


def _pretrain() -> Run:
    from ray_userrep.workflows.pretrain import run_pretrain

    return lambda given: run_pretrain(given.recipe)


def _transfer() -> Run:
    from ray_userrep.workflows.transfer import run_transfer

    return lambda given: run_transfer(given.recipe)


def _evaluate() -> Run:
    from ray_userrep.workflows.evaluate import run_evaluate

    return lambda given: run_evaluate(given.recipe, given.own["encoder"], given.own["output"])


def _embed() -> Run:
    from ray_userrep.workflows.embed import run_embed

    return lambda given: run_embed(given.recipe, given.own["encoder"], given.own["output"])


def _predict() -> Run:
    from ray_userrep.workflows.predict import run_predict

    return lambda given: run_predict(given.recipe, given.own["model"], given.own["output"])


def _recommend() -> Run:
    from ray_userrep.workflows.recommend import run_recommend

    return lambda given: run_recommend(
        given.recipe, given.config_as(RecommendConfig), given.own["encoder"], given.own["output"]
    )


def _index() -> Run:
    from ray_userrep.workflows.index import run_index

    return lambda given: run_index(given.places[0], given.config_as(IndexConfig), given.own["output"])


def _serve() -> Run:
    from ray_userrep.workflows.serve import run_serve

    return lambda given: run_serve(given.config_as(ServeConfig), given.own["encoder"])


def _scale() -> Run:
    from ray_userrep.workflows.scale import run_scale

    return lambda given: run_scale(given.recipe, given.config_as(ScaleConfig))


def _continual() -> Run:
    from ray_userrep.workflows.continual import run_continual

    return lambda given: run_continual(given.recipe)


def _plan() -> Run:
    from ray_userrep.workflows.plan import run_plan

    return lambda given: run_plan(given.recipe, given.config_as(PlanConfig))


def _compact() -> Run:
    from ray_userrep.workflows.compact import run_compact

    return lambda given: run_compact(given.recipe)


def _vacuum() -> Run:
    from ray_userrep.workflows.vacuum import run_vacuum

    return lambda given: run_vacuum(given.places[0], given.config_as(VacuumConfig))


def _erase() -> Run:
    from ray_userrep.workflows.erase import run_erase

    return lambda given: run_erase(given.places[0], given.own["users"], given.config_as(EraseConfig))


def _synthesize() -> Run:
    from ray_userrep.workflows.synthesize import run_synthesize

    return lambda given: run_synthesize(given.config_as(SyntheticConfig), given.own["output"])


def _report() -> Run:
    from ray_userrep.workflows.report import run_report

    return lambda given: run_report(given.places[0])


def _runs() -> Run:
    from ray_userrep.workflows.runs import run_runs

    return lambda given: run_runs(given.places[0])


def _sweep() -> Run:
    from ray_userrep.workflows.sweep import run_sweep

    return lambda given: run_sweep(given.recipe, given.config_as(SweepConfig))


def _compare() -> Run:
    from ray_userrep.workflows.compare import run_compare

    return lambda given: run_compare(given.places)


def _trains_on_workers(recipe: Recipe) -> bool:
    from ray_userrep.distributed.places import needs_workers

    return needs_workers(recipe.train)


JOBS = (
    Job(
        "prepare",
        """Check a log and store it as a corpus: a form that trains fast.

        ray-userrep prepare --logs URI --corpus URI [--reader NAME]

        Rows that cannot be read are set aside with the reason. The corpus folder then has report.html: what was read,
        set aside and split, and how long the tails are.""",
        _prepare,
        starts_ray=lambda recipe: False,
    ),
    Job(
        "pretrain",
        """Train a user encoder on a log or corpus and measure it beside simple methods.

        ray-userrep pretrain [--recipe NAME|FILE] [--logs URI] [--corpus URI] [--run URI]

        Without arguments: the Online Retail log that comes with the package, end to end, in minutes. Naming the folder
        of an unfinished run resumes it.""",
        _pretrain,
        starts_ray=_trains_on_workers,
    ),
    Job(
        "transfer",
        """Adapt an encoder to a task in several ways and compare them with simple methods.

        ray-userrep transfer [--recipe NAME|FILE] [--logs URI] [--corpus URI] [--run URI] [--transfer.encoder URI]

        Tasks: attributes of users, who comes back, next items. Each way is fitted over seeds and shares of the labels.
        Without an encoder the recipe pretrains one first. Naming the folder of an unfinished run resumes it.""",
        _transfer,
    ),
    Job(
        "evaluate",
        """Measure an encoder on a corpus: all items ranked, with intervals, beside simple methods.

        ray-userrep evaluate --encoder URI --output URI [--recipe NAME|FILE] [--logs URI] [--corpus URI]""",
        _evaluate,
        own=("encoder", "output"),
    ),
    Job(
        "embed",
        """Write the vector of every user of a corpus as Parquet.

        ray-userrep embed --encoder URI --output URI [--corpus URI] [--until DATE] [--users FILE]

        The folder opens with pandas.read_parquet: user_id, vector, interactions, newest. Vectors as of days, of what
        lay before them: --until '["2024-01-01", "2024-02-01"]'.""",
        _embed,
        own=("encoder", "output"),
        short=_WHOSE,
    ),
    Job(
        "predict",
        """Score the users of a corpus with a model that `transfer` kept, as Parquet.

        ray-userrep predict --model RUN/models/TASK --corpus URI --output URI [--until DATE] [--users FILE]

        The folder opens with pandas.read_parquet: user_id, score, interactions, newest; until where days are named, of
        what lay before them. A score is a number, or one for each of more than two classes, in their order in the
        model's head.json.""",
        _predict,
        own=("model", "output"),
        short=_WHOSE,
    ),
    Job(
        "recommend",
        """Write the likeliest next items of every user of a corpus as Parquet.

        ray-userrep recommend --encoder URI --output URI [--k 20] [--users FILE] [--until DAY] [--corpus URI]

        The folder opens with pandas.read_parquet: user_id, and lists of items and scores, best first.""",
        _recommend,
        own=("encoder", "output"),
        config=RecommendConfig,
    ),
    Job(
        "index",
        """Build an index of vectors that embed wrote, which finds nearest users or items fast.

        ray-userrep index vectors/first --output URI [--of users]

        How many of the true neighbours it finds, and how much faster than a search of all, is in its index.json.""",
        _index,
        own=("output",),
        place="FOLDER",
        config=IndexConfig,
        has_recipe=False,
        on_ray=False,
    ),
    Job(
        "serve",
        """Answer over HTTP: vectors, next items, scores and neighbours of histories that are posted.

        ray-userrep serve --encoder RUN|URI [--serve.port 8000] [--serve.vectors URI] [--serve.model RUN/models/TASK]
            [--serve.index URI]

        It listens on this machine alone; for others set a token in RAY_USERREP_TOKEN and --serve.host. On a Ray cluster
        that runs, the endpoint stays when this ends; running it again with another encoder changes the encoder.""",
        _serve,
        own=("encoder",),
        config=ServeConfig,
        prefix="serve.",
        has_recipe=False,
    ),
    Job(
        "sweep",
        """Pretrain with every combination of some values, over seeds, side by side, and compare them.

        ray-userrep sweep [--recipe NAME|FILE] --seeds 0,1,2 --grid '{"train.learning_rate": [0.001, 0.003]}' --run URI

        The table says which is better than the first, user by user, as compare does. Simple methods are tuned once.
        Naming the folder of an unfinished sweep resumes it; runs that have ended are kept.""",
        _sweep,
        config=SweepConfig,
    ),
    Job(
        "scale",
        """Train many sizes on growing data, fit a scaling law, and check it on runs that were predicted first.

        ray-userrep scale [--recipe ladder] [--logs URI] [--corpus URI] --run URI [--scale.sizes '[3000, 30000]']

        Naming the folder of an unfinished study resumes it. What is the same at every point: catalogue, users of the
        validation (split cold_user), width of the item table, objective.""",
        _scale,
        config=ScaleConfig,
        prefix="scale.",
    ),
    Job(
        "continual",
        """Learn tasks one after the other and measure what is forgotten, with masks (Conure) and without.

        ray-userrep continual --recipe conure [--logs URI] [--corpus URI] [--run URI] [--continual.tasks JSON]

        Tasks are given in their order, as in '[{"task": {"kind": "next_item"}}, {"task": {"kind": "attribute",
        "attributes": ["age"]}}, {"task": {"kind": "next_item"}, "corpus": "corpora/shop"}]'; other corpora are prepared
        before. Naming the folder of an unfinished run resumes it.""",
        _continual,
    ),
    Job(
        "plan",
        """What a recipe takes on given hardware: memory, hours, cost, and the largest model that fits.

        ray-userrep plan [--recipe NAME|FILE] --plan.gpu h100 --plan.nodes 4 [--run URI]

        Without arguments: the default recipe on a log of a billion users and 10¹² interactions.""",
        _plan,
        config=PlanConfig,
        prefix="plan.",
        on_ray=False,
    ),
    Job(
        "compact",
        """Join the files that appended days left in a corpus, as a new version of the same content.

        ray-userrep compact --corpus URI""",
        _compact,
    ),
    Job(
        "vacuum",
        """Delete files of older versions of a corpus that no newer one needs, and what crashes have left.

        ray-userrep vacuum CORPUS --keep 3 --dry-run

        What goes is listed with its size; --dry-run deletes nothing. What a job may be about to publish stays: builds
        that no version names go only when nothing was written in them for --hours. A run that is to be resumed needs
        the version that its corpus.json names.""",
        _vacuum,
        place="CORPUS",
        flags=("dry-run",),
        config=VacuumConfig,
        has_recipe=False,
        on_ray=False,
    ),
    Job(
        "erase",
        """Forget users: out of a corpus, out of its older versions, and out of folders of vectors.

        ray-userrep erase CORPUS --users FILE [--vectors '["vectors", "vectors-2024-01"]']

        FILE has a column user_id. A new version has none of them, and the older versions are deleted. The log itself is
        not touched: take the users out there as well, before more of it is appended.""",
        _erase,
        own=("users",),
        place="CORPUS",
        config=EraseConfig,
        has_recipe=False,
    ),
    Job(
        "synthesize",
        """Write a synthetic log of any size, and the least loss that is possible on it.

        ray-userrep synthesize --output URI [--interactions 20000000] [--users 1000000] [--items 1000000] [--seed 0]""",
        _synthesize,
        own=("output",),
        config=SyntheticConfig,
        has_recipe=False,
    ),
    Job(
        "report",
        """Draw the page of a run again from what it stored.

        ray-userrep report runs/NAME""",
        _report,
        place="RUN",
        has_recipe=False,
        on_ray=False,
    ),
    Job(
        "runs",
        """A table of the runs in a folder: the fields in which they differ, and their figures.

        ray-userrep runs runs/""",
        _runs,
        place="FOLDER",
        has_recipe=False,
        on_ray=False,
    ),
    Job(
        "compare",
        """Which of several runs ranks the next item better: paired differences to the first one, user by user.

        ray-userrep compare runs/sasrec runs/hstu

        Runs that differ in nothing but the seed are one system. Folders of runs are taken apart; the order of names
        says what is compared with what. The best simple method stands beside.""",
        _compare,
        place="RUN",
        several=True,
        has_recipe=False,
        on_ray=False,
    ),
)


def job_named(name: str) -> Job:
    """The job of a name.

    Raises:
        UserError: there is none; the message says which is near.
    """
    found = next((job for job in JOBS if job.name == name), None)
    if found is None:
        raise unknown_job(name, JOBS)
    return found
