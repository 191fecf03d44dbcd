"""References for models that segmentation_models_pytorch does not have in this form: for each case of cases.json in FOLDER,
writes the results in double precision of an independent implementation from the paper, or of
dynamic_network_architectures.

usage: structures.py FOLDER SEED

A case is a model's configuration with `name`, `batch`, `height`, `width` and `draw`, the random seed of a training step.
Files per case NAME:
- NAME.weights.safetensors: weights
- NAME.once.safetensors: for models with shared tensors, the weights with one name per tensor
- NAME.io.safetensors: x, metadata; every output in evaluation and training mode; gradients of the sum of the outputs'
  mean squares
- NAME.json: names of parameters and state dict in order, names of the gradients
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from metadata_gate import Metadata
from multi_scale_attention import MultiScaleAttention
from point_rend import PointHead
from safetensors.torch import save_file, save_model
from torch import nn
from torch.nn import functional as F
from unet3plus import Unet3Plus

SMP = {"fpn": smp.FPN, "unet": smp.Unet, "deeplabv3": smp.DeepLabV3, "pspnet": smp.PSPNet, "segformer": smp.Segformer}
NNUNET = {
    "nnunet": (PlainConvUNet, 2, lambda stage: 2),
    "nnunet-resenc": (ResidualEncoderUNet, 1, lambda stage: [1, 3, 4, 6][min(stage, 3)]),
}


class NnUnet(nn.Module):
    """nnU-Net's network as configured in its plans for 2D images."""

    def __new__(cls, case):
        size = {"stages": 8, "features": 32, "max-features": 512, **case.get("nnunet", {})}
        stages = size["stages"]
        network, convolutions, blocks = NNUNET[case["architecture"]]
        return network(
            case["in-channels"],
            stages,
            [min(size["features"] * 2**s, size["max-features"]) for s in range(stages)],
            nn.Conv2d,
            3,
            [1] + [2] * (stages - 1),
            [blocks(s) for s in range(stages)],
            case["classes"],
            convolutions,
            True,
            nn.InstanceNorm2d,
            {"eps": 1e-5, "affine": True},
            None,
            None,
            nn.LeakyReLU,
            {"inplace": True},
            deep_supervision=True,
        )


class Whole(nn.Module):
    """Encoder, decoder and head of the reference, with the optional parts of a configuration."""

    def __init__(self, case):
        super().__init__()
        name, channels, classes = case["encoder"], case["in-channels"], case["classes"]
        if case["architecture"] == "unet3plus":
            self.encoder = smp.encoders.get_encoder(name, in_channels=channels, depth=case["depth"], weights=None)
            self.decoder = Unet3Plus(self.encoder.out_channels, classes, case.get("deep-supervision", False))
            convolution = nn.Conv2d(self.decoder.out, classes, 3, padding=1)
            self.segmentation_head = nn.Sequential(convolution)
        else:
            model = SMP[case["architecture"]](name, encoder_weights=None, in_channels=channels, classes=classes)
            self.encoder, self.decoder = model.encoder, model.decoder
            self.segmentation_head = nn.Sequential(model.segmentation_head[0])
        self.parts = {}
        for key in ("metadata", "multi-scale-attention", "point-rend"):
            if case.get(key):
                self.parts[key] = case[key]
        if "metadata" in self.parts:
            self.metadata = Metadata(case["metadata"]["channels"], self.encoder.out_channels[-1])
        if "multi-scale-attention" in self.parts:
            width = self.segmentation_head[0].in_channels
            self.multi_scale_attention = MultiScaleAttention(width, case["multi-scale-attention"]["groups"])
        if "point-rend" in self.parts:
            self.point_head = PointHead(case["point-rend"], self.encoder.out_channels[2], classes)
        self.mode = case.get("upsampling-mode", "bilinear")
        self.draw = case["draw"]

    def forward(self, x, table):
        features = list(self.encoder(x))
        if "metadata" in self.parts:
            features[-1] = self.metadata(features[-1], table)
        outputs = {}
        decoded = self.decoder(features)
        if isinstance(decoded, tuple):
            decoded, auxiliary = decoded
            if self.training:
                outputs = {f"auxiliary.{i}": a for i, a in enumerate(auxiliary)}
        if "multi-scale-attention" in self.parts:
            decoded = self.multi_scale_attention(decoded)
        coarse = self.segmentation_head(decoded)
        size = x.shape[2:]
        if "point-rend" not in self.parts:
            corners = None if self.mode == "nearest" else True
            outputs["logits"] = F.interpolate(coarse, size=size, mode=self.mode, align_corners=corners)
        elif self.training:
            outputs["logits"] = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
            torch.manual_seed(self.draw)
            points = self.point_head.train_points(coarse)
            outputs["points.coordinates"] = points
            outputs["points.logits"] = self.point_head.at(coarse, features[2], points)
        else:
            outputs["logits"] = self.point_head.render(coarse, features[2], *size)
        return outputs


