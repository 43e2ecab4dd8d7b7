#include "nn/check/claim.h"

#include "nn/check/claim_impl.h"
#include "nn/compare.h"
#include "nn/optimise/kernels_impl.h"

#include <float.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

int64_t nn_shape_count(ag_shape shape) {
    int64_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= shape.dim[i];
    return count;
}

static inline double greater(double a, double b) { return a > b ? a : b; } /* fmax is a call */

static inline double tolerance_of(const nn_claim *claim, int64_t i) {
    if (claim->tolerance > 0) return claim->tolerance;
    if (claim->unit == NULL) return NN_TOLERANCE * greater(fabs(claim->right[i]), 1);
    double unit = claim->unit[i % nn_shape_count(claim->right_shape)], size = fabs(claim->claimed[i]);
    if (unit > 0) return unit * (1 + 1e-9) + NN_TOLERANCE * size; /* 0.35 - 0.34 is a little more than 0.01 */
    return NN_TOLERANCE * (size > 0 ? size : 1);
}

double nn_claim_tolerance(const nn_claim *claim, int64_t i) { return tolerance_of(claim, i); }

/* In terms of the tolerance: right up to 1. */
static inline double relative_error(const nn_claim *claim, int64_t i) {
    if (claim->claimed[i] == claim->right[i]) return 0;
    double error = fabs(claim->claimed[i] - claim->right[i]) / tolerance_of(claim, i);
    return isnan(error) ? INFINITY : error;
}

bool nn_claim_entry_holds(const nn_claim *claim, int64_t i) { return relative_error(claim, i) <= 1; }

/* Numbers from 0 up are in the order of their bits, infinity and NaN behind them. */
static int64_t bits(double x) {
    int64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

/* How far off an entry is, for the worst to be found: beyond what holds, to 28 bits. Where all are wrong by one factor, all
 * are as far off, and it is the first that is meant, not the one that rounding makes the last bits greatest for. */
static double rank(double ratio) {
    if (!(ratio > 2)) return ratio;
    int64_t b = (bits(ratio) + (1 << 23)) & ~(((int64_t)1 << 24) - 1);
    memcpy(&ratio, &b, sizeof b);
    return ratio;
}

/* Up to here a ratio is of no higher rank; products and quotients are rounded. */
static double end_of_rank(double rank) { return rank * (rank > 2 ? 1 + 0.9e-9 : 1 - 1e-15); }

bool nn_block_is_near(const double *x, const double *y, double c, double fixed, double relative) {
    return nn_kernels_for(AG_F64)->near(NN_BLOCK, x, y, c, fixed, relative);
}

/* May an entry of this block be further off than `ratio` times its tolerance (by a rule without units), or not finite? */
static bool has_worse(const nn_claim *claim, int64_t start, double ratio) {
    bool given = claim->tolerance > 0;
    return !nn_block_is_near(claim->claimed + start, claim->right + start, 1,
                             ratio * (given ? claim->tolerance : NN_TOLERANCE), given ? 0 : ratio * NN_TOLERANCE);
}

bool nn_claim_may_exceed(const nn_claim *claim, double ratio) {
    int64_t total = nn_shape_count(claim->right_shape) * claim->draws, i = 0;
    if (claim->unit != NULL || !nn_same_shape(claim->claimed_shape, claim->right_shape)) return true;
    ratio = end_of_rank(ratio);
    for (; i + NN_BLOCK <= total; i += NN_BLOCK)
        if (has_worse(claim, i, ratio)) return true;
    for (; i < total; i++)
        if (relative_error(claim, i) > ratio) return true;
    return false;
}

nn_comparison nn_claim_compare(const nn_claim *claim) {
    nn_comparison c;
    memset(&c, 0, sizeof c);
    c.same_shape = nn_same_shape(claim->claimed_shape, claim->right_shape);
    if (!c.same_shape) return c;
    int64_t count = nn_shape_count(claim->right_shape), total = count * claim->draws, worst = 0;
    c.ratio = -1;
    for (int64_t i = 0; i < total; i++) {
        bool whole = claim->unit == NULL && c.ratio >= 0 && i % NN_BLOCK == 0 && i + NN_BLOCK <= total;
        if (whole && !has_worse(claim, i, end_of_rank(c.ratio))) {
            i += NN_BLOCK - 1;
            continue;
        }
        double ratio = rank(relative_error(claim, i));
        if (ratio > c.ratio) {
            c.ratio = ratio;
            worst = i;
        }
    }
    c.holds = c.ratio <= 1;
    if (total == 0) return c;
    c.draw = (int)(worst / count);
    c.entry = worst % count;
    c.claimed = claim->claimed[worst];
    c.right = claim->right[worst];
    c.error = c.claimed == c.right ? 0 : fabs(c.claimed - c.right); /* infinity is itself */
    c.tolerance = nn_claim_tolerance(claim, worst);
    if (isinf(c.tolerance)) c.tolerance = 0;
    return c;
}

const char *nn_diagnosis_name(nn_diagnosis_kind kind) {
    static const char *const names[] = {
#define NN_X_(NAME, name) name,
        NN_DIAGNOSES(NN_X_)
#undef NN_X_
    };
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : "?";
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

void nn_text_add(char *text, size_t size, const char *format, ...) {
    size_t length = strlen(text);
    if (length + 1 >= size) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

int nn_digits_for(double x, double difference, int least) {
    char text[40];
    for (int digits = least; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (!(fabs(strtod(text, NULL) - x) > 0.1 * fabs(difference))) return digits;
    }
    return 17;
}

double nn_plain(double x) { return x == 0 ? 0 : isnan(x) ? (double)NAN : x; }

static void add_row(const double *x, int64_t n, int digits, char *text, size_t size) {
    for (int64_t i = 0; i < n; i++) nn_text_add(text, size, "%s%.*g", i == 0 ? "[" : ", ", digits, nn_plain(x[i]));
    nn_text_add(text, size, n == 0 ? "[]" : "]");
}

void nn_array_text(ag_shape shape, const double *x, int digits, char *text, size_t size) {
    if (size == 0) return;
    *text = '\0';
    if (shape.rank == 0) {
        nn_text_add(text, size, "%.*g", digits, nn_plain(*x));
    } else if (shape.rank == 1) {
        add_row(x, shape.dim[0], digits, text, size);
    } else if (shape.rank == 2) {
        for (int64_t i = 0; i < shape.dim[0]; i++) {
            nn_text_add(text, size, i == 0 ? "[" : ", ");
            add_row(x + i * shape.dim[1], shape.dim[1], digits, text, size);
        }
        nn_text_add(text, size, shape.dim[0] == 0 ? "[]" : "]");
    } else {
        nn_text_add(text, size, "[...]");
    }
}

void nn_shape_phrase(ag_shape shape, char *text, size_t size) {
    *text = '\0';
    if (shape.rank == 0) nn_text_add(text, size, "a number");
    else if (shape.rank == 1) nn_text_add(text, size, "a vector of length %" PRId64, shape.dim[0]);
    else
        for (int i = 0; i < shape.rank; i++) nn_text_add(text, size, i == 0 ? "%" PRId64 : " x %" PRId64, shape.dim[i]);
}
