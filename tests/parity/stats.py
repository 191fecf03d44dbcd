"""Reference values for the statistics: reads cases as JSON from the file FILE, prints the results as JSON.

Usage: stats.py FILE
"""
import itertools
import json
import math
import sys
import warnings

import mpmath
import numpy as np
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint, proportion_effectsize
from statsmodels.stats.weightstats import ttost_ind

warnings.simplefilter("ignore")


def interval(low, high):
    return {"low": float(low), "high": float(high)}


def column(values):
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def pairs(case):
    x, y = column(case["x"]), column(case["y"])
    keep = np.isfinite(x) & np.isfinite(y)
    return x[keep], y[keep]


def pearson(case):
    x, y = pairs(case)
    found = stats.pearsonr(x, y)
    ci = found.confidence_interval()
    return {"n": len(x), "r": found.statistic, "p": found.pvalue, "ci": interval(ci.low, ci.high)}


def spearman(case):
    x, y = pairs(case)
    found = stats.spearmanr(x, y)
    half = stats.norm.ppf(0.975) * np.sqrt((1 + found.statistic**2 / 2) / (len(x) - 3))
    z, p = np.arctanh(found.statistic), found.pvalue
    if 1 - abs(found.statistic) < 1e-12:
        # SciPy's p is 0, the limit of the t distribution: the share of all orders that give as much.
        orders = [stats.spearmanr(x, order).statistic for order in itertools.permutations(y)] if len(x) < 7 else []
        p = np.mean(np.abs(orders) > 1 - 1e-12) if orders else 2 / math.factorial(len(x))
    return {"n": len(x), "r": found.statistic, "p": p, "ci": interval(np.tanh(z - half), np.tanh(z + half))}


def partial(case, rank=False):
    columns = np.column_stack([column(case["x"]), column(case["y"])] + [column(c) for c in case["controls"]])
    columns = columns[np.isfinite(columns).all(axis=1)]
    if rank:
        columns = stats.rankdata(columns, axis=0)
    design = sm.add_constant(columns[:, 2:], has_constant="add")
    x, y = (sm.OLS(columns[:, i], design).fit().resid for i in (0, 1))
    r, df = np.corrcoef(x, y)[0, 1], len(columns) - 2 - len(case["controls"])
    z, half = np.arctanh(r), stats.norm.ppf(0.975) / np.sqrt(df - 1)
    return {"n": len(columns), "r": r, "p": 2 * stats.t.sf(abs(r) * np.sqrt(df / (1 - r * r)), df),
            "ci": interval(np.tanh(z - half), np.tanh(z + half))}


def partial_spearman(case):
    return partial(case, rank=True)


def welch(case):
    found = stats.ttest_ind(case["first"], case["second"], equal_var=False)
    ci = found.confidence_interval()
    return {"t": found.statistic, "df": found.df, "p": found.pvalue, "ci": interval(ci.low, ci.high)}


def paired_t(case):
    found = stats.ttest_rel(case["first"], case["second"])
    ci = found.confidence_interval()
    difference = np.mean(np.subtract(case["first"], case["second"]))
    return {"n": len(case["first"]), "t": found.statistic, "p": found.pvalue, "difference": difference,
            "ci": interval(ci.low, ci.high)}


def bootstrap_mean(case):
    found = stats.bootstrap((case["values"],), np.mean, n_resamples=case["resamples"], method="percentile",
                            rng=np.random.default_rng(case["seed"]))
    ci = found.confidence_interval
    return {"mean": np.mean(case["values"]), "ci": interval(ci.low, ci.high)}


def pooled_sd(case):
    """The mean square within groups by a regression on the groups, and the t bound of a difference of two means."""
    groups = [group for group in case["groups"] if len(group) > 1]
    values = np.concatenate(groups)
    member = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    fit = sm.OLS(values, (member[:, None] == np.arange(len(groups))).astype(float)).fit()
    n1, n2 = case["n1"], case["n2"]
    # A pooled t interval of two samples has this half width.
    bound = stats.t.ppf(0.975, fit.df_resid) * np.sqrt(fit.scale * (1 / n1 + 1 / n2))
    return {"sd": np.sqrt(fit.scale), "df": fit.df_resid, "n": len(values), "groups": len(groups), "bound": bound}


