"""Writes images with random content and, for each, the grey levels that OpenCV or Pillow decodes.

    image_decode.py SEED FOLDER

For each image NAME.EXT, the file NAME.EXT.grey contains width * height bytes. Prints one line per image: the file, width,
height, bits per sample.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

seed, folder = int(sys.argv[1]), Path(sys.argv[2])
rng = np.random.default_rng(seed)


def content(channels, dtype):
    height, width = (int(v) for v in rng.integers(1, 90, 2))
    top = np.iinfo(dtype).max
    shape = (height, width) if channels == 1 else (height, width, channels)
    return rng.integers(0, top + 1, shape).astype(dtype)


def grey(pixels):
    """Converts BGR(A) or grey with 8 or 16 bits to 8-bit grey: drops alpha, converts to grey, then drops the low byte."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_BGR2GRAY)
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def write_expected(name, expected, bits):
    (folder / (name + ".grey")).write_bytes(expected.tobytes())
    print(name, expected.shape[1], expected.shape[0], bits)


def by_cv2(name, pixels, options=()):
    path = str(folder / name)
    assert cv2.imwrite(path, pixels, list(options))
    back = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    assert back.shape == pixels.shape and back.dtype == pixels.dtype
    write_expected(name, grey(back), 8 * pixels.dtype.itemsize)


def by_pillow(name, image, bits, **options):
    image.save(folder / name, **options)
    back = Image.open(folder / name)
    if back.mode in ("L", "1", "LA"):
        expected = np.asarray(back.convert("L") if back.mode == "1" else back.getchannel(0))
    else:
        expected = grey(np.asarray(back.convert("RGB"))[..., ::-1])
    write_expected(name, expected, bits)


for ending in ("png", "tif"):
    for dtype, depth in ((np.uint8, 8), (np.uint16, 16)):
        for channels, kind in ((1, "grey"), (3, "colour"), (4, "alpha")):
            by_cv2(f"{kind}{depth}.{ending}", content(channels, dtype))

one = Image.fromarray(content(1, np.uint8)).convert("1")
by_pillow("one.png", one, 1)
by_pillow("one.tif", one, 1)
by_pillow("packed.tif", Image.fromarray(content(1, np.uint8)), 8, compression="tiff_adobe_deflate")
by_pillow("veiled.png", Image.fromarray(content(2, np.uint8), "LA"), 8)
many = Image.fromarray(rng.integers(0, 256, (40, 30, 3)).astype(np.uint8)).quantize(200)
by_pillow("palette.png", many, 8)
few = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)).quantize(4)
by_pillow("small_palette.png", few, 2)

smooth = cv2.GaussianBlur(rng.integers(0, 256, (67, 93, 3)).astype(np.uint8), (0, 0), 3)
by_cv2("grey.jpg", smooth[..., 0], (cv2.IMWRITE_JPEG_QUALITY, 95))
by_cv2("grey_progressive.jpg", smooth[..., 0], (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
by_cv2("colour.jpg", smooth, (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444))
sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
by_cv2("colour_progressive.jpg", smooth, (*sampling, cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
by_cv2("grey_restart.jpg", smooth[..., 0], (cv2.IMWRITE_JPEG_RST_INTERVAL, int(rng.integers(1, 9))))
