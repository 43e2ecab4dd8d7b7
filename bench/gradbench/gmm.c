/* The log posterior of a Gaussian mixture with a Wishart prior on the precision matrices, and its gradient.
 *
 * Component k has weight exp(alpha_k) / sum, mean mu_k and precision Q_k' Q_k, where Q_k is lower triangular: exp(q_k) on
 * the diagonal, l_k below it, column by column. With b_ik = alpha_k + sum q_k - |Q_k (x_i - mu_k)|^2 / 2 it is
 *     sum_i logsumexp_k b_ik - n logsumexp alpha - gamma^2 / 2 sum_k |Q_k|^2 + m sum q + constant. */
#include "gradbench.h"

#include <math.h>

typedef struct gmm {
    int64_t d, k, n, m, below; /* below = d (d - 1) / 2 */
    double gamma;
    double *alpha, *mu, *q, *l, *x;
    int64_t *triangle; /* for each element of a d x d matrix, where it is in (exp q, l, 0) */
    double constant;   /* what depends on shapes and m only */
    double value, *d_alpha, *d_mu, *d_q, *d_l;
    ag_runner *runner;
} gmm;

static bool parse(gb_run *run, const json_t *input) {
    gmm *g = run->state;
    g->d = gb_integer(run, input, "d", 1, 1 << 15);
    g->k = gb_integer(run, input, "k", 1, INT32_MAX);
    g->n = gb_integer(run, input, "n", 1, INT32_MAX);
    g->m = gb_integer(run, input, "m", 0, INT32_MAX);
    g->gamma = gb_number(run, input, "gamma");
    g->below = g->d * (g->d - 1) / 2;
    if (run->error[0]) return false;
    int64_t vector[] = {g->k}, means[] = {g->k, g->d}, lower[] = {g->k, g->below}, points[] = {g->n, g->d};
    g->alpha = gb_tensor(run, input, "alpha", 1, vector);
    g->mu = gb_tensor(run, input, "mu", 2, means);
    g->q = gb_tensor(run, input, "q", 2, means);
    g->l = gb_tensor(run, input, "l", 2, lower);
    g->x = gb_tensor(run, input, "x", 2, points);
    g->d_alpha = GB_DOUBLES(run, g->k);
    g->d_mu = GB_DOUBLES(run, g->k * g->d);
    g->d_q = GB_DOUBLES(run, g->k * g->d);
    g->d_l = GB_DOUBLES(run, g->k * g->below);
    return !run->error[0];
}

/* log of the multivariate gamma function of dimension p. */
static double log_gamma(double a, int64_t p) {
    double sum = (double)(p * (p - 1)) / 4 * log(M_PI);
    int sign;
    for (int64_t j = 0; j < p; j++) sum += lgamma_r(a - 0.5 * (double)j, &sign);
    return sum;
}

static bool prepare_constants(gb_run *run) {
    gmm *g = run->state;
    int64_t d = g->d, next = d, freedom = d + g->m + 1;
    g->triangle = GB_INDICES(run, d * d);
    if (!g->triangle) return false;
    for (int64_t i = 0; i < d * d; i++) g->triangle[i] = d + g->below; /* the 0 */
    for (int64_t j = 0; j < d; j++) {
        g->triangle[j * d + j] = j;
        for (int64_t i = j + 1; i < d; i++) g->triangle[i * d + j] = next++;
    }
    g->constant = -0.5 * (double)(g->n * d) * log(2 * M_PI) -
                  (double)g->k * ((double)(freedom * d) * log(2) / 2 + log_gamma((double)freedom / 2, d));
    return true;
}

/* The k matrices Q: (k, d, d). */
static ag_var triangles(const gmm *g, ag_var q, ag_var l) {
    ag_var parts[] = {ag_exp(q), l, ag_zeros(ag_tape_of(q), AG_SHAPE(g->k, 1))};
    ag_var elements = ag_gather(ag_concat(parts, 3, 1), 1, g->triangle, g->d * g->d);
    return ag_reshape(elements, AG_SHAPE(g->k, g->d, g->d));
}

