"""Efficient multi-scale attention (Ouyang et al., ICASSP 2023), written group by group from section 2 of the paper."""

import math

import torch
from torch import nn


class MultiScaleAttention(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.groups = math.gcd(channels, groups)
        width = channels // self.groups
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.gn = nn.GroupNorm(width, width)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)
        self.blend = nn.Parameter(torch.zeros(()))

    def group(self, x):
        rows = self.conv1x1(x.mean(3, keepdim=True)).sigmoid()
        columns = self.conv1x1(x.mean(2, keepdim=True)).sigmoid()
        wide = self.gn(x * rows * columns)
        local = self.conv3x3(x)
        weigh_local = torch.softmax(wide.mean((2, 3)), 1)[:, :, None, None]
        weigh_wide = torch.softmax(local.mean((2, 3)), 1)[:, :, None, None]
        attention = (weigh_local * local).sum(1, keepdim=True) + (weigh_wide * wide).sum(1, keepdim=True)
        return x * attention.sigmoid()

    def forward(self, x):
        attended = torch.cat([self.group(part) for part in x.chunk(self.groups, 1)], 1)
        return (1 - self.blend) * x + self.blend * attended
