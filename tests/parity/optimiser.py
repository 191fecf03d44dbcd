"""Random weights, gradients and the weights after steps of PyTorch's optimisers, for comparison.

Usage: optimiser.py OUT.safetensors SEED

For each case: CASE.start, CASE.end [7, 5], CASE.gradients [STEPS, 7, 5]; the learning rate at step i is 0.01 * (i + 1) / STEPS.
"""
import sys

import torch
from safetensors.torch import save_file


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", line by line."""

    def __init__(self, params, lr, weight_decay, betas):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, betas=betas))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for theta in group["params"]:
                m = self.state[theta].setdefault("m", torch.zeros_like(theta))
                c = beta1 * m + (1 - beta1) * theta.grad
                theta -= group["lr"] * (torch.sign(c) + group["weight_decay"] * theta)
                self.state[theta]["m"] = beta2 * m + (1 - beta2) * theta.grad


torch.manual_seed(int(sys.argv[2]))
STEPS = 25
cases = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.03, betas=(0.85, 0.99), eps=1e-7),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.03),
    "plain-sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8),
    "no-momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.0, weight_decay=0.03),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01, weight_decay=0.03, betas=(0.85, 0.95), eps=1e-7,
                                         decoupled_weight_decay=True),
    "lion": lambda p: Lion(p, lr=0.01, weight_decay=0.3, betas=(0.85, 0.99)),
    "clipped": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8),
}
out = {}
for name, make in cases.items():
    weight = torch.nn.Parameter(torch.randn(7, 5))
    gradients = torch.randn(STEPS, 7, 5)
    out[f"{name}.start"] = weight.detach().clone()
    out[f"{name}.gradients"] = gradients
    optimiser = make([weight])
    for i in range(STEPS):
        optimiser.param_groups[0]["lr"] = 0.01 * (i + 1) / STEPS
        weight.grad = gradients[i].clone()
        if name == "clipped":
            torch.nn.utils.clip_grad_norm_([weight], 2.0)
        optimiser.step()
    out[f"{name}.end"] = weight.detach().clone()
save_file(out, sys.argv[1])
