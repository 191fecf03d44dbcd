"""Reference models: for each case of cases.json in FOLDER, writes what segmentation_models_pytorch computes.

usage: models.py FOLDER SEED

Per case NAME: NAME.weights.safetensors (random weights, random running statistics), NAME.io.safetensors (input x,
logits in both modes with dropout off, buffers after a training step, and, from the same weights in double precision,
logits in training and the gradients of their mean square) and
NAME.json (names of parameters and of the state dict in order, number of parameters, names of the gradients).
"""

import copy
import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

ARCHITECTURES = {
    "fpn": smp.FPN,
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "pan": smp.PAN,
    "linknet": smp.Linknet,
    "pspnet": smp.PSPNet,
    "manet": smp.MAnet,
    "upernet": smp.UPerNet,
    "segformer": smp.Segformer,
}


def build(case):
    options = {}
    if case.get("depth", 5) != 5:
        options["encoder_depth"] = case["depth"]
    if case["architecture"] == "pspnet":
        # Its own default is depth 3 and eightfold upsampling; both go together.
        options["encoder_depth"] = case["depth"]
        options["upsampling"] = 2 ** case["depth"]
    if case.get("attention"):
        options["decoder_attention_type"] = case["attention"]
    # The pyramids of convolutions give one width a stage: the reference wants them cut to the depth.
    if case["architecture"] in ("unet", "unetplusplus", "manet") and "encoder_depth" in options:
        options["decoder_channels"] = [256, 128, 64, 32, 16][: case["depth"]]
    return ARCHITECTURES[case["architecture"]](
        case["encoder"],
        encoder_weights=None,
        in_channels=case["in_channels"],
        classes=case["classes"],
        **options,
    )


def without_chance(model):
    """Everything that draws random numbers in training is switched off."""
    for module in model.modules():
        if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d)):
            module.p = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
        if hasattr(module, "_drop_connect_rate"):
            module._drop_connect_rate = 0.0


def randomise(model):
    """Norms and biases away from their trivial start."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif tensor.ndim == 1 and name.endswith("weight"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.normal_(0, 0.1)


def run(case, folder):
    model = build(case)
    with torch.no_grad():
        randomise(model)
    without_chance(model)
    name = case["name"]
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / f"{name}.weights.safetensors")

    x = torch.randn(case["batch"], case["in_channels"], case["height"], case["width"])
    out = {"x": x}
    # A ReLU that rounding turns the other way moves a gradient by percents, in the reference too: only double
    # precision tells whether two models are the same function.
    exact = copy.deepcopy(model).double().train()
    model.eval()
    with torch.no_grad():
        out["eval"] = model(x)
        model.train()
        out["train"] = model(x)
    precise = x.double().requires_grad_(True)
    logits = exact(precise)
    logits.square().mean().backward()
    out["exact"] = logits.detach()
    out["grad.x"] = precise.grad
    used = [(n, p) for n, p in exact.named_parameters() if p.grad is not None and p.ndim >= 2]
    chosen = [used[0], used[len(used) // 2], used[-1]]
    for n, p in chosen:
        out["grad." + n] = p.grad
    for n, b in model.named_buffers():
        if "running_" in n or n.endswith("num_batches_tracked"):
            out["after." + n] = b
    save_file({k: v.contiguous() for k, v in out.items()}, folder / f"{name}.io.safetensors")
    facts = {
        "parameters": [n for n, _ in model.named_parameters()],
        "state": list(model.state_dict()),
        "count": sum(p.numel() for p in model.parameters()),
        "grads": [n for n, _ in chosen],
    }
    (folder / f"{name}.json").write_text(json.dumps(facts))


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    for case in json.loads((folder / "cases.json").read_text()):
        run(case, folder)


if __name__ == "__main__":
    main()
