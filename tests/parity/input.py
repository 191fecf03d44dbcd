"""Images as the model sees them, by PIL and NumPy: resized with PIL's triangle filter, stretched between percentiles, normalised by
their own mean and standard deviation."""

import json
import sys

import numpy as np
from PIL import Image

results = []
for case in json.load(open(sys.argv[1])):
    columns, rows = case["inner"]
    image = np.array(case["levels"], np.float32).reshape(case["height"], case["width"])
    resized = np.asarray(Image.fromarray(image).resize((columns, rows), Image.BILINEAR))
    # The rest is computed from the given levels, so that rounding to whole levels does not move a percentile.
    fitted = np.array(case["fitted"], np.float64).reshape(rows, columns)
    low, high = np.percentile(fitted, case["percentiles"])
    shares = np.clip((fitted - low) / (high - low), 0, 1)
    normalised = (shares - shares.mean()) / shares.std()
    results.append({"resized": resized.ravel().tolist(), "input": normalised.ravel().tolist()})
print(json.dumps(results))
