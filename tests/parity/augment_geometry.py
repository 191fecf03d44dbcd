"""Geometric augmentation compared with albumentations and OpenCV.

usage: augment_geometry.py CASES.json

CASES.json holds maps of carpus (the source x and y of every pixel, row-major) and what it drew. Prints JSON:
- maps: the greatest distance in px between the two maps, per case, where they are within the image
- images: of `affine` applied to an image: mean and greatest difference of grey levels, share of other labels
- draws: the p value of the Kolmogorov-Smirnov test per drawn quantity
"""

import json
import math
import sys
import warnings

warnings.filterwarnings("ignore")

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.geometric import functional as F
from scipy.stats import ks_2samp


def ours(case):
    height, width = case["height"], case["width"]
    return np.array(case["x"]).reshape(height, width), np.array(case["y"]).reshape(height, width)


def worst(case, x, y):
    """Greatest distance where the reference is within the image: elsewhere carpus's map cannot be read off an image."""
    height, width = case["height"], case["width"]
    own_x, own_y = ours(case)
    own_x, own_y = own_x[: x.shape[0], : x.shape[1]], own_y[: x.shape[0], : x.shape[1]]
    inside = (x >= 0.01) & (y >= 0.01) & (x <= width - 1.01) & (y <= height - 1.01)
    assert inside.mean() > 0.3, "most of the map is outside the image"
    return float(np.hypot(own_x - x, own_y - y)[inside].max())


def grid(case):
    return np.meshgrid(np.arange(case["width"], dtype=float), np.arange(case["height"], dtype=float))


def affine_matrix(case):
    t = A.Affine(
        scale=(case["scale"], case["scale"]),
        translate_px={
            "x": round(case["translate"] * case["width"]),
            "y": round(case["translate"] * case["height"]),
        },
        rotate=(case["rotate"], case["rotate"]),
        shear=(case["shear"], case["shear"]),
        p=1,
    )
    shape = (case["height"], case["width"])
    return t, t.get_params_dependent_on_data({"shape": shape}, {})["matrix"]


def affine(case):
    inverse = np.linalg.inv(affine_matrix(case)[1])
    x, y = grid(case)
    return worst(case, *(inverse[i, 0] * x + inverse[i, 1] * y + inverse[i, 2] for i in (0, 1)))


def affine_image(case):
    shape = (case["height"], case["width"])
    image = np.array(case["levels"], np.uint8).reshape(shape)
    labels = np.array(case["words"], np.uint8).reshape(shape)
    t, _ = affine_matrix(case)
    out = t(image=image, mask=labels)
    difference = np.abs(out["image"] - np.array(case["result"]).reshape(shape))
    other = (out["mask"] != np.array(case["labels"]).reshape(shape)).mean()
    return {"mean": float(difference.mean()), "worst": float(difference.max()), "labels": float(other)}


def homography(points, images):
    """The projective map through four points."""
    return cv2.getPerspectiveTransform(np.float32(points), np.float32(images)).astype(float)


def perspective_corners(draw, width, height):
    """The corners' distances from those of the image, as shares of the sides, from the map of the corner pixels."""
    pixels = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    m = homography(pixels, np.array(draw).reshape(4, 2))
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) @ m.T
    corners = corners[:, :2] / corners[:, 2:]
    ideal = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    return np.abs(corners - ideal) / [width, height]


def projective(case):
    """Distance of the map from the projective map through its own corners, which is albumentations' matrix."""
    x, y = ours(case)
    height, width = x.shape
    draw = [[x[j, i], y[j, i]] for i, j in [(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)]]
    jitter = perspective_corners(draw, width, height)
    points = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + jitter * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    points = np.float32(points * [width, height])
    matrix, _, _ = F.compute_perspective_params(F.order_points(points), (height, width))
    inverse = np.linalg.inv(matrix)
    gx, gy = grid(case)
    u, v, w = (inverse[i, 0] * gx + inverse[i, 1] * gy + inverse[i, 2] for i in range(3))
    return worst(case, u / w, v / w)


def grid_distortion(case):
    """albumentations' grid for carpus's steps, cell by cell: it has a pixel less per cell than the cell is wide."""
    x, y = ours(case)
    n = case["steps"]
    away = 0.0
    for line in (x[0], y[:, 0]):
        last = len(line) - 1
        cell = last // n
        steps = np.diff(line[::cell]) / cell
        theirs, _ = F.generate_grid((last, last), [*steps, 1.0], [*steps, 1.0], n)
        for k in range(n):
            own = np.interp(cell * k + cell * np.arange(cell) / (cell - 1), np.arange(last + 1), line)
            away = max(away, np.abs(own - theirs[0, cell * k : cell * (k + 1)]).max())
    return float(away)


