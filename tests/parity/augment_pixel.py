"""Grey-level steps of the augmentation computed by OpenCV, albumentations and NumPy.

Usage: augment_pixel.py cases FOLDER SEED   writes cases.json and tensors.safetensors
       augment_pixel.py draws FOLDER SEED   compares draws.json with albumentations' draws, prints the p values
"""
import json
import sys
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.blur import functional as blur
from albumentations.augmentations.mixing import domain_adaptation_functional as adaptation
from albumentations.augmentations.pixel import functional as pixel
from safetensors.numpy import save_file
from scipy.stats import ks_2samp


def image(rng, height, width):
    """Noise, smooth structures, or few levels, with a dark border in some."""
    kind = rng.integers(4)
    levels = rng.integers(0, 256, (height, width)).astype(np.uint8)
    if kind == 1:
        levels = cv2.GaussianBlur(levels, (0, 0), float(rng.uniform(1, 6)))
        levels = cv2.normalize(levels, None, 0, 255, cv2.NORM_MINMAX)
    if kind == 2:
        levels = (levels // 64 * 60 + rng.integers(0, 60)).astype(np.uint8)
    if kind == 3:
        levels[: height // 3] = 0
    return levels


def size(rng):
    return int(rng.integers(1, 150)), int(rng.integers(1, 150))


def matched(source, template):
    """skimage.exposure.match_histograms for 8-bit images of one channel."""
    counts = np.bincount(template.ravel())
    values = np.nonzero(counts)[0]
    own = np.cumsum(np.bincount(source.ravel())) / source.size
    wanted = np.cumsum(counts[values]) / template.size
    return np.interp(own, wanted, values)[source]


def one(name, rng, folder, number):
    """The step as TOML, the image, the expected levels and the greatest difference."""
    source = image(rng, *size(rng))
    if name == "gamma":
        gamma = round(float(rng.uniform(0.3, 3)), 3)
        return f"gamma = {gamma}", source, np.floor(255 * (source / 255.0) ** gamma + 0.5), 0
    if name == "clahe":
        tiles = int(rng.integers(1, 25))
        clip = round(float(rng.choice([0.0, 0.5, 1.0, 2.0, 4.0, 40.0, rng.uniform(0, 10)])), 3)
        return f"clip-limit = {clip}, tiles = {tiles}", source, cv2.createCLAHE(clip, (tiles, tiles)).apply(source), 0
    if name == "equalise":
        if number == 0:
            source[:] = 77
        return "", source, cv2.equalizeHist(source), 0
    if name == "invert":
        return "", source, pixel.invert(source), 0
    if name == "median-blur":
        side = int(rng.choice([3, 5, 7, 9, 15]))
        return f"side = {side}", source, cv2.medianBlur(source, side), 0
    if name == "gaussian-blur":
        sigma = round(float(rng.uniform(0.3, 6)), 3)
        # In single precision: for 8 bit OpenCV rounds the kernel to 1/256, and its result is up to 2 levels off.
        exact = source.astype(np.float32)
        if number % 2:
            kernel = blur.create_gaussian_kernel_1d(sigma, 0)
            return f"sigma = {sigma}", source, cv2.sepFilter2D(exact, -1, kernel, kernel), 0.01
        radius = int(rng.integers(1, 9))
        side = 2 * radius + 1
        return f"sigma = {sigma}, radius = {radius}", source, cv2.GaussianBlur(exact, (side, side), sigma), 0.01
    if name == "sharpen":
        alpha, lightness = (round(float(v), 3) for v in rng.uniform(0, [1, 2]))
        same = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)
        effect = np.array([[-1, -1, -1], [-1, 8 + lightness, -1], [-1, -1, -1]], np.float32)
        kernel = (1 - alpha) * same + alpha * effect
        return f"alpha = {alpha}, lightness = {lightness}", source, pixel.convolve(source, kernel), 1
    if name == "downscale":
        scale = round(float(rng.uniform(0.05, 1)), 3)
        small = tuple(max(round(side * scale), 1) for side in source.shape[::-1])
        reduced = cv2.resize(source, small, interpolation=cv2.INTER_AREA)
        if number % 2:
            result = cv2.resize(reduced, source.shape[::-1], interpolation=cv2.INTER_LINEAR)
            return f'scale = {scale}, interpolation = "bilinear"', source, result, 1
        # The pixel under each centre, in exact integers; OpenCV's INTER_NEAREST_EXACT rounds its factor to 1/65536.
        rows, columns = ((2 * np.arange(side) + 1) * less // (2 * side) for side, less in zip(source.shape, small[::-1]))
        return f'scale = {scale}, interpolation = "nearest"', source, reduced[rows][:, columns], 1
    if name == "histogram-matching":
        path = folder / f"reference{number}.png"
        reference = image(rng, *(side + 16 for side in size(rng)))
        # A bright background would be read as an inverted image.
        reference[: reference.shape[0] // 2] //= 3
        cv2.imwrite(str(path), reference)
        result = matched(source, reference)
        cut = adaptation._match_cumulative_cdf(source, reference)
        assert np.array_equal(cut, result.astype(np.uint8)), "albumentations cuts the fraction off"
        share = round(float(rng.uniform()), 3)
        mixed = result * share + source * (1 - share)
        return f'reference = "{path}", blend = {share}', source, mixed, 1e-3
    raise ValueError(name)


COUNTS = {
    "gamma": 30,
    "clahe": 60,
    "equalise": 10,
    "invert": 3,
    "median-blur": 20,
    "gaussian-blur": 20,
    "sharpen": 20,
    "downscale": 20,
    "histogram-matching": 20,
}


def cases(folder, seed):
    rng = np.random.default_rng(seed)
    listed, tensors = [], {}
    for name, count in COUNTS.items():
        for number in range(count):
            keys, source, expected, tolerance = one(name, rng, folder, number)
            at = str(len(listed))
            op = "{ " + ", ".join(filter(None, [f'kind = "{name}"', keys])) + " }"
            listed.append({"op": op, "tolerance": tolerance})
            tensors[f"{at}.source"] = source.astype(np.float32)
            tensors[f"{at}.expected"] = np.ascontiguousarray(expected).astype(np.float32)
    save_file(tensors, folder / "tensors.safetensors")
    (folder / "cases.json").write_text(json.dumps(listed))


def reference_draws(count, seed):
    data = {"image": np.full((48, 48), 128, np.uint8), "hm_metadata": [np.zeros((48, 48), np.uint8)]}

    def drawn(step, of):
        step.set_random_seed(seed)
        return [of(step) for _ in range(count)]

    def by_data(key):
        return lambda step: step.get_params_dependent_on_data({"shape": (48, 48)}, data)[key]

    def by_itself(key):
        return lambda step: step.get_params()[key]

    # The standard deviation of 2,304 normal pixels is known to 1.5 %; that of the drawn values is 20 %.
    noise = by_data("noise_map")
    # Of the kernel of a blur, the ratio of its first two weights gives sigma.
    kernel = by_data("kernel")

    def sigma(step):
        weights = kernel(step)
        middle = len(weights) // 2
        return (1 / (2 * np.log(weights[middle] / weights[middle + 1]))) ** 0.5

    # lightness from the middle of the matrix, 1 - alpha + alpha (8 + lightness).
    def lightness(step):
        params = step.get_params()
        return (params["sharpening_matrix"][1, 1] - 1 + params["alpha"]) / params["alpha"] - 8

    shot = pixel.shot_noise(np.full((200, 200), 128 / 255, np.float32), 0.05, np.random.default_rng(seed))
    return {
        "gamma": drawn(A.RandomGamma(), by_data("gamma")),
        "clip-limit": drawn(A.CLAHE(), by_itself("clip_limit")),
        "sigma": drawn(A.GaussianBlur(), sigma),
        "side": drawn(A.MedianBlur(), by_itself("kernel")),
        "alpha": drawn(A.Sharpen(), by_itself("alpha")),
        "lightness": drawn(A.Sharpen(), lightness),
        "sd": drawn(A.GaussNoise(), lambda step: noise(step).astype(np.float64).std() / 255),
        "scale": drawn(A.ShotNoise(), by_itself("scale")),
        "blend": drawn(A.HistogramMatching(), by_data("blend_ratio")),
        "shot noise": (255 * shot).ravel().tolist(),
    }


def draws(folder, seed):
    ours = json.loads((folder / "draws.json").read_text())
    theirs = reference_draws(3000, seed)
    assert ours.keys() == theirs.keys()
    # The levels of one count of quanta differ in single precision.
    digits = {"shot noise": 2}
    values = lambda of, key: np.round(of[key], digits.get(key, 12))
    print(json.dumps({key: ks_2samp(values(ours, key), values(theirs, key)).pvalue for key in ours}))


if __name__ == "__main__":
    what, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    {"cases": cases, "draws": draws}[what](folder, seed)
