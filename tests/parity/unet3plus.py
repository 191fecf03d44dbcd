"""The decoder of UNet 3+ (Huang et al., ICASSP 2020), written from equation 1 of the paper."""

import torch
from torch import nn
from torch.nn import functional as F


def convolution(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Level(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.inputs = nn.ModuleList(convolution(w, 64) for w in widths)
        self.fusion = convolution(64 * len(widths), 64 * len(widths))


class Unet3Plus(nn.Module):
    def __init__(self, channels, classes, supervised):
        super().__init__()
        self.widths = [c for c in channels[1:] if c]
        n = len(self.widths)
        self.out = 64 * n
        # Registered deepest first and named by their scale.
        self.levels = nn.ModuleDict()
        for i in reversed(range(n - 1)):
            widths = [self.widths[k] if k <= i or k == n - 1 else self.out for k in range(n)]
            self.levels[str(i)] = Level(widths)
        if supervised:
            widths = [self.out] * (n - 2) + [self.widths[-1]]
            self.auxiliary = nn.ModuleList(nn.Conv2d(w, classes, 3, padding=1) for w in widths)
        self.supervised = supervised

    def forward(self, features):
        encoded = [f for f in features[1:] if f.shape[1]]
        n = len(encoded)
        decoded = {n - 1: encoded[-1]}
        for i in reversed(range(n - 1)):
            size = encoded[i].shape[2:]
            level = self.levels[str(i)]
            # Finer scales by max pooling, the same scale unchanged, coarser (decoded) scales by bilinear interpolation.
            scales = [F.adaptive_max_pool2d(encoded[k], size) for k in range(i)] + [encoded[i]]
            scales += [F.interpolate(decoded[k], size=size, mode="bilinear", align_corners=False) for k in range(i + 1, n)]
            decoded[i] = level.fusion(torch.cat([c(x) for c, x in zip(level.inputs, scales)], 1))
        outputs = [head(decoded[k + 1]) for k, head in enumerate(self.auxiliary)] if self.supervised else []
        return decoded[0], outputs