def mann_whitney(case):
    method = "exact" if case["exact"] else "asymptotic"
    found = stats.mannwhitneyu(case["first"], case["second"], method=method, use_continuity=True)
    return {"u": found.statistic, "p": found.pvalue}


def kolmogorov_smirnov(case):
    found = stats.ks_2samp(case["first"], case["second"], method="exact")
    assert case["exact"]
    return {"distance": found.statistic, "p": found.pvalue}


def cramer_von_mises_tail(x):
    """1 minus Csörgő and Faraway's series (1.2) with 50 digits: SciPy stops at terms of 1e-7 and is inexact in the tail."""
    with mpmath.workdps(50):
        x, total, k = mpmath.mpf(x), mpmath.mpf(0), 0
        while True:
            q = (4 * k + 1) ** 2 / (16 * x)
            u = mpmath.gamma(k + mpmath.mpf(1) / 2) / mpmath.gamma(k + 1) / (mpmath.pi ** 1.5 * mpmath.sqrt(x))
            term = u * mpmath.sqrt(4 * k + 1) * mpmath.exp(-q) * mpmath.besselk(mpmath.mpf(1) / 4, q)
            total, k = total + term, k + 1
            if term < mpmath.mpf(10) ** -30:
                return max(0.0, float(1 - total))


def cramer_von_mises(case):
    first, second = np.sort(case["first"]), np.sort(case["second"])
    values = np.concatenate([first, second])
    m, n, total = len(first), len(second), len(values)
    has_ties = len(np.unique(values)) < total
    if case["exact"] and not has_ties:
        found = stats.cramervonmises_2samp(first, second, method="exact")
        return {"t": found.statistic, "p": found.pvalue}
    # With ties SciPy's statistic is of ranks that ties do not have; this is the definition.
    share = lambda sample: np.searchsorted(sample, values, side="right") / len(sample)
    t = m * n / (m + n) ** 2 * np.sum((share(first) - share(second)) ** 2)
    if case["exact"]:
        return {"t": t}
    variance = (total + 1) * (4 * m * n * total - 3 * (m * m + n * n) - 2 * m * n) / (45 * total**2 * 4 * m * n)
    standardised = 1 / 6 + (t - (1 + 1 / total) / 6) / np.sqrt(45 * variance)
    p = 1.0 if standardised < 0.003 else cramer_von_mises_tail(standardised)
    if not has_ties:
        found = stats.cramervonmises_2samp(first, second, method="asymptotic")
        assert abs(found.pvalue - p) < 1e-6 and np.isclose(found.statistic, t, rtol=1e-9), (found, t, p)
    return {"t": t, "p": p}


def wasserstein(case):
    return {"distance": stats.wasserstein_distance(case["first"], case["second"])}


def smd(case):
    first, second = np.array(case["first"]), np.array(case["second"])
    a, b = len(first), len(second)
    d = (first.mean() - second.mean()) / np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    half = stats.norm.ppf(0.975) * np.sqrt((a + b) / (a * b) + d * d / (2 * (a + b)))
    return {"smd": d, "ci": interval(d - half, d + half)}


def tost(case):
    margin = case["margin"]
    return {"p": ttost_ind(case["first"], case["second"], -margin, margin, usevar="unequal")[0]}


