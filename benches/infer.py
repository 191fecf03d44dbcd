"""MONAI's SlidingWindowInferer on the image of benches/infer.rs.

Usage: infer.py LEVELS SIZE WINDOW THREADS: LEVELS has the grey levels, a byte per pixel. Prints JSON: seconds, bytes (peak of the
run above the memory held before it) and the areas of the masks at one half.
"""

import json
import sys
import time

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer

path, size, window, threads = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
torch.set_grad_enabled(False)
levels = torch.from_numpy(np.fromfile(path, np.uint8).reshape(1, 1, size, size)).float()
centres = 8.0 * (torch.arange(29, dtype=torch.float32).view(1, -1, 1, 1) + 1)


def model(x):
    return (x - centres).square_().mul_(-0.5).add_(8.0).sigmoid_()


def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))


inferer = SlidingWindowInferer((window, window), sw_batch_size=1, overlap=0.5, mode="gaussian")
inferer(levels[..., :window, :window], model)  # What is allocated once.
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
started = time.perf_counter()
probabilities = inferer(levels, model)
seconds = time.perf_counter() - started
peak = status("VmHWM") - before
areas = [int((probabilities[0, c] >= 0.5).sum()) for c in range(29)]
print(json.dumps({"seconds": seconds, "bytes": peak, "areas": areas}))
