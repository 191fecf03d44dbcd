"""Smoothing, stop and suggestion of a learning-rate finder, as PyTorch Lightning computes them.

usage: lr_finder.py FOLDER SEED

Writes FOLDER/cases.json: a list of rates and losses, with the smoothed losses up to the stop and the suggested rates.
"""

import json
import sys
from pathlib import Path

import numpy as np

BETA, THRESHOLD, SKIP_BEGIN, SKIP_END = 0.98, 4.0, 10, 1


def smooth(losses):
    """`_LRCallback`: bias-corrected average, and the stop at 4 times the best."""
    average, best, out = 0.0, None, []
    for step, loss in enumerate(losses):
        average = BETA * average + (1 - BETA) * loss
        value = average / (1 - BETA ** (step + 1))
        out.append(value)
        if step >= 1 and value > THRESHOLD * best:
            break
        if best is None or value < best:
            best = value
    return out


def main():
    folder, rng = Path(sys.argv[1]), np.random.default_rng(int(sys.argv[2]) % 2**63)
    cases = []
    for _ in range(20):
        steps = int(rng.integers(120, 300))
        rates = 1e-7 * (1.0 / 1e-7) ** (np.arange(steps) / (steps - 1))
        middle = rng.uniform(-4, -2)
        losses = 1 - 0.8 / (1 + np.exp(-3 * (np.log10(rates) - middle))) + 0.02 * rng.standard_normal(steps)
        losses = np.where(rates > 0.1, losses * (rates / 0.1) ** 6, losses)
        smoothed = smooth(losses)
        kept = rates[: len(smoothed)][SKIP_BEGIN:-SKIP_END]
        values = np.array(smoothed)[SKIP_BEGIN:-SKIP_END]
        cases.append({
            "rates": rates.tolist(),
            "losses": losses.tolist(),
            "smoothed": smoothed,
            "steepest": float(kept[np.gradient(values).argmin()]),
            "tenth": float(kept[values.argmin()] / 10),
        })
    (folder / "cases.json").write_text(json.dumps(cases))


main()
