"""Prints the scale of torch.amp.GradScaler at each step, some of which have non-finite gradients: JSON {overflowed, scale}.

Usage: scaler.py SEED
"""
import json
import random
import sys

import torch

draw = random.Random(int(sys.argv[1]))
weight = torch.nn.Parameter(torch.zeros(3))
optimiser = torch.optim.SGD([weight], lr=0.1)
scaler = torch.amp.GradScaler("cpu")
overflowed, scales = [], []
# Two periods without overflow are longer than the growth interval.
steps = [draw.random() < 0.3 for _ in range(40)] + [False] * 2100 + [draw.random() < 0.2 for _ in range(60)] + [False] * 4100
for infinite in steps:
    gradient = torch.randn(3)
    if infinite:
        gradient[draw.randrange(3)] = draw.choice([float("inf"), float("-inf"), float("nan")])
    weight.grad = gradient * scaler.get_scale() if scaler._scale is not None else gradient
    scaler.scale(torch.zeros(1))
    scaler.step(optimiser)
    scaler.update()
    overflowed.append(infinite)
    scales.append(scaler.get_scale())
print(json.dumps({"overflowed": overflowed, "scale": scales}))
