"""Reference numbers for tests: named arrays of doubles in a file that a few lines of C read.

Each array is a line "name rank dim ... dim", then its numbers, row-major, little-endian. Inputs, parameters and the weights
of results are not in the file: both sides draw them from their names.
"""
import os

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
MASK = 2**64 - 1


def draw(name, count):
    """Uniform in -1..1: splitmix64 from the name's hash (FNV-1a), as tests/torch_reference.h has it."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 & MASK
    numbers = np.empty(count)
    for i in range(count):
        state = state + 0x9E3779B97F4A7C15 & MASK
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        numbers[i] = -1 + 2 * ((z ^ z >> 31) >> 11) * 2.0**-53
    return numbers


def drawn(name, shape):
    return torch.tensor(draw(name, int(np.prod(shape))).reshape(shape))


class Reference:
    def __init__(self, name):
        self.path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".ref")
        self.arrays = {}

    def add(self, name, array):
        assert name not in self.arrays and " " not in name, name
        if isinstance(array, torch.Tensor):
            array = array.detach().numpy()
        self.arrays[name] = np.asarray(array, dtype="<f8")

    def case(self, case, function, shapes, layer=None, **constants):
        """A function of inputs of these shapes, and of a module's parameters if there is one, called "l".

        Arrays case/out and, of the sum of out times case/w, derivatives case/d/NAME; case/b/NAME are the module's buffers
        afterwards.
        """
        leaves = {name: drawn(f"{case}/{name}", shape).requires_grad_() for name, shape in shapes.items()}
        output = None
        if layer is not None:
            for name, parameter in layer.named_parameters():
                parameter.data = drawn(f"{case}/l.{name}", parameter.shape).requires_grad_()
        inputs = list(leaves.values())
        output = function(*inputs) if layer is None else function(layer, *inputs)
        for name, value in constants.items():
            self.add(f"{case}/{name}", value)
        self.add(f"{case}/out", output)
        if layer is not None:
            leaves.update({"l." + name: p for name, p in layer.named_parameters()})
        gradients = torch.autograd.grad((output * drawn(f"{case}/w", output.shape)).sum(), list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, gradients):
            gradient = torch.zeros_like(leaves[name]) if gradient is None else gradient
            self.add(f"{case}/d/{name}", gradient)
        for name, buffer in [] if layer is None else layer.named_buffers():
            self.add(f"{case}/b/l.{name}", buffer)

    def save(self):
        with open(self.path, "wb") as out:
            for name, array in self.arrays.items():
                out.write(" ".join([name, str(array.ndim)] + [str(d) for d in array.shape]).encode() + b"\n")
                out.write(np.ascontiguousarray(array).tobytes())
