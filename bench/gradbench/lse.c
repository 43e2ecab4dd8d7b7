/* log sum exp, from its primitives as the eval asks. */
#include "gradbench.h"

typedef struct lse {
    int64_t n;
    double *x;
    double value, *gradient;
} lse;

static bool parse(gb_run *run, const json_t *input) {
    lse *l = run->state;
    l->n = GB_ANY;
    l->x = gb_tensor(run, input, "x", 1, &l->n);
    if (l->x && l->n == 0) return gb_fail(run, "x: expected at least one number");
    l->gradient = GB_DOUBLES(run, l->n);
    return l->x && l->gradient;
}

/* Any shift gives the same value and derivative; the greatest x avoids overflow. */
static ag_var log_sum_exp(ag_var x) {
    ag_var shift = ag_detach(ag_max_over(x, AG_AXES(0), false));
    return ag_add(ag_log(ag_sum(ag_exp(ag_sub(x, shift)))), shift);
}

static void primal(gb_run *run) {
    lse *l = run->state;
    l->value = ag_value(log_sum_exp(ag_tensor(run->tape, l->x, AG_SHAPE(l->n))));
}

static void gradient(gb_run *run) {
    lse *l = run->state;
    ag_var x = ag_tensor(run->tape, l->x, AG_SHAPE(l->n));
    ag_backward(log_sum_exp(x));
    ag_read_grad(x, l->gradient);
}

static json_t *print_value(gb_run *run) { return json_real(((lse *)run->state)->value); }

static json_t *print_gradient(gb_run *run) {
    lse *l = run->state;
    return gb_vector(l->gradient, l->n);
}

const gb_function gb_lse[] = {{"lse", "primal", sizeof(lse), parse, NULL, primal, print_value},
                              {"lse", "gradient", sizeof(lse), parse, NULL, gradient, print_gradient},
                              {0}};
