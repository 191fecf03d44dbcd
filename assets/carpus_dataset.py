"""A PyTorch dataset over the crops of `carpus clean`, split by the folds of `carpus split`."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

BONES = [*(f"finger-{i}" for i in range(1, 20)), "Trapezium", "Trapezoid", "Capitate", "Hamate", "Scaphoid", "Lunate",
         "Triquetrum", "Pisiform", "Radius", "Ulna"]  # the order of the classes: `carpus list bones`


class HandCrops(torch.utils.data.Dataset):
    """Images [1, size, size] from 0 to 1 and masks [29, size, size] of 0 and 1; classes may overlap."""

    def __init__(self, crops, fold, train=True, size=512):
        self.crops, self.size = Path(crops), size
        with open(self.crops / "folds.csv", newline="") as file:
            folds = {row["image_id"]: int(row["fold"]) for row in csv.DictReader(file)}
        with open(self.crops / "transforms.jsonl") as file:
            items = map(json.loads, file)
            # Every image of a patient is in one fold, so no patient is in both parts.
            self.items = [i for i in items if i["image_id"] in folds and (folds[i["image_id"]] != fold) == train]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        image = cv2.imread(str(self.crops / item["image"]), cv2.IMREAD_UNCHANGED)
        masks = np.zeros((len(BONES), *image.shape), np.uint8)
        for shape in json.loads((self.crops / item["annotation"]).read_text())["annotations"]:
            if shape["label"] in BONES:  # the audit reports other labels; correct them before training
                cv2.fillPoly(masks[BONES.index(shape["label"])], [np.array(shape["points"], np.int32)], 1)
        white = item["top_level"] if image.dtype == np.uint16 else 255  # crops of 16-bit images keep their levels
        image = torch.from_numpy((image / np.float32(white)).astype(np.float32).clip(0, 1))[None, None]
        image = interpolate(image, (self.size, self.size), mode="bilinear", antialias=True)[0]
        masks = interpolate(torch.from_numpy(masks)[None].float(), (self.size, self.size), mode="nearest-exact")[0]
        return image, masks


def to_original(mask, item):
    """A mask of the crop's own size, put back into the pixels of the original image."""
    box, full = item["box"], np.zeros((item["original_height"], item["original_width"]), np.uint8)
    x, y = max(box["x"], 0), max(box["y"], 0)
    part = mask[y - box["y"]:, x - box["x"]:][: full.shape[0] - y, : full.shape[1] - x]
    full[y:y + part.shape[0], x:x + part.shape[1]] = part
    return full
