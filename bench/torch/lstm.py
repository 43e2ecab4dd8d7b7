"""The training steps of bench/lstm.c in PyTorch."""
import torch

from beside import serve, start_peak

STEPS, BATCH, INPUTS, HIDDEN = 64, 16, 32, 128


def recurrent(layer):
    model = layer(INPUTS, HIDDEN)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)
    loss = torch.nn.MSELoss()
    x, target = torch.rand(STEPS, BATCH, INPUTS), torch.rand(STEPS, BATCH, HIDDEN)

    def run():
        optimiser.zero_grad(set_to_none=True)
        loss(model(x)[0], target).backward()
        optimiser.step()

    return run


class later:
    """Made when it is first run."""

    def __init__(self, make):
        self.make, self.run = make, None

    def __call__(self):
        if self.run is None:
            self.run = self.make()
        self.run()


before = start_peak()
serve({"torch_lstm": later(lambda: recurrent(torch.nn.LSTM)), "torch_gru": later(lambda: recurrent(torch.nn.GRU))},
      before)
