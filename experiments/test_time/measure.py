"""Suppressions and passes of one trained model, measured against one another on the same drawn images.

    python experiments/test_time/measure.py RUN [--images 500] [--only WORD ..] > experiments/test_time/results.csv

RUN is a run of a recipe over drawn people; its held-out images are used.  Prints one line of CSV per setting.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp

import inspose_jax
from inspose_jax import nms, passes
from inspose_jax.averaged_maps import Pairs, averaged
from inspose_jax.cli import sources
from inspose_jax.config import Config, Passes
from inspose_jax.config import replace as with_fields
from inspose_jax.evaluation import evaluate
from inspose_jax.predictor import Predictor
from inspose_jax.structures import Poses

STATISTICS = ("AP", "AP50", "AP75", "APM", "APL", "AR")
SCALES = {"larger": (192, 224)}
SUPPRESSIONS = (("boxes", 0.6), ("oks", 0.3), ("oks", 0.5), ("oks", 0.7), ("soft", 0.3), ("soft", 0.6))
SCORES_ALONE = "flip, maps 0.7, scores alone"
MERGES = (("boxes", 0.6), ("oks", 0.3), ("oks", 0.5), ("oks", 0.7), ("maps", 0.5), ("maps", 0.7))


def settings(base: Config) -> Iterator[tuple[str, Config]]:
    """The name and config of every setting."""

    def decoded(**fields) -> Config:
        return replace(base, model=with_fields(base.model, **fields))

    def looked_at(passes: Passes) -> Config:
        return replace(base, data=replace(base.data, passes=passes, test_padding="own"))

    for suppression, threshold in SUPPRESSIONS:
        yield f"{suppression} {threshold}", decoded(suppression=suppression, nms_threshold=threshold)
    for merge, threshold in MERGES:
        yield f"flip, {merge} {threshold}", looked_at(Passes((), True, merge, threshold))
    yield SCORES_ALONE, looked_at(Passes((), True, "maps", 0.7))
    for name, scales in SCALES.items():
        yield f"scales {name}", looked_at(Passes(test_scales=scales))
        for merge in ("oks", "maps"):
            yield f"scales {name}, flip, {merge}", looked_at(Passes(scales, True, merge))


def scores_alone(people: Poses, pairs: Pairs, *_: object) -> Poses:
    """The people in the order that averaged maps give them, with the joints of the pass that was surer."""
    scores = jnp.where(pairs.is_found.any(-1), (pairs.is_found * pairs.score).sum(-1), people.scores) / 2
    return jax.vmap(nms.best_first)(people._replace(scores=scores))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    model = inspose_jax.load(given.run)
    variables = jax.device_get(model.variables)
    source = sources.drawn(model.config, "val", given.images)
    print(",".join(("setting", *STATISTICS, "seconds")))
    for name, config in settings(model.config):
        if given.only and not any(name.startswith(word) for word in given.only):
            continue
        passes.averaged = scores_alone if name == SCORES_ALONE else averaged
        begin = time.perf_counter()
        found = evaluate(Predictor(config, variables), source).statistics
        seconds = time.perf_counter() - begin
        print(f'"{name}",' + ",".join(f"{found[one]:.4f}" for one in STATISTICS) + f",{seconds:.1f}", flush=True)


if __name__ == "__main__":
    main()
