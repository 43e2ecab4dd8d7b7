"""Reference numbers for tests: named arrays of doubles in a file that a few lines of C read.

Each array is a line "name rank dim ... dim", then its numbers, row-major, little-endian.
"""
import os

import numpy as np
import torch

torch.set_default_dtype(torch.float64)


class Reference:
    def __init__(self, name):
        self.path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".ref")
        self.arrays = {}
        torch.manual_seed(1)

    def add(self, name, array):
        assert name not in self.arrays and " " not in name, name
        if isinstance(array, torch.Tensor):
            array = array.detach().numpy()
        self.arrays[name] = np.asarray(array, dtype="<f8")

    def case(self, case, inputs, output, parameters={}, constants={}):
        """One function at one place: `inputs` are tensors that derivatives are taken by, `parameters` a module's.

        Arrays case/NAME, case/out and, of the sum of out times case/w, derivatives case/d/NAME.
        """
        for name, value in list(inputs.items()) + list(parameters.items()) + list(constants.items()):
            self.add(f"{case}/{name}", value)
        weight = torch.randn(output.shape)
        self.add(f"{case}/out", output)
        self.add(f"{case}/w", weight)
        leaves = {**inputs, **{n: p for n, p in parameters.items() if p.requires_grad}}
        gradients = torch.autograd.grad((output * weight).sum(), list(leaves.values()))
        for name, gradient in zip(leaves, gradients):
            self.add(f"{case}/d/{name}", gradient)

    def save(self):
        with open(self.path, "wb") as out:
            for name, array in self.arrays.items():
                out.write(" ".join([name, str(array.ndim)] + [str(d) for d in array.shape]).encode() + b"\n")
                out.write(np.ascontiguousarray(array).tobytes())


def leaf(*shape):
    return torch.randn(*shape).requires_grad_()
