#include "nn/check/functions.h"

#include <math.h>

typedef const ac_call *call;

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

const char *ac_shape_words(ag_shape shape, char *text, size_t size) {
    if (shape.rank == 0) snprintf(text, size, "a number");
    else if (shape.rank == 1) snprintf(text, size, "a vector of length %lld", (long long)shape.dim[0]);
    else snprintf(text, size, "a %lld x %lld matrix", (long long)shape.dim[0], (long long)shape.dim[1]);
    return text;
}

static int rank_of(ag_var x) { return ag_shape_of(x).rank; }
static int64_t dim_of(ag_var x, int i) { return ag_shape_of(x).dim[i]; }

static bool same_shape(ag_var x, ag_var y) {
    ag_shape a = ag_shape_of(x), b = ag_shape_of(y);
    return a.rank == b.rank && (a.rank < 1 || a.dim[0] == b.dim[0]) && (a.rank < 2 || a.dim[1] == b.dim[1]);
}

static ag_var fail(call c, const char *what, const char *wanted) {
    char shape[80];
    ac_fail(c->error, c->node->span, "%s takes %s, not %s", what, wanted,
            ac_shape_words(ag_shape_of(c->x[0]), shape, 80));
    return ag_num(NAN);
}

static ag_var fail_pair(call c, const char *what) {
    char left[80], right[80];
    ac_fail(c->error, c->node->span, "%s: %s and %s do not fit", what, ac_shape_words(ag_shape_of(c->x[0]), left, 80),
            ac_shape_words(ag_shape_of(c->x[1]), right, 80));
    return ag_num(NAN);
}

static ag_var flat(ag_var x) { return rank_of(x) < 2 ? x : ag_reshape(x, AG_SHAPE(-1)); }

/* Does the result stay below the limit? */
static bool fits(call c, double count) {
    return count <= AC_MAX_NUMBERS ||
           ac_fail(c->error, c->node->span, "a value of %.0f numbers, more than the limit of %d", count,
                   AC_MAX_NUMBERS);
}

bool ac_whole(call c, int operand, const char *what, int64_t lo, int64_t hi, int64_t *number) {
    ag_var x = c->x[operand];
    ac_span span = c->node->operands[operand]->span;
    char shape[80];
    if (rank_of(x) != 0)
        return ac_fail(c->error, span, "%s is %s, not a whole number", what, ac_shape_words(ag_shape_of(x), shape, 80));
    double value = ag_value(x);
    if (!(value >= (double)lo && value <= (double)hi) || value != floor(value))
        return ac_fail(c->error, span, "%s is %.15g, not a whole number from %lld to %lld", what, value, (long long)lo,
                       (long long)hi);
    *number = (int64_t)value;
    return !c->tracing || ag_guard(ag_eq(x, value), what);
}

/* ---- operators -------------------------------------------------------------------------------------------------- */

ag_var ac_transpose(ag_var x) {
    if (rank_of(x) == 0) return x;
    return rank_of(x) == 1 ? ag_unsqueeze(x, 0) : ag_transpose(x);
}

static bool matmul_fits(ag_var x, ag_var y) {
    int m = rank_of(x), n = rank_of(y);
    return m > 0 && n > 0 && (m > 1 || n > 1) && dim_of(x, m - 1) == dim_of(y, 0);
}

ag_var ac_binary(call c) {
    static const struct {
        const char *words;
        ag_opcode op;
    } operators[] = {{"+", AG_ADD}, {"-", AG_SUB}, {"*", AG_MUL}, {"/", AG_DIV}, {"@", AG_MUL}, {"^", AG_POW}};
    ag_var x = c->x[0], y = c->x[1];
    int i = (int)c->node->kind - AC_ADD;
    if (c->node->kind == AC_POWER && c->node->operands[1]->kind == AC_NUMBER && *c->node->operands[1]->values == 2)
        return ag_square(x); /* what most powers are, at a tenth of pow's cost */
    if (rank_of(x) == 0 || rank_of(y) == 0 || same_shape(x, y)) return ag_apply2_(operators[i].op, x, y);
    fail_pair(c, operators[i].words);
    if (c->node->kind == AC_MULTIPLY && matmul_fits(x, y)) ac_hint(c->error, "did you mean @, the matrix product?");
    return ag_num(NAN);
}

