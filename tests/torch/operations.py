"""Writes operations.txt: what PyTorch gives for the cases of tests/test_torch_operations.c, in double precision.

A line is: case, "y" or the number of an input, how many numbers, the numbers. Inputs are wave(shape, k), see there; gradients
are those of the sum of y times wave(shape of y, 9)."""
import os
import torch
import torch.nn.functional as F


def wave(shape, k):
    n = 1
    for d in shape:
        n *= d
    return torch.sin(torch.arange(n, dtype=torch.float64) * (0.37 + 0.11 * k) + k).reshape(shape)


def attention(q, k, v, seen):
    """(batch, positions, heads, width), as ag_attention has them."""
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)


PAST = torch.ones(5, 5, dtype=torch.bool).tril()
KEPT = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]], dtype=torch.bool)[:, None, None, :]
CASES = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2)), (2, 3, 5, 6), (4, 3, 3, 2), (4,)),
    "conv2d_groups": (lambda x, w, b: F.conv2d(x, w, b, 1, 1, 1, 2), (1, 4, 4, 5), (6, 2, 3, 3), (6,)),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), (2, 2, 7), (3, 2, 3), (3,)),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 3), 1, (1, 2), 1), (1, 3, 3, 2), (3, 2, 3, 2), (2,)),
    "conv_transpose2d_groups": (lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 0, 0, 2), (1, 4, 2, 3), (4, 2, 2, 2), (4,)),
    "conv_transpose1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, 3, 1), (2, 2, 4), (2, 3, 3), (3,)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), (1, 2, 6, 7)),
    "max_pool2d_dilated": (lambda x: F.max_pool2d(x, 2, 1, 0, 2), (1, 2, 4, 5)),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), (2, 3, 7)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, True, True), (1, 2, 6, 7)),
    "avg_pool2d_inside": (lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), (1, 2, 6, 7)),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1), (2, 3, 7)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (3, 2)), (1, 2, 5, 7)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, 4)), (1, 2, 5, 7)),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 3), (1, 2, 7)),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (2, 5), w, b, 1e-5), (3, 2, 5), (2, 5), (2, 5)),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0, 1e-5), (3, 2, 2, 3), (2,), (2,)),
    "batch_norm_vectors": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0, 1e-5), (5, 3), (3,), (3,)),
    "attention": (lambda q, k, v: attention(q, k, v, PAST), (2, 5, 3, 4), (2, 5, 3, 4), (2, 5, 3, 2)),
    "attention_keep": (lambda q, k, v: attention(q, k, v, KEPT), (2, 3, 2, 5), (2, 4, 2, 5), (2, 4, 2, 5)),
    "linear": (F.linear, (2, 3, 5), (4, 5), (4,)),
    "cross_entropy": (lambda x: F.cross_entropy(x, torch.tensor([1, -1, 2, 0]), reduction="none", ignore_index=-1), (4, 3)),
    "embedding": (lambda x: F.embedding(torch.tensor([[2, 0, 2], [1, 2, 3]]), x), (4, 3)),
}

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "operations.txt"), "w") as out:
    for name, (f, *shapes) in CASES.items():
        inputs = [wave(s, k).requires_grad_() for k, s in enumerate(shapes)]
        y = f(*inputs)
        (y * wave(y.shape, 9)).sum().backward()
        for what, numbers in [("y", y)] + [(str(k), x.grad) for k, x in enumerate(inputs)]:
            flat = numbers.detach().reshape(-1).tolist()
            out.write(f"{name} {what} {len(flat)} " + " ".join(f"{v:.13g}" for v in flat) + "\n")
