"""The two vision transformers: a masked auto-encoder of slices, and the classifier of what it leaves.

Written from the description of the method alone: names and shapes of the parameters are those of the published ViT-B/16
with one channel (254 entries at 224 pixels; 110,999,808 of its parameters are trained; the classifier has 85,406,978).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Networks
from IterMask3DLib.methods.card_checks import check_card, choices_of
from IterMask3DLib.methods.mae.settings import MAETrainingSettings

AUTOENCODER, CLASSIFIER = "masked_autoencoder", "classifier"
"""Names of the two networks in a model."""

ABNORMAL, NORMAL = 0, 1
"""The classes of the classifier."""

_EPS = 1e-6
_BASE = 10_000.0
_SHARED = ("patch", "width", "depth", "heads")
_CONFIGS = {AUTOENCODER: (*_SHARED, "decoder_width", "decoder_depth", "decoder_heads"), CLASSIFIER: _SHARED}


@dataclass(frozen=True)
class Sizes:
    """Of a transformer: pixels of a slice and of the side of a patch, width of a token, number of blocks and heads."""

    shape: tuple[int, int]
    patch: int
    width: int
    depth: int
    heads: int

    @property
    def patches(self) -> tuple[int, int]:
        """Patches along both sides of a slice."""
        return self.shape[0] // self.patch, self.shape[1] // self.patch

    @property
    def tokens(self) -> int:
        return self.patches[0] * self.patches[1]


class PatchEmbedding(nn.Module):
    """Slices [b, 1, x, y] to tokens [b, patches, width], row by row."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, sizes.width, sizes.patch, stride=sizes.patch)
        nn.init.xavier_uniform_(self.proj.weight.view(sizes.width, -1))

    def forward(self, slices: Tensor) -> Tensor:
        output: Tensor = self.proj(slices).flatten(2).transpose(1, 2)
        return output


class SelfAttention(nn.Module):
    """Every token attends to every other one, in several heads: [b, n, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = _linear(width, 3 * width)
        self.proj = _linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        many, count, width = tokens.shape
        split = self.qkv(tokens).reshape(many, count, 3, self._heads, width // self._heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.proj(attended.transpose(1, 2).reshape(many, count, width))
        return output


class Perceptron(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = _linear(width, 4 * width), _linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return output


class TransformerBlock(nn.Module):
    """Attention and perceptron, each behind a norm and beside a way around it.

    Args:
        drop: probability with which an example goes around the one or the other, in training.
    """

    def __init__(self, width: int, heads: int, drop: float = 0.0) -> None:
        super().__init__()
        self._drop = drop
        self.norm1, self.attn = nn.LayerNorm(width, eps=_EPS), SelfAttention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=_EPS), Perceptron(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._kept(self.attn(self.norm1(tokens)))
        return tokens + self._kept(self.mlp(self.norm2(tokens)))

    def _kept(self, branch: Tensor) -> Tensor:
        if not self.training or not self._drop:
            return branch
        keep = 1 - self._drop
        return branch * (torch.rand(branch.shape[0], 1, 1, device=branch.device) < keep) / keep


class MaskedAutoEncoder(nn.Module):
    """Patches of a slice from the few of them that are shown.

    Args:
        sizes: of the encoder; decoder: of the decoder, of the same slices and patches.
    """

    def __init__(self, sizes: Sizes, decoder: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(position_embedding(sizes.patches, sizes.width), requires_grad=False)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder.width))
        self.decoder_pos_embed = nn.Parameter(position_embedding(sizes.patches, decoder.width), requires_grad=False)
        self.patch_embed = PatchEmbedding(sizes)
        self.blocks = nn.ModuleList(TransformerBlock(sizes.width, sizes.heads) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=_EPS)
        self.decoder_embed = _linear(sizes.width, decoder.width)
        self.decoder_blocks = nn.ModuleList(
            TransformerBlock(decoder.width, decoder.heads) for _ in range(decoder.depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder.width, eps=_EPS)
        self.decoder_pred = _linear(decoder.width, sizes.patch**2)
        for token in (self.cls_token, self.mask_token):
            nn.init.normal_(token, std=0.02)

    def forward(self, slices: Tensor, noise: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
        """What the network gives for each patch, and which patches were hidden from it.

        Args:
            slices: float32 [b, 1, x, y].
            noise: float [b, patches]; those with the smallest numbers are shown.
            ratio: share of the patches that is hidden.

        Returns:
            float32 [b, patches, pixels] and float32 [b, patches], 1 where hidden.
        """
        shown = max(1, int(self.sizes.tokens * (1 - ratio)))
        order = noise.argsort(dim=1)
        back = order.argsort(dim=1)
        tokens = _taken(self.patch_embed(slices) + self.pos_embed[:, 1:], order[:, :shown])
        tokens = self._with_class(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.decoder_embed(self.norm(tokens))
        hidden = self.mask_token.expand(tokens.shape[0], self.sizes.tokens - shown, -1)
        patches = _taken(torch.cat((tokens[:, 1:], hidden), dim=1), back)
        tokens = torch.cat((tokens[:, :1], patches), dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.decoder_pred(self.decoder_norm(tokens))[:, 1:], (back >= shown).to(slices.dtype)

    def _with_class(self, tokens: Tensor) -> Tensor:
        first = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1)
        return torch.cat((first, tokens), dim=1)


class MaskedPass(nn.Module):
    """One masked pass as a network of images.

    Input [b, 2, x, y]: slices, and the noise of each patch at its pixels. Output [b, 1, x, y]: the slices, with what
    the auto-encoder gives in the patches that were hidden from it.
    """

    def __init__(self, network: MaskedAutoEncoder, ratio: float) -> None:
        super().__init__()
        self.network, self.ratio = network, ratio

    def forward(self, given: Tensor) -> Tensor:
        slices, side = given[:, :1], self.network.sizes.patch
        noise = given[:, 1, ::side, ::side].flatten(1)
        patches, hidden = self.network(slices, noise, self.ratio)
        return pasted(slices, patches, hidden, side)


class ResidualClassifier(nn.Module):
    """Whether a slice is abnormal, from the residual of its reconstruction: [b, 1, x, y] -> logits [b, 2].

    Args:
        drop: of the last block; those before have less.
    """

    def __init__(self, sizes: Sizes, drop: float = 0.0) -> None:
        super().__init__()
        self.sizes = sizes
        self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(position_embedding(sizes.patches, sizes.width))
        self.patch_embed = PatchEmbedding(sizes)
        rates = np.linspace(0, drop, sizes.depth)
        self.blocks = nn.ModuleList(TransformerBlock(sizes.width, sizes.heads, float(rate)) for rate in rates)
        self.fc_norm = nn.LayerNorm(sizes.width, eps=_EPS)
        self.head = nn.Linear(sizes.width, 2)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)
        nn.init.zeros_(self.head.bias)

    def forward(self, residuals: Tensor) -> Tensor:
        first = self.cls_token.expand(residuals.shape[0], -1, -1)
        tokens = torch.cat((first, self.patch_embed(residuals)), dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        output: Tensor = self.head(self.fc_norm(tokens[:, 1:].mean(dim=1)))
        return output

    def begin_with(self, encoder: MaskedAutoEncoder) -> None:
        """Takes over everything that the auto-encoder's encoder has too."""
        own = self.state_dict()
        self.load_state_dict({name: each for name, each in encoder.state_dict().items() if name in own}, strict=False)


