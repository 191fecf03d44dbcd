"""A module that `carpus models export` wrote as ONNX.

usage: python torchscript_to_onnx.py M.pt M.onnx SHAPE [METADATA_SHAPE]     (as the export printed them: 1x3x512x512 1x4)

Needs torch and onnx. The module was recorded at one size, so the ONNX file takes that size alone. With onnxruntime
installed, both are run on random images, and a file whose logits differ from the module's is not written.
"""

import argparse
import os
import sys
import warnings

import torch
from torch.onnx import symbolic_helper


OPSET = 17
# Of the largest logit: what rounding in single precision leaves, with room.
TOLERANCE = 1e-3


def adaptive_average(g, x, output_size):
    """Means over a grid of cells, `[B, C, H, W]` to `[B, C, rows, columns]`, for which ONNX has no operator: the image
    between two matrices, that of rows `[rows, H]` and that of columns `[W, columns]`, each row (column) of which holds
    1 / n at the n pixels of its cell. torch.onnx itself has this for sizes alone that the grid divides."""
    rows, columns = (int(n) for n in symbolic_helper._maybe_get_const(output_size, "is"))
    if rows == columns == 1:
        return g.op("GlobalAveragePool", x)

    def whole(values):
        return g.op("Constant", value_t=torch.tensor(values, dtype=torch.int64))

    def means(axis, cells):
        pixels = g.op("Gather", g.op("Shape", x), whole(axis), axis_i=0)
        pixel = g.op("Range", whole(0), pixels, whole(1))
        cell = torch.arange(cells)[:, None].tolist()
        # PyTorch's bounds of cell i of n over H pixels: from floor(i H / n) to ceil((i + 1) H / n).
        start = g.op("Div", g.op("Mul", whole(cell), pixels), whole(cells))
        beyond = g.op("Mul", g.op("Add", whole(cell), whole(1)), pixels)
        end = g.op("Div", g.op("Add", beyond, whole(cells - 1)), whole(cells))
        inside = g.op("And", g.op("GreaterOrEqual", pixel, start), g.op("Less", pixel, end))
        inside, number = (g.op("Cast", n, to_i=1) for n in (inside, g.op("Sub", end, start)))
        return g.op("Div", inside, number)

    return g.op("MatMul", g.op("MatMul", means(2, rows), x), g.op("Transpose", means(3, columns), perm_i=[1, 0]))


def difference(module, onnx, inputs):
    """Of logits by ONNX from those by the module, relative to the largest logit, and of those from what the module says of
    images a millionth brighter: an untrained network of many layers makes much of rounding. None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    inputs = {name: torch.randn_like(x) for name, x in inputs.items()}
    with torch.no_grad():
        wanted = module(*inputs.values())
        nudged = module(inputs["images"] * (1 + 1e-6), *list(inputs.values())[1:])
    found = torch.from_numpy(session.run(None, {name: x.numpy() for name, x in inputs.items()})[0])
    return [((other - wanted).abs().max() / wanted.abs().max()).item() for other in (found, nudged)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("shape", help="of the images, joined by x")
    parser.add_argument("metadata", nargs="?", help="shape of the metadata, for a model that takes them")
    args = parser.parse_args()
    module = torch.jit.load(args.input, map_location="cpu").eval()
    shapes = {"images": args.shape, "metadata": args.metadata}
    inputs = {name: torch.zeros([int(n) for n in shape.split("x")]) for name, shape in shapes.items() if shape}
    torch.onnx.register_custom_op_symbolic("aten::adaptive_avg_pool2d", adaptive_average, OPSET)
    part = f"{args.output}.part"
    try:
        with warnings.catch_warnings():
            # The exporter for TorchScript modules is the older of torch's two; the newer one does not take them.
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(module, tuple(inputs.values()), part, dynamo=False, opset_version=OPSET,
                              input_names=list(inputs), output_names=["logits"])
        compared = difference(module, part, inputs)
        if compared and not compared[0] <= max(TOLERANCE, compared[1]):
            sys.exit(f"{args.output}: not written: its logits differ from the module's by {compared[0]:.1e} of the largest")
        os.replace(part, args.output)
    finally:
        if os.path.exists(part):
            os.remove(part)
    if compared:
        said = f"they differ from the module's by {compared[0]:.1e} of the largest"
    else:
        said = "not compared with the module's: onnxruntime is not installed"
    print(f"{' and '.join(f'{name} {list(x.shape)}' for name, x in inputs.items())} to logits in {args.output}; {said}")


main()
