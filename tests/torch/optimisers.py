#!/usr/bin/env python3
"""Writes optimisers.txt, or the file that is named, with what PyTorch's optimisers and schedules compute, for
tests/test_optimisers.c, test_schedules.c and test_lbfgs.c. Needs PyTorch 1.13 or later (python3-torch)."""
import math
import os
import random
import sys

import torch

STEPS, COMPARED = 6, (1, 2, 6)
SHAPES = {"fc.weight": (3, 3), "fc.bias": (2,)}
UNREACHED = (3, "fc.bias")  # no gradient at this step
rng = random.Random(5)


def numbers(shape):
    return [rng.uniform(-1, 1) for _ in range(math.prod(shape))]


start = {name: numbers(shape) for name, shape in SHAPES.items()}
gradients = [{name: numbers(shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al., arXiv:2302.06675, which PyTorch does not have."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for x in group["params"]:
                if x.grad is None:
                    continue
                m = self.state[x].setdefault("exp_avg", torch.zeros_like(x))
                ahead = beta1 * m + (1 - beta1) * x.grad
                x.data = x.data - group["lr"] * (torch.sign(ahead) + group["weight_decay"] * x.data)
                m.copy_(beta2 * m + (1 - beta2) * x.grad)


O = torch.optim
# name: a function of [weight, bias]; the same names are in tests/test_optimisers.c
OPTIMISERS = {
    "sgd": lambda p: O.SGD(p, 0.1),
    "sgd_l2": lambda p: O.SGD(p, 0.1, weight_decay=0.3),
    "sgd_momentum": lambda p: O.SGD(p, 0.1, momentum=0.9),
    "sgd_dampening": lambda p: O.SGD(p, 0.1, momentum=0.8, dampening=0.4, weight_decay=0.1),
    "sgd_nesterov": lambda p: O.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: O.Adam(p),
    "adam_l2": lambda p: O.Adam(p, 0.05, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.2),
    "adam_no_beta1": lambda p: O.Adam(p, 0.05, betas=(0, 0.9)),
    "adam_amsgrad": lambda p: O.Adam(p, 0.05, betas=(0.8, 0.5), amsgrad=True),
    "adamw": lambda p: O.AdamW(p),
    "adamw_decay": lambda p: O.AdamW(p, 0.05, weight_decay=0.5, amsgrad=True),
    "adamw_groups": lambda p: O.AdamW([dict(params=p[:1]), dict(params=p[1:], weight_decay=0, lr=0.02)], 0.05,
                                      weight_decay=0.5),
    "rmsprop": lambda p: O.RMSprop(p),
    "rmsprop_l2": lambda p: O.RMSprop(p, 0.05, alpha=0.8, eps=1e-4, weight_decay=0.2),
    "rmsprop_momentum": lambda p: O.RMSprop(p, 0.05, momentum=0.9),
    "rmsprop_centred": lambda p: O.RMSprop(p, 0.05, alpha=0.8, centered=True),
    "rmsprop_centred_momentum": lambda p: O.RMSprop(p, 0.05, alpha=0.8, centered=True, momentum=0.5),
    "adagrad": lambda p: O.Adagrad(p),
    "adagrad_decays": lambda p: O.Adagrad(p, 0.1, lr_decay=0.3, weight_decay=0.2, initial_accumulator_value=0.5,
                                          eps=1e-3),
    "lion": lambda p: Lion(p, 1e-4, (0.9, 0.99), 0),
    "lion_decay": lambda p: Lion(p, 0.05, (0.7, 0.8), 0.4),
    "clip_norm": lambda p: O.SGD(p, 0.1, momentum=0.9),
    "clip_value": lambda p: O.SGD(p, 0.1, momentum=0.9),
}
CLIP_NORM, CLIP_VALUE = 0.7, 0.25


def text(values, dtype):
    digits = 17 if dtype == torch.float64 else 9
    return " ".join(f"{v:.{digits}g}" for v in values)


def run(name, dtype, out):
    params = [torch.tensor(start[n], dtype=dtype).reshape(s).requires_grad_() for n, s in SHAPES.items()]
    optimiser = OPTIMISERS[name](params)
    for step in range(STEPS):
        for x, (n, shape) in zip(params, SHAPES.items()):
            x.grad = None if (step, n) == UNREACHED else torch.tensor(gradients[step][n], dtype=dtype).reshape(shape)
        if name == "clip_norm":
            torch.nn.utils.clip_grad_norm_(params, CLIP_NORM)
        if name == "clip_value":
            torch.nn.utils.clip_grad_value_(params, CLIP_VALUE)
        optimiser.step()
        if step + 1 in COMPARED:
            values = [v for x in params for v in x.detach().flatten().tolist()]
            print(f"optimiser {name} {'f64' if dtype == torch.float64 else 'f32'} {step + 1}", text(values, dtype),
                  file=out)


S = torch.optim.lr_scheduler
RATE, RATES = 0.4, 30
SCHEDULES = {
    "constant": lambda o: S.ConstantLR(o, factor=0.25, total_iters=7),
    "linear": lambda o: S.LinearLR(o, start_factor=0.2, end_factor=0.9, total_iters=12),
    "step": lambda o: S.StepLR(o, step_size=7, gamma=0.3),
    "multi_step": lambda o: S.MultiStepLR(o, milestones=[3, 4, 11], gamma=0.3),
    "exponential": lambda o: S.ExponentialLR(o, gamma=0.9),
    "cosine": lambda o: S.CosineAnnealingLR(o, T_max=29, eta_min=0.01),
    "cosine_warm_up": lambda o: S.LambdaLR(
        o, lambda t: (t + 1) / 5 if t < 5 else (0.05 + 0.95 * (1 + math.cos(math.pi * min((t - 5) / 20, 1))) / 2)),
    "one_cycle": lambda o: S.OneCycleLR(o, RATE, total_steps=RATES, cycle_momentum=False),
    "one_cycle_other": lambda o: S.OneCycleLR(o, RATE, total_steps=RATES, pct_start=0.45, div_factor=5,
                                              final_div_factor=30, cycle_momentum=False),
}
MEASURES = [5, 4, 4.2, 4.1, 3.99995, 4.3, 3, 3.5, 3.2, 3.1, 3.05, 3.3, 3.2, 2.999, 2.9998, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2,
            2, 2, 2, 2, 2]
PLATEAUS = {
    "plateau": (lambda o: S.ReduceLROnPlateau(o, patience=2), 1),
    "plateau_default": (lambda o: S.ReduceLROnPlateau(o), 1),
    "plateau_max": (lambda o: S.ReduceLROnPlateau(o, mode="max", factor=0.5, patience=0, threshold=0.05,
                                                  threshold_mode="abs", cooldown=3, min_lr=0.06), -1),
}


def optimiser_with_rate():
    return O.SGD([torch.zeros(1, requires_grad=True)], RATE)


def averages(dtype, out):
    """Of fc.weight as it would be if the gradients were its values."""
    for name, decay in ("swa", None), ("ema", 0.8):
        average = None
        for n, step in enumerate(gradients):
            x = torch.tensor(step["fc.weight"], dtype=dtype)
            part = 1 / (n + 1) if decay is None else 1 - decay
            average = x.clone() if average is None else average + part * (x - average)
        print(f"average {name} {'f64' if dtype == torch.float64 else 'f32'} {STEPS}", text(average.tolist(), dtype),
              file=out)


# Functions of a vector x; the same are in tests/test_lbfgs.c.
def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def bowl(x):
    scale = torch.arange(1, len(x) + 1, dtype=x.dtype)
    return (scale * (x - 1) ** 2).sum() + torch.cosh(x.sum())


LBFGS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0, -0.5, 0.8], dict(max_iter=5, line_search_fn="strong_wolfe"), 3),
    "rosenbrock_short": (rosenbrock, [-1.2, 1.0, -0.5, 0.8],
                         dict(max_iter=4, history_size=2, line_search_fn="strong_wolfe"), 4),
    "bowl": (bowl, [2.0, -1.0, 0.3, 1.7, -2.0], dict(max_iter=6, lr=0.5, line_search_fn="strong_wolfe"), 2),
    "bowl_converges": (bowl, [2.0, -1.0, 0.3, 1.7, -2.0], dict(line_search_fn="strong_wolfe"), 3),
    "bowl_plain": (bowl, [2.0, -1.0, 0.3, 1.7, -2.0], dict(max_iter=4, lr=0.1), 3),
}


