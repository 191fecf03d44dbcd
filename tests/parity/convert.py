"""What pycocotools reads in a folder of COCO files, as JSON.

Usage: convert.py FOLDER           the objects of every file
       convert.py FOLDER MASKS     also the counts of the masks in the file MASKS (a list of rows of 0 and 1)
"""
import contextlib
import glob
import json
import os
import sys

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO


def objects(folder):
    found = []
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with contextlib.redirect_stdout(sys.stderr):
            coco = COCO(path)
        assert len(coco.getCatIds()) == 29, coco.getCatIds()
        for image in coco.imgs.values():
            assert os.path.isfile(os.path.join(folder, image["file_name"])), image
        for annotation in coco.anns.values():
            image = coco.imgs[annotation["image_id"]]
            runs = coco.annToRLE(annotation)
            found.append(
                {
                    "image": os.path.splitext(image["file_name"])[0],
                    "bone": coco.cats[annotation["category_id"]]["name"],
                    "area": int(mask.area(runs)),
                    "stated_area": annotation["area"],
                    "box": [int(v) for v in mask.toBbox(runs)],
                    "stated_box": annotation["bbox"],
                    "pixels": int(coco.annToMask(annotation).sum()),
                }
            )
    return found


def counts(path):
    masks = [np.asfortranarray(np.array(rows, dtype=np.uint8)) for rows in json.load(open(path))]
    return [mask.encode(one)["counts"].decode() for one in masks]


result = {"objects": objects(sys.argv[1])}
if len(sys.argv) > 2:
    result["counts"] = counts(sys.argv[2])
print(json.dumps(result))
