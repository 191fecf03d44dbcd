"""Dropout and mixing of albumentations and torchvision, on images and with parameters that are given.

usage: augment_mixing.py same FILE    prints for each case the levels and labels of the reference
       augment_mixing.py draws FILE   prints for each name the p value of the Kolmogorov-Smirnov test of given draws against
                                      the reference's draws or distribution

FILE is JSON; the answers are JSON.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import albumentations as A
import numpy as np
import scipy.stats
import torch
from torchvision.transforms import v2


def grid(case, image, words):
    step = A.GridDropout(
        ratio=case["ratio"],
        holes_number_xy=case["grid"],
        random_offset=False,
        shift_xy=case["shift"],
        fill=case["fill"],
        fill_mask=0 if case["erase"] else None,
        p=1,
    )
    out = step(image=image, mask=words)
    return out["image"], out["mask"]


def holes(case, image, words):
    step = A.CoarseDropout(fill=case["fill"], fill_mask=0 if case["erase"] else None, p=1)
    boxes = np.array(case["holes"])
    return step.apply(image, holes=boxes, seed=0), step.apply_to_mask(words, holes=boxes, seed=0)


def pair(case, image, of):
    """A batch of which the first image gets its partner from the second one."""
    return torch.from_numpy(np.stack([image, np.array(case["other"]).reshape(image.shape)])).to(of)


def cut_mix(case, image, words):
    step, box = v2.CutMix(num_classes=2), tuple(case["box"])
    apply = lambda batch: step.transform(batch, {"box": box, "labels": None, "batch_size": 2})[0].numpy()
    second = np.array(case["other_words"]).reshape(words.shape)
    labels = apply(torch.from_numpy(np.stack([words, second])).unsqueeze(1))
    return apply(pair(case, image, torch.float32).unsqueeze(1)), labels


def mix_up(case, image, words):
    step = v2.MixUp(num_classes=2)
    apply = lambda batch: step.transform(batch, {"lam": case["lam"], "labels": None, "batch_size": 2})[0].numpy()
    second = np.array(case["other_words"]).reshape(words.shape)
    dense = np.stack([[(w >> c & 1) for c in range(29)] for w in (words, second)]).astype(np.float64)
    return apply(pair(case, image, torch.float64).unsqueeze(1)), apply(torch.from_numpy(dense))


def same(data):
    image = np.array(data["levels"], dtype=np.uint8).reshape(data["height"], data["width"])
    words = np.array(data["words"], dtype=np.int32).reshape(image.shape)
    answers = []
    for case in data["cases"]:
        kind = {"grid": grid, "holes": holes, "cut-mix": cut_mix, "mix-up": mix_up}[case["kind"]]
        levels, labels = kind(case, image.copy(), words.copy())
        answers.append({"levels": levels.astype(float).flatten().tolist(), "labels": labels.flatten().tolist()})
    return answers


def draws(data):
    height, width, n = data["height"], data["width"], 4000
    shape = {"shape": (height, width)}
    step = A.GridDropout(ratio=0.5, p=1)
    step.set_random_seed(1)
    of_grid = np.array([step.get_params_dependent_on_data(shape, {})["holes"] for _ in range(n)])
    step = A.CoarseDropout(num_holes_range=(1, 1), p=1)
    step.set_random_seed(2)
    coarse = np.array([step.get_params_dependent_on_data(shape, {})["holes"][0] for _ in range(n)])
    torch.manual_seed(3)
    boxes = []
    for _ in range(n):
        params = v2.CutMix(alpha=1.0, num_classes=2).make_params([torch.empty(1, height, width)])
        boxes.append([*params["box"], params["lam_adjusted"]])
    # The place of an empty rectangle cannot be seen.
    boxes = np.array([box for box in boxes if box[4] < 1])
    lam = [v2.MixUp(alpha=0.4, num_classes=2).make_params([])["lam"] for _ in range(n)]
    references = {
        "grid-first-x": of_grid[:, 0, 0],
        "grid-first-y": of_grid[:, 0, 1],
        "grid-last-x": of_grid[:, -1, 0],
        "grid-last-bottom": of_grid[:, -1, 3],
        "coarse-x": coarse[:, 0],
        "coarse-y": coarse[:, 1],
        "coarse-width": coarse[:, 2] - coarse[:, 0],
        "coarse-height": coarse[:, 3] - coarse[:, 1],
        "cut-mix-left": boxes[:, 0],
        "cut-mix-bottom": boxes[:, 3],
        "cut-mix-share": 1 - boxes[:, 4],
        "mix-up-lambda": np.array(lam),
    }
    answer = {}
    for name, values in data["draws"].items():
        if name.startswith("beta-"):
            alpha = float(name.removeprefix("beta-"))
            answer[name] = scipy.stats.kstest(values, scipy.stats.beta(alpha, alpha).cdf).pvalue
        else:
            answer[name] = scipy.stats.ks_2samp(values, references[name]).pvalue
    assert set(references) <= set(answer), set(references) - set(answer)
    return answer


data = json.loads(Path(sys.argv[2]).read_text())
print(json.dumps({"same": same, "draws": draws}[sys.argv[1]](data)))
