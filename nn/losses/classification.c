/* Losses of classes, and of yes or no. */
#include "nn/losses/checks.h"

#include <inttypes.h>

/* ---- labels ------------------------------------------------------------------------------------------------------ */

/* Checks that the rows of logits (..., classes) are n. */
static bool has_rows(const char *what, ag_var logits, int64_t n) {
    if (ag_tape_of(logits) == NULL || ag_is_inert(logits)) return true;
    ag_shape shape = ag_shape_of(logits);
    int64_t rows = 1;
    for (int i = 0; i + 1 < shape.rank; i++) rows *= shape.dim[i];
    if (shape.rank > 1 && rows == n) return true;
    ag_fail(ag_tape_of(logits), AG_ERR_SHAPE,
            "%s: logits have shape %s; for %" PRId64 " labels it is (%" PRId64 ", classes)", what,
            nn_show_shape(shape).text, n, n);
    return false;
}

static bool check_options(const char *what, ag_var logits, const nn_class_options *options) {
    if (!(options->smoothing >= 0 && options->smoothing <= 1)) {
        ag_fail(ag_tape_of(logits), AG_ERR_VALUE, "%s: smoothing is %g, not 0 to 1", what, options->smoothing);
        return false;
    }
    if (ag_is_zero(options->weights) || ag_is_inert(options->weights)) return true;
    ag_shape shape = ag_shape_of(logits), weights = ag_shape_of(options->weights);
    if (weights.rank == 1 && weights.dim[0] == shape.dim[shape.rank - 1]) return true;
    ag_fail(ag_tape_of(logits), AG_ERR_SHAPE, "%s: logits have shape %s, weights of classes %s", what,
            nn_show_shape(shape).text, nn_show_shape(weights).text);
    return false;
}

/* Labels that are below 0 where the row does not count: the operation ignores those. */
static ag_var counted(ag_var labels, const nn_class_options *options) {
    return options->ignore ? ag_select(ag_ne(labels, (double)options->ignored), labels, -1) : labels;
}

/* The weight of each row in the mean: that of its class, or 0 where it does not count. Labels that are no class are an
 * error of looking this up, so it is looked up where all weights are 1, too. */
static ag_var row_weights(ag_var logits, ag_var labels, const nn_class_options *options) {
    ag_shape shape = ag_shape_of(logits);
    ag_var weights = options->weights;
    if (ag_is_zero(weights)) weights = ag_ones(ag_tape_of(logits), AG_SHAPE(shape.dim[shape.rank - 1]));
    if (!options->ignore) return ag_gather_at(weights, 0, labels);
    ag_var counts = ag_ne(labels, (double)options->ignored);
    return ag_mul(counts, ag_gather_at(weights, 0, ag_select(counts, labels, 0)));
}

/* The labels as a constant in the logits' shape without its last axis; inert after an error. */
static ag_var constant_labels(const char *what, ag_var logits, const int64_t *labels, int64_t n,
                              const nn_class_options *options) {
    ag_shape shape = ag_shape_of(logits);
    int64_t classes = shape.dim[--shape.rank];
    if (labels == NULL && n > 0) ag_fail(ag_tape_of(logits), AG_ERR_VALUE, "%s: no labels", what);
    ag_var x = ag_zeros(ag_tape_of(logits), shape);
    void *data = ag_data(x);
    for (int64_t i = 0; data != NULL && i < n; i++) {
        bool counts = !options->ignore || labels[i] != options->ignored;
        if (counts && (labels[i] < 0 || labels[i] >= classes)) {
            ag_fail(ag_tape_of(logits), AG_ERR_VALUE, "%s: label %" PRId64 " is %" PRId64 ", not 0 to %" PRId64, what,
                    i, labels[i], classes - 1);
            return nn_inert(logits);
        }
        if (ag_tape_type(ag_tape_of(x)) == AG_F64) ((double *)data)[i] = (double)labels[i];
        else ((float *)data)[i] = (float)labels[i];
    }
    return x;
}

/* ---- cross-entropy ----------------------------------------------------------------------------------------------- */

ag_var nn_softmax_cross_entropy(ag_var logits, const int64_t *labels, int64_t n) {
    if (!has_rows("softmax_cross_entropy", logits, n)) return nn_inert(logits);
    return ag_mean(ag_cross_entropy(logits, labels));
}

/* The sum over the rows that count of -log softmax(logits), times the classes' weights, averaged over the classes. */
static ag_var even(ag_var logits, ag_var labels, const nn_class_options *options) {
    ag_shape shape = ag_shape_of(logits);
    ag_var share = ag_unsqueeze(ag_mul(ag_ge(labels, 0), 1 / (double)shape.dim[shape.rank - 1]), -1);
    if (!ag_is_zero(options->weights)) share = ag_mul(share, options->weights);
    return ag_sum(ag_cross_entropy_soft(logits, ag_expand(share, shape)));
}

