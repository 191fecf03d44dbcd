"""Reference losses, computed in double precision by the libraries themselves.

usage: losses.py FOLDER SEED

Writes FOLDER/batch.safetensors (logits, target) and for each case of cases.json the value and gradient as
NAME.value, NAME.grad into FOLDER/reference.safetensors.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from monai.losses import GeneralizedDiceLoss
from safetensors.torch import save_file

# The libraries cast to single precision inside; their rounding is not what is tested.
torch.Tensor.float = torch.Tensor.double


def by_class(values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def bce(pos_weight=None, class_weight=None):
    return lambda x, t: F.binary_cross_entropy_with_logits(
        x,
        t,
        weight=None if class_weight is None else by_class(class_weight),
        pos_weight=None if pos_weight is None else by_class(pos_weight),
    )


def tversky(alpha, beta, power=1.0, smooth=0.0):
    """The papers' formula, by class over the batch, absent classes left out of the sum but not of the mean."""

    def loss(x, t):
        p = torch.sigmoid(x)
        tp = (p * t).sum((0, 2, 3))
        fp = (p * (1 - t)).sum((0, 2, 3))
        fn = ((1 - p) * t).sum((0, 2, 3))
        a, b = by_class(alpha).flatten(), by_class(beta).flatten()
        index = (tp + smooth) / (tp + a * fp + b * fn + smooth)
        present = (t.sum((0, 2, 3)) > 0).double()
        return ((1 - index).pow(power) * present).mean()

    return loss


def lovasz_by_class(x, t):
    loss = smp.losses.LovaszLoss("binary", per_image=False)
    return torch.stack([loss(x[b, c], t[b, c]) for b in range(x.shape[0]) for c in range(x.shape[1])]).mean()


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    b, c, h, w = 2, 6, 22, 20
    # All hinge errors differ and are exact in single precision, so that sorting has one answer.
    count = b * c * h * w
    step = 2.0**-9
    logits = ((torch.randperm(count) - count // 2).double() + 0.25) * step
    logits = logits.view(b, c, h, w)
    target = (torch.rand(b, c, h, w) < torch.rand(1, c, 1, 1)).double()
    target[:, 1] = 0  # a class that is absent
    target[:, 2] = 1  # and one that is everywhere
    save_file({"logits": logits.to(torch.float32), "target": target.to(torch.float32)}, folder / "batch.safetensors")

    L = smp.losses
    mode = "multilabel"
    references = {
        "bce": bce(),
        "bce-weights": bce(pos_weight=[1, 2, 3, 4, 5, 6], class_weight=[6, 5, 4, 3, 2, 1]),
        "bce-smooth": L.SoftBCEWithLogitsLoss(smooth_factor=0.1),
        "bce-smooth-weights": L.SoftBCEWithLogitsLoss(smooth_factor=0.1, pos_weight=by_class([3, 1, 2, 2, 1, 3])),
        "dice": L.DiceLoss(mode),
        "dice-smooth": L.DiceLoss(mode, smooth=1.0),
        "dice-log": L.DiceLoss(mode, log_loss=True, smooth=1.0),
        "jaccard": L.JaccardLoss(mode),
        "jaccard-log": L.JaccardLoss(mode, log_loss=True),
        "focal": L.FocalLoss(mode),
        "focal-alpha": L.FocalLoss(mode, gamma=1.5, alpha=0.25),
        "lovasz": lovasz_by_class,
        "lovasz-image": L.LovaszLoss(mode, per_image=True),
        "lovasz-batch": L.LovaszLoss(mode),
        "tversky": L.TverskyLoss(mode, alpha=0.3, beta=0.7),
        "tversky-by-class": tversky([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]),
        "focal-tversky": tversky([0.3] * 6, [0.7] * 6, power=0.75, smooth=1.0),
        "generalised-dice": GeneralizedDiceLoss(sigmoid=True),
        "mix": lambda x, t: 0.3 * bce()(x, t) + 0.4 * L.DiceLoss(mode)(x, t) + 0.3 * L.LovaszLoss(mode)(x, t),
    }
    out = {}
    for name in json.loads((folder / "cases.json").read_text()):
        x = logits.clone().requires_grad_(True)
        value = references[name](x, target.clone())
        value.backward()
        out[f"{name}.value"] = value.detach().reshape(1)
        out[f"{name}.grad"] = x.grad
    save_file(out, folder / "reference.safetensors")


main()
