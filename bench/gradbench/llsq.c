/* Linear least squares: half the squared distance of a polynomial with coefficients x from the sign function, at n points
 * of -1..1. */
#include "gradbench.h"

typedef struct llsq {
    int64_t n, m;
    double *x;     /* m coefficients */
    double *t, *s; /* n points and what the polynomial should be there */
    double value, *gradient;
    ag_runner *runner;
} llsq;

static bool parse(gb_run *run, const json_t *input) {
    llsq *l = run->state;
    l->n = gb_integer(run, input, "n", 2, INT32_MAX);
    l->m = GB_ANY;
    l->x = gb_tensor(run, input, "x", 1, &l->m);
    if (l->x && l->m == 0) return gb_fail(run, "x: expected at least one number");
    l->gradient = GB_DOUBLES(run, l->m);
    return l->x && l->gradient;
}

/* Horner's rule at all points at once. */
static void objective(ag_tape *tape, const ag_var *x, ag_var *out, void *context) {
    const llsq *l = context;
    ag_var t = ag_constant_tensor(tape, l->t, AG_SHAPE(l->n)), s = ag_constant_tensor(tape, l->s, AG_SHAPE(l->n));
    ag_var p = ag_expand(ag_at(x[0], l->m - 1), AG_SHAPE(l->n));
    for (int64_t j = l->m - 2; j >= 0; j--) p = ag_fma(p, t, ag_at(x[0], j));
    out[0] = ag_mul(0.5, ag_sum(ag_square(ag_sub(s, p))));
}

static bool prepare(gb_run *run, int wrt) {
    llsq *l = run->state;
    l->t = GB_DOUBLES(run, l->n);
    l->s = GB_DOUBLES(run, l->n);
    if (!l->t || !l->s) return false;
    for (int64_t i = 0; i < l->n; i++) {
        l->t[i] = -1 + 2 * (double)i / (double)(l->n - 1);
        l->s[i] = (l->t[i] > 0) - (l->t[i] < 0);
    }
    l->runner = gb_trace(run, objective, l, (ag_port[]){ag_in("x", AG_SHAPE(l->m))}, 1, wrt);
    return l->runner != NULL;
}
static bool prepare_primal(gb_run *run) { return prepare(run, 0); }
static bool prepare_gradient(gb_run *run) { return prepare(run, 1); }

static void evaluate(gb_run *run) {
    llsq *l = run->state;
    gb_check(run, l->runner, ag_run(l->runner, (const double *[]){l->x}, (double *[]){&l->value, l->gradient}));
}

static json_t *print_value(gb_run *run) { return json_real(((llsq *)run->state)->value); }

static json_t *print_gradient(gb_run *run) {
    llsq *l = run->state;
    return gb_vector(l->gradient, l->m);
}

const gb_function gb_llsq[] = {{"llsq", "primal", sizeof(llsq), parse, prepare_primal, evaluate, print_value},
                               {"llsq", "gradient", sizeof(llsq), parse, prepare_gradient, evaluate, print_gradient},
                               {0}};
