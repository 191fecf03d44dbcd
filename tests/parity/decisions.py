"""Decisions and combined masks by their reference libraries.

Usage: decisions.py CASES.json, a list of
{"kind": "ranked", "width", "height", "levels": [...]}: levels are probabilities times 65535; prints the pixels of the mask
that rankseg (multilabel output, reciprocal moment approximation) chooses;
{"kind": "filled", "width", "height", "pixels": [...]}: prints the pixels after scipy's binary_fill_holes;
{"kind": "staple", "width", "height", "masks": [[...], ...]}: prints {"weights", "sensitivity", "specificity"} of SimpleITK.
"""

import json
import sys

import numpy as np


def ranked(case):
    import torch
    from rankseg import rankseg_rma

    levels = torch.tensor(case["levels"], dtype=torch.float64) / 65535
    mask = rankseg_rma(levels.view(1, 1, case["height"], case["width"]), metric="dice", output_mode="multilabel")
    return mask.int().flatten().tolist()


def filled(case):
    from scipy.ndimage import binary_fill_holes

    mask = np.array(case["pixels"]).reshape(case["height"], case["width"])
    return binary_fill_holes(mask).astype(int).ravel().tolist()


def staple(case):
    import SimpleITK as sitk

    masks = [np.array(m, np.uint8).reshape(case["height"], case["width"]) for m in case["masks"]]
    reference = sitk.STAPLEImageFilter()
    reference.SetForegroundValue(1)
    weights = sitk.GetArrayFromImage(reference.Execute([sitk.GetImageFromArray(m) for m in masks]))
    return {
        "weights": weights.ravel().tolist(),
        "sensitivity": list(reference.GetSensitivity()),
        "specificity": list(reference.GetSpecificity()),
    }


with open(sys.argv[1]) as file:
    cases = json.load(file)
print(json.dumps([globals()[case["kind"]](case) for case in cases]))
