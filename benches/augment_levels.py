"""OpenCV's side of benches/augment_levels.rs: for each name on standard input, the seconds of one call on the image.

Usage: augment_levels.py IMAGE THREADS
"""
import sys
import time

import cv2
import numpy as np

image = cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE)
cv2.setNumThreads(int(sys.argv[2]))
clahe = cv2.createCLAHE(4.0, (8, 8))
gamma = np.floor(255 * (np.arange(256) / 255) ** 0.7 + 0.5).astype(np.uint8)
CALLS = {
    "clahe": lambda: clahe.apply(image),
    "equalise": lambda: cv2.equalizeHist(image),
    "gamma": lambda: cv2.LUT(image, gamma),
    "median-blur": lambda: cv2.medianBlur(image, 5),
    "gaussian-blur": lambda: cv2.GaussianBlur(image, (15, 15), 2.0),
}
for line in sys.stdin:
    started = time.perf_counter()
    CALLS[line.strip()]()
    print(time.perf_counter() - started, flush=True)
