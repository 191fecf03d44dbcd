"""Rates of PyTorch's schedulers at every step, as factors: one JSON object {case: [factor, ...]}.

Usage: schedule.py TOTAL PER_EPOCH
"""
import json
import math
import sys
import warnings

import torch
from torch.optim import lr_scheduler as s

warnings.filterwarnings("ignore")
total, per_epoch = int(sys.argv[1]), int(sys.argv[2])


def factors(make):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimiser)
    out = []
    for _ in range(total):
        out.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return out


def warmed(step, warmup=round(0.1 * total)):
    # transformers.get_cosine_schedule_with_warmup, half a cycle, written out
    if step < warmup:
        return step / max(1, warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))))


print(json.dumps({
    "constant": factors(lambda o: s.ConstantLR(o, factor=1.0)),
    "step": factors(lambda o: s.StepLR(o, step_size=3 * per_epoch, gamma=0.3)),
    "linear": factors(lambda o: s.LinearLR(o, start_factor=1.0, end_factor=0.05, total_iters=total)),
    "polynomial": factors(lambda o: s.PolynomialLR(o, total_iters=total, power=0.9)),
    "cosine": factors(lambda o: s.CosineAnnealingLR(o, T_max=total, eta_min=0.01)),
    "cosine-warmup": factors(lambda o: s.LambdaLR(o, warmed)),
    "cosine-restarts": factors(lambda o: s.CosineAnnealingWarmRestarts(o, T_0=2 * per_epoch, T_mult=2, eta_min=0.02)),
    "one-cycle": factors(lambda o: s.OneCycleLR(o, max_lr=1.0, total_steps=total, cycle_momentum=False)),
}))
