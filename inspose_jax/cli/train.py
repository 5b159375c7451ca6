"""`inspose train`: train a recipe on a source, in a workdir."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from inspose_jax import recipes, run_folder
from inspose_jax.cli import arguments, config_flags, distributed, resuming
from inspose_jax.config import Config
from inspose_jax.errors import NotFound, UserError

NUM_SHOWN = 12  # images of an evaluation that are drawn for TensorBoard


@dataclass
class Train:
    """Train a recipe, or go on with a run, whose recipe and data are known: inspose train --workdir runs/a --resume

    Example: inspose train drawn_people --workdir runs/a --steps 2000 --config.schedule.learning-rate 0.005
    """

    recipe: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE", help_behavior_hint="")
    ] = ()
    """A recipe's name, or its file."""
    workdir: arguments.Place = None
    """Folder of the run; by default runs/RECIPE."""
    given: arguments.GivenParts = arguments.OF_NOTHING
    init: arguments.Place = None
    """Weights: a run, a checkpoint or a released file, also of other joints, or a backbone from ImageNet."""
    skeleton: Annotated[str, tyro.conf.arg(metavar="PRESET|JSON", help_behavior_hint="")] = ""
    """A preset, a JSON file, or data: those of the data."""
    steps: arguments.Count = None
    """Number of steps, which the schedule adapts to; by default the recipe's epochs."""
    stop_at: arguments.Count = None
    """Stop early, after this step; --resume goes on."""
    resume: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Go on from the newest checkpoint in the workdir."""
    eval_every: arguments.Count = None
    """Steps between evaluations, which keep WORKDIR/best; by default a tenth of the run."""
    on_nan: Literal["stop", "skip"] = "stop"
    """If a loss is not finite: stop the run, or skip that step."""
    distributed: bool = False
    """One of several processes that share the batch, as told by the cluster or by JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID."""
    config_help: bool = False
    """List the recipe's fields with their meaning."""
    profile: Annotated[str, tyro.conf.arg(metavar="N:M")] = ""
    """Trace steps N to M into WORKDIR/profile, for xprof."""


