"""Writes weights, inputs and results of reference models of segmentation_models_pytorch, torchvision or MONAI for each case of
cases.json in FOLDER.

usage: models.py FOLDER SEED

Files per case NAME:
- NAME.weights.safetensors: random weights, running statistics close to those of a batch
- NAME.io.safetensors: input x, logits in evaluation and training mode without dropout, buffers after a training step;
  with the same weights in double precision, logits in training mode and the gradients of their mean square; logits of
  auxiliary heads, whose mean squares are added, as train.auxiliary.N and exact.auxiliary.N
- NAME.json: names of parameters and of the state dict in order, number of parameters, names of the gradients
"""

import copy
import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
from hrnet_ocr import HrnetOcr
from monai.networks.nets import SwinUNETR
from safetensors.torch import save_file
from torchvision.models import segmentation as torchvision

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
    "hrnet-ocr": HrnetOcr,
}

# DPT needs vision transformers, which carpus does not have.
assert set(ARCHITECTURES.values()) - {HrnetOcr} == set(smp.MODEL_ARCHITECTURES_MAPPING.values()) - {smp.DPT}

# The builder, and the module and name of the first layer.
TORCHVISION = {
    "torchvision-deeplabv3": (torchvision.deeplabv3_mobilenet_v3_large, "backbone.0", "0"),
    "torchvision-lraspp": (torchvision.lraspp_mobilenet_v3_large, "backbone.0", "0"),
    "torchvision-fcn": (torchvision.fcn_resnet50, "backbone", "conv1"),
}


def build_torchvision(case):
    builder, place, name = TORCHVISION[case["architecture"]]
    options = {"aux_loss": True} if case["auxiliary"] else {}
    model = builder(weights=None, weights_backbone=None, num_classes=case["classes"], **options)
    if case["in_channels"] != 3:
        parent = model.get_submodule(place)
        old = dict(parent.named_children())[name]
        new = torch.nn.Conv2d(
            case["in_channels"], old.out_channels, old.kernel_size, old.stride, old.padding, bias=False
        )
        torch.nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
        setattr(parent, name, new)
    return model


def build(case):
    if case["architecture"] == "swin-unetr":
        return SwinUNETR(case["in_channels"], case["classes"], feature_size=case.get("feature_size", 24), spatial_dims=2)
    if case["architecture"] in TORCHVISION:
        return build_torchvision(case)
    options = {}
    if "tu-swin" in case["encoder"]:
        options["strict_img_size"] = False
    # Absent keys of a case have the reference's defaults.
    if (depth := case.get("depth")) and case["architecture"] != "hrnet-ocr":
        options["encoder_depth"] = depth
        if case["architecture"] == "fpn":
            # The reference's default is 4 at any depth, which exceeds the image if the finest feature has a stride below 4.
            options["upsampling"] = 2 ** (depth - 3)
        if case["architecture"] == "pspnet":
            options["upsampling"] = 2**depth
        # The reference needs one width per stage in use.
        if case["architecture"] in ("unet", "unetplusplus", "manet"):
            options["decoder_channels"] = [256, 128, 64, 32, 16][:depth]
    if case.get("output_stride"):
        options["encoder_output_stride"] = case["output_stride"]
    if case.get("atrous_rates"):
        options["decoder_atrous_rates"] = case["atrous_rates"]
    if case.get("attention"):
        options["decoder_attention_type"] = case["attention"]
    return ARCHITECTURES[case["architecture"]](
        case["encoder"],
        encoder_weights=None,
        in_channels=case["in_channels"],
        classes=case["classes"],
        **options,
    )


def without_randomness(model):
    """Switches off everything that draws random numbers in training."""
    for module in model.modules():
        if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d)):
            module.p = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
        if hasattr(module, "_drop_connect_rate"):
            module._drop_connect_rate = 0.0


def randomise(model):
    """Sets norms and biases to random values instead of their trivial initial values."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif name.endswith("relative_position_bias_table"):
            tensor.normal_(0, 1)
        elif tensor.ndim == 1 and name.endswith("weight"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.normal_(0, 0.1)


def settle(model, x):
    """Sets running statistics close to those of the batch `x`. With arbitrary statistics some deep networks are chaotic:
    rounding differences at the image become large differences at the logits."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    model(x)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.running_mean.add_(0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean))
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.25))
        norm.num_batches_tracked.fill_(7)


def outputs(model, x):
    """Logits by name: the logits of the model, then the logits of auxiliary heads."""
    y = model(x)
    if isinstance(y, torch.Tensor):
        return {"": y}
    logits, auxiliary = y if isinstance(y, tuple) else (y["out"], [y["aux"]] if "aux" in y else [])
    return {"": logits} | {f".auxiliary.{i}": one for i, one in enumerate(auxiliary)}


def run(case, folder):
    model = build(case)
    with torch.no_grad():
        randomise(model)
    without_randomness(model)
    x = torch.randn(case["batch"], case["in_channels"], case["height"], case["width"])
    with torch.no_grad():
        settle(model, x)
    name = case["name"]
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / f"{name}.weights.safetensors")

    out = {"x": x}
    # If rounding changes the sign at a ReLU, a gradient changes by percents, in the reference too. Only double precision
    # shows whether two models compute the same function.
    exact = copy.deepcopy(model).double().eval()
    model.eval()
    with torch.no_grad():
        out["eval"] = outputs(model, x)[""]
        out["exact_eval"] = outputs(exact, x.double())[""]
        exact.train()
        model.train()
        out |= {"train" + head: logits for head, logits in outputs(model, x).items()}
    precise = x.double().requires_grad_(True)
    logits = outputs(exact, precise)
    sum(y.square().mean() for y in logits.values()).backward()
    out |= {"exact" + head: y.detach() for head, y in logits.items()}
    out["grad.x"] = precise.grad
    used = [(n, p) for n, p in exact.named_parameters() if p.grad is not None and p.ndim >= 2]
    chosen = [used[0], used[len(used) // 2], used[-1]]
    if case["architecture"] == "hrnet-ocr":
        # All layers of the decoder, which is written here.
        chosen += [(n, p) for n, p in used[:-1] if n.startswith("decoder.")]
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
