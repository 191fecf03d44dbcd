"""Checkpoints, inputs and results of SegFormer, UPerNet and OCRNet, for each case of cases.json in FOLDER. The models are
written here from the papers, with mmsegmentation's names of weights and its details (epsilons, interpolation, order of
merged patches), so that neither mmsegmentation nor mmcv is needed.

usage: mmseg_models.py FOLDER SEED

E. Xie et al., SegFormer, NeurIPS 2021. T. Xiao et al., Unified perceptual parsing for scene understanding, ECCV 2018. Z. Liu
et al., Swin transformer, ICCV 2021; A ConvNet for the 2020s, CVPR 2022. S. Woo et al., ConvNeXt V2, CVPR 2023. J. Wang et al.,
Deep high-resolution representation learning, TPAMI 2020. Y. Yuan et al., Object-contextual representations, ECCV 2020.

Files per case NAME:
- NAME.pth: checkpoint with a state dict, an optimiser, objects of a library that is not installed, and a configuration
- NAME.io.safetensors: input x and logits at its size in evaluation (eval); in double precision in training (train), and
  there those of the auxiliary head (auxiliary)
"""

import copy
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

MIT = {
    "mit_b0": ([32, 64, 160, 256], [2, 2, 2, 2]),
    "mit_b1": ([64, 128, 320, 512], [2, 2, 2, 2]),
    "mit_b2": ([64, 128, 320, 512], [3, 4, 6, 3]),
    "mit_b3": ([64, 128, 320, 512], [3, 4, 18, 3]),
    "mit_b4": ([64, 128, 320, 512], [3, 8, 27, 3]),
    "mit_b5": ([64, 128, 320, 512], [3, 6, 40, 3]),
}
SWIN = {
    "tu-swin_tiny_patch4_window7_224": (96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "tu-swin_small_patch4_window7_224": (96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "tu-swin_base_patch4_window7_224": (128, [2, 2, 18, 2], [4, 8, 16, 32]),
}
CONVNEXT = {
    "tu-convnext_tiny": (96, [3, 3, 9, 3], False),
    "tu-convnext_small": (96, [3, 3, 27, 3], False),
    "tu-convnext_base": (128, [3, 3, 27, 3], False),
    "tu-convnextv2_tiny": (96, [3, 3, 9, 3], True),
    "tu-convnextv2_base": (128, [3, 3, 27, 3], True),
    "tu-convnextv2_large": (192, [3, 3, 27, 3], True),
}
HRNET = {"tu-hrnet_w18": 18, "tu-hrnet_w32": 32, "tu-hrnet_w48": 48}


def enlarged(x, like):
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def over_channels(norm, x):
    """A layer norm over the channels of each pixel of a map."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvModule(nn.Module):
    def __init__(self, inner, outer, kernel=1):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outer)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()


# SegFormer


class EfficientAttention(nn.Module):
    """Keys and values come from a grid that is `ratio` times coarser."""

    def __init__(self, width, heads, ratio):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        if ratio > 1:
            self.sr = nn.Conv2d(width, width, ratio, ratio)
            self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, x):
        keys = over_channels(self.norm, self.sr(x)) if hasattr(self, "sr") else x
        queries, keys = (t.flatten(2).transpose(1, 2) for t in (x, keys))
        return self.attn(queries, keys, keys, need_weights=False)[0].transpose(1, 2).reshape(x.shape)


class MixBlock(nn.Module):
    def __init__(self, width, heads, ratio):
        super().__init__()
        wide = 4 * width
        self.norm1 = nn.LayerNorm(width, 1e-6)
        self.attn = EfficientAttention(width, heads, ratio)
        self.norm2 = nn.LayerNorm(width, 1e-6)
        depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        layers = [nn.Conv2d(width, wide, 1), depthwise, nn.GELU(), nn.Identity(), nn.Conv2d(wide, width, 1)]
        self.ffn = nn.ModuleDict({"layers": nn.Sequential(*layers)})

    def forward(self, x):
        x = x + self.attn(over_channels(self.norm1, x))
        return x + self.ffn["layers"](over_channels(self.norm2, x))


class MixTransformer(nn.Module):
    def __init__(self, name, channels):
        super().__init__()
        self.widths, depths = MIT[name]
        self.layers = nn.ModuleList()
        for stage, (width, depth) in enumerate(zip(self.widths, depths)):
            inner = self.widths[stage - 1] if stage else channels
            kernel, stride = (3, 2) if stage else (7, 4)
            embed = nn.ModuleDict({
                "projection": nn.Conv2d(inner, width, kernel, stride, kernel // 2),
                "norm": nn.LayerNorm(width, 1e-6),
            })
            blocks = [MixBlock(width, [1, 2, 5, 8][stage], [8, 4, 2, 1][stage]) for _ in range(depth)]
            self.layers.append(nn.ModuleList([embed, nn.ModuleList(blocks), nn.LayerNorm(width, 1e-6)]))

    def forward(self, x):
        features = []
        for embed, blocks, norm in self.layers:
            x = over_channels(embed["norm"], embed["projection"](x))
            for block in blocks:
                x = block(x)
            x = over_channels(norm, x)
            features.append(x)
        return features


class SegformerHead(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        self.conv_seg = nn.Conv2d(256, classes, 1)
        self.convs = nn.ModuleList(ConvModule(width, 256) for width in widths)
        self.fusion_conv = ConvModule(4 * 256, 256)

    def forward(self, features):
        levels = [enlarged(conv(x), features[0]) for conv, x in zip(self.convs, features)]
        return self.conv_seg(self.fusion_conv(torch.cat(levels, 1)))


# Swin transformer


class WindowAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros(169, heads))
        places = [(row, column) for row in range(7) for column in range(7)]
        index = [[13 * (r - s + 6) + (c - d + 6) for s, d in places] for r, c in places]
        self.register_buffer("relative_position_index", torch.tensor(index))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x, apart):
        """x: [windows, 49, C]; apart: [windows, 49, 49], whether two positions must not attend to each other."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5 + bias - 100.0 * apart[:, None]
        return self.proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class SwinBlock(nn.Module):
    def __init__(self, width, heads, shift):
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"w_msa": WindowAttention(width, heads)})
        self.norm2 = nn.LayerNorm(width)
        layers = nn.Sequential(nn.Sequential(nn.Linear(width, 4 * width), nn.GELU()), nn.Linear(4 * width, width))
        self.ffn = nn.ModuleDict({"layers": layers})

    def attend(self, x):
        batch, height, width, channels = x.shape
        x = F.pad(x, (0, 0, 0, -width % 7, 0, -height % 7))
        rows, columns = x.shape[1:3]
        x = x.roll((-self.shift, -self.shift), (1, 2))

        def cut(t):
            return t.unflatten(1, (rows // 7, 7)).unflatten(3, (columns // 7, 7)).transpose(2, 3).reshape(-1, 49, t.shape[-1])

        wrapped = [torch.arange(n) >= n - self.shift for n in (rows, columns)]
        region = 2 * wrapped[0][:, None].int() + wrapped[1].int()
        region = cut(region.expand(batch, -1, -1)[..., None])[..., 0]
        x = self.attn["w_msa"](cut(x), (region[:, :, None] != region[:, None, :]).to(x.dtype))
        x = x.view(batch, rows // 7, columns // 7, 7, 7, channels).transpose(2, 3).reshape(batch, rows, columns, channels)
        return x.roll((self.shift, self.shift), (1, 2))[:, :height, :width]

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.ffn["layers"](self.norm2(x))


class Merging(nn.Module):
    """The values of 2 x 2 neighbours in the order of `unfold`."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        batch, height, width, _ = x.shape
        x = F.unfold(x.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
        return self.reduction(self.norm(x)).view(batch, height // 2, width // 2, -1)


class Swin(nn.Module):
    def __init__(self, name, channels):
        super().__init__()
        width, depths, heads = SWIN[name]
        self.widths = [width * 2**stage for stage in range(4)]
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv2d(channels, width, 4, 4), "norm": nn.LayerNorm(width)})
        self.stages = nn.ModuleList()
        for stage, width in enumerate(self.widths):
            blocks = [SwinBlock(width, heads[stage], 3 * (block % 2)) for block in range(depths[stage])]
            parts = {"blocks": nn.ModuleList(blocks)} | ({"downsample": Merging(width)} if stage < 3 else {})
            self.stages.append(nn.ModuleDict(parts))
            setattr(self, f"norm{stage}", nn.LayerNorm(width))

    def forward(self, x):
        x = self.patch_embed["norm"](self.patch_embed["projection"](x).permute(0, 2, 3, 1))
        features = []
        for index, stage in enumerate(self.stages):
            for block in stage["blocks"]:
                x = block(x)
            features.append(getattr(self, f"norm{index}")(x).permute(0, 3, 1, 2))
            x = stage["downsample"](x) if index < 3 else x
        return features


# ConvNeXt


class MapNorm(nn.LayerNorm):
    def __init__(self, width):
        super().__init__(width, 1e-6)

    def forward(self, x):
        return over_channels(super().forward, x)


class ResponseNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        size = x.square().sum((1, 2), keepdim=True).sqrt()
        return self.gamma * x * size / (size.mean(-1, keepdim=True) + 1e-6) + self.beta + x


class ConvNextBlock(nn.Module):
    def __init__(self, width, second_version):
        super().__init__()
        self.depthwise_conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.pointwise_conv1 = nn.Linear(width, 4 * width)
        self.pointwise_conv2 = nn.Linear(4 * width, width)
        self.grn = ResponseNorm(4 * width) if second_version else nn.Identity()
        if not second_version:
            self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = self.norm(self.depthwise_conv(x).permute(0, 2, 3, 1))
        y = self.pointwise_conv2(self.grn(F.gelu(self.pointwise_conv1(y))))
        y = y * self.gamma if hasattr(self, "gamma") else y
        return x + y.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self, name, channels):
        super().__init__()
        width, depths, second_version = CONVNEXT[name]
        self.widths = [width * 2**stage for stage in range(4)]
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(channels, width, 4, 4), MapNorm(width))])
        self.downsample_layers.extend(
            nn.Sequential(MapNorm(w), nn.Conv2d(w, 2 * w, 2, 2)) for w in self.widths[:3])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNextBlock(w, second_version) for _ in range(depth)))
            for w, depth in zip(self.widths, depths))
        for stage, w in enumerate(self.widths):
            setattr(self, f"norm{stage}", MapNorm(w))

    def forward(self, x):
        features = []
        for index, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            features.append(getattr(self, f"norm{index}")(x))
        return features


# UPerNet


class UperHead(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        self.conv_seg = nn.Conv2d(512, classes, 1)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(cells), ConvModule(widths[-1], 512)) for cells in (1, 2, 3, 6))
        self.bottleneck = ConvModule(widths[-1] + 4 * 512, 512, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(width, 512) for width in widths[:-1])
        self.fpn_convs = nn.ModuleList(ConvModule(512, 512, 3) for _ in widths[:-1])
        self.fpn_bottleneck = ConvModule(4 * 512, 512, 3)

    def forward(self, features):
        deepest = features[-1]
        pyramid = [deepest, *(enlarged(module(deepest), deepest) for module in self.psp_modules)]
        levels = [self.bottleneck(torch.cat(pyramid, 1))]
        state = levels[0]
        for lateral, smooth, x in reversed(list(zip(self.lateral_convs, self.fpn_convs, features))):
            x = lateral(x)
            state = x + enlarged(state, x)
            levels.insert(0, smooth(state))
        return self.conv_seg(self.fpn_bottleneck(torch.cat([enlarged(level, levels[0]) for level in levels], 1)))


class FcnHead(nn.Module):
    def __init__(self, inner, outer, classes, kernel):
        super().__init__()
        self.conv_seg = nn.Conv2d(outer, classes, 1)
        self.convs = nn.Sequential(ConvModule(inner, outer, kernel))

    def forward(self, x):
        return self.conv_seg(self.convs(x))


# HRNet and OCR


class Residual(nn.Module):
    """A basic block, or a bottleneck with four times as many output channels."""

    def __init__(self, inner, width, bottleneck):
        super().__init__()
        steps = [(inner, width, 1), (width, width, 3), (width, 4 * width, 1)] if bottleneck else [(width, width, 3)] * 2
        self.steps = len(steps)
        for index, (i, o, kernel) in enumerate(steps, 1):
            setattr(self, f"conv{index}", nn.Conv2d(i, o, kernel, padding=kernel // 2, bias=False))
            setattr(self, f"bn{index}", nn.BatchNorm2d(o))
        if bottleneck and inner != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(inner, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = x
        for index in range(1, self.steps + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            y = y.relu() if index < self.steps else y
        return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()


def step(inner, outer, kernel, stride, relu=True):
    layers = [nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer)]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class Exchange(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(Residual(w, w, False) for _ in range(4))) for w in widths)

        def halvings(own, other):
            count = own - other
            return nn.Sequential(*(
                step(widths[other], widths[own if i + 1 == count else other], 3, 2, i + 1 < count) for i in range(count)))

        def layer(own, other):
            if own == other:
                return None
            return halvings(own, other) if other < own else step(widths[other], widths[own], 1, 1, False)

        places = range(len(widths))
        self.fuse_layers = nn.ModuleList(nn.ModuleList(layer(own, other) for other in places) for own in places)

    def forward(self, branches):
        outputs = [branch(x) for branch, x in zip(self.branches, branches)]
        sums = []
        for own, layers in enumerate(self.fuse_layers):
            parts = [x if layer is None else layer(x) for layer, x in zip(layers, outputs)]
            sums.append(sum(enlarged(part, outputs[own]) for part in parts).relu())
        return sums


class HrNet(nn.Module):
    def __init__(self, name, channels):
        super().__init__()
        width = HRNET[name]
        self.widths = [width, 2 * width, 4 * width, 8 * width]
        self.conv1, self.bn1 = step(channels, 64, 3, 2, False)
        self.conv2, self.bn2 = step(64, 64, 3, 2, False)
        self.layer1 = nn.Sequential(*(Residual(64 if i == 0 else 256, 64, True) for i in range(4)))
        before = [256]
        for number, modules in ((1, 1), (2, 4), (3, 3)):
            after = self.widths[: number + 1]
            new = nn.Sequential(step(before[-1], after[-1], 3, 2))
            same = [None if old == w else step(old, w, 3, 1) for old, w in zip(before, after)]
            setattr(self, f"transition{number}", nn.ModuleList([*same, new]))
            setattr(self, f"stage{number + 1}", nn.Sequential(*(Exchange(after) for _ in range(modules))))
            before = after

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer1(self.bn2(self.conv2(x)).relu())
        branches = [x]
        for number in (1, 2, 3):
            layers = getattr(self, f"transition{number}")
            sources = [*branches, branches[-1]]
            branches = [s if layer is None else layer(s) for layer, s in zip(layers, sources)]
            branches = getattr(self, f"stage{number + 1}")(branches)
        return branches


class ObjectAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.key_project = nn.Sequential(ConvModule(512, 256), ConvModule(256, 256))
        self.query_project = nn.Sequential(ConvModule(512, 256), ConvModule(256, 256))
        self.value_project = ConvModule(512, 256)
        self.out_project = ConvModule(256, 512)
        self.bottleneck = ConvModule(1024, 512)

    def forward(self, pixels, objects):
        query = self.query_project(pixels)
        key, value = self.key_project(objects)[..., 0], self.value_project(objects)[..., 0]
        weights = (torch.einsum("bchw,bck->bhwk", query, key) / 16).softmax(-1)
        context = self.out_project(torch.einsum("bhwk,bck->bchw", weights, value))
        return self.bottleneck(torch.cat([context, pixels], 1))


class OcrHead(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv_seg = nn.Conv2d(512, classes, 1)
        self.object_context_block = ObjectAttention()
        self.bottleneck = ConvModule(width, 512, 3)

    def forward(self, x, regions):
        x = self.bottleneck(x)
        weights = regions.flatten(2).softmax(-1)
        objects = torch.einsum("bkn,bcn->bck", weights, x.flatten(2))[..., None]
        return self.conv_seg(self.object_context_block(x, objects))


class Segmentor(nn.Module):
    """Logits at the size of the image, and those of the auxiliary head if there is one (for OCR, at a quarter of it)."""

    def __init__(self, case):
        super().__init__()
        name, classes = case["encoder"], case["classes"]
        kinds = ((MIT, MixTransformer), (SWIN, Swin), (CONVNEXT, ConvNext), (HRNET, HrNet))
        self.backbone = next(kind for names, kind in kinds if name in names)(name, case["in_channels"])
        widths = self.backbone.widths
        if name in MIT:
            self.decode_head = SegformerHead(widths, classes)
        elif name in HRNET:
            width = sum(widths)
            self.decode_head = nn.ModuleList([FcnHead(width, width, classes, 1), OcrHead(width, classes)])
        else:
            self.decode_head = UperHead(widths, classes)
        self.auxiliary_head = FcnHead(widths[2], 256, classes, 3) if case["auxiliary"] else None

    def forward(self, x):
        features = self.backbone(x)
        if isinstance(self.decode_head, nn.ModuleList):
            joined = torch.cat([enlarged(feature, features[0]) for feature in features], 1)
            regions = self.decode_head[0](joined)
            return enlarged(self.decode_head[1](joined, regions), x), regions
        auxiliary = None if self.auxiliary_head is None else enlarged(self.auxiliary_head(features[2]), x)
        return enlarged(self.decode_head(features), x), auxiliary


class HistoryBuffer:
    """Named as mmengine's, of which checkpoints contain many."""

    def __init__(self):
        self.history = np.linspace(0.0, 1.0, 5)
        self.statistics = {"mean": len}


CONFIGURATION = """\
model = dict(
    backbone=dict(num_heads=[
        1,
        2,
        5,
        8,
    ]),
    decode_head=dict(align_corners=ALIGNED, num_classes=29, pool_scales=(
        1,
        2,
        3,
        6,
    )),
    type='EncoderDecoder')
"""


def save(state, path, aligned):
    place = "mmengine.logging.history_buffer"
    HistoryBuffer.__module__ = place
    for module in ("mmengine", "mmengine.logging", place):
        sys.modules[module] = types.ModuleType(module)
    sys.modules[place].HistoryBuffer = HistoryBuffer
    text = CONFIGURATION.replace("ALIGNED", str(aligned)).replace("num_heads", "num_heads" if "mit" in path.name else "n")
    torch.save({
        "meta": {"cfg": text, "iter": 40, "epoch": 2, "seed": np.int64(3), "dataset_meta": {"classes": ("finger-1",)}},
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer()}},
        "state_dict": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
        "param_schedulers": [{"last_step": 40, "_buffer": HistoryBuffer()}],
    }, path)


def run(case, folder):
    from models import randomise, settle

    model = Segmentor(case)
    x = torch.randn(2, case["in_channels"], case["height"], case["width"])
    with torch.no_grad():
        randomise(model)
        settle(model, x)
    state = model.state_dict()
    save(state, folder / f"{case['name']}.pth", case["aligned"])
    out = {"x": x}
    with torch.no_grad():
        out["eval"] = model.eval()(x)[0]
        out["train"], auxiliary = copy.deepcopy(model).double().train()(x.double())
    if auxiliary is not None:
        out["auxiliary"] = auxiliary
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, folder / f"{case['name']}.io.safetensors")


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    for case in json.loads((folder / "cases.json").read_text()):
        run(case, folder)


if __name__ == "__main__":
    main()
