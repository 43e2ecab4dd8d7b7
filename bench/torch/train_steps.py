"""Training steps of the models of bench/train_steps.c in PyTorch."""
import torch

from beside import growth, lazily, serve


def step(layers, activation, loss, optimiser, x, y):
    modules = []
    for i in range(len(layers) - 1):
        modules += [torch.nn.Linear(layers[i], layers[i + 1]), activation()]
    model = torch.nn.Sequential(*modules[:-1])
    optimiser = optimiser(model.parameters())

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss(model(x), y).backward()
        optimiser.step()

    return run


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1e-3, foreach=True)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-5, foreach=True)


def digits(batch, optimiser):
    return step([784, 256, 128, 10], torch.nn.ReLU, torch.nn.CrossEntropyLoss(), optimiser, torch.rand(batch, 784),
                torch.randint(0, 10, (batch,)))


def tiny():
    return step([2, 16, 1], torch.nn.Tanh, torch.nn.MSELoss(), sgd, torch.rand(4, 2), torch.rand(4, 1))


def few(make):
    run = make()
    for _ in range(3):
        run()


STEPS = {
    "torch_tiny_sgd": tiny,
    "torch_mlp_1_sgd": lambda: digits(1, sgd),
    "torch_mlp_64_sgd": lambda: digits(64, sgd),
    "torch_mlp_512_sgd": lambda: digits(512, sgd),
    "torch_mlp_64_adam": lambda: digits(64, adam),
}
tasks = {name: lazily(make) for name, make in STEPS.items()}
for name, make in STEPS.items():
    tasks[name + "_memory"] = growth(lambda: few(tiny), lambda make=make: few(make))
serve(tasks)
