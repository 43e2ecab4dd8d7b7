/* Losses: scalars, the mean over all examples. */
#include "nn/shapes.h"

#include <inttypes.h>

/* Fails unless the targets have the predictions' shape, or are one plain number. */
static void compare_shapes(const char *what, ag_var predictions, ag_var targets) {
    if (targets.tape == NULL || predictions.tape == NULL || ag_is_inert(predictions) || ag_is_inert(targets)) return;
    ag_shape a = ag_shape_of(predictions), b = ag_shape_of(targets);
    if (nn_same_shape(a, b)) return;
    ag_fail(predictions.tape, AG_ERR_SHAPE, "%s: predictions have shape %s, targets %s; they must be equal", what,
            nn_show_shape(a).text, nn_show_shape(b).text);
}

ag_var nn_softmax_cross_entropy(ag_var logits, const int64_t *labels, int64_t n) {
    if (logits.tape != NULL && !ag_is_inert(logits)) {
        ag_shape shape = ag_shape_of(logits);
        if (shape.rank != 2 || shape.dim[0] != n)
            ag_fail(logits.tape, AG_ERR_SHAPE,
                    "softmax_cross_entropy: logits have shape %s; for %" PRId64 " labels it is (%" PRId64 ", classes)",
                    nn_show_shape(shape).text, n, n);
    }
    return ag_mean(ag_cross_entropy(logits, labels));
}

ag_var nn_softmax_cross_entropy_soft(ag_var logits, ag_var probabilities) {
    return ag_mean(ag_cross_entropy_soft(logits, probabilities));
}

ag_var nn_bce_logits(ag_var logits, ag_var targets) {
    compare_shapes("bce_logits", logits, targets);
    return ag_mean(ag_bce_logits(logits, targets));
}

ag_var nn_mse(ag_var predictions, ag_var targets) {
    compare_shapes("mse", predictions, targets);
    return ag_mean(ag_square(ag_sub(predictions, targets)));
}

ag_var nn_l2(const ag_var *xs, int n) {
    ag_var sum = ag_num(0);
    for (int i = 0; i < n; i++) {
        ag_var squares = ag_sum(ag_square(xs[i]));
        sum = i == 0 ? squares : ag_add(sum, squares);
    }
    return sum;
}
