"""A forward pass of one image of 800 x 1216 beside PyTorch, on a CPU.

    python experiments/benchmarks/train_step/forward_beside_torch.py [RECIPE [CALLS]]

The network up to what decoding reads, random weights, float32, two threads each, in turn: the package's, and the same
model with the same weights in eager PyTorch (`torch_bridge/inspose_torch.py`, channels last).  Prints how far the class
logits differ, then times.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import sides
import torch

from inspose_jax import config_json, methods, recipes
from inspose_jax.network.inspose import normalise
from inspose_jax.torch_bridge import export, inspose_torch

HEIGHT, WIDTH = 800, 1216


def both(recipe: str) -> tuple[Callable[[], Any], Callable[[], Any], str]:
    """The forward pass of a recipe's network on one image, ours and PyTorch's, and the text of our compiled program."""
    config = recipes.read(recipe).config
    method = methods.for_model(config.model)
    variables = jax.jit(method.init)(jax.random.key(0))
    image = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)
    size = np.array([[HEIGHT, WIDTH]], np.int32)

    def network(variables: Any, image: jax.Array, size: jax.Array) -> Any:
        outputs = method.apply(variables, image, size, train=False)[0]
        read_at_test_time = ("logits", "controller", "features", "offsets", "coarse")
        return {name: getattr(outputs, name) for name in read_at_test_time if hasattr(outputs, name)}

    compiled = jax.jit(network).lower(variables, image, size).compile()
    model = inspose_torch.InsPose(config_json.to_dict(config)).eval().to(memory_format=torch.channels_last)
    tensors = export.state_dict(jax.device_get(variables), config.model)
    model.load_state_dict({name: torch.tensor(x) for name, x in tensors.items()})
    x = torch.tensor(np.asarray(normalise(image, size))).permute(0, 3, 1, 2)
    x = x.contiguous(memory_format=torch.channels_last)

    def ours() -> Any:
        return jax.block_until_ready(compiled(variables, image, size))

    def theirs() -> Any:
        with torch.inference_mode():
            return model(x)

    return ours, theirs, compiled.as_text()


def main(recipe: str = "released_r50_coco_3x", calls: str = "9") -> None:
    torch.set_num_threads(2)
    ours, theirs, program = both(recipe)
    logits = np.concatenate([level.flatten().numpy() for level in theirs().logits])
    print(f"largest difference of a class logit: {np.abs(logits - np.asarray(ours()['logits'])[0]).max():.1e}")
    sides.compare(ours, theirs, program, int(calls))


if __name__ == "__main__":
    main(*sys.argv[1:])
