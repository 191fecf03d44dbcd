"""Augmentation with albumentations, timed round by round as benches/augment.rs asks.

Usage: augment.py FOLDER SIZE FIT with `image` (8 bit grey) and `0` to `28` (a mask with 0 and 1 each) of SIZE x SIZE px
in FOLDER. For each line on standard input, `augment-first` or `fit-first`, augments the image and its masks once, and
prints JSON: the seconds, and the mean of the result.
"""

import json
import os
import sys
import time
import warnings

# Without it albumentations asks the network for its newest version.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
warnings.filterwarnings("ignore")

import albumentations as A
import numpy as np

folder, size, fit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def read(name):
    return np.fromfile(os.path.join(folder, name), np.uint8).reshape(size, size)


image, masks = read("image"), [read(str(c)) for c in range(29)]


def steps(scale):
    """The field of the deformation is the same relative to the image at every size."""
    return [
        A.HorizontalFlip(p=1),
        A.Affine(
            scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), rotate=(-15, 15), shear=(-5, 5), p=1
        ),
        A.ElasticTransform(alpha=4000 * scale * scale, sigma=50 * scale, p=1),
    ]


resize = A.Resize(fit, fit)
orders = {
    "augment-first": A.Compose([*steps(1), resize], seed=1),
    "fit-first": A.Compose([resize, *steps(fit / size)], seed=1),
}
for request in sys.stdin:
    order = orders[request.strip()]
    started = time.perf_counter()
    result = order(image=image, masks=masks)
    seconds = time.perf_counter() - started
    assert result["image"].shape == (fit, fit) and len(result["masks"]) == 29
    mean = float(np.mean(result["image"]))
    set_pixels = sum(int(np.count_nonzero(mask)) for mask in result["masks"])
    print(json.dumps({"seconds": seconds, "mean": mean, "set": set_pixels}), flush=True)
