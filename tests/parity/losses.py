"""Reference losses, computed in double precision by the libraries themselves.

usage: losses.py FOLDER SEED

Writes FOLDER/batch.safetensors (logits, target, pixel weights; points and their logits). For each case of cases.json,
writes to FOLDER/reference.safetensors the value (NAME.value), the magnitude that the rounding error is relative to
(NAME.scale) and the gradient (NAME.grad).
"""

import json
import math
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from monai.losses import BoundaryLoss, DiceLoss, FocalLoss, GeneralizedDiceLoss, TverskyLoss
from safetensors.torch import save_file
from scipy.ndimage import distance_transform_edt

# The libraries convert to single precision internally; their rounding is not tested here.
torch.Tensor.float = torch.Tensor.double


def by_class(values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def signed(mask):
    """Kervadec's map of one class: positive outside, 0 on the outermost pixels, negative inside; 0 without an outline."""
    mask = mask.numpy() > 0.5
    if not mask.any() or mask.all():
        return np.zeros(mask.shape)
    return distance_transform_edt(~mask) - np.where(mask, distance_transform_edt(mask) - 1, 0)


def planes(target, of):
    maps = [[of(plane) for plane in image] for image in target]
    return torch.from_numpy(np.array(maps, dtype=np.float64))


def boundary(band):
    return lambda x, t: (torch.sigmoid(x) * planes(t, signed).clamp(-band, band)).mean()


def outline(factor, sigma):
    """Weights around each class's own outline."""

    def weight(mask):
        if not mask.any() or mask.all():
            return np.ones(mask.shape)
        return 1 + factor * np.exp(-(signed(mask) ** 2) / (2 * sigma**2))

    return lambda t: planes(t, weight)


def gaps(factor, sigma):
    """U-Net's weights from the distances to the nearest and second nearest object; only masks with an outline count."""

    def weight(image):
        masks = [m for m in image.numpy() > 0.5 if m.any() and not m.all()]
        distances = np.sort([distance_transform_edt(~m) for m in masks], axis=0)
        return 1 + factor * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))

    return lambda t: torch.from_numpy(np.stack([weight(image) for image in t]))[:, None]


def bce(pos_weight=None, class_weight=None, pixels=None):
    def weight(t):
        weight = 1 if class_weight is None else by_class(class_weight)
        return weight if pixels is None else weight * pixels(t)

    return lambda x, t: F.binary_cross_entropy_with_logits(
        x,
        t,
        weight=None if class_weight is None and pixels is None else weight(t),
        pos_weight=None if pos_weight is None else by_class(pos_weight),
    )


def tversky(alpha, beta, power=1.0, smooth=0.0):
    """The papers' formula per class over the batch; absent classes count as 0 in the mean."""

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


def of_present(loss):
    """A MONAI loss per class over the batch; absent classes count as 0 in the mean."""
    return lambda x, t: (loss(x, t).flatten() * (t.sum((0, 2, 3)) > 0)).mean()


def point_loss(logits, coordinates, target):
    """PointRend's loss: cross entropy with the target sampled as in detectron2's point_sample (nearest)."""
    grid = 2 * coordinates.unsqueeze(2) - 1
    labels = F.grid_sample(target, grid, mode="nearest", align_corners=False).squeeze(3)
    return F.binary_cross_entropy_with_logits(logits, labels)


