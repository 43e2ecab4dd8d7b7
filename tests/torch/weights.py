#!/usr/bin/python3
"""Weights between PyTorch and nn.

    weights.py                  makes weights.safetensors: a model's state, a batch and the model's outputs in evaluation
    weights.py --check FILE     FILE's tensors are that model's state, name by name, and give the outputs stored with them
"""
import json
import os
import struct
import sys

import torch

TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
NAMES = {t: n for n, t in TYPES.items()}


def write(path, tensors):
    header, data = {}, b""
    for name, t in tensors.items():
        raw = t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.dim() else t.numpy().tobytes()
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    raw = open(path, "rb").read()
    length, = struct.unpack("<Q", raw[:8])
    header, tensors = json.loads(raw[8:8 + length]), {}
    for name, about in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + x for x in about["data_offsets"])
            flat = torch.frombuffer(bytearray(raw[begin:end]), dtype=TYPES[about["dtype"]])
            tensors[name] = flat.reshape(about["shape"])
    return tensors


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(3, 5)
        self.bn = torch.nn.BatchNorm1d(5)
        self.fc2 = torch.nn.Linear(5, 2, bias=False)

    def forward(self, x):
        return self.fc2(torch.tanh(self.bn(self.fc1(x))))


torch.manual_seed(1)
net = Net()
if sys.argv[1:2] == ["--check"]:
    tensors = read(sys.argv[2])
    x, y = tensors.pop("x"), tensors.pop("y")
    print(net.load_state_dict(tensors, strict=True))
    assert net.bn.num_batches_tracked.dtype == torch.int64 and net.bn.num_batches_tracked.item() == 7
    error = (net.eval()(x) - y).abs().max().item()
    print("largest difference", error)
    sys.exit(not error <= 1e-6)
for _ in range(7):
    net(2 + 3 * torch.randn(4, 3))
with torch.no_grad():
    x = torch.randn(4, 3)
    write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights.safetensors"),
          {**net.state_dict(), "x": x, "y": net.eval()(x)})
