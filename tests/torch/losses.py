#!/usr/bin/python3
"""Makes losses.ref: losses and their derivatives by PyTorch."""
import torch
import torch.nn.functional as F
from reference import Reference, leaf

r = Reference("losses")


def pair(case, function, x=None, y=None, targets_vary=True):
    x = leaf(4, 3) if x is None else x
    y = leaf(4, 3) if y is None else y
    constants = {} if targets_vary else {"y": y}
    inputs = {"x": x, "y": y} if targets_vary else {"x": x}
    r.case(case, inputs, function(x, y), constants=constants)


pair("mse", F.mse_loss)
pair("mae", F.l1_loss)
pair("huber", lambda x, y: F.huber_loss(x, y, delta=0.7))
pair("smooth_l1", lambda x, y: F.smooth_l1_loss(x, y, beta=0.7))
pair("kl", lambda x, y: F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction="batchmean"))
pair("soft", lambda x, y: F.cross_entropy(x, F.softmax(y, 1)))

signs = torch.tensor([1.0, -1, 1, -1, 1, -1])
yes = torch.tensor([[1.0, 0, 1], [0, 1, 0.25], [0, 0, 1], [1, 1, 0]])
positive = torch.tensor([3.0, 0.5, 2])
pair("bce", F.binary_cross_entropy_with_logits, y=yes, targets_vary=False)
x = leaf(4, 3)
r.case("bce_weighted", {"x": x}, F.binary_cross_entropy_with_logits(x, yes, pos_weight=positive),
       constants={"y": yes, "positive": positive})
x = leaf(6)
r.case("hinge", {"x": x}, F.margin_ranking_loss(x, torch.zeros(6), signs, margin=1), constants={"y": signs})

labels = torch.tensor([2, 0, 3, 1, 2, 4])
ignored = torch.tensor([2, -100, 3, 1, 0, 4])
weights = torch.rand(5) + 0.5
for case, target, options in [
    ("plain", labels, {}),
    ("weights", labels, {"weight": weights}),
    ("smoothing", labels, {"label_smoothing": 0.2}),
    ("ignored", ignored, {"ignore_index": -100}),
    ("ignored_0", labels, {"ignore_index": 0}),
    ("all", ignored, {"weight": weights, "label_smoothing": 0.3, "ignore_index": -100}),
]:
    x = leaf(6, 5)
    constants = {"labels": target, "weights": weights}
    r.case("cross_entropy_" + case, {"x": x}, F.cross_entropy(x, target, **options), constants=constants)
    if "label_smoothing" not in options:
        r.case("nll_" + case, {"x": x}, F.nll_loss(F.log_softmax(x, 1), target, **options), constants=constants)

x = leaf(2, 3, 5)  # rows of rows: here the classes are last, in PyTorch second
r.case("cross_entropy_rows", {"x": x}, F.cross_entropy(x.transpose(1, 2), labels.reshape(2, 3)),
       constants={"labels": labels.reshape(2, 3)})

a, b, c = leaf(6, 4), leaf(6, 4), leaf(6, 4)
r.case("cosine_embedding", {"x": a, "y": b}, F.cosine_embedding_loss(a, b, signs, margin=-0.2), constants={"t": signs})
r.case("triplet", {"x": a, "y": b, "z": c}, F.triplet_margin_loss(a, b, c, margin=0.8))
similar = (signs > 0).double()
distance = (a - b).norm(dim=1)
contrastive = (similar * distance**2 + (1 - similar) * F.relu(3.1 - distance) ** 2).mean() / 2
r.case("contrastive", {"x": a, "y": b}, contrastive, constants={"t": similar})

r.save()
