/* The classical Runge-Kutta method on y_0' = x_0, y_i' = x_i y_(i-1), from y = 0 at time 0 to time 2 in s steps: y there,
 * and the gradient of its last element by x. */
#include "gradbench.h"

typedef struct ode {
    int64_t n, steps;
    double *x;
    double *result; /* y or the gradient */
    ag_runner *runner;
} ode;

static bool parse(gb_run *run, const json_t *input) {
    ode *o = run->state;
    o->n = GB_ANY;
    o->x = gb_tensor(run, input, "x", 1, &o->n);
    o->steps = gb_integer(run, input, "s", 1, INT32_MAX);
    if (o->x && o->n == 0) return gb_fail(run, "x: expected at least one number");
    o->result = GB_DOUBLES(run, o->n);
    return o->x && o->result;
}

/* x * (1, y_0, ..., y_(n-2)) */
static ag_var slope(ag_var x, ag_var y, ag_var one) {
    ag_var shifted[] = {one, ag_slice(y, 0, 0, -1, 1)};
    return ag_mul(x, ag_concat(shifted, 2, 0));
}

static ag_var solve(const ode *o, ag_tape *tape, ag_var x) {
    ag_var y = ag_zeros(tape, AG_SHAPE(o->n)), one = ag_ones(tape, AG_SHAPE(1));
    double h = 2.0 / (double)o->steps;
    for (int64_t i = 0; i < o->steps; i++) {
        ag_var k1 = slope(x, y, one);
        ag_var k2 = slope(x, ag_fma(k1, h / 2, y), one);
        ag_var k3 = slope(x, ag_fma(k2, h / 2, y), one);
        ag_var k4 = slope(x, ag_fma(k3, h, y), one);
        ag_var sum = ag_add(ag_fma(ag_add(k2, k3), 2, k1), k4);
        y = ag_fma(sum, h / 6, y);
    }
    return y;
}

static void whole(ag_tape *tape, const ag_var *x, ag_var *out, void *context) { out[0] = solve(context, tape, x[0]); }

static void last(ag_tape *tape, const ag_var *x, ag_var *out, void *context) {
    const ode *o = context;
    out[0] = ag_at(solve(o, tape, x[0]), o->n - 1);
}

static bool prepare(gb_run *run, ag_model model, int wrt) {
    ode *o = run->state;
    o->runner = gb_trace(run, model, o, (ag_port[]){ag_in("x", AG_SHAPE(o->n))}, 1, wrt);
    return o->runner != NULL;
}
static bool prepare_primal(gb_run *run) { return prepare(run, whole, 0); }
static bool prepare_gradient(gb_run *run) { return prepare(run, last, 1); }

static void primal(gb_run *run) {
    ode *o = run->state;
    gb_check(run, o->runner, ag_run(o->runner, (const double *[]){o->x}, (double *[]){o->result}));
}

static void gradient(gb_run *run) {
    ode *o = run->state;
    gb_check(run, o->runner, ag_run(o->runner, (const double *[]){o->x}, (double *[]){NULL, o->result}));
}

static json_t *print(gb_run *run) {
    ode *o = run->state;
    return gb_vector(o->result, o->n);
}

const gb_function gb_ode[] = {{"ode", "primal", sizeof(ode), parse, prepare_primal, primal, print},
                              {"ode", "gradient", sizeof(ode), parse, prepare_gradient, gradient, print},
                              {0}};