def outputs_of(model, x, table):
    if isinstance(model, Whole):
        return model(x, table)
    logits, *auxiliary = model(x)
    outputs = {"logits": logits}
    if model.training:
        outputs |= {f"auxiliary.{i}": a for i, a in enumerate(auxiliary)}
    return outputs


def randomise(model):
    """Sets every tensor to random values instead of trivial initial values; switches off randomness."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 and name.endswith("weight"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim < 2 and tensor.is_floating_point():
            tensor.normal_(0, 0.3)
    for name, tensor in model.named_parameters():
        if name.startswith("metadata.") and tensor.ndim == 2:
            tensor.normal_(0, 0.5)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
        if hasattr(module, "_drop_connect_rate"):
            module._drop_connect_rate = 0.0


def run(case, folder):
    name = case["name"]
    model = NnUnet(case) if case["architecture"] in NNUNET else Whole(case)
    with torch.no_grad():
        randomise(model)
    state = model.state_dict()
    save_file({k: v.clone(memory_format=torch.contiguous_format) for k, v in state.items()}, folder / f"{name}.weights.safetensors")
    if len(state) > len(list(model.named_parameters())) and case["architecture"] in NNUNET:
        save_model(model, str(folder / f"{name}.once.safetensors"))

    x = torch.randn(case["batch"], case["in-channels"], case["height"], case["width"])
    table = torch.tensor([[61.0, 0.0, 158.0, float("nan")], [float("nan"), 1.0, 1750.0, 80.0]])[: case["batch"]]
    out = {"x": x, "metadata": table}
    model = model.double()
    precise = x.double().requires_grad_(True)
    # Evaluation first: a training step changes the running statistics.
    with torch.no_grad():
        for key, value in outputs_of(model.eval(), precise, table.double()).items():
            out["eval." + key] = value
    outputs = outputs_of(model.train(), precise, table.double())
    sum(value.square().mean() for key, value in outputs.items() if key != "points.coordinates").backward()
    out |= {"train." + key: value.detach() for key, value in outputs.items()}
    out["grad.x"] = precise.grad
    used = [(n, p) for n, p in model.named_parameters() if p.grad is not None]
    added = [u for u in used if not u[0].startswith(("encoder.", "decoder."))]
    chosen = dict(added + [u for u in used if u[1].ndim >= 2][:: max(1, len(used) // 8)] + used[-1:])
    out |= {"grad." + n: p.grad for n, p in chosen.items()}
    save_file({k: v.contiguous() for k, v in out.items()}, folder / f"{name}.io.safetensors")
    facts = {
        "parameters": [n for n, _ in model.named_parameters()],
        "state": list(state),
        "count": sum(p.numel() for p in model.parameters()),
        "grads": list(chosen),
    }
    (folder / f"{name}.json").write_text(json.dumps(facts))


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(2)
    for case in json.loads((folder / "cases.json").read_text()):
        # The training step of an earlier case has used random numbers.
        torch.manual_seed(seed)
        run(case, folder)


main()
