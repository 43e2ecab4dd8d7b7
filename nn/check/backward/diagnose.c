/* What is wrong with a gradient, from what is known about its backward function: first what every claim is tried for
 * (nn_claim_diagnose); then a factor that was forgotten, the gradient of another input, a term that was forgotten. */
#include "nn/check/backward/backward_impl.h"
#include "nn/compare.h"

#include <math.h>

/* The gradient by input i, as a claim. */
typedef struct subject {
    nn_backward_check *c;
    int i;
    const nn_claim *claim;
    ag_shape shape;
    int64_t count;
} subject;

/* An array that may be a factor, with a table of its values: an input, an output or an output gradient. */
typedef struct candidate {
    const char *name;
    const double *values;
    int64_t count;
    ag_shape shape;
} candidate;

static double slack(const nn_claim *claim, double size) {
    return claim->tolerance > 0 ? claim->tolerance : 2 * NN_TOLERANCE * fmax(1, fabs(size));
}

static candidate input_candidate(const nn_backward_check *c, int i) {
    return (candidate){c->b->inputs[i].name, c->x[i], c->in_count[i], c->b->inputs[i].shape};
}

static candidate output_candidate(const nn_backward_check *c, int o, const double *values) {
    return (candidate){c->b->outputs[o].name, values, c->out_count[o], c->b->outputs[o].shape};
}

/* ---- factors --------------------------------------------------------------------------------------------------- */

/* Functions of a candidate that a factor may be: itself, and derivatives of activations, as of their argument x and
 * as of their result y. */
static double itself(double x) { return x; }
static double sigmoid_by_argument(double x) { return 1 / (1 + exp(-x)) / (1 + exp(x)); }
static double tanh_by_argument(double x) { return 1 / cosh(x) / cosh(x); }
static double step(double x) { return x > 0; }
static double softplus_by_argument(double x) { return 1 / (1 + exp(-x)); }
static double reciprocal(double x) { return 1 / x; }
static double sigmoid_by_result(double y) { return y * (1 - y); }
static double tanh_by_result(double y) { return 1 - y * y; }

typedef struct factor {
    const char *words; /* with the candidate's name */
    double (*of)(double x);
} factor;
static const factor any_factors[] = {{"%s", itself}, {"1 / %s", reciprocal}};
static const factor input_factors[] = {{"sigmoid'(%s)", sigmoid_by_argument},
                                       {"tanh'(%s)", tanh_by_argument},
                                       {"relu'(%s)", step},
                                       {"softplus'(%s)", softplus_by_argument}};
static const factor output_factors[] = {{"sigmoid' = y (1 - y), y = %s", sigmoid_by_result},
                                        {"tanh' = 1 - y^2, y = %s", tanh_by_result},
                                        {"relu' = [y > 0], y = %s", step}};
#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* Which entry of a smaller array goes with entry e of one of `count` entries and this shape: a scalar with all, a
 * vector with the columns or with the rows; -1 if none does. */
static int64_t partner(ag_shape shape, int64_t count, int64_t e, int64_t smaller, bool rows) {
    if (smaller == count) return e;
    if (smaller == 1) return 0;
    if (shape.rank < 2) return -1;
    if (!rows && smaller == shape.dim[shape.rank - 1]) return e % smaller;
    if (rows && smaller == shape.dim[0]) return e / (count / smaller);
    return -1;
}

/* claimed * f(q) = right, at every draw; along the rows or the columns. */
static bool product_fits(const subject *s, const candidate *q, double (*f)(double), bool rows) {
    bool says_something = false;
    if (partner(s->shape, s->count, 0, q->count, rows) < 0) return false;
    for (int64_t i = 0; i < s->c->rows * s->count; i++) {
        int64_t at = partner(s->shape, s->count, i % s->count, q->count, rows);
        double value = f(q->values[i / s->count * q->count + at]), right = s->claim->right[i];
        double allowed = slack(s->claim, right) * fmax(1, fabs(value));
        if (!(fabs(s->claim->claimed[i] * value - right) <= allowed)) return false;
        says_something = says_something || fabs(right) > allowed;
    }
    return says_something;
}

