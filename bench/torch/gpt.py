"""The training step of bench/gpt.c in PyTorch, written as usual for this version."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from beside import growth, lazily, serve


class Block(nn.Module):
    def __init__(self, width, heads, positions):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("future", torch.triu(torch.ones(positions, positions, dtype=torch.bool), 1))

    def attend(self, x):
        b, t, w = x.shape
        q, k, v = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in self.attention(x).split(w, dim=2))
        scores = (q @ k.transpose(-2, -1)) * (1 / math.sqrt(q.shape[-1]))
        weights = F.softmax(scores.masked_fill(self.future, float("-inf")), dim=-1)
        return self.projection((weights @ v).transpose(1, 2).reshape(b, t, w))

    def forward(self, x):
        x = x + self.attend(self.ln_1(x))
        return x + self.contract(F.gelu(self.expand(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, blocks, width, heads, positions, characters):
        super().__init__()
        self.tokens = nn.Embedding(characters, width)
        self.positions = nn.Parameter(0.02 * torch.randn(positions, width))
        self.blocks = nn.Sequential(*(Block(width, heads, positions) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters, bias=False)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.tokens(x) + self.positions)))


def make(blocks, width, heads, positions, batch, characters):
    model = GPT(blocks, width, heads, positions, characters)
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, foreach=True)
    x, y = torch.randint(0, characters, (2, batch, positions))

    def step():
        adamw.zero_grad(set_to_none=True)
        F.cross_entropy(model(x).view(-1, characters), y.view(-1)).backward()
        adamw.step()

    return step


def few(*sizes):
    step = make(*sizes)
    for _ in range(3):
        step()


TINY, WHOLE = (1, 32, 2, 8, 1, 65), (4, 128, 4, 64, 12, 65)
serve({
    "torch_gpt_memory": growth(lambda: few(*TINY), lambda: few(*WHOLE)),
    "torch_gpt_step": lazily(lambda: make(*WHOLE)),
})