def camera(case):
    x, y = F.get_camera_matrix_distortion_maps((case["height"], case["width"]), case["k"])
    return worst(case, x - 0.5, y - 0.5)


def fisheye(case):
    return worst(case, *F.get_fisheye_distortion_maps((case["height"] - 1, case["width"] - 1), case["k"]))


MAPS = {
    "affine": affine,
    "perspective": projective,
    "grid-distortion": grid_distortion,
    "camera": camera,
    "fisheye": fisheye,
}


def parameters(t, shape, n):
    t.set_random_seed(137)
    return [t.get_params_dependent_on_data({"shape": shape}, {}) for _ in range(n)]


def p_values(name, own, reference):
    own, reference = np.array(own), np.array(reference)
    assert own.shape[1] == reference.shape[1]
    return {f"{name}.{i}": float(ks_2samp(own[:, i], reference[:, i]).pvalue) for i in range(own.shape[1])}


def affine_draws(case):
    """Elements of the matrix from three places at distance 8 px."""
    draws = np.array(case["draws"])
    own = []
    for x0, y0, x1, y1, x2, y2 in draws:
        inverse = np.array([[x1 - x0, x2 - x0], [y1 - y0, y2 - y0]]) / 8
        own.append(np.linalg.inv(inverse).ravel())
    t = A.Affine(scale=(0.8, 1.25), rotate=(-20, 40), shear=(-10, 5), p=1)
    reference = [p["matrix"][:2, :2].ravel() for p in parameters(t, (41, 41), len(draws))]
    return p_values("affine", own, reference)


def perspective_draws(case):
    own = [perspective_corners(d, case["width"], case["height"]).ravel() for d in case["draws"]]
    t = A.Perspective(scale=(0.05, 0.1), p=1)
    t.set_random_seed(137)
    ideal = np.array([[0, 0], [1000, 0], [1000, 1000], [0, 1000]])
    reference = []
    for _ in own:
        scale = t.py_random.uniform(*t.scale)
        points = F.generate_perspective_points((1000, 1000), scale, t.random_generator)
        reference.append((np.abs(points - ideal) / 1000).ravel())
    return p_values("perspective", own, reference)


def elastic_draws(case):
    side, sigma = case["width"], case["sigma"]
    t = A.ElasticTransform(alpha=case["alpha"], sigma=sigma, p=1)
    centre, reference = side // 2, []
    for p in parameters(t, (side, side), len(case["draws"])):
        here, right = p["map_x"][centre, centre] - centre, p["map_x"][centre, centre + round(sigma)] - centre - round(sigma)
        reference.append([here, right - here])
    return p_values(f"elastic.{sigma}", case["draws"], reference)


def grid_draws(case):
    """Widths of the columns: normalised, of which the last, of no width in an image of 100 px, has no meaning."""
    n = case["steps"]
    t = A.GridDistortion(num_steps=n, distort_limit=(-0.3, 0.3), p=1)
    t.set_random_seed(137)
    reference = []
    for _ in case["draws"]:
        steps = [[1 + t.py_random.uniform(*t.distort_limit) for _ in range(n + 1)] for _ in "xy"]
        reference.append(F.normalize_grid_distortion_steps((100, 100), n, *steps)["steps_x"][:n])
    return p_values("grid-distortion", case["draws"], reference)


def crop_draws(case):
    t = A.RandomResizedCrop(size=(100, 100), scale=(0.08, 1.0), ratio=(0.75, 4 / 3), p=1)
    reference = []
    for p in parameters(t, (1500, 2000), len(case["draws"])):
        x1, y1, x2, y2 = p["crop_coords"]
        reference.append([x1 / 2000, y1 / 1500, (x2 - x1) / 2000, (y2 - y1) / 1500])
    return p_values("crop", case["draws"], reference)


DRAWS = {
    "affine": affine_draws,
    "perspective": perspective_draws,
    "elastic": elastic_draws,
    "grid-distortion": grid_draws,
    "crop": crop_draws,
}

with open(sys.argv[1]) as file:
    cases = json.load(file)
result = {
    "maps": {f"{i} {case['kind']}": MAPS[case["kind"]](case) for i, case in enumerate(cases["maps"])},
    "images": [affine_image(case) for case in cases["images"]],
    "draws": {},
}
for case in cases["draws"]:
    result["draws"] |= DRAWS[case["kind"]](case)
assert all(map(math.isfinite, [*result["maps"].values(), *result["draws"].values()]))
print(json.dumps(result))
