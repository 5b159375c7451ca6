"""`inspose demo`: train from random weights, evaluate, and show the results on one page; needs no data and no GPU."""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspose_jax.cli import arguments

STEPS, QUICK_STEPS = 2600, 450  # fixed, so that the result does not depend on the machine's speed
TEST_IMAGES, QUICK_TEST_IMAGES = 1000, 100


@dataclass
class Demo:
    """Learn to find drawn people, measure it, draw it: about 10 minutes on 2 cores, 2 with --quick.

    Example: inspose demo --out demo_out     (the same command again resumes a stopped run)
    """

    out: Path = Path("demo_out")
    """Folder for the page, the images, the numbers and the checkpoint."""
    quick: bool = False
    """Run everything with far fewer steps; the AP will be low."""


def run(argv: list[str]) -> None:
    """Train, evaluate, draw, and print where the results are."""
    begin = time.perf_counter()
    launch, _ = arguments.parse(Demo, argv, "demo")

    from PIL import Image

    from inspose_jax import checkpoints, draw, files, recipes
    from inspose_jax.cli import sources
    from inspose_jax.predictor import Predictor
    from inspose_jax.report import curves, page, people
    from inspose_jax.report.run import read_run, throughput
    from inspose_jax.training import loop

    config = recipes.read(recipes.carried("drawn_people")).config
    num_steps = QUICK_STEPS if launch.quick else STEPS
    workdir = launch.out / "run"
    source = sources.training_source(config, sources.Given())
    with files.results_folder(launch.out):
        done = loop.train(config, source, workdir, num_steps, resume=True, note="learning")
    if done < num_steps:
        print(f"stopped at step {done} of {num_steps}; the same command resumes from there")
        return

    number = QUICK_TEST_IMAGES if launch.quick else TEST_IMAGES
    held_out = sources.drawn(config, "val", number)
    trained_run = read_run(workdir)
    loaded = checkpoints.load(workdir)
    model = Predictor(loaded.config, loaded.variables)
    metrics = measure(model, held_out) | {"steps": loaded.step}
    metrics |= throughput(trained_run.metrics, config.schedule.batch_size)

    shown = people.show(model, loaded.step)
    panels = [panel for _, panel, _ in page.LOSS]
    with files.atomic(launch.out / "loss.png") as place:
        curves.plot_file(panels, trained_run.metrics, place, "png")
    sheet = draw.contact_sheet([image for image, _ in shown.images], columns=3, gap=10)
    with files.atomic(launch.out / "predictions.png") as place:
        Image.fromarray(sheet).save(place)
    if shown.maps:  # a model after few steps may find nobody
        with files.atomic(launch.out / "keypoint_maps.png") as place:
            Image.fromarray(people.maps_sheet(shown.maps)).save(place)
    metrics["seconds"] = round(time.perf_counter() - begin, 1)
    files.write(launch.out / "metrics.json", json.dumps(metrics, indent=2))
    title = f"InsPose on drawn people: AP {metrics['AP']:.3f}"
    files.write(launch.out / "index.html", page.page_of(trained_run, shown, title, [results_section(metrics, config)]))
    print(f"\nAP {metrics['AP']:.3f} on {number} held-out images, {metrics['seconds']:.0f} s in all")
    for name in ("index.html", "metrics.json", "loss.png", "predictions.png", "keypoint_maps.png", "run"):
        if (launch.out / name).exists():
            print(f"  {launch.out / name}")
    print(
        f"next: inspose data draw --out drawn --count 20 --size 128 && "
        f"inspose predict --checkpoint {workdir} drawn/images --out found"
    )


def measure(model: Any, held_out: Any) -> dict[str, Any]:
    """The ten COCO statistics on a drawn source, AP by class score alone, and AP per number of people."""
    from inspose_jax.evaluation import coco_ap, evaluator
    from inspose_jax.predictor import Predictor

    statistics, results = evaluator.evaluate(model, held_out)
    truth = held_out.ground_truth()
    metrics: dict[str, Any] = dict(statistics)
    metrics["AP_per_number_of_people"] = coco_ap.ap_by_number_of_people(truth, results, model.skeleton)
    decoding = dataclasses.replace(model.config.model.decoding, pose_score="class")
    by_class = dataclasses.replace(model.config, model=dataclasses.replace(model.config.model, decoding=decoding))
    ranked = evaluator.evaluate(Predictor(by_class, model.variables), held_out)
    metrics["AP_by_class_score_alone"] = ranked.statistics["AP"]
    metrics["pictures"] = len(held_out)
    return metrics


def results_section(metrics: dict[str, Any], config: Any) -> tuple[str, str]:
    """The section of the page with the evaluation results."""
    from inspose_jax.evaluation.coco_ap import NAMES
    from inspose_jax.report import markup

    absent = [name for name in NAMES if metrics[name] < 0]
    size = config.data.scene.size
    remark = (
        f"No value for {', '.join(absent)}: at {size} pixels no person falls into that size class. " if absent else ""
    )
    per_number = sorted((int(number), value) for number, value in metrics["AP_per_number_of_people"].items())
    return (
        "How good",
        markup.table(NAMES, [[f"{metrics[name]:.3f}" if metrics[name] >= 0 else "–" for name in NAMES]])
        + markup.note(
            f"COCO keypoint statistics over {metrics['pictures']} held-out images. {remark}People are ranked by "
            f"class score times mean softmax peak; by class score alone AP is "
            f"{metrics['AP_by_class_score_alone']:.3f}."
        )
        + markup.table(
            ["people in the image", *(number for number, _ in per_number)],
            [["AP", *(f"{value:.3f}" for _, value in per_number)]],
        ),
    )