static void hint_transpose(call c) {
    ag_var x = c->x[0], y = c->x[1];
    if (rank_of(x) == 2 && dim_of(x, 0) == dim_of(y, 0))
        ac_hint(c->error, "did you mean the transpose ' of the left one?");
    else if (rank_of(y) == 2 && dim_of(x, rank_of(x) - 1) == dim_of(y, 1))
        ac_hint(c->error, "did you mean the transpose ' of the right one?");
    else if (same_shape(x, y)) ac_hint(c->error, "did you mean *, entry by entry?");
}

/* A vector is a column on the right of a matrix and a row on its left; v @ w' is the outer product. */
ag_var ac_matmul(call c) {
    ag_var x = c->x[0], y = c->x[1];
    int m = rank_of(x), n = rank_of(y);
    if (m == 0 || n == 0) {
        fail_pair(c, "@");
        ac_hint(c->error, "did you mean *?");
        return ag_num(NAN);
    }
    bool row = n == 2 && dim_of(y, 0) == 1, written = c->node->operands[1]->kind == AC_TRANSPOSE;
    double count = (m == 2 ? (double)dim_of(x, 0)
                    : row  ? (double)dim_of(x, 0)
                           : 1) *
                   (n == 2 ? (double)dim_of(y, 1) : 1);
    if (!fits(c, count)) return ag_num(NAN);
    if (m == 1 && row && (written || dim_of(x, 0) != 1)) return ag_outer(x, ag_reshape(y, AG_SHAPE(-1)));
    if (dim_of(x, m - 1) == dim_of(y, 0)) return ag_matmul(x, y);
    fail_pair(c, "@");
    hint_transpose(c);
    return ag_num(NAN);
}

/* ---- along a dimension ------------------------------------------------------------------------------------------ */

/* The axis that dimension 1 (down the columns) or 2 (along each row) stands for. */
static bool read_axis(call c, int *axis) {
    int64_t dimension;
    int rank = rank_of(c->x[0]);
    if (rank == 0) {
        fail(c, c->node->function->name, "a vector or matrix where a dimension is given");
        return false;
    }
    if (!ac_whole(c, 1, "the dimension", 1, rank, &dimension)) return false;
    *axis = (int)dimension - 1;
    return true;
}

static ag_var reduce(call c, ag_var (*over)(ag_var x, ag_axes axes, bool keep)) {
    int axis;
    if (c->n == 1) return over(c->x[0], ag_all_(), false);
    return read_axis(c, &axis) ? over(c->x[0], AG_AXES(axis), false) : ag_num(NAN);
}
static ag_var record_sum(call c) { return reduce(c, ag_sum_over); }
static ag_var record_mean(call c) { return reduce(c, ag_mean_over); }
static ag_var record_prod(call c) { return reduce(c, ag_prod_over); }
static ag_var record_norm(call c) { return reduce(c, ag_norm_over); }
static ag_var record_logsumexp(call c) { return reduce(c, ag_logsumexp_over); }

static ag_var record_softmax(call c) {
    int axis;
    ag_var x = c->x[0];
    if (rank_of(x) == 0) return fail(c, "softmax", "a vector or matrix");
    if (c->n == 2) return read_axis(c, &axis) ? ag_softmax(x, axis) : ag_num(NAN);
    return rank_of(x) == 1 ? ag_softmax(x, 0) : ag_reshape(ag_softmax(flat(x), 0), ag_shape_of(x));
}

