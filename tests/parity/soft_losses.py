"""Reference losses of soft targets, computed in double precision by the libraries themselves.

usage: soft_losses.py FOLDER SEED

Writes FOLDER/batch.safetensors (logits, soft target, pixel weights; points and their logits). For each case of
cases.json, writes to FOLDER/reference.safetensors the value (NAME.value) and the gradient (NAME.grad).
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, GeneralizedDiceLoss, TverskyLoss
from safetensors.torch import save_file

# The libraries convert to single precision internally; their rounding is not tested here.
torch.Tensor.float = torch.Tensor.double


def by_class(values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def bce(pos_weight=None, weight=None):
    return lambda x, t: F.binary_cross_entropy_with_logits(x, t, weight=weight, pos_weight=pos_weight)


def tversky(alpha, beta, power=1.0, smooth=0.0):
    """The papers' formula with SMP's score, per class over the batch; absent classes count as 0 in the mean."""

    def loss(x, t):
        p = torch.sigmoid(x)
        scores = [
            smp.losses._functional.soft_tversky_score(p[:, c], t[:, c], alpha[c], beta[c], smooth, eps=0)
            for c in range(x.shape[1])
        ]
        present = (t.sum((0, 2, 3)) > 0).double()
        return ((1 - torch.stack(scores)).pow(power) * present).mean()

    return loss


def of_present(loss):
    """A MONAI loss per class over the batch; absent classes count as 0 in the mean."""
    return lambda x, t: (loss(x, t).flatten() * (t.sum((0, 2, 3)) > 0)).mean()


def point_loss(logits, coordinates, target):
    grid = 2 * coordinates.unsqueeze(2) - 1
    labels = F.grid_sample(target, grid, mode="nearest", align_corners=False).squeeze(3)
    return F.binary_cross_entropy_with_logits(logits, labels)


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    b, c, h, w = 2, 6, 37, 41
    hard = [(torch.rand(b, c, h, w) < torch.rand(1, c, 1, 1)).float() for _ in range(2)]
    share = torch.tensor([0.3, 0.0]).view(b, 1, 1, 1)  # the second image is not mixed
    target = (1 - share) * hard[0] + share * hard[1]
    target[:, 1] = 0  # an absent class
    target[:, 2] = torch.rand(b, h, w)  # any value
    logits = torch.randn(b, c, h, w) * 3
    # The overlap losses have a kink where the probability equals the target: rounding would decide.
    logits += 0.01 * ((torch.sigmoid(logits) - target).abs() < 1e-4)
    weights = torch.rand(b, h, w) * 3
    n = 50
    # Coordinates well inside pixels, for the same reason.
    at = lambda size: (torch.randint(0, size, (b, n)) + 0.05 + 0.9 * torch.rand(b, n, dtype=torch.float64)) / size
    points = torch.stack([at(w), at(h)], 2).float().to(torch.float32)
    batch = {"logits": logits, "target": target, "weights": weights, "points": points, "point_logits": torch.randn(b, c, n)}
    batch = {name: x.to(torch.float32).contiguous() for name, x in batch.items()}
    save_file(batch, folder / "batch.safetensors")
    logits, target, weights, points, point_logits = (batch[name].double() for name in batch)

    L, mode = smp.losses, "multilabel"
    monai = {"sigmoid": True, "batch": True, "reduction": "none", "soft_label": True}
    references = {
        "bce": bce(),
        "bce-weights": bce(by_class([1, 2, 3, 4, 5, 6]), by_class([6, 5, 4, 3, 2, 1])),
        "bce-pixels": bce(weight=weights[:, None]),
        "bce-smooth": L.SoftBCEWithLogitsLoss(smooth_factor=0.1),
        "bce-smooth-weights": L.SoftBCEWithLogitsLoss(smooth_factor=0.1, pos_weight=by_class([3, 1, 2, 2, 1, 3])),
        "dice": L.DiceLoss(mode),
        "dice-smooth": L.DiceLoss(mode, smooth=1.0),
        "dice-log": L.DiceLoss(mode, log_loss=True, smooth=1.0),
        "dice-monai": of_present(DiceLoss(**monai, smooth_nr=2, smooth_dr=2)),
        "jaccard": L.JaccardLoss(mode),
        "jaccard-log": L.JaccardLoss(mode, log_loss=True),
        "focal": L.FocalLoss(mode),
        "focal-alpha": L.FocalLoss(mode, gamma=1.5, alpha=0.25),
        "focal-small": L.FocalLoss(mode, gamma=0.5),
        "tversky": L.TverskyLoss(mode, alpha=0.3, beta=0.7),
        "tversky-monai": of_present(TverskyLoss(**monai, alpha=0.2, beta=0.9, smooth_nr=1, smooth_dr=1)),
        "tversky-by-class": tversky([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]),
        "focal-tversky": tversky([0.3] * 6, [0.7] * 6, power=0.75, smooth=1.0),
        "generalised-dice": GeneralizedDiceLoss(sigmoid=True, soft_label=True),
        "mix": lambda x, t: 0.3 * bce()(x, t) + 0.4 * L.DiceLoss(mode)(x, t) + 0.3 * L.FocalLoss(mode)(x, t),
    }
    out = {}
    for name in json.loads((folder / "cases.json").read_text()):
        x = logits.clone().requires_grad_(True)
        value = references[name](x, target.clone())
        value.backward()
        out[f"{name}.value"], out[f"{name}.grad"] = value.detach().reshape(1), x.grad
    x = point_logits.clone().requires_grad_(True)
    value = point_loss(x, points, target)
    value.backward()
    out["points.value"], out["points.grad"] = value.detach().reshape(1), x.grad
    save_file(out, folder / "reference.safetensors")


main()
