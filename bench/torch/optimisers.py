"""Steps of PyTorch's optimisers on the parameters of bench/optimisers.c. `foreach` is faster than the default here, so it
is what counts."""
import torch

from beside import serve

SHAPES = [(256, 784), (256,), (128, 256), (128,), (10, 128), (10,)]
O = torch.optim
OPTIMISERS = {
    "sgd": (O.SGD, dict(lr=1e-6)),
    "sgd_momentum": (O.SGD, dict(lr=1e-6, momentum=0.9)),
    "adam": (O.Adam, {}),
    "adamw": (O.AdamW, {}),
    "rmsprop": (O.RMSprop, {}),
    "adagrad": (O.Adagrad, {}),
}


def task(make, options, foreach):
    parameters = [torch.randn(s, requires_grad=True) for s in SHAPES]
    for x in parameters:
        x.grad = torch.randn(x.shape)
    return make(parameters, foreach=foreach, **options).step


def clip():
    parameters = [torch.randn(s, requires_grad=True) for s in SHAPES]
    for x in parameters:
        x.grad = torch.randn(x.shape)
    return lambda: torch.nn.utils.clip_grad_norm_(parameters, 1e9)


tasks = {f"torch_{name}{'' if foreach is False else '_foreach'}": task(make, options, foreach)
         for name, (make, options) in OPTIMISERS.items() for foreach in (False, True)}
tasks["torch_clip_norm"] = clip()
serve(tasks)
