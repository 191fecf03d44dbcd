"""SciPy's exact Euclidean distance transform of masks.

usage: distance.py CASES.json with [{"width", "height", "runs": [start, length, ...]}, ...]. Prints for each mask the
signed map of Kervadec et al. in single precision: outside the mask the distance to it, inside 1 minus the distance to its
complement.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

answers = []
for case in json.loads(Path(sys.argv[1]).read_text()):
    mask = np.zeros(case["width"] * case["height"], bool)
    for start, length in zip(case["runs"][::2], case["runs"][1::2]):
        mask[start : start + length] = True
    mask = mask.reshape(case["height"], case["width"])
    outside = distance_transform_edt(~mask).astype(np.float32)
    inside = distance_transform_edt(mask).astype(np.float32)
    signed = np.where(mask, np.float32(1) - inside, outside)
    answers.append(signed.ravel().astype(float).tolist())
print(json.dumps(answers))
