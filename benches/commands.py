"""Whole commands, start-up included, and the same work by Python libraries in the same run.

usage: commands.py CARPUS FOLDER

Makes synthetic hands in FOLDER and prints the best of several runs: `--version`, `split` of 800
and of 5,000 images, and a scan of 64 images of 2048 x 2048 against a lean scan with opencv and pandas by two processes, which
measures less: of each bone area, centroid, box and length of the outline, of each image size and mean level.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROUNDS = 5


def best(command):
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds.append(time.perf_counter() - started)
        # 3: done, with warnings about the data.
        assert done.returncode in (0, 3), done.stderr.decode()
    return min(seconds)


def measure(path):
    """Rows of an image and of its bones."""
    import cv2
    import numpy as np

    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    annotation = Path(str(path).replace("/DCM/", "/outputs_json/")).with_suffix(".json")
    bones = []
    for shape in json.loads(annotation.read_text())["annotations"]:
        points = np.array(shape["points"], np.int32)
        mask = np.zeros(image.shape, np.uint8)
        cv2.fillPoly(mask, [points], 1)
        moments = cv2.moments(mask, binaryImage=True)
        area = moments["m00"]
        centre = (moments["m10"] / area, moments["m01"] / area) if area else (None, None)
        bones.append([path.stem, shape["label"], area, *centre, *cv2.boundingRect(mask), cv2.arcLength(points, True)])
    return [path.stem, *image.shape, float(image.mean())], bones


def python_scan(data, out):
    import pandas

    with ProcessPoolExecutor(2) as pool:
        measured = list(pool.map(measure, sorted(Path(data).glob("train/DCM/*/*.png")), chunksize=4))
    pandas.DataFrame([image for image, _ in measured]).to_csv(Path(out) / "images.csv")
    pandas.DataFrame([bone for _, bones in measured for bone in bones]).to_csv(Path(out) / "bones.csv")


def main(carpus, folder):
    folder.mkdir(parents=True, exist_ok=True)
    print(f"carpus --version: {1e3 * best([carpus, '--version']):.0f} ms")

    for images in (800, 5000):
        data, tables = folder / f"small{images}", folder / f"tables{images}"
        subprocess.run([carpus, "--quiet", "phantom", "--out", data, "--patients", str(images // 2), "--test-patients", "0",
                        "--size", "64", "--seed", "3"], check=True)
        subprocess.run([carpus, "--quiet", "scan", data, "--out", tables], check=True)
        seconds = best([carpus, "--quiet", "split", tables, "--out", folder / "folds.csv"])
        print(f"split of {images} images: {1e3 * seconds:.0f} ms")

    data = folder / "large"
    subprocess.run([carpus, "--quiet", "phantom", "--out", data, "--patients", "32", "--test-patients", "0", "--size", "2048",
                    "--seed", "7"], check=True)
    out = folder / "python"
    out.mkdir(exist_ok=True)
    ours = theirs = float("inf")
    for _ in range(3):
        # Without the tables of the round before, whose unchanged images would not be read again.
        subprocess.run(["rm", "-rf", folder / "scan"], check=True)
        started = time.perf_counter()
        subprocess.run([carpus, "--quiet", "scan", data, "--out", folder / "scan"], check=True)
        ours = min(ours, time.perf_counter() - started)
        started = time.perf_counter()
        subprocess.run([sys.executable, __file__, "--scan", data, out], check=True)
        theirs = min(theirs, time.perf_counter() - started)
    print(f"scan of 64 images of 2048 px: {ours:.2f} s; opencv and pandas, two processes: {theirs:.2f} s; "
          f"ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    if sys.argv[1] == "--scan":
        python_scan(*sys.argv[2:])
    else:
        main(sys.argv[1], Path(sys.argv[2]))