enum { ALPHA, MU, Q, L, X, GAMMA, INPUTS };

static void log_posterior(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    const gmm *g = context;
    ag_var all_q = triangles(g, in[Q], in[L]), sum_q = ag_sum_over(in[Q], AG_AXES(1), false);
    (void)tape;

    /* Q (x - mu) of all points and components: x times all Q at once, less Q mu. */
    ag_var rows = ag_reshape(all_q, AG_SHAPE(g->k * g->d, g->d));
    ag_var q_mu = ag_matmul(all_q, ag_unsqueeze(in[MU], 2)); /* (k, d, 1) */
    ag_var y = ag_linear(in[X], rows, ag_neg(ag_reshape(q_mu, AG_SHAPE(g->k * g->d))), ag_num(0));
    ag_var squares = ag_sum_over(ag_square(ag_reshape(y, AG_SHAPE(g->n, g->k, g->d))), AG_AXES(2), false);

    ag_var b = ag_fnma(0.5, squares, ag_add(in[ALPHA], sum_q)); /* (n, k) */
    ag_var likelihood = ag_fnma((double)g->n, ag_logsumexp(in[ALPHA]), ag_sum(ag_logsumexp_over(b, AG_AXES(1), false)));
    ag_var norm = ag_mul(ag_square(in[GAMMA]), ag_sum(ag_square(all_q)));
    ag_var prior = ag_fma((double)(g->k * (g->d + g->m + 1) * g->d), ag_log(in[GAMMA]),
                          ag_fnma(0.5, norm, ag_mul((double)g->m, ag_sum(sum_q))));
    out[0] = ag_add(ag_add(likelihood, prior), g->constant);
}

static bool prepare(gb_run *run, int wrt) {
    gmm *g = run->state;
    const ag_port in[INPUTS] = {[ALPHA] = ag_in("alpha", AG_SHAPE(g->k)), [MU] = ag_in("mu", AG_SHAPE(g->k, g->d)),
                                [Q] = ag_in("q", AG_SHAPE(g->k, g->d)),   [L] = ag_in("l", AG_SHAPE(g->k, g->below)),
                                [X] = ag_in("x", AG_SHAPE(g->n, g->d)),   [GAMMA] = ag_in("gamma", (ag_shape){0})};
    if (!prepare_constants(run)) return false;
    g->runner = gb_trace(run, log_posterior, g, in, INPUTS, wrt);
    return g->runner != NULL;
}
static bool prepare_objective(gb_run *run) { return prepare(run, 0); }
static bool prepare_jacobian(gb_run *run) { return prepare(run, 4); }

static void evaluate(gb_run *run) {
    gmm *g = run->state;
    const double *in[INPUTS] = {g->alpha, g->mu, g->q, g->l, g->x, &g->gamma};
    gb_check(run, g->runner, ag_run(g->runner, in, (double *[]){&g->value, g->d_alpha, g->d_mu, g->d_q, g->d_l}));
}

static json_t *print_value(gb_run *run) { return json_real(((gmm *)run->state)->value); }

static json_t *print_gradient(gb_run *run) {
    gmm *g = run->state;
    return json_pack("{s:o,s:o,s:o,s:o}", "alpha", gb_vector(g->d_alpha, g->k), "mu", gb_matrix(g->d_mu, g->k, g->d),
                     "q", gb_matrix(g->d_q, g->k, g->d), "l", gb_matrix(g->d_l, g->k, g->below));
}

const gb_function gb_gmm[] = {{"gmm", "objective", sizeof(gmm), parse, prepare_objective, evaluate, print_value},
                              {"gmm", "jacobian", sizeof(gmm), parse, prepare_jacobian, evaluate, print_gradient},
                              {0}};
