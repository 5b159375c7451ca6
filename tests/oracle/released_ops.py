"""The deformable convolution of the released model, tap by tap; PyTorch itself has the other operations."""

import torch
from torch import Tensor


def deformable_convolution(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """f[B,C,h,w], f[B,18,h,w] -> f[B,D,h,w]: a 3x3 convolution, padded by 1, whose taps are moved by (dy, dx).

    A tap reads bilinearly; cells outside of the map are 0, and so is whatever lies a whole cell or more outside.
    """
    height, width = x.shape[2:]
    out = torch.zeros(len(x), len(weight), height, width, dtype=x.dtype)
    for tap in range(9):
        y = torch.arange(height)[:, None] + tap // 3 - 1 + offset[:, 2 * tap]
        x_ = torch.arange(width) + tap % 3 - 1 + offset[:, 2 * tap + 1]
        is_inside = (y > -1) & (y < height) & (x_ > -1) & (x_ < width)
        read = torch.zeros_like(x)
        for row, part_y in ((y.floor(), 1 - (y - y.floor())), (y.floor() + 1, y - y.floor())):
            for column, part_x in ((x_.floor(), 1 - (x_ - x_.floor())), (x_.floor() + 1, x_ - x_.floor())):
                counts = is_inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
                row_, column_ = row.clamp(0, height - 1).long(), column.clamp(0, width - 1).long()
                values = torch.stack([image[:, r, c] for image, r, c in zip(x, row_, column_, strict=True)])
                read = read + torch.where(counts, part_y * part_x, 0)[:, None] * values
        out = out + torch.einsum("dc,bchw->bdhw", weight[:, :, tap // 3, tap % 3], read)
    return out
