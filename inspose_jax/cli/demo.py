"""`inspose demo`: from random weights to people found, measured and drawn, on one page; no data, no GPU."""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspose_jax.cli import arguments

STEPS, QUICK_STEPS = 2600, 450  # fixed, so that the result does not depend on the machine's speed
TEST_PICTURES, QUICK_TEST_PICTURES = 1000, 100
THRESHOLD = 0.2  # of the people drawn on the page
MOSTLY_SEEN = 14  # joints that both people of the picture with the keypoint maps show at least


@dataclass
class Demo:
    """Learn to find drawn people, measure it, draw it: about 9 minutes on 2 cores, 2 with --quick.

    Example: inspose demo --out demo_out     (the same command again goes on where it was stopped)
    """

    out: Path = Path("demo_out")
    """Folder for the page, the pictures, the numbers and the checkpoint."""
    quick: bool = False
    """Far fewer steps: everything runs, and no AP is promised."""


def run(argv: list[str]) -> None:
    """Train, evaluate, draw, and say where everything is."""
    begin = time.perf_counter()
    launch, _ = arguments.parse(Demo, argv, "demo")

    from inspose_jax import predictor, report
    from inspose_jax.cli import files, recipes, sources
    from inspose_jax.data.drawn_people import DrawnPeople
    from inspose_jax.training import loop

    config = recipes.load(str(recipes.carried("drawn_people")))
    num_steps = QUICK_STEPS if launch.quick else STEPS
    workdir = launch.out / "run"
    source = sources.training_source(config, None, None)
    with files.results_folder(launch.out):
        loop.train(config, source, workdir, num_steps, resume=True, note="learning")

    number = QUICK_TEST_PICTURES if launch.quick else TEST_PICTURES
    held_out = DrawnPeople(config.data.scene, "validation", config.schedule.seed, number)
    model = predictor.load(workdir)
    rows = report.read_metrics(workdir)
    metrics = measure(model, held_out) | speed(rows, config.schedule.batch_size)

    samples = [held_out[i] for i in range(60)]
    several = [sample for sample in samples if len(sample.area) >= 1]
    report.loss_curves(rows, launch.out / "loss.png")
    report.predictions_sheet(model, several[:12], THRESHOLD, launch.out / "predictions.png")
    two = next(s for s in samples if len(s.area) == 2 and (s.keypoints[..., 2] == 2).sum(1).min() >= MOSTLY_SEEN)
    report.keypoint_maps(model, two.image, launch.out / "keypoint_maps.png")
    metrics["seconds"] = round(time.perf_counter() - begin, 1)
    files.write(launch.out / "metrics.json", json.dumps(metrics, indent=2))
    files.write(launch.out / "index.html", html_page(launch.out, metrics, config))
    print(f"\nAP {metrics['AP']:.3f} on {number} held-out pictures, {metrics['seconds']:.0f} s in all")
    for name in ("index.html", "metrics.json", "loss.png", "predictions.png", "keypoint_maps.png", "run"):
        print(f"  {launch.out / name}")
    print(
        f"next: inspose data draw --out drawn --count 20 --size 128 && "
        f"inspose predict --checkpoint {workdir} drawn/images --out found"
    )


def measure(model: Any, held_out: Any) -> dict[str, Any]:
    """The ten statistics of a drawn source, AP by class score alone, and AP per number of people."""
    from inspose_jax.data.coco import ground_truth_of
    from inspose_jax.data.pipeline import InMemory
    from inspose_jax.evaluation import coco_ap, evaluator
    from inspose_jax.predictor import Predictor

    held_out = InMemory(held_out)
    offset = model.config.data.joint_pixel_offset
    truth = ground_truth_of((held_out[i] for i in range(len(held_out))), model.skeleton, offset)
    results = evaluator.find_all(model, held_out)
    metrics: dict[str, Any] = coco_ap.keypoint_ap(truth, results, model.skeleton)
    metrics["AP_per_number_of_people"] = coco_ap.ap_by_number_of_people(truth, results, model.skeleton)
    by_class = dataclasses.replace(model.config, model=dataclasses.replace(model.config.model, pose_score="class"))
    ranked = evaluator.find_all(Predictor(by_class, model.variables), held_out)
    metrics["AP_by_class_score_alone"] = coco_ap.keypoint_ap(truth, ranked, model.skeleton)["AP"]
    metrics["pictures"] = len(held_out)
    return metrics


def speed(rows: list[dict[str, Any]], batch_size: int) -> dict[str, Any]:
    """Steps, and from the windows of ten steps how long training took; the first holds the compilation."""
    windows = [row for row in rows if "images_per_s" in row]
    seconds = [10 * batch_size / row["images_per_s"] for row in windows]
    steady = sorted(row["images_per_s"] for row in windows[1:])
    return {
        "steps": rows[-1]["step"],
        "training_seconds": round(sum(seconds), 1),
        "images_per_s": steady[len(steady) // 2],
        "data_wait": round(
            sum(s * row["data_wait"] for s, row in zip(seconds, windows, strict=True)) / sum(seconds), 4
        ),
    }


def html_page(out: Path, metrics: dict[str, Any], config: Any) -> str:
    """The page: numbers, predictions, keypoint maps, loss, configuration."""
    from inspose_jax import config as config_
    from inspose_jax import report
    from inspose_jax.evaluation.coco_ap import NAMES

    absent = [name for name in NAMES if metrics[name] < 0]
    size = config.data.scene.size
    remark = f"No value for {', '.join(absent)}: at {size} pixels nobody falls into that size class. " if absent else ""
    per_number = sorted((int(number), value) for number, value in metrics["AP_per_number_of_people"].items())
    sections = [
        (
            "How good",
            report.table(NAMES, [[f"{metrics[name]:.3f}" if metrics[name] >= 0 else "–" for name in NAMES]])
            + report.note(
                f"COCO keypoint statistics over {metrics['pictures']} held-out pictures. {remark}People are ranked by "
                f"class score times mean softmax peak; by class score alone AP is "
                f"{metrics['AP_by_class_score_alone']:.3f}."
            )
            + report.table(
                ["people in the picture", *(number for number, _ in per_number)],
                [["AP", *(f"{value:.3f}" for _, value in per_number)]],
            ),
        ),
        (
            "Ground truth beside prediction",
            report.picture(out / "predictions.png", "pairs of drawn pictures with skeletons")
            + report.note(
                "Left of each pair the labels, right what the model found. Nose magenta, left side blue, right "
                "side orange."
            ),
        ),
        (
            "One picture, two KP-Nets",
            report.picture(out / "keypoint_maps.png", "keypoint maps of two people, joint by joint")
            + report.note(
                "Figure 1 of the paper: both people's networks read the same features; only their 313 generated "
                "numbers differ. Each lights up at its own person's joints."
            ),
        ),
        ("Loss", report.picture(out / "loss.png", "loss curves")),
        (
            "The run",
            report.table(
                ["steps", "images / s", "training, s", "waiting for data", "in all, s"],
                [
                    [
                        metrics["steps"],
                        f"{metrics['images_per_s']:.1f}",
                        f"{metrics['training_seconds']:.0f}",
                        f"{metrics['data_wait']:.1%}",
                        f"{metrics['seconds']:.0f}",
                    ]
                ],
            )
            + f"<details><summary>configuration</summary><pre>{config_.to_json(config)}</pre></details>",
        ),
    ]
    lead = f"A small InsPose, trained from random weights on drawn people, reaches AP {metrics['AP']:.3f}."
    return report.page("InsPose on drawn people", lead, sections)
