"""Boundary metrics of MONAI, surface-distance and MedPy, and MONAI's calibration bins.

usage: metrics.py CASES.json with {"masks": [{"width", "height", "truth": [start, length, ...], "prediction", "spacing":
[x, y] or null, "tolerance"}, ...], "maps": [{"width", "height", "truth", "probabilities"}, ...]}. Prints for each mask the
metrics by convention, and for each map the bins; values that are not finite are texts.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from medpy.metric import binary
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from monai.metrics.calibration import calibration_binning

# surface-distance 0.1 uses a name that numpy 2 no longer has.
np.Inf = np.inf
import surface_distance

warnings.simplefilter("ignore")
BINS = 15


def dense(case, name):
    mask = np.zeros(case["width"] * case["height"], bool)
    for start, length in zip(case[name][::2], case[name][1::2]):
        mask[start : start + length] = True
    return mask.reshape(case["height"], case["width"])


def number(value):
    value = float(value)
    return value if np.isfinite(value) else str(value)


def monai(truth, prediction, spacing, tolerance):
    y, p = (torch.from_numpy(mask)[None, None].float() for mask in (truth, prediction))
    options = {"include_background": True, "spacing": spacing}
    return {
        "hd": number(compute_hausdorff_distance(p, y, **options)),
        "hd95": number(compute_hausdorff_distance(p, y, percentile=95, **options)),
        "assd": number(compute_average_surface_distance(p, y, symmetric=True, **options)),
        "nsd": number(compute_surface_dice(p, y, [tolerance], **options)),
    }


def deepmind(truth, prediction, spacing, tolerance):
    found = surface_distance.compute_surface_distances(truth, prediction, spacing or [1.0, 1.0])
    lengths = [found["surfel_areas_gt"], found["surfel_areas_pred"]]
    distances = [found["distances_gt_to_pred"], found["distances_pred_to_gt"]]
    weighted = sum(np.sum(d * n) for d, n in zip(distances, lengths))
    return {
        "hd": number(surface_distance.compute_robust_hausdorff(found, 100)),
        "hd95": number(surface_distance.compute_robust_hausdorff(found, 95)),
        "assd": number(np.float64(weighted) / sum(np.sum(n) for n in lengths)),
        "nsd": number(surface_distance.compute_surface_dice_at_tolerance(found, tolerance)),
    }


def medpy(truth, prediction, spacing):
    def value(metric):
        # It raises an error for an empty mask.
        return number(metric(prediction, truth, voxelspacing=spacing)) if truth.any() and prediction.any() else "nan"

    return {"hd": value(binary.hd), "hd95": value(binary.hd95), "assd": value(binary.assd)}


def bins(case):
    p = torch.tensor(case["probabilities"]).reshape(1, 1, case["height"], case["width"])
    y = torch.from_numpy(dense(case, "truth"))[None, None].float()
    probability, annotated, pixels = (v[0, 0].double().numpy() for v in calibration_binning(p, y, num_bins=BINS))
    error = np.nansum(np.abs(probability - annotated) * pixels) / pixels.sum()
    return {"ece": error, "probability": [number(v) for v in probability], "annotated": [number(v) for v in annotated]}


cases = json.loads(Path(sys.argv[1]).read_text())
answers = []
for case in cases["masks"]:
    truth, prediction = dense(case, "truth"), dense(case, "prediction")
    # The libraries take rows before columns.
    spacing = case["spacing"] and case["spacing"][::-1]
    arguments = truth, prediction, spacing, case["tolerance"]
    answers.append({"monai": monai(*arguments), "surface-distance": deepmind(*arguments), "medpy": medpy(*arguments[:3])})
print(json.dumps({"masks": answers, "maps": [bins(case) for case in cases["maps"]]}))
