/* Losses of vectors that are to be like or unlike each other. */
#include "nn/losses/checks.h"

static ag_var sum_rows(ag_var x) { return ag_sum_over(x, AG_AXES(-1), false); }

ag_var nn_cosine_embedding(ag_var x, ag_var y, ag_var targets, double margin) {
    const double epsilon = 1e-12; /* PyTorch's, below the root */
    if (!nn_comparable("cosine_embedding", x, y) || !nn_one_a_row("cosine_embedding", "targets", targets, x))
        return nn_inert(x);
    targets = nn_among("cosine_embedding", x, targets, -1, 1);
    ag_var lengths = ag_mul(ag_add(sum_rows(ag_square(x)), epsilon), ag_add(sum_rows(ag_square(y)), epsilon));
    ag_var cosine = ag_div(sum_rows(ag_mul(x, y)), ag_sqrt(lengths));
    return ag_mean(ag_select(ag_gt(targets, 0), ag_sub(1, cosine), ag_relu(ag_sub(cosine, margin))));
}

/* |x - y + epsilon|, which has a derivative at x = y. */
static ag_var shifted_distance(ag_var x, ag_var y) {
    const double epsilon = 1e-6; /* PyTorch's */
    return ag_norm_over(ag_add(ag_sub(x, y), epsilon), AG_AXES(-1), false);
}

ag_var nn_triplet(ag_var x, ag_var like, ag_var unlike, double margin) {
    if (!nn_comparable("triplet", x, like) || !nn_comparable("triplet", x, unlike)) return nn_inert(x);
    ag_var difference = ag_sub(shifted_distance(x, like), shifted_distance(x, unlike));
    return ag_mean(ag_relu(ag_add(difference, margin)));
}

ag_var nn_contrastive(ag_var x, ag_var y, ag_var targets, double margin) {
    if (!nn_comparable("contrastive", x, y) || !nn_one_a_row("contrastive", "targets", targets, x)) return nn_inert(x);
    targets = nn_among("contrastive", x, targets, 0, 1);
    ag_var difference = ag_sub(x, y), distance = ag_norm_over(difference, AG_AXES(-1), false);
    ag_var unlike = ag_square(ag_relu(ag_sub(margin, distance)));
    return ag_mean(ag_mul(0.5, ag_select(ag_gt(targets, 0.5), sum_rows(ag_square(difference)), unlike)));
}