static ag_var extreme(call c, ag_opcode op, ag_var (*over)(ag_var x, ag_axes axes, bool keep)) {
    if (c->n == 1) return over(c->x[0], ag_all_(), false);
    if (rank_of(c->x[0]) > 0 && rank_of(c->x[1]) > 0 && !same_shape(c->x[0], c->x[1]))
        return fail_pair(c, c->node->function->name);
    return ag_apply2_(op, c->x[0], c->x[1]);
}
static ag_var record_min(call c) { return extreme(c, AG_MIN, ag_min_over); }
static ag_var record_max(call c) { return extreme(c, AG_MAX, ag_max_over); }

/* ---- vectors and matrices --------------------------------------------------------------------------------------- */

static ag_var record_dot(call c) {
    if (!same_shape(c->x[0], c->x[1])) return fail_pair(c, "dot");
    return rank_of(c->x[0]) == 0 ? ag_mul(c->x[0], c->x[1]) : ag_vdot(c->x[0], c->x[1]);
}

static ag_var record_outer(call c) {
    if (rank_of(c->x[0]) != 1 || rank_of(c->x[1]) != 1) return fail_pair(c, "outer takes two vectors");
    return fits(c, (double)dim_of(c->x[0], 0) * (double)dim_of(c->x[1], 0)) ? ag_outer(c->x[0], c->x[1]) : ag_num(NAN);
}

/* Of a square matrix. */
static ag_var square(call c, ag_var (*record)(ag_var x)) {
    ag_var x = c->x[0];
    if (rank_of(x) != 2 || dim_of(x, 0) != dim_of(x, 1)) return fail(c, c->node->function->name, "a square matrix");
    return record(x);
}
static ag_var record_trace(call c) { return square(c, ag_trace); }

/* Where a determinant is no normal number, its derivative takes singular values: minutes for large matrices. */
static ag_var record_det(call c) {
    ag_var x = c->x[0];
    if (rank_of(x) < 2 || dim_of(x, 0) <= AC_MAX_DET) return square(c, ag_det);
    ac_fail(c->error, c->node->span, "det of %lld rows, more than the limit of %d", (long long)dim_of(x, 0),
            AC_MAX_DET);
    return ag_num(NAN);
}

static ag_var record_inverse(call c) { return square(c, ag_inverse); }

static ag_var record_diag(call c) {
    ag_var x = c->x[0];
    if (rank_of(x) == 0) return fail(c, "diag", "a vector or matrix");
    if (rank_of(x) == 2) return ag_diagonal(x);
    int64_t n = dim_of(x, 0);
    return fits(c, (double)n * (double)n) ? ag_mul(ag_eye(c->tape, n), ag_unsqueeze(x, 0)) : ag_num(NAN);
}

static ag_var record_transpose(call c) { return ac_transpose(c->x[0]); }

static ag_var record_len(call c) {
    if (rank_of(c->x[0]) == 0) return fail(c, "len", "a vector or matrix");
    return ag_constant(c->tape, (double)dim_of(c->x[0], 0));
}

/* ---- constants -------------------------------------------------------------------------------------------------- */

static ag_var filled(call c, double value) {
    ag_shape shape = {c->n, {0}};
    for (int i = 0; i < c->n; i++)
        if (!ac_whole(c, i, "a length", 1, AC_MAX_NUMBERS, &shape.dim[i])) return ag_num(NAN);
    if (!fits(c, (double)shape.dim[0] * (c->n > 1 ? (double)shape.dim[1] : 1))) return ag_num(NAN);
    return ag_full(c->tape, value, shape);
}
static ag_var record_ones(call c) { return filled(c, 1); }
static ag_var record_zeros(call c) { return filled(c, 0); }

static ag_var record_eye(call c) {
    int64_t n;
    return ac_whole(c, 0, "a length", 1, 2048, &n) ? ag_eye(c->tape, n) : ag_num(NAN);
}

static ag_var record_onehot(call c) {
    int64_t i, k;
    if (!ac_whole(c, 1, "the length", 1, AC_MAX_NUMBERS, &k) || !ac_whole(c, 0, "the position", 1, k, &i))
        return ag_num(NAN);
    i--;
    return ag_reshape(ag_one_hot(c->tape, &i, 1, k), AG_SHAPE(k));
}

/* ---- losses ----------------------------------------------------------------------------------------------------- */

