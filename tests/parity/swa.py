"""Weights averaged by torch.optim.swa_utils.AveragedModel, and their batch norms by update_bn.

Usage: swa.py FOLDER SEED

Writes to FOLDER: epoch0.safetensors, epoch1.safetensors, ...: the state of a small FPN after some changes of its weights and a
pass in training mode; mean.safetensors: the state of the average before update_bn; estimated.safetensors: after it;
batches.safetensors: the batches that update_bn read, the last one smaller. Prints JSON: for each of some cases the learning rates
of SWALR, with a step after each optimiser step.
"""
import json
import random
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(seed)
draw = random.Random(seed)


def save(model, name):
    state = {key.removeprefix("module."): value for key, value in model.state_dict().items() if key != "n_averaged"}
    save_file({key: value.clone().contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")


model = smp.FPN("resnet18", encoder_weights=None, in_channels=1, classes=29, decoder_dropout=0.0)
averaged = AveragedModel(model)
for epoch in range(draw.randrange(2, 5)):
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * weight.abs().mean() * torch.randn_like(weight))
        model.train()(torch.randn(3, 1, 64, 64))
    averaged.update_parameters(model)
    save(model, f"epoch{epoch}")
save(averaged, "mean")
batches = [0.5 + 2 * torch.randn(4, 1, 64, 64) for _ in range(3)] + [torch.randn(2, 1, 64, 64)]
update_bn(batches, averaged)
save(averaged, "estimated")
save_file({f"{place}": batch for place, batch in enumerate(batches)}, folder / "batches.safetensors")

cases = []
for anneal in ("cos", "linear"):
    for steps in (0, draw.randrange(1, 5) * 3):
        start, lr = draw.uniform(0.001, 0.1), draw.uniform(0.001, 0.1)
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=start)
        scheduler = SWALR(optimiser, swa_lr=lr, anneal_epochs=steps, anneal_strategy=anneal)
        rates = []
        for _ in range(24):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
        cases.append({"anneal": anneal, "steps": steps, "start": start, "lr": lr, "rates": rates})
print(json.dumps(cases))
