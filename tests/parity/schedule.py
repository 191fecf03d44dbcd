"""Prints the learning-rate factor of PyTorch's schedulers at every step: JSON [[settings, [factor, ...]], ...], with the
settings in the form of a training configuration. Schedules that PyTorch does not have are written from the published
formulas.

Usage: schedule.py TOTAL PER_EPOCH SEED
"""
import json
import math
import random
import sys
import warnings

import torch
from torch.optim import lr_scheduler as s

warnings.filterwarnings("ignore")
total, per_epoch = int(sys.argv[1]), int(sys.argv[2])
draw = random.Random(int(sys.argv[3]))


def factors(make):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimiser)
    out = []
    for _ in range(total):
        out.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return out


def warmed(step, warmup, end):
    # The formula of transformers.get_cosine_schedule_with_warmup with half a cycle; `end` is the minimum of the cosine.
    if step < warmup:
        return step / max(1, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return end + (1 - end) * max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def restarts(step, first, multiplier, decay, warmup, end):
    # Loshchilov and Hutter 2017, equation 5, with a maximum of decay**i in cycle i and a linear warm-up to it.
    cycle, length = 0, first
    while step >= length:
        step -= length
        length *= multiplier
        cycle += 1
    peak, rise = decay**cycle, round(warmup * length)
    if step < rise:
        return peak * step / rise
    return end + 0.5 * (peak - end) * (1 + math.cos(math.pi * (step - rise) / (length - rise)))


every, gamma = draw.randint(1, 5), draw.uniform(0.1, 0.9)
end, power = draw.uniform(0.0, 0.1), draw.uniform(0.5, 2.0)
warmup, first, multiplier = draw.uniform(0.02, 0.3), draw.randint(1, 4), draw.randint(1, 3)
decay, rise, start = draw.uniform(0.3, 1.0), draw.uniform(0.15, 0.6), draw.uniform(0.01, 0.2)
low = draw.uniform(0.0, 0.005)
print(json.dumps([
    [{"kind": "constant"}, factors(lambda o: s.ConstantLR(o, factor=1.0))],
    [{"kind": "step", "every": every, "gamma": gamma},
     factors(lambda o: s.StepLR(o, step_size=every * per_epoch, gamma=gamma))],
    [{"kind": "linear", "end": end},
     factors(lambda o: s.LinearLR(o, start_factor=1.0, end_factor=end, total_iters=total))],
    [{"kind": "polynomial", "power": power}, factors(lambda o: s.PolynomialLR(o, total_iters=total, power=power))],
    [{"kind": "cosine", "end": end}, factors(lambda o: s.CosineAnnealingLR(o, T_max=total, eta_min=end))],
    [{"kind": "cosine-warmup", "warmup": warmup, "end": 0.0},
     factors(lambda o: s.LambdaLR(o, lambda step: warmed(step, round(warmup * total), 0.0)))],
    [{"kind": "cosine-warmup", "warmup": warmup, "end": end},
     factors(lambda o: s.LambdaLR(o, lambda step: warmed(step, round(warmup * total), end)))],
    [{"kind": "cosine-restarts", "first": first, "multiplier": multiplier, "end": end},
     factors(lambda o: s.CosineAnnealingWarmRestarts(o, T_0=first * per_epoch, T_mult=multiplier, eta_min=end))],
    [{"kind": "cosine-restarts", "first": first, "multiplier": multiplier, "decay": decay, "warmup": warmup, "end": low},
     factors(lambda o: s.LambdaLR(o, lambda step: restarts(step, first * per_epoch, multiplier, decay, warmup, low)))],
    [{"kind": "one-cycle", "rise": rise, "start": start, "end": start * low},
     factors(lambda o: s.OneCycleLR(o, max_lr=1.0, total_steps=total, pct_start=rise, div_factor=1 / start,
                                    final_div_factor=1 / max(low, 1e-12), cycle_momentum=False))],
]))
