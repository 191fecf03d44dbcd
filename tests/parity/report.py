"""Reference values for measures of the report: reads cases as JSON from the file FILE, prints the results as JSON.

Usage: report.py FILE
"""
import json
import sys

import cv2
import numpy as np
from scipy import stats
from sklearn.metrics import cohen_kappa_score


def modes(case):
    values, at = np.array(case["values"]), np.array(case["at"])
    kernel = stats.gaussian_kde(values, bw_method="silverman")
    density = kernel(at)
    low, valley, high = at
    between = np.linspace(low, high, 400)
    everywhere = np.linspace(values.min(), values.max(), 2000)
    # The places are on a grid of 512 points, so the true extremes differ a little.
    is_valley = density[1] <= kernel(between).min() * 1.02 + 1e-6
    are_peaks = max(density[0], density[2]) >= kernel(everywhere).max() * 0.999
    below, above = values[values < valley], values[values >= valley]
    spread = np.sqrt(below.var(ddof=1) + above.var(ddof=1))
    return {
        "bandwidth": float(np.sqrt(kernel.covariance[0, 0])),
        "density": density.tolist(),
        "depth": float(density[1] / min(density[0], density[2])),
        "is_valley": float(is_valley),
        "are_peaks": float(are_peaks),
        "ashman_d": float(np.sqrt(2) * (above.mean() - below.mean()) / spread),
    }


def kappa(case):
    both, first, second, neither = case["counts"]
    a = [1] * both + [1] * first + [0] * second + [0] * neither
    b = [1] * both + [0] * first + [1] * second + [0] * neither
    return {"kappa": float(cohen_kappa_score(a, b))}


def exposure(case):
    pixels = np.array(case["pixels"], dtype=np.uint8).reshape(-1, case["width"])
    inner = cv2.Laplacian(pixels, cv2.CV_64F, ksize=1)[1:-1, 1:-1]
    return {
        "percentiles": np.percentile(pixels, [1, 5, 25, 50, 75, 95, 99]).tolist(),
        "sd": float(pixels.std()),
        "sharpness": float(inner.var()),
    }


def smd(case):
    train, test = np.array(case["train"]), np.array(case["test"])
    ddof = 0 if case["binary"] else 1
    return {"smd": float((test.mean() - train.mean()) / np.sqrt((train.var(ddof=ddof) + test.var(ddof=ddof)) / 2))}


KINDS = {"modes": modes, "kappa": kappa, "exposure": exposure, "smd": smd}
with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
print(json.dumps([KINDS[case["kind"]](case) for case in cases]))