static bool find_product(const subject *s, const candidate *q, const factor *factors, int n, nn_backward_finding *f) {
    char words[160];
    for (int k = 0; k < n; k++)
        if (product_fits(s, q, factors[k].of, false) || product_fits(s, q, factors[k].of, true)) {
            snprintf(words, sizeof words, factors[k].words, q->name);
            snprintf(f->detail, sizeof f->detail, "claimed times %s is the right one: that factor is missing", words);
            return true;
        }
    return false;
}

static bool find_factor_of_claim(const subject *s, nn_backward_finding *f) {
    nn_backward_check *c = s->c;
    for (int o = 0; o < c->b->output_count; o++) {
        candidate g = output_candidate(c, o, c->g[o]);
        char name[96];
        snprintf(name, sizeof name, "the output gradient of %.60s", g.name);
        g.name = name;
        if (find_product(s, &g, any_factors, 1, f)) return true;
    }
    for (int i = 0; i < c->b->input_count; i++) {
        candidate x = input_candidate(c, i);
        if (find_product(s, &x, any_factors, COUNT(any_factors), f)) return true;
        if (find_product(s, &x, input_factors, COUNT(input_factors), f)) return true;
    }
    for (int o = 0; o < c->b->output_count; o++) {
        candidate y = output_candidate(c, o, c->y[o]);
        if (find_product(s, &y, any_factors, COUNT(any_factors), f)) return true;
        if (find_product(s, &y, output_factors, COUNT(output_factors), f)) return true;
    }
    return false;
}

/* ---- factors on the way: what backward gives if an output gradient is multiplied first ------------------------- */

/* Fills in `again`. */
static bool run_again(nn_backward_check *c, int o, const candidate *q, double (*f)(double)) {
    for (int row = 0; row < c->rows; row++) {
        nn_load_inputs(c, row);
        if (!nn_call_forward(c)) return false;
        for (int k = 0; k < c->b->output_count; k++) {
            const double *g = c->g[k] + row * c->out_count[k];
            nn_array_load(c->b->type, c->output_gradients[k], g, c->out_count[k]);
            for (int64_t e = 0; k == o && e < c->out_count[o]; e++) {
                int64_t at = partner(c->b->outputs[o].shape, c->out_count[o], e, q->count, false);
                nn_array_set(c->b->type, c->output_gradients[o], e, g[e] * f(q->values[row * q->count + at]));
            }
        }
        if (!nn_call_backward(c)) return false;
        for (int i = 0; i < c->b->input_count; i++)
            if (c->again[i] != NULL)
                nn_array_store(c->b->type, c->input_gradients[i], c->again[i] + row * c->in_count[i], c->in_count[i]);
    }
    return true;
}

static bool again_fits(const subject *s) {
    bool says_something = false;
    const double *again = s->c->again[s->i];
    for (int64_t i = 0; i < s->c->rows * s->count; i++) {
        double allowed = slack(s->claim, s->claim->right[i]);
        if (!(fabs(again[i] - s->claim->right[i]) <= allowed)) return false;
        says_something = says_something || fabs(s->claim->right[i]) > allowed;
    }
    return says_something;
}

static bool try_again(const subject *s, int o, const candidate *q, const factor *factors, int n,
                      nn_backward_finding *f) {
    char words[160];
    if (partner(s->c->b->outputs[o].shape, s->c->out_count[o], 0, q->count, false) < 0) return false;
    for (int k = 0; k < n; k++)
        if (run_again(s->c, o, q, factors[k].of) && again_fits(s)) {
            snprintf(words, sizeof words, factors[k].words, q->name);
            snprintf(f->detail, sizeof f->detail,
                     "it is right once the output gradient of %.60s is multiplied by %s: that factor is missing",
                     s->c->b->outputs[o].name, words);
            return true;
        }
    return false;
}