def lbfgs(name, dtype, out):
    function, values, options, calls = LBFGS[name]
    x = torch.tensor(values, dtype=dtype, requires_grad=True)
    optimiser = O.LBFGS([x], **options)

    def closure():
        optimiser.zero_grad()
        loss = function(x)
        loss.backward()
        return loss

    for call in range(calls):
        loss = optimiser.step(closure)
        evaluations = optimiser.state[x]["func_evals"]
        print(f"lbfgs {name} {'f64' if dtype == torch.float64 else 'f32'} {call + 1}",
              text([loss.item(), evaluations] + x.detach().tolist(), dtype), file=out)


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimisers.txt")
    with open(sys.argv[1] if len(sys.argv) > 1 else path, "w") as out:
        print("# What PyTorch computes; written by optimisers.py. Kind, name, type, step, numbers.", file=out)
        for name in SHAPES:
            print(f"start {name} f64 0", text(start[name], torch.float64), file=out)
            for step in range(STEPS):
                print(f"gradient {name} f64 {step + 1}", text(gradients[step][name], torch.float64), file=out)
        print("measures of f64 0", text(MEASURES, torch.float64), file=out)
        for dtype in torch.float64, torch.float32:
            for name in OPTIMISERS:
                run(name, dtype, out)
            averages(dtype, out)
            for name in LBFGS:
                if dtype == torch.float64 or name in ("bowl", "bowl_plain"):  # others depend on the last bits
                    lbfgs(name, dtype, out)
        for name, make in SCHEDULES.items():
            optimiser, rates = optimiser_with_rate(), []
            schedule = make(optimiser)
            for t in range(RATES):
                rates.append(optimiser.param_groups[0]["lr"])
                optimiser.step()
                if t + 1 < RATES:
                    schedule.step()
            print(f"schedule {name} f64 0", text(rates, torch.float64), file=out)
        for name, (make, sign) in PLATEAUS.items():
            optimiser, rates = optimiser_with_rate(), []
            schedule = make(optimiser)
            for measure in MEASURES:
                schedule.step(sign * measure)
                rates.append(optimiser.param_groups[0]["lr"])
            print(f"schedule {name} f64 0", text(rates, torch.float64), file=out)
    print("PyTorch", torch.__version__)


main()
