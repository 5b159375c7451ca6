"""The paper's R50 in training beside PyTorch, on a CPU.

    python experiments/benchmarks/train_step/beside_torch.py [STEPS]

Two random images of 512 x 640, float32, two threads each, a step of either side in turn: the package's training step,
and the same model with the same weights in eager PyTorch (`torch_bridge/inspose_torch.py`, channels last) with the
same losses, the same targets given, and SGD.  Prints the first loss of both, which must agree, then times.
"""

import sys
from dataclasses import replace

import accelerator
import jax
import numpy as np
import sides
import torch
import torch.nn.functional as F

from inspose_jax import config_json, methods, recipes
from inspose_jax.network.inspose import normalise
from inspose_jax.structures import Targets
from inspose_jax.torch_bridge import export, inspose_torch
from inspose_jax.training import sharding


def main(num_steps: int = 9) -> None:
    torch.set_num_threads(2)
    accelerator.HEIGHT, accelerator.WIDTH = 512, 640
    config = recipes.read("r50_coco_36e").config
    config = replace(config, schedule=replace(config.schedule, batch_size=2))
    method, batch = methods.for_model(config.model), accelerator.random_batch(config)
    mesh = sharding.make_mesh(config.schedule, jax.devices()[:1])
    state = sharding.new_state(method, config.schedule, 1000, mesh)

    variables = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    model = inspose_torch.InsPose(config_json.to_dict(config)).to(memory_format=torch.channels_last)
    tensors = {name: torch.tensor(x) for name, x in export.state_dict(variables, config.model).items()}
    model.load_state_dict(tensors)
    model.train()
    model.backbone.eval()  # batch norm is frozen, and so are the stem and the first stage
    for part in (model.backbone.conv1, model.backbone.layer1):
        part.requires_grad_(False)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.requires_grad_(False)
    trained = [x for x in model.parameters() if x.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01 / 3, momentum=0.9, weight_decay=1e-4)
    targets = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), jax.jit(method.targets)(batch))
    images = torch.tensor(np.asarray(normalise(batch.image, batch.size))).permute(0, 3, 1, 2)

    given = sharding.put_batch(batch, mesh)
    step = sharding.jit_train_step(method, config.schedule, 1000, mesh).lower(state, given).compile()

    def ours() -> float:
        nonlocal state
        state, measurements = step(state, given)
        return float(measurements["loss/total"])

    def theirs() -> float:
        optimizer.zero_grad()
        total = loss(model, images, targets)
        total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 35)
        optimizer.step()
        return float(total.detach())

    print(f"first loss: JAX {ours():.5f} PyTorch {theirs():.5f}", flush=True)
    sides.compare(ours, theirs, step.as_text(), num_steps)


def loss(model: inspose_torch.InsPose, images: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Eq. 5 in PyTorch; the targets have torch's tensors with a leading axis for the images."""
    outputs = model(images.contiguous(memory_format=torch.channels_last))
    positives = targets.is_slot.sum()
    logits = torch.cat([x.flatten(1) for x in outputs.logits], 1)
    weights = torch.where(targets.is_positive, 0.25, 0.75) * ~targets.is_ignored
    total = (weights * focal(logits, targets.is_positive)).sum() / positives

    where = inspose_torch.every_location(outputs.logits)
    for i in range(len(images)):
        is_slot, person = targets.is_slot[i], targets.slot_person[i].long()
        one = outputs._replace(
            controller=[x[i : i + 1] for x in outputs.controller], features=outputs.features[i : i + 1]
        )
        locations = where[targets.slot_location[i].long()[is_slot]]
        maps = torch.cat(list(inspose_torch.keypoint_maps(model, one, locations))).flatten(2)
        cells, is_joint = targets.cells[i].long()[person[is_slot]], targets.is_joint[i][person[is_slot]]
        per_joint = torch.logsumexp(maps, 2) - maps.gather(2, cells[..., None])[..., 0]
        total = total + ((per_joint * is_joint).sum(1) / is_joint.sum(1).clamp(min=1)).sum() / positives

    in_disk = targets.in_disk.repeat_interleave(2, -1).permute(0, 3, 1, 2)
    error = (outputs.offsets - targets.disk_offsets.permute(0, 3, 1, 2)).abs()
    total = total + (error * in_disk).sum() / in_disk.sum()
    true = targets.heatmaps.permute(0, 3, 1, 2)
    weights = torch.where(true == 1, 1, (1 - true) ** 4) * targets.is_cell[:, None]
    return total + (weights * focal(outputs.heatmaps, true == 1)).sum() / (true == 1).sum()


def focal(logits: torch.Tensor, is_true: torch.Tensor) -> torch.Tensor:
    """-(1 - p)^2 log p, p the probability of the right answer."""
    against = torch.where(is_true, -logits, logits)
    return torch.sigmoid(against) ** 2 * F.softplus(against)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
