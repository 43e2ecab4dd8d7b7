#!/usr/bin/python3
"""Makes losses.ref: losses and their derivatives by PyTorch."""
import torch
import torch.nn.functional as F
from reference import Reference

r = Reference("losses")
signs = torch.tensor([1.0, -1, 1, -1, 1, -1])
yes = torch.tensor([[1.0, 0, 1], [0, 1, 0.25], [0, 0, 1], [1, 1, 0]])
positive = torch.tensor([3.0, 0.5, 2])
pair = {"x": (4, 3), "y": (4, 3)}

r.case("mse", F.mse_loss, pair)
r.case("mae", F.l1_loss, pair)
r.case("huber", lambda x, y: F.huber_loss(x, y, delta=0.7), pair)
r.case("smooth_l1", lambda x, y: F.smooth_l1_loss(x, y, beta=0.7), pair)
r.case("kl", lambda x, y: F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction="batchmean"), pair)
r.case("soft", lambda x, y: F.cross_entropy(x, F.softmax(y, 1)), pair)
r.case("bce", lambda x: F.binary_cross_entropy_with_logits(x, yes), {"x": (4, 3)}, y=yes)
r.case("bce_weighted", lambda x: F.binary_cross_entropy_with_logits(x, yes, pos_weight=positive), {"x": (4, 3)},
       y=yes, positive=positive)
r.case("hinge", lambda x: F.margin_ranking_loss(2 * x, torch.zeros(6), signs, margin=1), {"x": (6,)}, y=signs)

labels = torch.tensor([2, 0, 3, 1, 2, 4])
ignored = torch.tensor([2, -100, 3, 1, 0, 4])
weights = torch.tensor([0.5, 1.25, 0.75, 2, 1])
for case, target, options in [
    ("plain", labels, {}),
    ("weights", labels, {"weight": weights}),
    ("smoothing", labels, {"label_smoothing": 0.2}),
    ("ignored", ignored, {"ignore_index": -100}),
    ("ignored_0", labels, {"ignore_index": 0}),
    ("all", ignored, {"weight": weights, "label_smoothing": 0.3, "ignore_index": -100}),
]:
    constants = {"labels": target, "weights": weights}
    r.case("cross_entropy_" + case, lambda x: F.cross_entropy(x, target, **options), {"x": (6, 5)}, **constants)
    if "label_smoothing" not in options:
        r.case("nll_" + case, lambda x: F.nll_loss(F.log_softmax(x, 1), target, **options), {"x": (6, 5)}, **constants)

rows = labels.reshape(2, 3)  # rows of rows: here the classes are last, in PyTorch second
r.case("cross_entropy_rows", lambda x: F.cross_entropy(x.transpose(1, 2), rows), {"x": (2, 3, 5)}, labels=rows)

vectors = {"x": (6, 4), "y": (6, 4)}
r.case("cosine_embedding", lambda x, y: F.cosine_embedding_loss(x, y, signs, margin=-0.2), vectors, t=signs)
r.case("triplet", lambda x, y, z: F.triplet_margin_loss(x, y, z, margin=0.4), {**vectors, "z": (6, 4)})
similar = (signs > 0).double()


def contrastive(x, y):
    distance = (x - y).norm(dim=1)
    return (similar * distance**2 + (1 - similar) * F.relu(1.9 - distance) ** 2).mean() / 2


r.case("contrastive", contrastive, vectors, t=similar)

r.save()
