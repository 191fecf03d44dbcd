"""HRNet with object-contextual representations, written from the equations of the paper.

Y. Yuan, X. Chen, J. Wang, Object-contextual representations for semantic segmentation, ECCV 2020. For a pixel i, an
object region k and a pixel j:

    (1)  f_k = sum_j softmax_j(m_k)[j] x_j                      representation of object k from its soft region m_k
    (2)  w_ik = softmax_k(phi(x_i) . psi(f_k) / sqrt(channels))  weight of object k for pixel i
    (3)  y_i = rho(sum_k w_ik delta(f_k))                        object-contextual representation of pixel i
    (4)  z_i = g([y_i, x_i])                                     concatenated with the pixel's own representation

phi and psi consist of two 1x1 convolutions, rho, delta and g of one, all followed by batch norm and ReLU; pixels have
512 channels, keys 256. The soft regions are the logits of an auxiliary head on the concatenated branches of timm's HRNet.
"""

from collections import OrderedDict

import timm
import torch
from torch import nn


def step(inner, outer, kernel=1, bias=False):
    return [nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=bias), nn.BatchNorm2d(outer), nn.ReLU()]


def transform(*widths):
    layers = []
    for inner, outer in zip(widths, widths[1:]):
        convolution, norm, relu = step(inner, outer)
        layers += [convolution, nn.Sequential(norm, relu)]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    def __init__(self, name, in_channels):
        super().__init__()
        self.model = timm.create_model(
            name, features_only=True, feature_location="", out_indices=(1, 2, 3, 4), in_chans=in_channels
        )


class Decoder(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv3x3_ocr = nn.Sequential(*step(width, 512, 3, bias=True))
        phi, psi, delta, rho = transform(512, 256, 256), transform(512, 256, 256), transform(512, 256), transform(256, 512)
        attention = nn.ModuleDict({"f_pixel": phi, "f_object": psi, "f_down": delta, "f_up": rho})
        g = transform(1024, 512)
        self.ocr_distri_head = nn.ModuleDict({"object_context_block": attention, "conv_bn_dropout": g})
        self.aux_head = nn.Sequential(*step(width, width, bias=True), nn.Conv2d(width, classes, 1))

    def forward(self, joined):
        m = self.aux_head(joined)
        x = self.conv3x3_ocr(joined)
        f = torch.einsum("bkj,bcj->bck", m.flatten(2).softmax(dim=2), x.flatten(2))[..., None]  # (1)
        block = self.ocr_distri_head["object_context_block"]
        phi, psi, delta = block["f_pixel"](x), block["f_object"](f)[..., 0], block["f_down"](f)[..., 0]
        w = (torch.einsum("bchw,bck->bhwk", phi, psi) / 256**0.5).softmax(dim=3)  # (2)
        y = block["f_up"](torch.einsum("bhwk,bck->bchw", w, delta))  # (3)
        return self.ocr_distri_head["conv_bn_dropout"](torch.cat([y, x], dim=1)), m  # (4)


class HrnetOcr(nn.Module):
    """Logits at the size of the image; in training also the logits of the soft regions at a quarter of that size."""

    def __init__(self, encoder_name, encoder_weights=None, in_channels=3, classes=1):
        super().__init__()
        assert encoder_weights is None
        self.encoder = Encoder(encoder_name.removeprefix("tu-"), in_channels)
        self.decoder = Decoder(sum(self.encoder.model.feature_info.channels()), classes)
        self.segmentation_head = nn.Sequential(OrderedDict({"0": nn.Conv2d(512, classes, 1)}))

    def forward(self, image):
        def enlarged(x, like):
            return nn.functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)

        branches = self.encoder.model(image)
        z, m = self.decoder(torch.cat([enlarged(x, branches[0]) for x in branches], dim=1))
        logits = enlarged(self.segmentation_head(z), image)
        return (logits, [m]) if self.training else logits
