"""The training step of bench/cnn.c in PyTorch."""
import torch

from beside import few, growth, lazily, serve

BATCH = 64


def cnn():
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)
    loss = nn.CrossEntropyLoss()
    x, labels = torch.rand(BATCH, 1, 28, 28) * 2 - 1, torch.arange(BATCH) * 7 % 10

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss(model(x), labels).backward()
        optimiser.step()

    return run


serve({"torch_cnn_memory": growth(lambda: None, lambda: few(cnn())), "torch_cnn": lazily(cnn)})
