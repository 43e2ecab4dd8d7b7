#!/usr/bin/python3
"""Makes layers.ref: layers and their derivatives by PyTorch. Each layer is called "l"."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from reference import Reference

r = Reference("layers")

# ---- dense, embedding, norms


def call(layer, *inputs):
    return layer(*inputs)


for bias in [True, False]:
    r.case("dense" if bias else "dense_plain", call, {"x": (2, 5, 4)}, nn.Linear(4, 3, bias=bias))

indices = torch.tensor([[0, 4, 2], [2, 1, 2]])
r.case("embedding", lambda layer: layer(indices), {}, nn.Embedding(5, 3), indices=indices)
r.case("embedding_padded", lambda layer: layer(indices), {}, nn.Embedding(5, 3, padding_idx=2), indices=indices)
r.case("layer_norm", call, {"x": (2, 3, 5)}, nn.LayerNorm(5))
r.case("layer_norm_epsilon", call, {"x": (2, 3, 5)}, nn.LayerNorm(5, eps=0.1))


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


r.case("rms_norm", call, {"x": (2, 3, 5)}, RMSNorm(5))

# ---- attention

B, T, S, E, H = 2, 4, 5, 6, 3
causal = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
padding = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 1]], dtype=torch.bool)
other_padding = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 1, 1, 1]], dtype=torch.bool)
for case, bias, options in [
    ("attention", True, {}),
    ("attention_plain", False, {}),
    ("attention_causal", True, {"attn_mask": causal}),
    ("attention_padded", True, {"key_padding_mask": ~padding}),
    ("attention_both", True, {"attn_mask": causal, "key_padding_mask": ~padding}),
]:
    layer = nn.MultiheadAttention(E, H, bias=bias, batch_first=True)
    r.case(case, lambda layer, x: layer(x, x, x, **options)[0], {"x": (B, T, E)}, layer, keep=padding)
r.case("attention_to", lambda layer, x, memory: layer(x, memory, memory, key_padding_mask=~other_padding)[0],
       {"x": (B, T, E), "memory": (B, S, E)}, nn.MultiheadAttention(E, H, batch_first=True), keep=other_padding)

# ---- transformer block, with the names of GPT-2


def turn(x, base):
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[-2]).double(), base ** (-torch.arange(half).double() / half))
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


class Attention(nn.Module):
    def __init__(self, width, heads, causal, rotary, bias):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)
        self.heads, self.causal, self.rotary = heads, causal, rotary

    def forward(self, x):
        q, k, v = [p.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2) for p in self.c_attn(x).chunk(3, -1)]
        if self.rotary:
            q, k = turn(q, 100.0), turn(k, 100.0)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if self.causal:
            scores = scores.masked_fill(torch.triu(torch.ones(scores.shape[-2:], dtype=torch.bool), 1), -math.inf)
        return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    def __init__(self, width, hidden, activation, bias):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, hidden, bias=bias), nn.Linear(hidden, width, bias=bias)
        self.activation = activation

    def forward(self, x):
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, width, heads, hidden, causal=True, rotary=False, rms=False, activation=F.gelu, bias=True):
        super().__init__()
        self.ln_1 = RMSNorm(width) if rms else nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal, rotary, bias)
        self.ln_2 = RMSNorm(width) if rms else nn.LayerNorm(width)
        self.mlp = MLP(width, hidden, activation, bias)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


r.case("block", call, {"x": (2, 3, 4)}, Block(4, 2, 16))
r.case("block_other", call, {"x": (2, 3, 4)},
       Block(4, 2, 5, causal=False, rotary=True, rms=True, activation=F.relu, bias=False))

# ---- convolution

for case, layer, shape in [
    ("conv1d", nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (2, 4, 7)),
    ("conv2d", nn.Conv2d(2, 3, (2, 3)), (2, 2, 4, 5)),
    ("conv2d_other", nn.Conv2d(4, 2, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2, bias=False),
     (1, 4, 3, 4)),
    ("conv_transpose1d", nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), (2, 2, 4)),
    ("conv_transpose2d", nn.ConvTranspose2d(4, 2, (2, 3), stride=(2, 1), groups=2), (1, 4, 2, 3)),
]:
    r.case(case, call, {"x": shape}, layer)

# ---- batch and group norm


def evaluated(layer, x, y):
    """After a step in training."""
    layer(x)
    return layer.eval()(y)


r.case("batch_norm", call, {"x": (3, 2, 2, 2)}, nn.BatchNorm2d(2))
r.case("batch_norm_plain", call, {"x": (4, 3)}, nn.BatchNorm1d(3, affine=False, momentum=0.3, eps=0.01))
r.case("batch_norm_eval", evaluated, {"x": (3, 2, 3), "y": (2, 2, 3)}, nn.BatchNorm1d(2))
r.case("batch_norm_twice", lambda layer, x: layer(layer(x)), {"x": (3, 2, 3)}, nn.BatchNorm1d(2))
r.case("batch_norm_cumulative", lambda layer, x, y: layer(x) + layer(y), {"x": (3, 2, 3), "y": (3, 2, 3)},
       nn.BatchNorm1d(2, momentum=None))
r.case("batch_norm_alone", call, {"x": (3, 2, 3)}, nn.BatchNorm1d(2, track_running_stats=False))
r.case("batch_norm_alone_eval", evaluated, {"x": (3, 2, 3), "y": (2, 2, 3)},
       nn.BatchNorm1d(2, affine=False, track_running_stats=False))
r.case("group_norm", call, {"x": (2, 4, 3)}, nn.GroupNorm(2, 4))

# ---- recurrent layers


def ends(layer, x, h, c=None):
    """Results and the last state, one after the other."""
    y, end = layer(x, h if c is None else (h, c))
    return torch.cat([a.flatten() for a in ([y, end] if c is None else [y, *end])])


kinds = {"rnn": nn.RNN, "rnn_relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k), "gru": nn.GRU, "lstm": nn.LSTM}
for kind, make in kinds.items():
    states = {"h": (4, 2, 2), "c": (4, 2, 2)} if kind == "lstm" else {"h": (4, 2, 2)}
    r.case(kind, lambda layer, x: layer(x)[0], {"x": (5, 2, 4)}, make(4, 3))
    r.case(kind + "_deep", ends, {"x": (4, 2, 3), **states}, make(3, 2, num_layers=2, bidirectional=True))
    r.case(kind + "_plain", lambda layer, x: layer(x)[0], {"x": (2, 4, 2)}, make(2, 3, bias=False, batch_first=True))

r.save()