ag_var nn_softmax_cross_entropy_at(ag_var logits, ag_var labels, nn_class_options options) {
    const char *what = "softmax_cross_entropy";
    if (ag_tape_of(logits) == NULL || ag_is_inert(logits) || !nn_one_a_row(what, "labels", labels, logits) ||
        !check_options(what, logits, &options))
        return nn_inert(logits);
    ag_var kept = counted(labels, &options), rows = ag_cross_entropy_at(logits, kept);
    ag_var weights = row_weights(logits, labels, &options), total = ag_sum(weights);
    ag_var sum = ag_is_zero(options.weights) ? ag_sum(rows) : ag_vdot(rows, weights);
    if (options.smoothing > 0)
        sum = ag_fma(1 - options.smoothing, sum, ag_mul(options.smoothing, even(logits, kept, &options)));
    return ag_div(sum, total);
}

ag_var nn_softmax_cross_entropy_with(ag_var logits, const int64_t *labels, int64_t n, nn_class_options options) {
    const char *what = "softmax_cross_entropy";
    if (ag_tape_of(logits) == NULL || ag_is_inert(logits) || !has_rows(what, logits, n)) return nn_inert(logits);
    return nn_softmax_cross_entropy_at(logits, constant_labels(what, logits, labels, n, &options), options);
}

ag_var nn_softmax_cross_entropy_soft(ag_var logits, ag_var probabilities) {
    return ag_mean(ag_cross_entropy_soft(logits, probabilities));
}

ag_var nn_nll_at(ag_var log_probabilities, ag_var labels, nn_class_options options) {
    const char *what = "nll";
    if (options.smoothing != 0) {
        ag_fail(ag_tape_of(log_probabilities), AG_ERR_VALUE,
                "%s: smoothing is %g; it has none, see nn_softmax_cross_entropy_with", what, options.smoothing);
        return nn_inert(log_probabilities);
    }
    if (ag_tape_of(log_probabilities) == NULL || ag_is_inert(log_probabilities) ||
        !nn_one_a_row(what, "labels", labels, log_probabilities) || !check_options(what, log_probabilities, &options))
        return nn_inert(log_probabilities);
    ag_shape shape = ag_shape_of(log_probabilities);
    ag_var total = ag_sum(row_weights(log_probabilities, labels, &options));
    ag_var classes = ag_arange(ag_tape_of(log_probabilities), 0, 1, shape.dim[shape.rank - 1]);
    ag_var targets = ag_eq(ag_unsqueeze(counted(labels, &options), -1), classes);
    if (!ag_is_zero(options.weights)) targets = ag_mul(targets, options.weights);
    return ag_neg(ag_div(ag_sum(ag_chain(log_probabilities, targets)), total));
}

ag_var nn_nll(ag_var log_probabilities, const int64_t *labels, int64_t n, nn_class_options options) {
    if (ag_tape_of(log_probabilities) == NULL || ag_is_inert(log_probabilities) ||
        !has_rows("nll", log_probabilities, n))
        return nn_inert(log_probabilities);
    return nn_nll_at(log_probabilities, constant_labels("nll", log_probabilities, labels, n, &options), options);
}

ag_var nn_kl(ag_var log_probabilities, ag_var targets) {
    if (!nn_comparable("kl", log_probabilities, targets)) return nn_inert(log_probabilities);
    ag_var terms = ag_chain(targets, ag_sub(ag_log(targets), log_probabilities));
    return ag_mean(ag_sum_over(terms, AG_AXES(-1), false));
}

/* ---- yes or no --------------------------------------------------------------------------------------------------- */

ag_var nn_bce_logits(ag_var logits, ag_var targets) {
    if (!nn_comparable("bce_logits", logits, targets)) return nn_inert(logits);
    return ag_mean(ag_bce_logits(logits, targets));
}

/* (1 - y) z + (1 + (positive - 1) y) softplus(-z) */
ag_var nn_bce_logits_weighted(ag_var logits, ag_var targets, ag_var positive) {
    if (!nn_comparable("bce_logits", logits, targets)) return nn_inert(logits);
    ag_var weight = ag_fma(ag_sub(positive, 1), targets, 1);
    ag_var loss = ag_fma(weight, ag_softplus(ag_neg(logits)), ag_mul(ag_sub(1, targets), logits));
    if (ag_tape_of(loss) != NULL && !ag_is_inert(loss) && ag_count(loss) != ag_count(logits)) {
        ag_fail(ag_tape_of(loss), AG_ERR_SHAPE, "bce_logits: logits have shape %s, weights of positives %s",
                nn_show_shape(ag_shape_of(logits)).text, nn_show_shape(ag_shape_of(positive)).text);
        return nn_inert(loss);
    }
    return ag_mean(loss);
}

ag_var nn_hinge(ag_var scores, ag_var targets) {
    if (!nn_comparable("hinge", scores, targets)) return nn_inert(scores);
    targets = nn_among("hinge", scores, targets, -1, 1);
    return ag_mean(ag_relu(ag_fnma(targets, scores, 1)));
}
