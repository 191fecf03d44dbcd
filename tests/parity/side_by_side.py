"""Trains FPN with EfficientNet-b0 by segmentation_models_pytorch and PyTorch, a few steps at a time on request, so that
another trainer can alternate with it on one machine.

Usage: side_by_side.py FOLDER SEED BATCH SIZE. Writes FOLDER/start.safetensors (weights) and FOLDER/batches.safetensors
(x [N, B, 3, S, S], words [N, B, S, S]) and prints `ready`. Then reads numbers of steps from standard input, and prints a
line of JSON {losses, seconds} after each.
"""
import json
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

folder, seed, batch, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
CLASSES, BATCHES = 29, 6
torch.set_num_threads(1)
torch.manual_seed(seed)
model = smp.FPN("efficientnet-b0", encoder_weights=None, classes=CLASSES, decoder_dropout=0.0).train()
model.encoder._drop_connect_rate = 0.0
save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / "start.safetensors")

# Discs that a model can learn: each class is bright at its own place, shifted a little per image.
rows = torch.arange(size).view(-1, 1).float()
columns = torch.arange(size).view(1, -1).float()
masks = torch.zeros(BATCHES, batch, CLASSES, size, size)
for i in range(BATCHES):
    for b in range(batch):
        for c in range(CLASSES):
            y, x = (c // 6 + 0.5 + 0.3 * torch.rand(1)) * size / 5, (c % 6 + 0.5 + 0.3 * torch.rand(1)) * size / 6
            masks[i, b, c] = ((rows - y) ** 2 + (columns - x) ** 2 < (size / 13) ** 2).float()
shade = torch.linspace(0.3, 1.0, CLASSES).view(1, 1, CLASSES, 1, 1)
grey = (masks * shade).amax(2, keepdim=True) + 0.05 * torch.randn(BATCHES, batch, 1, size, size)
images = grey.expand(-1, -1, 3, -1, -1).contiguous()
words = (masks.long() << torch.arange(CLASSES).view(1, 1, CLASSES, 1, 1)).sum(2).int()
save_file({"x": images, "words": words}, folder / "batches.safetensors")

bce, dice = torch.nn.BCEWithLogitsLoss(), smp.losses.DiceLoss("multilabel")
decayed = [p for p in model.parameters() if p.dim() > 1]
others = [p for p in model.parameters() if p.dim() <= 1]
groups = [{"params": decayed, "weight_decay": 1e-2}, {"params": others, "weight_decay": 0.0}]
optimiser = torch.optim.AdamW(groups, lr=1e-3, fused=True)
print("ready", flush=True)
done = 0
for line in sys.stdin:
    losses, seconds = [], []
    for _ in range(int(line)):
        started = time.perf_counter()
        x, target = images[done % BATCHES], masks[done % BATCHES]
        logits = model(x)
        loss = 0.5 * bce(logits, target) + 0.5 * dice(logits, target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
        done += 1
    print(json.dumps({"losses": losses, "seconds": seconds}), flush=True)
