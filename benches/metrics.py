"""surface-distance and MONAI on the hands that benches/metrics.rs hands over.

Usage: metrics.py CASES.json with {"size", "spans": [[[start, length, ...] of truth and prediction] of each class],
"tolerance"}. Prints JSON: seconds of each library for all classes of the image (HD, HD95, ASSD, NSD), and the values.
"""

import json
import sys
import time
import warnings

import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

# surface-distance 0.1 uses a name that numpy 2 no longer has.
np.Inf = np.inf
import surface_distance

warnings.simplefilter("ignore")

with open(sys.argv[1]) as file:
    cases = json.load(file)
size, tolerance = cases["size"], cases["tolerance"]


def dense(flat):
    mask = np.zeros(size * size, bool)
    for start, length in zip(flat[::2], flat[1::2]):
        mask[start : start + length] = True
    return mask.reshape(size, size)


masks = [[dense(flat) for flat in pair] for pair in cases["spans"]]


def deepmind(truth, prediction):
    found = surface_distance.compute_surface_distances(truth, prediction, [1.0, 1.0])
    lengths = [found["surfel_areas_gt"], found["surfel_areas_pred"]]
    distances = [found["distances_gt_to_pred"], found["distances_pred_to_gt"]]
    return [
        surface_distance.compute_robust_hausdorff(found, 100),
        surface_distance.compute_robust_hausdorff(found, 95),
        sum(np.sum(d * n) for d, n in zip(distances, lengths)) / sum(np.sum(n) for n in lengths),
        surface_distance.compute_surface_dice_at_tolerance(found, tolerance),
    ]


def monai(truth, prediction):
    y, p = (torch.from_numpy(mask)[None, None] for mask in (truth, prediction))
    found = [
        compute_hausdorff_distance(p, y, include_background=True),
        compute_hausdorff_distance(p, y, include_background=True, percentile=95),
        compute_average_surface_distance(p, y, include_background=True, symmetric=True),
        compute_surface_dice(p, y, [tolerance], include_background=True),
    ]
    return [float(value) for value in found]


def timed(compute):
    started = time.perf_counter()
    values = [[float(value) for value in compute(*pair)] for pair in masks]
    return {"seconds": time.perf_counter() - started, "values": values}


print(json.dumps({"surface-distance": timed(deepmind), "monai": timed(monai)}))
