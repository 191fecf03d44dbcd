"""Contours, moments and nearest resize of masks by OpenCV.

Usage: mask_measures.py CASES.json, a list of {"width", "height", "runs": [start, length, ...], "to": [w, h]}.
Prints a JSON list of {"external", "contours", "moments", "resized"}: the summed arcLength of the external
contours, every contour with all its points, the raw spatial moments up to order two, and the runs of the mask
resized with INTER_NEAREST_EXACT.
"""

import json
import sys

import cv2
import numpy as np


def dense(case):
    flat = np.zeros(case["height"] * case["width"], np.uint8)
    for start, length in zip(case["runs"][::2], case["runs"][1::2]):
        flat[start : start + length] = 1
    return flat.reshape(case["height"], case["width"])


def runs(mask):
    flat = np.concatenate([[0], mask.ravel(), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    edges[1::2] -= edges[::2]
    return edges.tolist()


def measured(case):
    mask = dense(case)
    external, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    every, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    moments = cv2.moments(mask, binaryImage=True)
    return {
        "external": sum(cv2.arcLength(c, True) for c in external),
        "contours": [c.reshape(-1, 2).tolist() for c in every],
        "moments": [moments[k] for k in ("m00", "m10", "m01", "m20", "m11", "m02")],
        "resized": runs(cv2.resize(mask, case["to"], interpolation=cv2.INTER_NEAREST_EXACT)),
    }


with open(sys.argv[1]) as file:
    cases = json.load(file)
print(json.dumps([measured(case) for case in cases]))
