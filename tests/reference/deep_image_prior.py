"""Deep Image Prior, its networks, averaged output and early stopping, in plain PyTorch and nothing of this package.

Written from the papers to compare numbers with: Ulyanov et al., *Deep Image Prior* (CVPR 2018); Xi, *Structure Analysis
of Deep Image Prior*; Kingma & Ba, *Adam* (2015); Wang et al., *Early Stopping for Deep Image Prior* (arXiv
2112.06074). Slow where that is plainer. The parameters of a network stand in this order: encoders from the outermost
level in, skips, decoders likewise, head; within a residual block the body, then the shortcut.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


def act(x: Tensor) -> Tensor:
    """Leaky ReLU with a slope of 0.2."""
    return torch.where(x > 0, x, 0.2 * x)


def conv3(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, 1, padding_mode="reflect")


def bilinear_doubling(x: Tensor) -> Tensor:
    """Pixel centres at a quarter and three quarters of a pixel; beyond the border the outermost pixels go on."""
    for dim in (2, 3):
        length = x.shape[dim]
        here = torch.arange(length)
        before = x.index_select(dim, (here - 1).clamp(min=0))
        behind = x.index_select(dim, (here + 1).clamp(max=length - 1))
        pair = torch.stack((0.25 * before + 0.75 * x, 0.75 * x + 0.25 * behind), dim=dim + 1)
        x = pair.flatten(dim, dim + 1)
    return x


class Residual(nn.Module):
    """Conv, BN, act, Conv, BN, plus the shortcut, then act: the blocks of the paper's section 3.4."""

    def __init__(self, before: int, after: int, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self.first, self.norm1 = first, nn.BatchNorm2d(after)
        self.second, self.norm2 = second, nn.BatchNorm2d(after)
        self.project = nn.Conv2d(before, after, 1, bias=False) if before != after else None
        self.norm3 = nn.BatchNorm2d(after) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        body = self.norm2(self.second(act(self.norm1(self.first(x)))))
        shortcut = x if self.project is None or self.norm3 is None else self.norm3(self.project(x))
        return act(body + shortcut)


class Level(nn.Module):
    """One level of a U-net, with everything below it: halve, go deeper, double, join the skip, decode."""

    def __init__(self, before: int, width: int, skip: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        joined = skip + width
        if residual:
            down = [nn.Conv2d(before, before, 1, 2), nn.BatchNorm2d(before)]
            self.encoder = nn.ModuleList(
                [*down, Residual(before, width, conv3(before, width), nn.Conv2d(width, width, 1))]
            )
            self.decoder = nn.ModuleList([Residual(joined, width, nn.Conv2d(joined, width, 1), conv3(width, width))])
        else:
            norms = [nn.BatchNorm2d(width) for _ in range(4)]
            self.encoder = nn.ModuleList([conv3(before, width, 2), norms[0], conv3(width, width), norms[1]])
            decoder = [nn.BatchNorm2d(joined), conv3(joined, width), norms[2], nn.Conv2d(width, width, 1), norms[3]]
            self.decoder = nn.ModuleList(decoder)
        self.skip = nn.ModuleList([nn.Conv2d(before, skip, 1), nn.BatchNorm2d(skip)])

    def forward(self, x: Tensor, deeper: Callable[[Tensor], Tensor]) -> Tensor:
        if self.residual:
            halve, norm, block = self.encoder
            inner = block(act(norm(halve(x))))
        else:
            halve, norm, conv, norm2 = self.encoder
            inner = act(norm2(conv(act(norm(halve(x))))))
        large = bilinear_doubling(deeper(inner))[:, :, : x.shape[2], : x.shape[3]]
        conv, norm = self.skip
        joined = torch.cat((act(norm(conv(x))), large), dim=1)
        if self.residual:
            return self.decoder[0](joined)
        norm0, conv, norm, conv1, norm2 = self.decoder
        return act(norm2(conv1(act(norm(conv(norm0(joined)))))))


class UNet(nn.Module):
    """The U-net of Deep Image Prior (4 skip channels there), or the paper's residual one (8)."""

    def __init__(self, z: int, image: int, width: int, skip: int, levels: int, residual: bool) -> None:
        super().__init__()
        self.levels = [Level(z if i == 0 else width, width, skip, residual) for i in range(levels)]
        self.parts = nn.ModuleList([getattr(x, part) for part in ("encoder", "skip", "decoder") for x in self.levels])
        self.head = nn.Conv2d(width, image, 1)

    def forward(self, z: Tensor) -> Tensor:
        def run(x: Tensor, depth: int) -> Tensor:
            return x if depth == len(self.levels) else self.levels[depth](x, lambda inner: run(inner, depth + 1))

        return torch.sigmoid(self.head(run(z, 0)))


class ResNet(nn.Module):
    """Blocks at full resolution, padded with zeros, without a bias, and nothing behind their addition."""

    def __init__(self, z: int, image: int, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = conv3(z, width)
        self.blocks = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, bias=False) if k % 2 == 0 else nn.BatchNorm2d(width)
            for k in range(4 * blocks)
        )
        self.neck, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.head = conv3(width, image)

    def forward(self, z: Tensor) -> Tensor:
        x = act(self.stem(z))
        for k in range(0, len(self.blocks), 4):
            first, norm1, second, norm2 = self.blocks[k : k + 4]
            x = x + norm2(second(act(norm1(first(x)))))
        return torch.sigmoid(self.head(self.norm(self.neck(x))))


@dataclass
class Fit:
    """One entry an iteration."""

    one_pass: list[Tensor] = field(default_factory=list)
    averaged: list[Tensor] = field(default_factory=list)
    handed_back: list[Tensor] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


def fit(network: nn.Module, inputs: list[Tensor], y: Tensor, lr: float = 0.01, alpha: float = 0.99) -> Fit:
    """Minimise the mean of (f(z_i) - y)² by Adam, an iteration for each input z_i."""
    record, parameters = Fit(), list(network.parameters())
    means, squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for i, z in enumerate(inputs):
        out = network(z)
        loss = ((out - y) ** 2).sum() / y.numel()
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                p -= lr * (m / (1 - 0.9 ** (i + 1))) / ((v / (1 - 0.999 ** (i + 1))).sqrt() + 1e-8)
            average = out if i == 0 else alpha * record.averaged[-1] + (1 - alpha) * out
            # Its memory is a quarter of the iterations so far, one at least, and never longer than that of alpha.
            past = min(alpha, 1 - 4 / max(i + 1, 4))
            handed_back = out if i == 0 else past * record.handed_back[-1] + (1 - past) * out
        record.one_pass.append(out.detach())
        record.averaged.append(average.detach())
        record.handed_back.append(handed_back.detach())
        record.loss.append(float(loss.detach()))
    return record


def psnr(image: Tensor, reference: Tensor) -> float:
    return float(10 * torch.log10(1 / ((image - reference) ** 2).mean()))


def windowed_moving_variance(outputs: list[Tensor], window: int) -> list[float | None]:
    """ES-WMV: the mean squared distance of the last W outputs from their mean, a sample; None before there are W."""
    variances: list[float | None] = [None] * (window - 1)
    for end in range(window, len(outputs) + 1):
        last = torch.stack(outputs[end - window : end])
        variances.append(float(((last - last.mean(dim=0)) ** 2).mean()))
    return variances


def exponential_moving_variance(outputs: list[Tensor], alpha: float) -> list[float]:
    """ES-EMV: EMV ← (1 - α)·EMV + α·(1 - α)·‖x - EMA‖², then EMA ← (1 - α)·EMA + α·x; a sample."""
    average, variance, variances = outputs[0], 0.0, []
    for x in outputs:
        variance = (1 - alpha) * variance + alpha * (1 - alpha) * float(((x - average) ** 2).mean())
        average = (1 - alpha) * average + alpha * x
        variances.append(variance)
    return variances


def early_stop(variances: list[float | None], patience: int) -> tuple[int, int]:
    """The iteration of the least variance, once it has not fallen for so many, and the one in which this is told."""
    best, detected = float("inf"), 0
    for i, variance in enumerate(variances):
        if variance is not None and variance < best:
            best, detected = variance, i
        if best < float("inf") and i - detected >= patience:
            return detected, i
    return detected, len(variances) - 1
