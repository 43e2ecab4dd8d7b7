#!/usr/bin/env python3
"""Makes the reference files of test_arrays.c with NumPy (1.24 made those that are here). usage: make.py [FOLDER]"""
import sys
import numpy as np
from numpy.lib.format import write_array

folder = sys.argv[1] if len(sys.argv) > 1 else sys.path[0]


def numbers(dtype):
    """-2, -1, 0, 1, 2, 3 (0 to 5, or 0 and 1, where there is no -2) as (3, 2)."""
    first = -2 if np.dtype(dtype).kind in "if" else 0
    values = np.arange(first, first + 6)
    return (values % 2 if np.dtype(dtype).kind == "b" else values).reshape(3, 2).astype(dtype)


arrays = {}
for name in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]:
    for order, sign in [("little", "<"), ("big", ">")]:
        a = numbers(sign + name)
        arrays[f"{name}_{order}_C"] = np.ascontiguousarray(a)
        arrays[f"{name}_{order}_F"] = np.asfortranarray(a)
np.savez(f"{folder}/stored.npz", **dict(list(arrays.items())[:6]))
np.savez_compressed(f"{folder}/deflated.npz", **arrays)

for version in [1, 2, 3]:
    with open(f"{folder}/version{version}.npy", "wb") as f:
        write_array(f, numbers("<f8"), version=(version, 0))
np.save(f"{folder}/fortran.npy", np.asfortranarray(np.arange(24).reshape(2, 3, 4)))
np.save(f"{folder}/scalar.npy", np.float32(2.5))
np.save(f"{folder}/empty.npy", np.zeros((0, 3)))
np.save(f"{folder}/complex.npy", np.zeros(2, complex))
