"""Fills polygons with cv2.fillPoly and prints the runs of each mask.

Usage: fill_poly.py CASES.json, a list of {"width", "height", "points": [[x, y], ...]}. Prints a JSON list with
the flat list [start, length, start, length, ...] (0-based, row-major) of each case.
"""

import json
import sys

import cv2
import numpy as np


def runs(mask):
    flat = np.concatenate([[0], mask.ravel(), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    edges[1::2] -= edges[::2]
    return edges.tolist()


def filled(case):
    mask = np.zeros((case["height"], case["width"]), np.uint8)
    cv2.fillPoly(mask, [np.array(case["points"], np.int32)], 1)
    return mask


with open(sys.argv[1]) as file:
    cases = json.load(file)
print(json.dumps([runs(filled(case)) for case in cases]))
