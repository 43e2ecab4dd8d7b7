/* Linear least squares: half the squared distance of a polynomial with coefficients x from the sign function, at n points
 * of -1..1. */
#include "gradbench.h"

typedef struct llsq {
    int64_t n, m;
    double *x;     /* m coefficients */
    double *t, *s; /* n points and what the polynomial should be there */
    double value, *gradient;
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

static bool prepare(gb_run *run) {
    llsq *l = run->state;
    l->t = GB_DOUBLES(run, l->n);
    l->s = GB_DOUBLES(run, l->n);
    if (!l->t || !l->s) return false;
    for (int64_t i = 0; i < l->n; i++) {
        l->t[i] = -1 + 2 * (double)i / (double)(l->n - 1);
        l->s[i] = (l->t[i] > 0) - (l->t[i] < 0);
    }
    return true;
}

/* Horner's rule at all points at once. */
static ag_var objective(gb_run *run, ag_var x) {
    const llsq *l = run->state;
    ag_var t = ag_constant_tensor(run->tape, l->t, AG_SHAPE(l->n));
    ag_var s = ag_constant_tensor(run->tape, l->s, AG_SHAPE(l->n));
    ag_var p = ag_expand(ag_at(x, l->m - 1), AG_SHAPE(l->n));
    for (int64_t j = l->m - 2; j >= 0; j--) p = ag_fma(p, t, ag_at(x, j));
    return ag_mul(0.5, ag_sum(ag_square(ag_sub(s, p))));
}

static void primal(gb_run *run) {
    llsq *l = run->state;
    ag_var x = ag_tensor(run->tape, l->x, AG_SHAPE(l->m));
    l->value = ag_value(objective(run, x));
}

static void gradient(gb_run *run) {
    llsq *l = run->state;
    ag_var x = ag_tensor(run->tape, l->x, AG_SHAPE(l->m));
    ag_backward(objective(run, x));
    ag_read_grad(x, l->gradient);
}

static json_t *print_value(gb_run *run) { return json_real(((llsq *)run->state)->value); }

static json_t *print_gradient(gb_run *run) {
    llsq *l = run->state;
    return gb_vector(l->gradient, l->m);
}

const gb_function gb_llsq[] = {{"llsq", "primal", sizeof(llsq), parse, prepare, primal, print_value},
                               {"llsq", "gradient", sizeof(llsq), parse, prepare, gradient, print_gradient},
                               {0}};
