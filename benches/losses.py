"""segmentation_models_pytorch's losses and SciPy's distances, timed on the batch that benches/losses.rs hands over.

Usage: losses.py BATCH.safetensors THREADS with logits and target [B, C, H, W] and masks [N, H, W]. Reads the name of a
measurement a line and answers each with a line of JSON: seconds, peak memory beyond what was held before in bytes, value.
"""

import ctypes
import json
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file
from scipy.ndimage import distance_transform_edt

torch.set_num_threads(int(sys.argv[2]))
batch = load_file(sys.argv[1])
logits, target = batch["logits"].requires_grad_(True), batch["target"]
masks = batch["masks"].numpy() > 0
bce, dice = smp.losses.SoftBCEWithLogitsLoss(), smp.losses.DiceLoss("multilabel")
lovasz, lovasz_binary = smp.losses.LovaszLoss("multilabel"), smp.losses.LovaszLoss("binary", per_image=False)


def by_class():
    planes = [lovasz_binary(logits[b, c], target[b, c]) for b in range(logits.shape[0]) for c in range(logits.shape[1])]
    return torch.stack(planes).mean()


LOSSES = {
    "bce + dice": lambda: 0.5 * bce(logits, target) + 0.5 * dice(logits, target),
    "lovasz, over the batch": lambda: lovasz(logits, target),
    "lovasz, per class": by_class,
}


def status(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024


def distances():
    for mask in masks:
        signed = distance_transform_edt(~mask) - np.where(mask, distance_transform_edt(mask) - 1, 0)
    return float(signed.sum())


for line in sys.stdin:
    name = line.strip()
    logits.grad = None
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    held = status("VmRSS")
    started = time.perf_counter()
    if name in LOSSES:
        loss = LOSSES[name]()
        loss.backward()
        seconds, value = time.perf_counter() - started, loss.item()
    else:
        value = distances()
        seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "bytes": status("VmHWM") - held, "value": value}), flush=True)
