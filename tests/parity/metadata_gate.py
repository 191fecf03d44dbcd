"""The metadata gate, written value by value."""

import math

import torch
from torch import nn


class Metadata(nn.Module):
    """Age, sex, height and weight, value by value; a learned vector for an unknown value."""

    MEAN = (40.0, 0.5, 168.0, 66.0)
    DEVIATION = (13.0, 0.5, 9.0, 13.0)

    def __init__(self, channels, deepest):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(4, channels))
        self.offset = nn.Parameter(torch.zeros(4, channels))
        self.missing = nn.Parameter(torch.zeros(4, channels))
        self.hidden = nn.Linear(4 * channels, 4 * channels)
        self.output = nn.Linear(4 * channels, deepest)
        self.gate = nn.Parameter(torch.zeros(deepest))

    def forward(self, feature, table):
        rows = []
        for patient in table.tolist():
            parts = []
            for i, value in enumerate(patient):
                if math.isnan(value):
                    parts.append(self.missing[i])
                else:
                    z = min(max((value - self.MEAN[i]) / self.DEVIATION[i], -4.0), 4.0)
                    parts.append(self.slope[i] * z + self.offset[i])
            rows.append(torch.cat(parts))
        added = self.output(self.hidden(torch.stack(rows)).relu()) * self.gate
        return feature + added[:, :, None, None]
