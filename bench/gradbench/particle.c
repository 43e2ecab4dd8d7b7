/* A charged particle is pushed by two charges, one of which is placed by w. Which w makes it cross the x axis at 0? The
 * acceleration is minus the gradient of a potential (inner derivative); gradient descent in w wants the derivative of the
 * square of where Euler's method ends (outer derivative, of the inner one). After Pearlmutter and Siskind, "Using
 * programming language theory to make automatic differentiation sound and efficient", 2008. */
#include "gradbench.h"

enum { MOST_STEPS = 1 << 20 };

typedef struct particle {
    double w, result;
    ag_tape *tape;
    gb_mode *inner;
} particle;

static bool parse(gb_run *run, const json_t *input) {
    particle *p = run->state;
    p->tape = run->tape;
    p->w = gb_number(run, input, "w");
    return !run->error[0];
}

static ag_var inverse_distance(const ag_var *x, ag_var charge_x, ag_var charge_y) {
    ag_var dx = ag_sub(x[0], charge_x), dy = ag_sub(x[1], charge_y);
    return ag_recip(ag_sqrt(ag_fma(dx, dx, ag_square(dy))));
}

static ag_var potential(const ag_var *x, ag_var w) {
    return ag_add(inverse_distance(x, ag_num(10), ag_sub(10, w)), inverse_distance(x, ag_num(10), ag_num(0)));
}

/* The square of where the particle crosses the x axis. */
static ag_var miss(const void *context, const ag_var *w) {
    const particle *p = context;
    const double dt = 0.1;
    ag_var x[2] = {ag_input(p->tape, 0), ag_input(p->tape, 8)}, v[2] = {ag_num(0.75), ag_num(0)};
    for (int step = 0; step < MOST_STEPS; step++) {
        ag_var force[2]; /* minus this */
        p->inner(potential(x, w[0]), x, 2, force);
        for (int i = 0; i < 2; i++) x[i] = ag_fma(v[i], dt, x[i]);
        if (!(ag_value(x[1]) > 0)) {
            ag_var crossing = ag_fnma(ag_div(x[1], v[1]), v[0], x[0]);
            return ag_square(crossing);
        }
        for (int i = 0; i < 2; i++) v[i] = ag_fnma(force[i], dt, v[i]);
    }
    ag_fail(p->tape, AG_ERR_VALUE, "particle: with w = %g it does not cross the axis in %d steps", ag_value(w[0]),
            MOST_STEPS);
    return ag_num(0);
}

static void solve(gb_run *run, gb_mode *outer, gb_mode *inner) {
    particle *p = run->state;
    p->inner = inner;
    p->result = p->w;
    gb_minimise(p->tape, miss, p, outer, 1, &p->result);
}

/* The first letter is the outer mode. */
static void ff(gb_run *run) { solve(run, gb_forward, gb_forward); }
static void fr(gb_run *run) { solve(run, gb_forward, gb_reverse); }
static void rf(gb_run *run) { solve(run, gb_sweep, gb_forward); }
static void rr(gb_run *run) { solve(run, gb_sweep, gb_reverse); }

static json_t *print(gb_run *run) { return json_real(((particle *)run->state)->result); }

const gb_function gb_particle[] = {{"particle", "ff", sizeof(particle), parse, NULL, ff, print},
                                   {"particle", "fr", sizeof(particle), parse, NULL, fr, print},
                                   {"particle", "rf", sizeof(particle), parse, NULL, rf, print},
                                   {"particle", "rr", sizeof(particle), parse, NULL, rr, print},
                                   {0}};
