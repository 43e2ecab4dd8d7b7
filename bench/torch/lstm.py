"""The training steps of bench/lstm.c in PyTorch."""
import torch

from beside import few, growth, lazily, serve

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


def lstm():
    return recurrent(torch.nn.LSTM)


serve({
    "torch_lstm_memory": growth(lambda: None, lambda: few(lstm())),
    "torch_lstm": lazily(lstm),
    "torch_gru": lazily(lambda: recurrent(torch.nn.GRU)),
})
