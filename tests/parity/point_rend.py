"""PointRend (Kirillov, Wu, He, Girshick, CVPR 2020), written from sections 3.1 to 3.3 of the paper.

This does not use PyTorch's grid_sample or scatter: interpolation is written explicitly, and points are rendered by
computing all pixels and keeping the chosen ones.
"""

import torch
from torch import nn
from torch.nn import functional as F


def between(image, points):
    """Values of image [B, C, h, w] at points [B, N, 2] (x, y from 0 to 1): [B, C, N]. Pixel i's centre is (i + 1/2) / w."""
    b, c, h, w = image.shape
    x = (points[..., 0] * w - 0.5).clamp(0, w - 1)
    y = (points[..., 1] * h - 0.5).clamp(0, h - 1)
    total = 0
    for corner_y in (0, 1):
        for corner_x in (0, 1):
            column = (x.floor() + corner_x).clamp(max=w - 1)
            row = (y.floor() + corner_y).clamp(max=h - 1)
            weight = (1 - (x - x.floor() - corner_x).abs()) * (1 - (y - y.floor() - corner_y).abs())
            index = (row * w + column).long()[:, None].expand(b, c, -1)
            total = total + image.flatten(2).gather(2, index) * weight[:, None]
    return total


def uncertainty_of(logits):
    """Uncertainty of the least certain class: larger is less certain; a logit of 0 is probability 1/2."""
    return -logits.abs().min(dim=1).values


class PointHead(nn.Module):
    def __init__(self, options, fine, classes):
        super().__init__()
        self.options = options
        width = options["channels"]
        inputs = [fine + classes] + [width + classes] * options["layers"]
        self.hidden = nn.ModuleList(nn.Conv2d(i, width, 1) for i in inputs[:-1])
        self.predictor = nn.Conv2d(inputs[-1], classes, 1)

    def at(self, coarse, fine, points):
        coarse = between(coarse, points)
        x = torch.cat([between(fine, points), coarse], 1)
        for layer in self.hidden:
            x = F.conv1d(x, layer.weight[..., 0], layer.bias).relu()
            x = torch.cat([x, coarse], 1)
        return F.conv1d(x, self.predictor.weight[..., 0], self.predictor.bias)

    def train_points(self, coarse):
        """The beta N most uncertain of k N random candidates, and (1 - beta) N uniformly random points."""
        n = self.options["points"]
        b = coarse.shape[0]
        chosen = int(self.options["importance"] * n)
        candidates = torch.rand(b, int(self.options["oversample"] * n), 2).to(coarse.dtype)
        others = torch.rand(b, n - chosen, 2).to(coarse.dtype)
        uncertainty = uncertainty_of(between(coarse.detach(), candidates))
        rows = []
        for image in range(b):
            order = uncertainty[image].argsort(descending=True, stable=True)
            rows.append(torch.cat([candidates[image][order[:chosen]], others[image]]))
        return torch.stack(rows)

    def render(self, coarse, fine, height, width):
        logits = coarse
        rounds = self.options.get("subdivisions") or 99
        while rounds > 0:
            rounds -= 1
            if logits.shape[2] < height:
                logits = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
            b, _, h, w = logits.shape
            y = (torch.arange(h, dtype=logits.dtype) + 0.5) / h
            x = (torch.arange(w, dtype=logits.dtype) + 0.5) / w
            centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, -1, 2).expand(b, -1, 2)
            every = self.at(coarse, fine, centres).view_as(logits)
            n = min(self.options["inference-points"], h * w)
            floor = uncertainty_of(logits).flatten(1).sort(descending=True).values[:, n - 1]
            chosen = uncertainty_of(logits) >= floor[:, None, None]
            logits = torch.where(chosen[:, None], every, logits)
            if h == height:
                break
        return F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
