"""Reference values for regressions and classifiers: reads cases as JSON from the file FILE, prints the results as JSON.

Usage: stats_models.py FILE
"""
import json
import sys
import warnings

import numpy as np
import statsmodels.api as sm
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from statsmodels.stats.outliers_influence import OLSInfluence

warnings.simplefilter("ignore")


def column(values):
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def complete(case):
    """Response, design with intercept, clusters and indices of the complete rows."""
    y, x = column(case["response"]), np.column_stack([column(c) for c in case["regressors"]])
    keep = np.isfinite(y) & np.isfinite(x).all(axis=1)
    return y[keep], sm.add_constant(x[keep], has_constant="add"), np.array(case["clusters"])[keep], np.flatnonzero(keep)


def coefficients(fit):
    ci = fit.conf_int()
    return [{"value": fit.params[i], "se": fit.bse[i], "t": fit.tvalues[i], "p": fit.pvalues[i],
             "ci": {"low": ci[i][0], "high": ci[i][1]}} for i in range(len(fit.params))]


def regression(case):
    y, design, clusters, rows = complete(case)
    fit = sm.OLS(y, design).fit()
    hc3 = sm.OLS(y, design).fit(cov_type="HC3", use_t=True)
    robust = sm.OLS(y, design).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    restriction = np.eye(design.shape[1])[1:3]
    wald = robust.wald_test(restriction, use_f=True, scalar=True)
    influence = OLSInfluence(fit)
    small = sm.OLS(y, np.delete(design, [1, 2], axis=1)).fit()
    f, p, df = fit.compare_f_test(small)
    lengths = np.linalg.norm(design, axis=0)
    return {
        "log_likelihood": fit.llf, "aic": fit.aic, "condition_number": np.linalg.cond(design),
        "statsmodels_condition_number": fit.condition_number,
        "scaled_condition_number": np.linalg.cond(design / lengths),
        "hc3": {"df": int(fit.df_resid), "coefficients": coefficients(hc3)},
        "clustered": {"df": len(set(clusters)) - 1, "clusters": len(set(clusters)), "coefficients": coefficients(robust)},
        "wald": {"f": float(wald.statistic), "p": float(wald.pvalue), "df1": 2, "df2": len(set(clusters)) - 1},
        "influence": [
            {"row": int(rows[i]), "fitted": fit.fittedvalues[i], "leverage": influence.hat_matrix_diag[i],
             "studentised": influence.resid_studentized_external[i], "cook": influence.cooks_distance[0][i]}
            for i in range(len(y))
        ],
        "nested": {"f": f, "p": p, "df1": int(df), "r2_base": small.rsquared, "r2": fit.rsquared,
                   "aic_gain": small.aic - fit.aic},
    }


def logit(case):
    x, y = np.array(case["columns"]).T, np.array(case["positive"])
    fit = sm.Logit(y.astype(float), sm.add_constant(x)).fit(disp=0, tol=1e-14, maxiter=200, method="newton")
    ci = fit.conf_int()
    return {"log_likelihood": fit.llf, "coefficients": [
        {"value": fit.params[i], "se": fit.bse[i], "p": fit.pvalues[i], "ci": {"low": ci[i][0], "high": ci[i][1]}}
        for i in range(len(fit.params))]}


def logistic_ridge(case):
    x, y = np.array(case["columns"]).T, np.array(case["positive"])
    fit = LogisticRegression(C=1 / case["ridge"], solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x, y)
    # Compared at 1e-6: both are iterative.
    return {"iterative": [float(v) for v in np.concatenate([fit.intercept_, fit.coef_[0]])]}


def features(values):
    """Standardised value, its square and whether it is missing; those that vary."""
    values = column(values)
    known = values[np.isfinite(values)]
    scaled = lambda v: (v - v.mean()) / v.std(ddof=1)
    found = []
    if known.std(ddof=1) > 0:
        z = np.where(np.isfinite(values), (values - known.mean()) / known.std(ddof=1), 0.0).clip(-5, 5)
        found.append(z)
        if len(np.unique(known)) > 2:
            found.append(scaled(z * z))
    missing = (~np.isfinite(values)).astype(float)
    if missing.std() > 0:
        found.append(scaled(missing))
    return found


def classifier(case):
    y, folds = np.array(case["second"]), np.array(case["folds"])

    def area(columns):
        x = np.column_stack([f for c in columns for f in features(c)])
        won = pairs = 0.0
        for fold in range(folds.max() + 1):
            held = folds == fold
            # Equal rows may differ by rounding, which would break ties.
            score = np.round(Ridge(alpha=1.0).fit(x[~held], y[~held].astype(float)).predict(x[held]), 10)
            n = y[held].sum() * (~y[held]).sum()
            won, pairs = won + n * roc_auc_score(y[held], score), pairs + n
        return won / pairs

    columns = case["columns"]
    auc = area(columns)
    return {"auc": auc, "columns": {
        str(i): {"alone": area([c]), "loss_without": auc - area(columns[:i] + columns[i + 1:])}
        for i, c in enumerate(columns)}}


def permutation(case):
    """Where every patient has one value, the test is scipy's, except for the draws."""
    difference = lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis)
    # Two-sided by the size of the difference. SciPy's own two-sided p is twice the smaller tail, which is another number
    # where the tails differ.
    found = stats.permutation_test((case["first"], case["second"]), lambda *x, axis: np.abs(difference(*x, axis)),
                                   vectorized=True, n_resamples=9999, alternative="greater",
                                   rng=np.random.default_rng(case["seed"]))
    return {"difference": difference(np.array(case["first"]), np.array(case["second"]), -1), "p": found.pvalue}


with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
answers = [globals()[case["kind"]](case) for case in cases]
json.dump(answers, sys.stdout, default=float)
