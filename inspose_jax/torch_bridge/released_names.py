"""Our names of the released model's parameters and those of the authors' checkpoint."""

from inspose_jax.torch_bridge.names import LEAVES, backbone_name, pyramid_name

HEAD = "bbox_head"
TOWERS = {  # of ours -> a list of layers in the released model, and where in it the tower begins
    "instance_heads.classification_tower": ("cls_convs", 0),
    "instance_heads.controller_tower": ("ctrl_convs", 0),
    "instance_heads.coarse_tower": ("kpt_convs", 0),
    "keypoint_features.tower": ("shared_convs", 0),
    "dense.tower": ("hm_convs", 0),
    "dense.tower_x2": ("hm_convs", 2),
}
LAYERS = {
    "instance_heads.logits.conv": "conv_cls",
    "instance_heads.theta.conv": "controller",
    "instance_heads.coarse.conv": "kpt_offset",
    "instance_heads.classification_star.conv": "cls_star_conv",
    "instance_heads.classification_star.norm": "cls_star_gn",
    "instance_heads.controller_star.conv": "ctr_star_conv",
    "instance_heads.controller_star.norm": "ctr_star_gn",
    "dense.heatmaps.conv": "hm_pred",
    "dense.tags.conv": "ae_pred",
    "dense.offsets.conv": "hm_offset",
}
NORMS = {"conv": "conv", "norm": "gn"}  # a layer of a tower: the convolution and its GroupNorm


def released_name(path: tuple[str, ...], keypoint_depth: int) -> str:
    """The released key of a parameter or statistic of ours.

    ("fpn", "lateral3", "kernel") -> "neck.lateral_convs.0.conv.weight".  `keypoint_depth` is the depth of the tower of
    keypoint features; the last layer, apart here, is the next in the list there.
    """
    *place, leaf = path
    if place[0] == "backbone":
        return f"backbone.{backbone_name(path[1:])}"
    if place[0] == "fpn":
        return pyramid_name(place[1], leaf, 3)
    if place[0] == "keypoint_features" and len(place) == 2:
        return f"{HEAD}.shared_convs.{keypoint_depth}.{NORMS[place[1]]}.{LEAVES[leaf]}"
    if (owner := ".".join(place[:-1])) in TOWERS:
        layers, first = TOWERS[owner]
        kind, number = place[-1][:4], int(place[-1][4:])
        return f"{HEAD}.{layers}.{first + number}.{NORMS[kind]}.{LEAVES[leaf]}"
    return f"{HEAD}.{LAYERS['.'.join(place)]}.{LEAVES[leaf]}"
