/* The saddle point min_x max_y (x_0^2 + x_1^2) - (y_0^2 + y_1^2) by gradient descent in x, each of whose values and
 * gradients goes through a whole gradient ascent in y. Then y for the x that was found. */
#include "gradbench.h"

typedef struct saddle {
    double start[2], result[4];
    ag_tape *tape;
    gb_mode *inner;
} saddle;

static bool parse(gb_run *run, const json_t *input) {
    saddle *s = run->state;
    int64_t two = 2;
    s->tape = run->tape;
    const double *start = gb_tensor(run, input, "start", 1, &two);
    if (start) memcpy(s->start, start, sizeof s->start);
    return start != NULL;
}

/* ---- the maximum by y of f(x, y) ---- */

static ag_var height(const void *x_of, const ag_var *y) {
    const ag_var *x = x_of;
    return ag_sub(ag_fma(x[0], x[0], ag_square(x[1])), ag_fma(y[0], y[0], ag_square(y[1])));
}

/* Recorded: it can be differentiated by x. Sets y to where the maximum is. */
static ag_var greatest(const saddle *s, const ag_var *x, gb_mode *mode, ag_var *y) {
    for (int i = 0; i < 2; i++) y[i] = ag_input(s->tape, s->start[i]);
    gb_descend(height, x, mode, -1, 2, y);
    return height(x, y);
}

/* ---- the minimum of that by x ---- */

static ag_var greatest_height(const void *context, const ag_var *x) {
    const saddle *s = context;
    ag_var y[2];
    return greatest(s, x, s->inner, y);
}

static void solve(gb_run *run, gb_mode *outer, gb_mode *inner) {
    saddle *s = run->state;
    s->inner = inner;
    memcpy(s->result, s->start, sizeof s->start);
    gb_minimise(s->tape, greatest_height, s, outer, 2, s->result);
    ag_var x[2] = {ag_num(s->result[0]), ag_num(s->result[1])}, y[2];
    greatest(s, x, outer, y); /* the last ascent is in the outer mode */
    for (int i = 0; i < 2; i++) s->result[2 + i] = ag_value(y[i]);
}

/* The first letter is the outer mode. */
static void ff(gb_run *run) { solve(run, gb_forward, gb_forward); }
static void fr(gb_run *run) { solve(run, gb_forward, gb_reverse); }
static void rf(gb_run *run) { solve(run, gb_sweep, gb_forward); }
static void rr(gb_run *run) { solve(run, gb_sweep, gb_reverse); }

static json_t *print(gb_run *run) { return gb_vector(((saddle *)run->state)->result, 4); }

const gb_function gb_saddle[] = {{"saddle", "ff", sizeof(saddle), parse, NULL, ff, print},
                                 {"saddle", "fr", sizeof(saddle), parse, NULL, fr, print},
                                 {"saddle", "rf", sizeof(saddle), parse, NULL, rf, print},
                                 {"saddle", "rr", sizeof(saddle), parse, NULL, rr, print},
                                 {0}};