/* y ln p, which is 0 for y = 0, for p = 0 too. */
static ag_var weighted_log(ag_var y, ag_var p) { return ag_chain(y, ag_log(p)); }

static bool is_pair(call c) { return rank_of(c->x[0]) == 0 || rank_of(c->x[1]) == 0 || same_shape(c->x[0], c->x[1]); }

static ag_var record_cross_entropy(call c) {
    if (!same_shape(c->x[0], c->x[1])) return fail_pair(c, "cross_entropy");
    return ag_neg(ag_sum(weighted_log(c->x[1], c->x[0])));
}

static ag_var record_bce(call c) {
    ag_var p = c->x[0], y = c->x[1];
    if (!is_pair(c)) return fail_pair(c, "bce");
    return ag_neg(ag_mean(ag_add(weighted_log(y, p), weighted_log(ag_sub(1, y), ag_sub(1, p)))));
}

static ag_var record_mse(call c) {
    if (!is_pair(c)) return fail_pair(c, "mse");
    return ag_mean(ag_square(ag_sub(c->x[0], c->x[1])));
}

static ag_var record_atan2(call c) { return is_pair(c) ? ag_atan2(c->x[0], c->x[1]) : fail_pair(c, "atan2"); }
static ag_var record_hypot(call c) { return is_pair(c) ? ag_hypot(c->x[0], c->x[1]) : fail_pair(c, "hypot"); }

/* ---- the table -------------------------------------------------------------------------------------------------- */

#define ENTRYWISE(name, function)                                                                                      \
    { name, name "(x)", 1, 1, function, NULL }
static const ac_function functions[] = {
    ENTRYWISE("exp", ag_exp),
    ENTRYWISE("ln", ag_log),
    ENTRYWISE("log", ag_log),
    ENTRYWISE("log10", ag_log10),
    ENTRYWISE("log2", ag_log2),
    ENTRYWISE("sqrt", ag_sqrt),
    ENTRYWISE("abs", ag_abs),
    ENTRYWISE("sign", ag_sign),
    ENTRYWISE("sin", ag_sin),
    ENTRYWISE("cos", ag_cos),
    ENTRYWISE("tan", ag_tan),
    ENTRYWISE("asin", ag_asin),
    ENTRYWISE("acos", ag_acos),
    ENTRYWISE("atan", ag_atan),
    ENTRYWISE("sinh", ag_sinh),
    ENTRYWISE("cosh", ag_cosh),
    ENTRYWISE("tanh", ag_tanh),
    ENTRYWISE("sigmoid", ag_sigmoid),
    ENTRYWISE("softplus", ag_softplus),
    ENTRYWISE("relu", ag_relu),
    ENTRYWISE("gelu", ag_gelu),
    ENTRYWISE("erf", ag_erf),
    ENTRYWISE("lgamma", ag_lgamma),
    ENTRYWISE("expm1", ag_expm1),
    ENTRYWISE("log1p", ag_log1p),
    ENTRYWISE("erfc", ag_erfc),
    ENTRYWISE("digamma", ag_digamma),
    ENTRYWISE("silu", ag_silu),
    ENTRYWISE("mish", ag_mish),
    {"atan2", "atan2(y, x)", 2, 2, NULL, record_atan2},
    {"hypot", "hypot(x, y)", 2, 2, NULL, record_hypot},
    {"min", "min(v) or min(x, y)", 1, 2, NULL, record_min},
    {"max", "max(v) or max(x, y)", 1, 2, NULL, record_max},
    {"softmax", "softmax(z) or softmax(M, dimension)", 1, 2, NULL, record_softmax},
    {"logsumexp", "logsumexp(z) or logsumexp(M, dimension)", 1, 2, NULL, record_logsumexp},
    {"sum", "sum(x) or sum(M, dimension)", 1, 2, NULL, record_sum},
    {"mean", "mean(x) or mean(M, dimension)", 1, 2, NULL, record_mean},
    {"prod", "prod(x) or prod(M, dimension)", 1, 2, NULL, record_prod},
    {"norm", "norm(x) or norm(M, dimension)", 1, 2, NULL, record_norm},
    {"dot", "dot(u, v)", 2, 2, NULL, record_dot},
    {"outer", "outer(u, v)", 2, 2, NULL, record_outer},
    {"trace", "trace(M)", 1, 1, NULL, record_trace},
    {"det", "det(M)", 1, 1, NULL, record_det},
    {"inv", "inv(M)", 1, 1, NULL, record_inverse},
    {"diag", "diag(v) or diag(M)", 1, 1, NULL, record_diag},
    {"transpose", "transpose(M)", 1, 1, NULL, record_transpose},
    {"ones", "ones(n) or ones(m, n)", 1, 2, NULL, record_ones},
    {"zeros", "zeros(n) or zeros(m, n)", 1, 2, NULL, record_zeros},
    {"eye", "eye(n)", 1, 1, NULL, record_eye},
    {"onehot", "onehot(i, k): entry i of k is 1", 2, 2, NULL, record_onehot},
    {"cross_entropy", "cross_entropy(p, y)", 2, 2, NULL, record_cross_entropy},
    {"bce", "bce(p, y)", 2, 2, NULL, record_bce},
    {"mse", "mse(p, y)", 2, 2, NULL, record_mse},
    {"len", "len(v)", 1, 1, NULL, record_len},
};
enum { FUNCTIONS = (int)(sizeof functions / sizeof functions[0]) };