def position_embedding(patches: tuple[int, int], width: int) -> Tensor:
    """Sines and cosines of the column, then of the row, of each patch; zeros for the class first: [1, 1 + n, width]."""
    rows, columns = np.indices(patches).reshape(2, -1)
    rates = _BASE ** -(np.arange(width // 4) / (width / 4))
    angles = [places[:, None] * rates for places in (columns, rows)]
    table = np.concatenate([each for angle in angles for each in (np.sin(angle), np.cos(angle))], axis=1)
    return torch.from_numpy(np.concatenate((np.zeros((1, width)), table)).astype(np.float32))[None]


def patches_of(slices: Tensor, side: int) -> Tensor:
    """Slices [b, 1, x, y] as their patches, row by row, each pixel by pixel: [b, patches, pixels]."""
    many, _, x, y = slices.shape
    cut = slices.reshape(many, x // side, side, y // side, side)
    return cut.transpose(2, 3).reshape(many, -1, side**2)


def slices_of(patches: Tensor, shape: Sequence[int], side: int) -> Tensor:
    """What `patches_of` takes apart: [b, patches, pixels] -> [b, 1, x, y]."""
    many, (x, y) = patches.shape[0], shape
    cut = patches.reshape(many, x // side, y // side, side, side)
    return cut.transpose(2, 3).reshape(many, 1, x, y)


def pasted(slices: Tensor, patches: Tensor, hidden: Tensor, side: int) -> Tensor:
    """Slices [b, 1, x, y] with other patches where they were hidden."""
    whole = torch.where(hidden[..., None] > 0, patches, patches_of(slices, side))
    return slices_of(whole, slices.shape[2:], side)


def _taken(tokens: Tensor, order: Tensor) -> Tensor:
    """Tokens [b, n, width] in another order [b, m]."""
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def built(shape: Sequence[int], settings: MAETrainingSettings, drop: float = 0.0) -> Networks:
    """Both networks for slices of a shape, untrained."""
    pixels = (int(shape[0]), int(shape[1]))
    encoder = Sizes(pixels, settings.patch, settings.width, settings.depth, settings.heads)
    decoder = Sizes(pixels, settings.patch, settings.decoder_width, settings.decoder_depth, settings.decoder_heads)
    return {AUTOENCODER: MaskedAutoEncoder(encoder, decoder), CLASSIFIER: ResidualClassifier(encoder, drop)}


def config_of(settings: MAETrainingSettings, name: str) -> dict[str, Any]:
    """What a card keeps of a network."""
    return {key: value for key, value in asdict(settings).items() if key in _CONFIGS[name]}


def networks_of(card: ModelCard) -> Networks:
    """Both networks of a card, untrained. Raises `UserError` for a configuration that makes none."""
    check_card(card, "A masked auto-encoder", _CONFIGS, 2)
    found = {}
    for name, names in _CONFIGS.items():
        settings = choices_of(card, name, MAETrainingSettings(), names)
        if any(side % settings.patch for side in card.grid.shape):
            needs = f"multiples of its patches of {settings.patch}"
            raise UserError(f"model {card.name}: the sides of the grid must be {needs}.")
        found[name] = built(card.grid.shape, settings)[name]
    return found