def psi(case):
    base, sample = np.sort(case["first"]), np.array(case["second"])
    bins = min(len(base) // 5, 10)
    edges = np.unique(np.quantile(base, np.arange(1, bins) / bins))
    edges = edges[edges > base[0]]
    if len(edges) == 0 and base[-1] > base[0]:
        edges = base[base > base[0]][:1]
    counts = [np.bincount(np.searchsorted(edges, v, side="right"), minlength=len(edges) + 1) for v in (base, sample)]
    counts = np.array(counts, dtype=float)
    # Between two close quantiles there may be no value of either sample.
    counts = counts[:, counts.sum(axis=0) > 0]
    if (counts == 0).any():
        counts += 0.5
    expected, found = counts / counts.sum(axis=1, keepdims=True)
    index, scale, df = np.sum((found - expected) * np.log(found / expected)), 1 / len(base) + 1 / len(sample), counts.shape[1] - 1
    return {"bins": df + 1, "psi": index, "null_mean": scale * df, "null_bound": scale * stats.chi2.ppf(0.95, df),
            "p": stats.chi2.sf(index / scale, df)}


def multiple(case):
    return {"holm": multipletests(case["values"], method="holm")[1].tolist(),
            "bh": multipletests(case["values"], method="fdr_bh")[1].tolist()}


def power(case):
    n1, n2, base = case["n1"], case["n2"], case["share2"]
    of = lambda share: NormalIndPower().power(proportion_effectsize(share, base), n1, 0.05, ratio=n2 / n1)
    odds = lambda log: 1 / (1 + (1 - base) / base * np.exp(-log))

    def visible(sign):
        if of(odds(sign * 50)) < 0.8:
            return None
        return np.exp(sign * optimize.brentq(lambda log: of(odds(sign * log)) - 0.8, 0, 50, xtol=1e-13, rtol=1e-14))

    return {"power": of(case["share1"]), "above": visible(1), "below": visible(-1)}


def two_by_two(case):
    (a, b), (c, d) = case["cells"]
    cells = np.array([[a, b], [c, d]], dtype=float)
    corrected = (cells == 0).any()
    table = Table2x2(cells + 0.5 if corrected else cells, shift_zeros=False)
    return {
        "odds_ratio": {"value": table.oddsratio, "ci": interval(*table.oddsratio_confint())},
        "share_ratio": {"value": table.riskratio, "ci": interval(*table.riskratio_confint())},
        "fisher_p": stats.fisher_exact([[a, b], [c, d]]).pvalue,
    }


def chi_square(case):
    found = stats.chi2_contingency(np.array(case["table"]), correction=False)
    return {"chi2": found.statistic, "df": found.dof, "p": found.pvalue, "least_expected": found.expected_freq.min()}


def wilson(case):
    return {"ci": interval(*proportion_confint(case["count"], case["n"], method="wilson"))}


def summary(case):
    v = np.array(case["values"])
    quantiles = np.quantile(v, [0.05, 0.25, 0.5, 0.75, 0.95])
    answer = dict(zip(["q05", "q25", "median", "q75", "q95"], quantiles.tolist()))
    return answer | {"n": len(v), "mean": v.mean(), "sd": v.std(ddof=1), "min": v.min(), "max": v.max()}


def histogram(case):
    return {"counts": np.histogram(case["values"], bins=case["edges"])[0].tolist()}


def ols(case):
    y = column(case["response"])
    x = np.column_stack([column(c) for c in case["regressors"]])
    keep = np.isfinite(y) & np.isfinite(x).all(axis=1)
    design = sm.add_constant(x[keep], has_constant="add")
    fit = sm.OLS(y[keep], design).fit()
    at = fit.get_prediction(np.concatenate([[1.0], case["at"]])[None, :])
    vif = [None]
    for j in range(1, design.shape[1]):
        others = sm.OLS(design[:, j], np.delete(design, j, axis=1)).fit()
        vif.append(1.0 / (1.0 - others.rsquared))
    ci = fit.conf_int()
    return {
        "n": int(fit.nobs), "df": int(fit.df_resid), "r2": fit.rsquared, "r2_adjusted": fit.rsquared_adj,
        "sigma": float(np.sqrt(fit.scale)), "f": fit.fvalue, "f_p": fit.f_pvalue,
        "coefficients": [
            {"value": fit.params[i], "se": fit.bse[i], "t": fit.tvalues[i], "p": fit.pvalues[i],
             "ci": interval(*ci[i])} | ({} if vif[i] is None else {"vif": vif[i]})
            for i in range(design.shape[1])
        ],
        "mean_at": float(at.predicted_mean[0]), "mean_at_ci": interval(*at.conf_int()[0]),
    }


def clustered(case):
    cluster, group, has = (np.array(case[k]) for k in ("cluster", "group", "has"))
    design = sm.add_constant(group.astype(float))
    robust = {"cov_type": "cluster",
              "cov_kwds": {"groups": cluster, "use_correction": False, "df_correction": False}, "disp": 0}
    logit = sm.Logit(has.astype(float), design).fit(tol=1e-12, maxiter=200, **robust)
    robust.pop("disp")
    poisson = sm.GLM(has.astype(float), design, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=200, **robust)
    ratio = lambda fit: {"value": np.exp(fit.params[1]), "ci": interval(*np.exp(fit.conf_int()[1]))}
    return {"odds_ratio": ratio(logit), "share_ratio": ratio(poisson)}


with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
answers = [globals()[case["kind"]](case) for case in cases]
json.dump(answers, sys.stdout, default=float)