const ac_function *ac_functions(int *count) {
    *count = FUNCTIONS;
    return functions;
}

static bool is_word(const char *word, size_t length, const char *name) {
    return strlen(name) == length && memcmp(name, word, length) == 0;
}

const ac_function *ac_function_find(const char *name, size_t length) {
    for (int i = 0; i < FUNCTIONS; i++)
        if (is_word(name, length, functions[i].name)) return &functions[i];
    return NULL;
}

ag_var ac_function_apply(call c) {
    const ac_function *f = c->node->function;
    return f->elementwise != NULL ? f->elementwise(c->x[0]) : f->record(c);
}

/* ---- words that are alike --------------------------------------------------------------------------------------- */

static const char *const keywords[] = {"check", "show", "within", "from", "grad", "jac", "hess", "solve"};
enum { KEYWORDS = (int)(sizeof keywords / sizeof keywords[0]) };

bool ac_is_keyword(const char *name, size_t length) {
    for (int i = 0; i < KEYWORDS; i++)
        if (is_word(name, length, keywords[i])) return true;
    return false;
}

static int least(int a, int b) { return a < b ? a : b; }

/* Insertions, deletions, changes and swaps of neighbours between two short words (optimal string alignment); case counts
 * for nothing. */
static int distance(const char *a, size_t m, const char *b, size_t n) {
    enum { LONGEST = 32 };
    int rows[3][LONGEST + 1];
    if (m > LONGEST || n > LONGEST) return LONGEST;
    for (size_t j = 0; j <= n; j++) rows[0][j] = (int)j;
    for (size_t i = 1; i <= m; i++) {
        int *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int change = (a[i - 1] | 32) != (b[j - 1] | 32);
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return rows[m % 3][n];
}

/* The nearest so far, if a name is near enough: one difference in three letters. */
static void consider(const char *word, size_t length, const char *name, int *best, const char **similar) {
    int d = distance(word, length, name, strlen(name));
    if (d < *best && 3 * d <= (int)length + 1 && (int)length > d) {
        *best = d;
        *similar = name;
    }
}

const char *ac_similar(const char *word, size_t length, ac_symbol *const *symbols, int count) {
    const char *similar = NULL;
    int best = 4;
    for (int i = 0; i < count; i++) consider(word, length, symbols[i]->name, &best, &similar);
    for (int i = 0; i < FUNCTIONS; i++) consider(word, length, functions[i].name, &best, &similar);
    for (int i = 0; i < KEYWORDS; i++) consider(word, length, keywords[i], &best, &similar);
    return similar;
}
