/* log sum exp, from its primitives as the eval asks. */
#include "gradbench.h"

typedef struct lse {
    int64_t n;
    double *x;
    double value, *gradient;
    ag_runner *runner;
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
static void log_sum_exp(ag_tape *tape, const ag_var *x, ag_var *out, void *context) {
    (void)tape, (void)context;
    ag_var shift = ag_detach(ag_max_over(x[0], AG_AXES(0), false));
    out[0] = ag_add(ag_log(ag_sum(ag_exp(ag_sub(x[0], shift)))), shift);
}

static bool prepare(gb_run *run, int wrt) {
    lse *l = run->state;
    l->runner = gb_trace(run, log_sum_exp, NULL, (ag_port[]){ag_in("x", AG_SHAPE(l->n))}, 1, wrt);
    return l->runner != NULL;
}
static bool prepare_primal(gb_run *run) { return prepare(run, 0); }
static bool prepare_gradient(gb_run *run) { return prepare(run, 1); }

static void evaluate(gb_run *run) {
    lse *l = run->state;
    gb_check(run, l->runner, ag_run(l->runner, (const double *[]){l->x}, (double *[]){&l->value, l->gradient}));
}

static json_t *print_value(gb_run *run) { return json_real(((lse *)run->state)->value); }

static json_t *print_gradient(gb_run *run) {
    lse *l = run->state;
    return gb_vector(l->gradient, l->n);
}

const gb_function gb_lse[] = {{"lse", "primal", sizeof(lse), parse, prepare_primal, evaluate, print_value},
                              {"lse", "gradient", sizeof(lse), parse, prepare_gradient, evaluate, print_gradient},
                              {0}};
