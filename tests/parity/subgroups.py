"""Dice by subgroup with patient bootstrap, in plain Python and numpy: reads a case as JSON, prints groups and gaps.

Usage: subgroups.py FILE
"""
import json
import sys
from collections import defaultdict

import numpy as np

with open(sys.argv[1], encoding="utf-8") as file:
    case = json.load(file)
hands, rng = case["hands"], np.random.default_rng(case["seed"])
DRAWS = 10_000

heights = {hand["patient"]: hand["height"] for hand in hands if hand["height"] is not None}
limits = np.unique(np.quantile(list(heights.values()), [0.25, 0.5, 0.75]))


def quarter(height):
    at = int((limits <= height).sum())
    if at == 0:
        return f"1: below {limits[0]:.1f} cm"
    if at == len(limits):
        return f"{at + 1}: {limits[-1]:.1f} cm and more"
    return f"{at + 1}: {limits[at - 1]:.1f} to below {limits[at]:.1f} cm"


FIELDS = {
    "all": lambda hand: "all",
    "sex": lambda hand: hand["sex"],
    "rotated": lambda hand: None if hand["rotated"] is None else "rotated" if hand["rotated"] else "straight",
    "age": lambda hand: None if hand["age"] is None else f"{int(hand['age'] // 10 * 10)}-{int(hand['age'] // 10 * 10 + 9)}",
    "height": lambda hand: None if hand["height"] is None else quarter(hand["height"]),
    "fold": lambda hand: str(hand["fold"]),
}


def sums(hands, patients):
    """Sum and number of Dice by patient."""
    table = np.zeros((len(patients), 2))
    for hand in hands:
        table[patients.index(hand["patient"])] += [hand["dice"], 1]
    return table


def bootstrap(*groups):
    """Ends of the percentile interval of the mean, or of the difference of two means, over drawn patients."""
    patients = sorted({hand["patient"] for group in groups for hand in group})
    tables = [sums(group, patients) for group in groups]
    drawn = rng.integers(0, len(patients), (DRAWS, len(patients)))
    means = [table[drawn].sum(axis=1) for table in tables]
    means = [total[:, 0] / total[:, 1] for total in means]
    values = means[0] if len(means) == 1 else means[0] - means[1]
    values = values[np.isfinite(values)]
    return [float(end) for end in np.quantile(values, [0.025, 0.975])]


def count(group):
    return len({hand["patient"] for hand in group})


def mean(group):
    return float(np.mean([hand["dice"] for hand in group]))


rows, gaps = [], []
for field, label in FIELDS.items():
    groups = defaultdict(list)
    for hand in hands:
        groups[label(hand)].append(hand)
    known = sorted(name for name in groups if name is not None)
    for name in known + ([None] if None in groups else []):
        group = groups[name]
        low, high = bootstrap(group) if count(group) >= 6 else (None, None)
        rows.append({"field": field, "subgroup": name or "unknown", "images": len(group), "patients": count(group),
                     "dice": mean(group), "ci_low": low, "ci_high": high})
    enough = [name for name in known if count(groups[name]) >= 6]
    if len(enough) > 1:
        worst, best = min(enough, key=lambda n: mean(groups[n])), max(enough, key=lambda n: mean(groups[n]))
        low, high = bootstrap(groups[best], groups[worst])
        gaps.append({"field": field, "worst": worst, "best": best, "difference": mean(groups[best]) - mean(groups[worst]),
                     "ci": {"low": low, "high": high}, "least_patients": min(count(groups[worst]), count(groups[best]))})
json.dump({"groups": rows, "gaps": gaps}, sys.stdout)
