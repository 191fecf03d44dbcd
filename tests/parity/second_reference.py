"""Writes weights, inputs and results of transformers' models for each case of cases.json in FOLDER.

usage: second_reference.py FOLDER SEED

Files per case NAME:
- NAME.initial.safetensors: initial weights, with the names of the model in memory
- NAME.stored.safetensors: random weights, with the names of its files
- NAME.live.safetensors: the same weights, with the names in memory
- NAME.io.safetensors: input x, logits at its size in evaluation and training mode without dropout; with the same weights
  in double precision, logits in training mode, logits of the auxiliary head if there is one, and the gradient of their
  mean squares with respect to x
- NAME.grads.safetensors: the gradient for every tensor in memory, 0 for tensors without a gradient
"""

import copy
import json
import sys
from pathlib import Path

import torch
import transformers
from models import randomise, without_randomness
from safetensors.torch import save_file
from torch.nn.functional import interpolate

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

MIT = {
    "mit_b0": ([32, 64, 160, 256], [2, 2, 2, 2], 256),
    "mit_b1": ([64, 128, 320, 512], [2, 2, 2, 2], 256),
    "mit_b2": ([64, 128, 320, 512], [3, 4, 6, 3], 768),
    "mit_b3": ([64, 128, 320, 512], [3, 4, 18, 3], 768),
    "mit_b4": ([64, 128, 320, 512], [3, 8, 27, 3], 768),
    "mit_b5": ([64, 128, 320, 512], [3, 6, 40, 3], 768),
}
SWIN = {
    "tu-swin_tiny_patch4_window7_224": (96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "tu-swin_small_patch4_window7_224": (96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "tu-swin_base_patch4_window7_224": (128, [2, 2, 18, 2], [4, 8, 16, 32]),
}
CONVNEXT = {
    "tu-convnext_tiny": ([96, 192, 384, 768], [3, 3, 9, 3]),
    "tu-convnext_small": ([96, 192, 384, 768], [3, 3, 27, 3]),
    "tu-convnext_base": ([128, 256, 512, 1024], [3, 3, 27, 3]),
    "tu-convnextv2_tiny": ([96, 192, 384, 768], [3, 3, 9, 3]),
    "tu-convnextv2_base": ([128, 256, 512, 1024], [3, 3, 27, 3]),
    "tu-convnextv2_large": ([192, 384, 768, 1536], [3, 3, 27, 3]),
}
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def build(case):
    encoder, channels, labels = case["encoder"], case["in_channels"], case["classes"]
    if encoder in MIT:
        widths, depths, decoder = MIT[encoder]
        config = transformers.SegformerConfig(
            num_channels=channels,
            hidden_sizes=widths,
            depths=depths,
            decoder_hidden_size=decoder,
            num_labels=labels,
        )
        return transformers.SegformerForSemanticSegmentation(config)
    if encoder in SWIN:
        width, depths, heads = SWIN[encoder]
        backbone = transformers.SwinConfig(
            num_channels=channels, embed_dim=width, depths=depths, num_heads=heads, out_features=STAGES
        )
    else:
        widths, depths = CONVNEXT[encoder]
        version = transformers.ConvNextV2Config if "v2" in encoder else transformers.ConvNextConfig
        backbone = version(
            num_channels=channels, hidden_sizes=widths, depths=depths, out_features=STAGES
        )
    return transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(backbone_config=backbone, num_labels=labels)
    )


def logits(model, x):
    """Logits at the size of x, as the model computes them for its loss."""
    return interpolate(model(x).logits, size=x.shape[2:], mode="bilinear", align_corners=False)


def auxiliary(model, x):
    """Logits, and the logits of the auxiliary head, which the model passes only to its loss."""
    kept = []
    handle = model.auxiliary_head.register_forward_hook(lambda module, given, gives: kept.append(gives))
    main = logits(model, x)
    handle.remove()
    return main, interpolate(kept[0], size=x.shape[2:], mode="bilinear", align_corners=False)


def run(case, folder):
    model = build(case)
    name = case["name"]
    save_file(model.state_dict(), folder / f"{name}.initial.safetensors")
    with torch.no_grad():
        randomise(model)
        for key, tensor in model.state_dict().items():
            if ".grn." in key or key.endswith("layer_scale_parameter"):
                tensor.normal_(0, 0.5)
    without_randomness(model)
    model.save_pretrained(folder / name)
    (folder / name / "model.safetensors").rename(folder / f"{name}.stored.safetensors")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / f"{name}.live.safetensors")

    x = torch.randn(case["batch"], case["in_channels"], case["height"], case["width"])
    out = {"x": x}
    exact = copy.deepcopy(model).double().train()
    with torch.no_grad():
        out["eval"] = logits(model.eval(), x)
        out["train"] = logits(model.train(), x)
    precise = x.double().requires_grad_(True)
    if getattr(exact, "auxiliary_head", None) is None:
        out["exact"] = logits(exact, precise)
        loss = out["exact"].square().mean()
    else:
        out["exact"], out["auxiliary"] = auxiliary(exact, precise)
        loss = out["exact"].square().mean() + out["auxiliary"].square().mean()
    loss.backward()
    out["grad.x"] = precise.grad
    save_file({k: v.detach().contiguous() for k, v in out.items()}, folder / f"{name}.io.safetensors")
    gradients = {n: torch.zeros_like(t) for n, t in exact.state_dict().items()}
    gradients.update((n, p.grad) for n, p in exact.named_parameters() if p.grad is not None)
    save_file({k: v.contiguous() for k, v in gradients.items()}, folder / f"{name}.grads.safetensors")


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    for case in json.loads((folder / "cases.json").read_text()):
        run(case, folder)


if __name__ == "__main__":
    main()
