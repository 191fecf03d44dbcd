"""The ramp-up and the consistency loss of the mean teacher, in double precision.

usage: mean_teacher.py FOLDER SEED

Writes FOLDER/reference.safetensors: epochs, lengths of the ramp-up and the weights there; logits of student and teacher
(in single precision), the mean squared difference of their probabilities, and its gradient for the student.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file


def sigmoid_rampup(current, length):
    """Laine and Aila, 2017, as in the authors' code of the mean teacher."""
    if length == 0:
        return 1.0
    phase = 1.0 - np.clip(current, 0.0, length) / length
    return float(np.exp(-5.0 * phase * phase))


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(seed)
    epochs = torch.rand(50, dtype=torch.float64) * 12
    lengths = torch.cat([torch.zeros(5, dtype=torch.float64), torch.rand(45, dtype=torch.float64) * 10])
    weights = torch.tensor([sigmoid_rampup(e, n) for e, n in zip(epochs.tolist(), lengths.tolist())], dtype=torch.float64)
    student, teacher = (torch.randn(2, 5, 9, 11) * 3 for _ in range(2))
    logits = student.double().requires_grad_(True)
    loss = F.mse_loss(torch.sigmoid(logits), torch.sigmoid(teacher.double()).detach())
    loss.backward()
    tensors = {"epochs": epochs, "lengths": lengths, "weights": weights, "student": student, "teacher": teacher}
    tensors |= {"loss": loss.detach().reshape(1), "gradient": logits.grad}
    save_file(tensors, folder / "reference.safetensors")


main()
