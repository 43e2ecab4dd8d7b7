"""What bench/conv.c, bench/cnn.c and bench/image_operations.c measure, in PyTorch: milliseconds on one thread, medians.

Run it right before or after them: machines are noisy."""
import time
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(0)


def median(f, rounds=15):
    for _ in range(3):
        f()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        f()
        times.append(time.process_time() - start)
    return sorted(times)[rounds // 2] * 1e3


def both(layer, x):
    """Forward, and forward with reverse."""
    seed = torch.randn_like(layer(x))

    def run():
        x.grad = None
        layer.zero_grad()
        layer(x).backward(seed)

    return median(lambda: layer(x)), median(run)




print(f"{'PyTorch ' + torch.__version__:46} {'forward':>12} {'reverse':>12} {'total':>12}")
for i, o, side, k, s in [(1, 32, 28, 3, 1), (32, 64, 14, 3, 1), (64, 64, 28, 3, 1), (64, 128, 28, 3, 2), (128, 128, 14, 1, 1), (16, 16, 32, 5, 1)]:
    x = torch.randn(64, i, side, side, requires_grad=i > 1)
    forward, total = both(nn.Conv2d(i, o, k, padding=k // 2, stride=s), x)
    print(f"{f'{i} -> {o}, {k} x {k} by {s}, {side} x {side}':46} {forward:12.3f} {total - forward:12.3f} {total:12.3f}")
for name, layer, shape in [
    ("max pool 2 x 2", nn.MaxPool2d(2), (64, 32, 28, 28)),
    ("max pool 3 x 3 by 2", nn.MaxPool2d(3, 2, 1), (64, 32, 28, 28)),
    ("mean pool 2 x 2", nn.AvgPool2d(2), (64, 32, 28, 28)),
    ("dropout", nn.Dropout(0.5), (64, 32, 28, 28)),
    ("batch norm", nn.BatchNorm2d(32), (64, 32, 28, 28)),
    ("layer norm", nn.LayerNorm(128), (768, 128)),
]:
    forward, total = both(layer, torch.randn(*shape, requires_grad=True))
    print(f"{f'{name}, {shape}':46} {forward:12.3f} {total - forward:12.3f} {total:12.3f}")

net = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
adam = torch.optim.Adam(net.parameters())
images, labels = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))


def step():
    adam.zero_grad()
    F.cross_entropy(net(images), labels).backward()
    adam.step()


print(f"{'convolutional network, a step':46} {'':12} {'':12} {median(step):12.3f}")