static bool find_factor_of_output_gradient(const subject *s, nn_backward_finding *f) {
    nn_backward_check *c = s->c;
    for (int o = 0; o < c->b->output_count; o++) {
        candidate y = output_candidate(c, o, c->y[o]);
        if (try_again(s, o, &y, output_factors, COUNT(output_factors), f)) return true;
        if (try_again(s, o, &y, any_factors, COUNT(any_factors), f)) return true;
        for (int i = 0; i < c->b->input_count; i++) {
            candidate x = input_candidate(c, i);
            if (try_again(s, o, &x, any_factors, COUNT(any_factors), f)) return true;
            if (try_again(s, o, &x, input_factors, COUNT(input_factors), f)) return true;
        }
    }
    return false;
}

/* ---- another input --------------------------------------------------------------------------------------------- */

static bool find_other_input(const subject *s, nn_backward_finding *f) {
    const nn_backward_check *c = s->c;
    for (int j = 0; j < c->b->input_count; j++) {
        bool same = j != s->i && c->right[j] != NULL && c->in_count[j] == s->count, says_something = false;
        for (int64_t i = 0; same && i < c->rows * s->count; i++) {
            double right = c->right[j][i];
            same = fabs(s->claim->claimed[i] - right) <= fmax(slack(s->claim, right), c->slack[j][i]);
            says_something = says_something || fabs(right) > slack(s->claim, right);
        }
        if (!same || !says_something) continue;
        snprintf(f->detail, sizeof f->detail, "it is the gradient by %.80s", c->b->inputs[j].name);
        return true;
    }
    return false;
}

/* ---- a term: right - claimed is a multiple of something --------------------------------------------------------- */

/* Groups of entries that have a multiple in common: those of a row (`size` entries, one after the other), of a column
 * (`size` apart), or all. */
typedef struct groups {
    int64_t size, stride;
    const char *words;
} groups;

static double missing(const subject *s, int64_t i) { return s->claim->right[i] - s->claim->claimed[i]; }

/* Is right - claimed, in the group of `size` entries from `start` on, a multiple of q (NULL: of 1)? */
static bool group_fits(const subject *s, const double *q, int64_t start, const groups *g) {
    double product = 0, square = 0;
    for (int64_t k = 0; k < g->size; k++) {
        double value = q == NULL ? 1 : q[start + k * g->stride];
        product += missing(s, start + k * g->stride) * value;
        square += value * value;
    }
    double multiple = square > 0 ? product / square : 0;
    for (int64_t k = 0; k < g->size; k++) {
        int64_t i = start + k * g->stride;
        double allowed = 5 * slack(s->claim, s->claim->right[i]), value = q == NULL ? 1 : q[i];
        if (!(fabs(missing(s, i) - multiple * value) <= allowed)) return false;
    }
    return true;
}

/* At every draw, in every group; with enough entries for it not to be chance. */
static bool groups_fit(const subject *s, const double *q, const groups *g) {
    int64_t total = s->c->rows * s->count;
    if (g->size < 2 || total - total / g->size < 3) return false;
    for (int64_t start = 0; start < total; start += g->stride == 1 ? g->size : 1) {
        if (g->stride > 1 && start % s->count >= g->stride) continue; /* not the first of its column */
        if (!group_fits(s, q, start, g)) return false;
    }
    return true;
}

/* One multiple for all draws, as a regulariser has it. */
static bool find_fixed_term(const subject *s, const candidate *q, nn_backward_finding *f) {
    const groups all = {s->c->rows * s->count, 1, ""};
    double product = 0, square = 0;
    if (q->count != s->count || all.size < 3 || !group_fits(s, q->values, 0, &all)) return false;
    for (int64_t i = 0; i < all.size; i++) {
        product += missing(s, i) * q->values[i];
        square += q->values[i] * q->values[i];
    }
    if (square == 0) return false;
    snprintf(f->detail, sizeof f->detail, "the term %.6g %.80s is missing", product / square, q->name);
    return true;
}

