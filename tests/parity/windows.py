"""Sliding windows of MONAI over a convolution with the weights of the test.

Usage: windows.py CASES.json, a list of {"width", "height", "levels": [...], "weights": [[9 numbers], ...], "biases", "window",
"overlap", "mode": gaussian, constant or triangular}. Prints for each case the probabilities of every class, row by row.
"""

import json
import sys

import torch
from monai.inferers import SlidingWindowInferer
from scipy.signal.windows import triang


def blended(case):
    image = torch.tensor(case["levels"], dtype=torch.float32).view(1, 1, case["height"], case["width"])
    weights = torch.tensor(case["weights"], dtype=torch.float32).view(-1, 1, 3, 3)
    biases = torch.tensor(case["biases"], dtype=torch.float32)

    def network(window):
        # Zeros around each window make the result depend on the window.
        return torch.sigmoid(torch.nn.functional.conv2d(window / 255, weights, biases, padding=1))

    side, mode = case["window"], case["mode"]
    inferer = SlidingWindowInferer(
        (side, side), sw_batch_size=3, overlap=case["overlap"], mode="constant" if mode == "triangular" else mode
    )
    if mode == "triangular":
        triangle = torch.tensor(triang(side))
        inferer.roi_weight_map = (triangle[:, None] * triangle[None]).float()
    return inferer(image, network)[0].flatten().tolist()


with open(sys.argv[1]) as file:
    cases = json.load(file)
torch.set_grad_enabled(False)
print(json.dumps([blended(case) for case in cases]))
