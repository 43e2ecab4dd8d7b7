/* Losses of numbers, and penalties. */
#include "nn/losses/checks.h"

ag_var nn_mse(ag_var predictions, ag_var targets) {
    if (!nn_comparable("mse", predictions, targets)) return nn_inert(predictions);
    return ag_mean(ag_square(ag_sub(predictions, targets)));
}

ag_var nn_mae(ag_var predictions, ag_var targets) {
    if (!nn_comparable("mae", predictions, targets)) return nn_inert(predictions);
    return ag_mean(ag_abs(ag_sub(predictions, targets)));
}

/* With c the residual r cut off at +-delta, c (r - c / 2) is r^2 / 2 inside and delta (|r| - delta / 2) outside. */
static ag_var huber(const char *what, ag_var predictions, ag_var targets, double delta) {
    if (!nn_comparable(what, predictions, targets)) return nn_inert(predictions);
    if (!(delta > 0)) {
        ag_tape *tape = ag_tape_of(predictions) != NULL ? ag_tape_of(predictions) : ag_tape_of(targets);
        if (tape != NULL) ag_fail(tape, AG_ERR_VALUE, "%s: delta is %g, not above 0", what, delta);
        return nn_inert(predictions);
    }
    ag_var r = ag_sub(predictions, targets), c = ag_clip(r, -delta, delta);
    return ag_mean(ag_mul(c, ag_fnma(0.5, c, r)));
}

ag_var nn_huber(ag_var predictions, ag_var targets, double delta) {
    return huber("huber", predictions, targets, delta);
}

ag_var nn_smooth_l1(ag_var predictions, ag_var targets, double delta) {
    return ag_div(huber("smooth_l1", predictions, targets, delta), delta);
}

ag_var nn_l2(const ag_var *xs, int n) {
    ag_var sum = ag_num(0);
    if (xs == NULL && n > 0) return nn_inert(sum);
    for (int i = 0; i < n; i++) {
        ag_var squares = ag_sum(ag_square(xs[i]));
        sum = i == 0 ? squares : ag_add(sum, squares);
    }
    return sum;
}