def lovasz_by_class(x, t, weights=None):
    loss = smp.losses.LovaszLoss("binary", per_image=False)
    weights = weights or [1.0] * x.shape[1]
    parts = [weights[c] * loss(x[b, c], t[b, c]) for b in range(x.shape[0]) for c in range(x.shape[1])]
    return torch.stack(parts).mean()


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    b, c, h, w = 2, 6, 37, 41
    # All hinge errors differ and are exact in single precision, so that the sorted order is unique.
    count = b * c * h * w
    step = 2.0**-9
    logits = ((torch.randperm(count) - count // 2).double() + 0.25) * step
    logits = logits.view(b, c, h, w)
    target = (torch.rand(b, c, h, w) < torch.rand(1, c, 1, 1)).double()
    target[:, 1] = 0  # an absent class
    target[:, 2] = 1  # a class that covers the whole image
    target[:, 3] = 0  # two classes with one connected region each
    target[:, 3, 5:30, 4:19] = 1
    target[:, 4] = ((torch.arange(h)[:, None] - 20) ** 2 + (torch.arange(w) - 27) ** 2 < 90).double()
    weights = torch.rand(b, h, w).to(torch.float32) * 3
    # Coordinates well inside pixels: on a border between two pixels, rounding would decide.
    n = 50
    at = lambda size: (torch.randint(0, size, (b, n)) + 0.05 + 0.9 * torch.rand(b, n, dtype=torch.float64)) / size
    points = torch.stack([at(w), at(h)], 2).to(torch.float32)
    point_logits = torch.randn(b, c, n)
    batch = {"logits": logits, "target": target, "weights": weights, "points": points, "point_logits": point_logits}
    save_file({name: x.to(torch.float32).contiguous() for name, x in batch.items()}, folder / "batch.safetensors")
    weights = weights.double()

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
        "bce-pixels": bce(class_weight=[6, 5, 4, 3, 2, 1], pixels=lambda t: weights[:, None]),
        "bce-outline": bce(pos_weight=[2] * 6, pixels=outline(3.0, 2.5)),
        "bce-gaps": bce(pixels=gaps(10.0, 5.0)),
        "dice-monai": of_present(DiceLoss(sigmoid=True, batch=True, reduction="none", smooth_nr=2, smooth_dr=2)),
        "jaccard-monai": of_present(
            DiceLoss(sigmoid=True, batch=True, reduction="none", jaccard=True, smooth_nr=0, smooth_dr=0)
        ),
        "tversky-monai": of_present(
            TverskyLoss(sigmoid=True, batch=True, reduction="none", alpha=0.2, beta=0.9, smooth_nr=1, smooth_dr=1)
        ),
        "focal-monai": FocalLoss(gamma=2.0),
        "focal-alpha-monai": FocalLoss(gamma=0.7, alpha=0.3),
        "dice-class-weights-monai": of_present(
            DiceLoss(
                sigmoid=True, batch=True, reduction="none", smooth_nr=2, smooth_dr=2, weight=[6.0, 5.0, 4.0, 0.0, 2.0, 1.0]
            )
        ),
        "focal-class-weights-monai": FocalLoss(gamma=2.0, weight=[6.0, 5.0, 4.0, 0.0, 2.0, 1.0]),
        "lovasz-class-weights": lambda x, t: lovasz_by_class(x, t, [6.0, 5.0, 4.0, 0.0, 2.0, 1.0]),
        "boundary": BoundaryLoss(sigmoid=True),
        "boundary-paper": boundary(math.inf),
        "boundary-band": boundary(3.5),
        "mix": lambda x, t: 0.3 * bce()(x, t) + 0.4 * L.DiceLoss(mode)(x, t) + 0.3 * L.LovaszLoss(mode)(x, t),
    }
    out = {}
    for name in json.loads((folder / "cases.json").read_text()):
        x = logits.clone().requires_grad_(True)
        value = references[name](x, target.clone())
        value.backward()
        out[f"{name}.value"] = value.detach().reshape(1)
        out[f"{name}.grad"] = x.grad
        # The boundary loss is a sum with both signs; its rounding error is relative to the sum of absolute values.
        parts = (torch.sigmoid(logits) * planes(target, signed)).abs().mean() if "boundary" in name else value.detach()
        out[f"{name}.scale"] = parts.clone().reshape(1)
    x = point_logits.double().requires_grad_(True)
    value = point_loss(x, points.double(), target)
    value.backward()
    out["points.value"], out["points.grad"] = value.detach().reshape(1), x.grad
    save_file(out, folder / "reference.safetensors")


main()
