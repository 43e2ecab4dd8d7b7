/* What the first draw of a wrong law says about all of them. What explains all draws explains the first one: where nothing
 * can, nothing will, and where it is a multiple or the transpose, only that has to be seen at the others. So draws need not
 * be kept. All bounds leave room for what a draw does not know: the greatest number of the others, by which a diagnosis
 * decides how small a difference does not matter. */
#include "nn/check/claim_impl.h"
#include "nn/compare.h"

/* Differences matter among numbers of this size. */
static const double least_size = 1e-6;

static bool is_transpose(const nn_claim *claim, double fixed, double relative) {
    int64_t m = claim->claimed_shape.dim[1], n = claim->claimed_shape.dim[0];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double target = nn_right_at(claim, i * n + j), slack = relative * fabs(target);
            if (!nn_is_within(nn_claimed_at(claim, j * m + i), target, slack > fixed ? slack : fixed)) return false;
        }
    return true;
}

static bool is_multiple(const nn_claim *claim, double c, double fixed, double relative) {
    int64_t n = nn_shape_count(claim->right_shape), i = 0;
    for (; claim->base == NULL && i + NN_BLOCK <= n; i += NN_BLOCK)
        if (!nn_block_is_near(claim->claimed + i, claim->right + i, c, fixed, relative)) return false;
    for (; i < n; i++) {
        double target = c * nn_right_at(claim, i), slack = relative * fabs(target);
        if (!nn_is_within(nn_claimed_at(claim, i), target, slack > fixed ? slack : fixed)) return false;
    }
    return true;
}

bool nn_guess_fits(const nn_guess *guess, const nn_claim *claim) {
    if (guess->kind == NN_IS_TRANSPOSE) return is_transpose(claim, guess->slack, NN_TOLERANCE / 2);
    return guess->kind == NN_IS_NOTHING || is_multiple(claim, guess->factor, guess->slack, NN_TOLERANCE / 2);
}

/* The wrong entry whose right number is the greatest that is finite; -1 where so few are wrong that it may be a matter of
 * entries, or it is too small to tell anything by. */
static int64_t find_wrong(const nn_claim *claim) {
    int64_t n = nn_shape_count(claim->right_shape), wrong = 0, greatest = -1;
    double most = least_size;
    for (int64_t i = 0; i < n; i++) {
        if (nn_claim_entry_holds(claim, i)) continue;
        wrong++;
        double x = fabs(nn_right_at(claim, i));
        if (!isfinite(x) || x < most) continue;
        most = x;
        greatest = i;
    }
    return wrong > 1 && wrong > n / 3 ? greatest : -1;
}

/* May all wrong entries be one multiple of the right ones? That is near c, which the greatest of them says. */
static bool may_be_multiple(const nn_claim *claim, double c, int64_t greatest) {
    int64_t n = nn_shape_count(claim->right_shape);
    double slack = 4 * NN_TOLERANCE * fmax(1, fabs(nn_claimed_at(claim, greatest)));
    for (int64_t i = 0; i < n; i++) {
        double x = nn_claimed_at(claim, i), y = nn_right_at(claim, i);
        if (isfinite(x) && isfinite(y) && fabs(x - c * y) > slack && !nn_claim_entry_holds(claim, i)) return false;
    }
    return true;
}

static nn_guess guess_multiple(const nn_claim *claim, double fixed) {
    int64_t greatest = find_wrong(claim);
    double c = greatest < 0 ? NAN : nn_claimed_at(claim, greatest) / nn_right_at(claim, greatest);
    if (!isfinite(c)) return (nn_guess){.kind = NN_IS_ANYTHING};
    if (!may_be_multiple(claim, c, greatest)) return (nn_guess){.kind = NN_IS_NOTHING};
    return (nn_guess){is_multiple(claim, c, fixed, NN_TOLERANCE / 2) ? NN_IS_MULTIPLE : NN_IS_ANYTHING, c, fixed};
}

nn_guess nn_claim_guess(const nn_claim *claim) {
    const nn_guess anything = {.kind = NN_IS_ANYTHING}, nothing = {.kind = NN_IS_NOTHING};
    if (claim->unit != NULL || claim->tolerance > 0 || nn_shape_count(claim->right_shape) <= 1) return anything;
    double fixed = nn_claim_floor(claim) / 2; /* it is more, the more draws there are */
    bool turned = nn_is_turned(claim);
    if (turned && is_transpose(claim, fixed, NN_TOLERANCE / 2)) return (nn_guess){NN_IS_TRANSPOSE, 1, fixed};
    if (turned && is_transpose(claim, NN_TOLERANCE, NN_TOLERANCE)) return anything;
    return nn_same_shape(claim->right_shape, claim->claimed_shape) ? guess_multiple(claim, fixed) : nothing;
}

static bool is_as_guessed(const nn_guess *guess, double factor) {
    return fabs(factor - guess->factor) <= NN_TOLERANCE / 10 * fabs(guess->factor);
}

bool nn_guess_confirms(const nn_guess *guess, const nn_diagnosis *d) {
    switch (d->kind) {
    case NN_TRANSPOSE: return guess->kind == NN_IS_TRANSPOSE;
    case NN_SIGN: return guess->kind == NN_IS_MULTIPLE && is_as_guessed(guess, -1);
    case NN_LOG_BASE: return guess->kind == NN_IS_MULTIPLE && is_as_guessed(guess, d->factor);
    case NN_FACTOR: /* or of a term */
        return guess->kind == NN_IS_MULTIPLE ? is_as_guessed(guess, d->factor) : guess->kind == NN_IS_NOTHING;
    case NN_MISSING_FACTOR:
    case NN_OTHER_VARIABLE:
    case NN_MISSING_TERM:
    case NN_SHAPE:
    case NN_UNKNOWN: return guess->kind == NN_IS_NOTHING;
    default: return false;
    }
}