def run(argv: list[str]) -> None:
    """Parse, check everything that can be checked before compilation, and train."""
    launch, rest = arguments.parse(Train, argv, "train", with_config=True)
    name = the_recipe(launch)
    recipe, num_steps = recipes.read(name) if name else None, launch.steps
    workdir = launch.workdir or Path("runs") / Path(name).stem
    if recipe is not None:
        config = recipe.config
    else:
        config, usual_steps = resuming.stored(workdir)
        num_steps = num_steps or usual_steps
    config = config_flags.override(config, rest, launch.skeleton)
    if launch.config_help:
        print(config_flags.describe(config))
        return
    for name in ("steps", "stop_at", "eval_every"):
        value = getattr(launch, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at least 1")
        if value is not None and value >= 2**31:  # the step counter has 32 bits
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be below {2**31}")
    profile = parse_steps(launch.profile)
    if launch.init is not None and not launch.init.exists():
        raise NotFound(f"{launch.init}: no such weights; check --init")

    if launch.distributed:
        distributed.join()

    from inspose_jax import devices, files, processes
    from inspose_jax.cli import initial_weights, sources
    from inspose_jax.data import pipeline, shapes

    devices.check()
    options = resuming.Options(launch.given, launch.eval_every)
    if launch.resume:
        options, added = resuming.completed(options, workdir)
        if added and processes.is_first():
            print(f"inspose: {workdir}: goes on with {added}")
    source = sources.training_source(config, options.parts.train())
    config = pipeline.for_data(config, source)
    validation = sources.validation_source(config, options.parts.val(), options.eval_every)
    if options.parts.val():
        sources.warn_if_same(source, validation)

    from inspose_jax.evaluation import evaluator
    from inspose_jax.methods import from_recipe
    from inspose_jax.training import loop, start

    is_first = processes.is_first()
    if not config.data.shapes:
        config = start.with_shapes(config, source, workdir, launch.resume)
        if is_first:
            print(f"padded shapes of images, found for the run's data: {shapes.words(config.data.shapes)}")
    method = from_recipe(recipe, config.model)
    num_steps = num_steps or loop.run_length(config, source)
    evaluate, try_out = (None, None) if validation is None else make_evaluation(config, method, validation)
    extras = loop.Extras(
        evaluate=evaluate,
        eval_every=options.eval_every or -(-num_steps // 10),
        on_nan=launch.on_nan,
        profile=profile,
        validation=evaluator.fingerprint(config, validation) if validation is not None else "",
        try_out=try_out,
        options=options.given(),
    )
    if launch.resume and is_first and not has_checkpoint(workdir):
        print(f"inspose: {workdir}: no checkpoint to resume from; the run starts at its first step")
    with files.results_folder(workdir if is_first else None):
        processes.wait_for_all("folder")  # no process reads the folder while the first one tests it
        done = loop.train(
            config,
            source,
            workdir,
            num_steps,
            launch.stop_at,
            launch.resume,
            initial_weights.pretrained(launch.init, recipe, config, method) if launch.init and recipe else None,
            extras,
            method=method,
        )
    if done < num_steps and is_first:
        again = [word for word in argv if word != "--resume"]
        if launch.stop_at is not None and done >= launch.stop_at:
            again = remove_option(again, "--stop-at")
        print(f"stopped at step {done} of {num_steps}; resume with: inspose train {shlex.join(again)} --resume")


def the_recipe(launch: Train) -> str:
    """The recipe that is given; empty if a run is to go on, which has it.  Raises UserError if neither is given."""
    if len(launch.recipe) > 1:
        raise UserError(f"{launch.recipe[1]}: not expected here; see inspose train --help")
    if not launch.recipe and not (launch.resume and launch.workdir):
        raise UserError("give a recipe, such as keypoints, or --workdir FOLDER --resume to go on with a run")
    if not launch.recipe and launch.init:
        raise UserError("--init is for a new run, whose recipe must be given")
    return launch.recipe[0] if launch.recipe else ""


def remove_option(words: list[str], option: str) -> list[str]:
    """The words of a command line without one option and its value."""
    if option in words:
        at = words.index(option)
        return words[:at] + words[at + 2 :]
    return [word for word in words if not word.startswith(f"{option}=")]


def parse_steps(profile: str) -> range:
    """The steps of `N:M`, including both ends; empty for an empty text.  Raises UserError if it is malformed."""
    found = re.fullmatch(r"(\d+):(\d+)", profile)
    if profile and (not found or not 1 <= int(found[1]) <= int(found[2])):
        raise UserError(f"--profile {profile}: must be the first and the last step of a trace, such as 20:25")
    return range(int(found[1]), int(found[2]) + 1) if found else range(0)


def make_evaluation(config: Config, method: Any, validation: Any) -> tuple[Any, Any]:
    """Two functions of the model's variables: the evaluation, and a trial of it.

    The evaluation returns the statistics on a dataset and its first images with predictions drawn; the trial runs only
    the largest batch.
    """
    import jax

    from inspose_jax import draw
    from inspose_jax.evaluation import evaluator
    from inspose_jax.predictor import Predictor
    from inspose_jax.training import loop

    # The variables are passed with every call, so that the compiled programs are kept.
    predictor = Predictor(config, {}, jax.local_devices(), method)

    def evaluate(variables: Any) -> loop.Evaluation:
        predictor.set_variables(variables)  # released at the end, since training needs the memory
        statistics, _ = evaluator.evaluate(predictor, validation)
        images = [validation[i].image for i in range(min(NUM_SHOWN, len(validation)))]
        shown = [people.plot() for people in predictor(images)]  # together, for which the programs are mostly compiled
        predictor.set_variables({})
        return loop.Evaluation(statistics, draw.contact_sheet(shown, columns=4))

    def try_out(variables: Any) -> None:
        predictor.set_variables(variables)
        predictor.try_largest(validation)
        predictor.set_variables({})

    return evaluate, try_out


def has_checkpoint(workdir: Path) -> bool:
    """Whether a run in this folder has saved a checkpoint, including the frozen variables."""
    from inspose_jax.checkpoints import steps

    return bool(steps(workdir / run_folder.CHECKPOINTS))
