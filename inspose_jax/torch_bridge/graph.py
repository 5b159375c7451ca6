"""The network of `inspose_torch.py` as a graph for other programs: ONNX, and `torch.export`'s .pt2.

The graph ends where the sizes begin to depend on what is in the image: at the logits and theta of all locations.  Best
locations, suppression and KP-Nets are in `inspose_numpy.py`, which is copied beside it and names the graph's outputs.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

from inspose_jax import files, run_folder
from inspose_jax.config import Config
from inspose_jax.errors import UserError
from inspose_jax.torch_bridge import export, inspose_torch, model_card

OPSET = 18  # what PyTorch writes; it would convert to a later one, and cannot write an earlier one
ONNX, PT2, NUMPY_FILE = "model.onnx", "model.pt2", "inspose_numpy.py"
EXAMPLE = (320, 416)  # height and width to trace with; no two axes of a map are equal, and none is 1


class Graph(torch.nn.Module):
    """An InsPose as a function from an image f32[1,3,H,W], normalised and padded, to the outputs that are decoded.

    `inspose_numpy.py` lists them; there are no offsets in a model without them.
    """

    def __init__(self, model: inspose_torch.InsPose):
        super().__init__()
        self.model = model.eval()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs, layer = self.model(image), self.model.bbox_head.controller
        before, after = (layer.kernel_size[0] - 1) // 2, layer.kernel_size[0] // 2  # as in JAX, even kernels look ahead
        padded = [F.pad(x, (before, after, before, after)) for x in outputs.controller]
        theta = [F.conv2d(x, layer.weight, layer.bias) for x in padded]
        named = {"logits": joined(outputs.logits), "theta": joined(theta), "features": outputs.features}
        if outputs.offsets is not None:
            named["offsets"] = outputs.offsets
        if outputs.coarse is not None:
            named["coarse"] = joined(outputs.coarse)
        if outputs.sides is not None:
            named["sides"] = joined(outputs.sides)
        return named


def joined(maps: list[torch.Tensor]) -> torch.Tensor:
    """Maps f[1,C,h,w] of the levels -> f[1,C,L] of all locations."""
    return torch.cat([x.flatten(2) for x in maps], 2)


def exported(model: inspose_torch.InsPose, shape: tuple[int, int] | None = None) -> Any:
    """The graph as a torch.export.ExportedProgram for images of one (height, width), multiples of 32, or of any."""
    sizes = None
    if shape is None:
        sizes = {"image": {2: 32 * torch.export.Dim("height"), 3: 32 * torch.export.Dim("width")}}
    with torch.no_grad():
        return torch.export.export(Graph(model), (torch.zeros(1, 3, *(shape or EXAMPLE)),), dynamic_shapes=sizes)


def write_onnx(program: Any, path: Path) -> None:
    """Write what `exported` returns as an ONNX file that holds its weights."""
    names = list(program.call_spec.out_spec.unflatten(range(program.call_spec.out_spec.num_leaves)))
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)  # it tells which libraries it could use as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of its own parts
            torch.onnx.export(
                program,
                f=path,
                input_names=["image"],
                output_names=names,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        log.setLevel(before)


def torch_model(config: Config, variables: Any) -> inspose_torch.InsPose:
    """The model of a config in PyTorch, with our variables."""
    with torch.device("meta"):  # takes no memory and no random numbers
        model = inspose_torch.InsPose(export.torch_config(config))
    tensors = {name: torch.tensor(x) for name, x in export.state_dict(variables, config.model).items()}
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def write(
    folder: Path,
    model: inspose_torch.InsPose,
    about: Mapping[str, Any],
    shape: tuple[int, int] | None = None,
    pt2: bool = False,
) -> None:
    """Write a new folder: the graph as ONNX (and with `pt2` as .pt2 too), config, the file that decodes, a README.

    `about` is what the model's checkpoint records, which tells where its weights are from.
    With a `shape` (height, width) the graph takes images of that one only, and the config says to pad to it.  Raises
    UserError if its sides are no multiples of 32, or if the folder holds something already or cannot be written.
    """
    config = dict(model.config)
    if shape is not None:
        if min(shape) < 32 or any(side % 32 for side in shape):
            raise UserError(f"the graph's shape is {shape[0]} x {shape[1]}; its sides must be multiples of 32")
        config["data"] = {**config["data"], "test_padding": "shapes", "shapes": [list(shape)]}
    with files.new_folder(folder) as partial:
        program = exported(model, shape)
        write_onnx(program, partial / ONNX)
        if pt2:
            torch.export.save(program, partial / PT2)
        files.write(partial / run_folder.CONFIG, json.dumps(config, indent=2))
        shutil.copy(Path(__file__).with_name(NUMPY_FILE), partial)
        files.write(partial / "README.md", readme(model, about, shape, pt2))


README = """\
# InsPose: the network as a graph, and people with numpy

{words} of InsPose ([paper](https://arxiv.org/abs/2107.08982)) on {backbone}, written by inspose-jax.  It finds every
person in an image, and {joints} joints of each: {names}.

```sh
pip install numpy onnxruntime pillow
```

```python
import numpy as np
from inspose_numpy import load
from PIL import Image, ImageOps

model = load(".")  # this folder
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
(people,) = model.detect(np.asarray(photo))  # those with a score of at least 0.3; threshold=0 gives all
print(people["keypoints"], people["scores"])  # f32[N,{joints},2] (x, y) in pixels of the image, f32[N]
```

| file | content |
| --- | --- |
| `{onnx}` | the network with its weights, float32, ONNX of opset {opset}; it takes one image of {shapes} |
{pt2}| `config.json` | sizes, padding, limits of decoding, names of the joints |
| `{numpy}` | what comes before the graph and after it, in numpy; its first lines describe the input and the outputs |

Another runtime takes the place of onnxruntime as a function from the input, a normalised and padded image
f32[1,3,H,W], to the outputs by name: `InsPose(run, json.load(open("config.json")))`.  Suppression and the KP-Nets of
the people found are not in the graph, so that nothing in it depends on what the image shows.

## Licence

{licence}
"""
PT2_ROW = "| `{}` | the same for PyTorch: `torch.export.load(..).module()(image)` gives the outputs by name |\n"


def readme(model: inspose_torch.InsPose, about: Mapping[str, Any], shape: tuple[int, int] | None, pt2: bool) -> str:
    """The README.md of such a folder."""
    shapes = f"{shape[0]} x {shape[1]} pixels" if shape else "any height and width in multiples of 32"
    if pt2 and not shape:
        # PyTorch excludes shapes of which a map has a single row or column, because it might have to broadcast those.
        shapes += f" (from {2 ** max(5, *model.levels) + 32} pixels on in {PT2})"
    return README.format(
        words="The released model" if model.is_released else "The paper's model",
        backbone=model.config["model"]["network"]["backbone"],
        joints=len(model.keypoint_names),
        names=", ".join(model.keypoint_names),
        onnx=ONNX,
        opset=OPSET,
        shapes=shapes,
        pt2=PT2_ROW.format(PT2) if pt2 else "",
        numpy=NUMPY_FILE,
        licence=model_card.licence(about, NUMPY_FILE),
    )
