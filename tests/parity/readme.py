"""Runs the README's Python block in a folder of its commands' outputs; compares every mask of the dataset with the original
annotation."""

import json
import os
import sys

import cv2
import numpy as np

folder, assets = sys.argv[1:]
sys.path.insert(0, assets)
os.chdir(folder)
names = {}
exec(open("block.py").read(), names)
train, valid, image, masks = (names[name] for name in ["train", "valid", "image", "masks"])
assert image.shape == (1, 512, 512) and masks.shape == (29, 512, 512), (image.shape, masks.shape)
assert 0 <= image.min() and image.max() <= 1 and set(masks.unique().tolist()) == {0, 1}
patients = [{item["patient_id"] for item in part.items} for part in (train, valid)]
assert len(train) > len(valid) > 0 and not patients[0] & patients[1], patients

assert all(part[i][1].shape == (29, 512, 512) for part in (train, valid) for i in range(len(part)))

from carpus_dataset import BONES, to_original  # noqa: E402

compared = 0
for item in train.items + valid.items:
    # Corrected or unknown labels are compared by the crops' annotation, moved back into the original image.
    shapes = json.loads((train.crops / item["annotation"]).read_text())["annotations"]
    height, width = item["box"]["height"], item["box"]["width"]
    original = (item["original_height"], item["original_width"])
    for bone in BONES:
        crop, full = np.zeros((height, width), np.uint8), np.zeros(original, np.uint8)
        for shape in (s for s in shapes if s["label"] == bone):
            points = np.array(shape["points"], np.int32)
            cv2.fillPoly(crop, [points], 1)
            cv2.fillPoly(full, [points + [item["box"]["x"], item["box"]["y"]]], 1)
        assert np.array_equal(to_original(crop, item), full), (item["image_id"], bone)
        compared += 1
print(f"compared {compared} masks")
