"""Reads split problems as JSON lines from a file; prints for each problem scikit-learn's fold of each member, or `error`."""

import json
import sys
import warnings

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

warnings.simplefilter("ignore")

with open(sys.argv[1], encoding="utf-8") as problems:
    for line in problems:
        problem = json.loads(line)
        groups = np.array(problem["groups"])
        strata = np.array(problem["strata"])
        seed = problem["seed"]
        shuffle = seed is not None
        method, folds = problem["method"], problem["folds"]
        if method == "stratified-group":
            splitter = StratifiedGroupKFold(folds, shuffle=shuffle, random_state=seed)
        elif method == "group":
            splitter = GroupKFold(folds)
        else:
            splitter = GroupKFold(folds, shuffle=True, random_state=seed)
        assigned = [-1] * len(groups)
        try:
            for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(groups)), strata, groups)):
                for member in held_out:
                    assigned[member] = fold
        except ValueError as error:
            print(json.dumps({"error": str(error)}))
            continue
        print(json.dumps({"folds": assigned}))