static bool find_term_like(const subject *s, const candidate *q, nn_backward_finding *f) {
    int64_t last = s->shape.rank > 0 ? s->shape.dim[s->shape.rank - 1] : 1;
    const groups kinds[] = {
        {s->count, 1, "of it"}, {last, 1, "of each row"}, {last > 0 ? s->count / last : 0, last, "of each column"}};
    if (q != NULL && q->count != s->count) return false;
    for (int k = 0; k < COUNT(kinds); k++) {
        if (k > 0 && s->shape.rank < 2) break;
        if (!groups_fit(s, q == NULL ? NULL : q->values, &kinds[k])) continue;
        if (q == NULL)
            snprintf(
                f->detail, sizeof f->detail,
                "right - claimed is the same for all entries %s: a term as from a mean or a sum over them is missing",
                kinds[k].words);
        else
            snprintf(
                f->detail, sizeof f->detail,
                "right - claimed is a multiple of %.80s, one for all entries %s: a term %.80s times a sum or mean over "
                "them is missing",
                q->name, kinds[k].words, q->name);
        return true;
    }
    return false;
}

static bool find_term(const subject *s, nn_backward_finding *f) {
    const nn_backward_check *c = s->c;
    candidate all[NN_MAX_INPUTS + NN_MAX_OUTPUTS];
    int n = 0;
    for (int i = 0; i < c->b->input_count; i++) all[n++] = input_candidate(c, i);
    for (int o = 0; o < c->b->output_count; o++) all[n++] = output_candidate(c, o, c->y[o]);
    for (int k = 0; k < n; k++)
        if (find_fixed_term(s, &all[k], f)) return true;
    if (find_term_like(s, NULL, f)) return true;
    for (int k = 0; k < n; k++)
        if (find_term_like(s, &all[k], f)) return true;
    return false;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

/* A matrix that was written in the other order, into an array of the right number of entries. */
static bool is_transposed(const nn_claim *claim, nn_diagnosis *d) {
    ag_shape s = claim->right_shape;
    if (s.rank != 2 || s.dim[0] == s.dim[1] || s.dim[0] == 1 || s.dim[1] == 1) return false;
    nn_claim transposed = *claim;
    transposed.claimed_shape = (ag_shape){2, {s.dim[1], s.dim[0]}};
    *d = nn_claim_diagnose(&transposed);
    return d->kind == NN_TRANSPOSE;
}

/* What is being diagnosed, and what a finder says. */
typedef struct search {
    subject s;
    nn_backward_finding *f;
} search;

static bool find_elsewhere(void *context, nn_diagnosis *d) {
    static const struct {
        nn_diagnosis_kind kind;
        bool (*find)(const subject *s, nn_backward_finding *f);
    } finders[] = {{NN_MISSING_FACTOR, find_factor_of_claim},
                   {NN_MISSING_FACTOR, find_factor_of_output_gradient},
                   {NN_OTHER_VARIABLE, find_other_input},
                   {NN_MISSING_TERM, find_term}};
    search *s = context;
    for (int k = 0; k < COUNT(finders); k++) {
        if (!finders[k].find(&s->s, s->f)) continue;
        d->kind = finders[k].kind;
        snprintf(d->detail, sizeof d->detail, "%s", s->f->detail);
        return true;
    }
    return false;
}

void nn_backward_diagnose(nn_backward_check *c, int i, const nn_claim *claim, nn_backward_finding *f) {
    search s = {{c, i, claim, c->b->inputs[i].shape, c->in_count[i]}, f};
    nn_claim searched = *claim;
    nn_diagnosis d, transposed;
    searched.search = find_elsewhere;
    searched.context = &s;
    d = nn_claim_diagnose(&searched);
    if (d.kind > NN_TRANSPOSE && is_transposed(claim, &transposed)) d = transposed;
    snprintf(f->kind, sizeof f->kind, "%s", nn_diagnosis_name(d.kind));
    snprintf(f->detail, sizeof f->detail, "%s", d.detail);
}
