"""The usual numpy and OpenCV code for masks, timed on the cases that benches/masks.rs hands over.

Usage: masks.py CASES.json with {"size", "files": [[[rle of each class] of each image] of each file],
"hands": {name: [[[x, y], ...] of each class] of each hand}}. Prints JSON: the best seconds an image of each step,
and the results, so that the caller can check that both sides did the same work.
"""

import json
import sys
import time

import cv2
import numpy as np

cv2.setNumThreads(1)


def rle_decode(text, size):
    numbers = text.split()
    starts = np.asarray(numbers[::2], dtype=int) - 1
    ends = starts + np.asarray(numbers[1::2], dtype=int)
    mask = np.zeros(size * size, dtype=np.uint8)
    for start, end in zip(starts, ends):
        mask[start:end] = 1
    return mask.reshape(size, size)


def rle_encode(mask):
    padded = np.pad(mask.flatten(), 1)
    runs = np.where(padded[1:] != padded[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


def votes(files, size):
    """Decode, vote and encode of one image after the other, a class at a time to spare memory."""
    best = {"decode": np.inf, "vote": np.inf, "encode": np.inf}
    results = []
    for image in zip(*files):
        spent = dict.fromkeys(best, 0.0)
        encoded = []
        for texts in zip(*image):
            t0 = time.perf_counter()
            masks = [rle_decode(text, size) for text in texts]
            t1 = time.perf_counter()
            majority = (sum(masks) > len(masks) // 2).astype(np.uint8)
            t2 = time.perf_counter()
            encoded.append(rle_encode(majority))
            t3 = time.perf_counter()
            spent["decode"] += t1 - t0
            spent["vote"] += t2 - t1
            spent["encode"] += t3 - t2
        results.append(encoded)
        best = {step: min(best[step], spent[step]) for step in best}
    return best, results


def rasters(hands, size):
    """Dense masks of the 29 bones of one hand after the other, with area and centroid."""
    best, results = np.inf, []
    for hand in hands:
        polygons = [np.array(points, np.int32) for points in hand]
        started = time.perf_counter()
        measured = []
        for points in polygons:
            mask = np.zeros((size, size), np.uint8)
            cv2.fillPoly(mask, [points], 1)
            area = cv2.countNonZero(mask)
            moments = cv2.moments(mask, binaryImage=True)
            measured.append([area, moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]])
        best = min(best, time.perf_counter() - started)
        results.append(measured)
    return best, results


with open(sys.argv[1]) as file:
    cases = json.load(file)
seconds, voted = votes(cases["files"], cases["size"])
answer = {"seconds": seconds, "voted": voted, "hands": {}}
for name, hands in cases["hands"].items():
    best, measured = rasters(hands, cases["size"])
    answer["hands"][name] = {"seconds": best, "measured": measured}
print(json.dumps(answer))
