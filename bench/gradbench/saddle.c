/* The saddle point min_x max_y (x_0^2 + x_1^2) - (y_0^2 + y_1^2) by gradient descent in x, each of whose values and
 * gradients goes through a whole gradient ascent in y. Then y for the x that was found. */
#include "gradbench.h"

typedef struct saddle {
    double start[2], result[4];
    ag_tape *tape;
    gb_mode *outer, *inner;
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

typedef struct ascent {
    const ag_var *x;
    gb_mode *mode;
} ascent;

static ag_var height(const void *context, const ag_var *y) {
    const ag_var *x = ((const ascent *)context)->x;
    return ag_sub(ag_fma(x[0], x[0], ag_square(x[1])), ag_fma(y[0], y[0], ag_square(y[1])));
}

static void height_gradient(const void *context, const ag_var *y, ag_var *out) {
    ((const ascent *)context)->mode(height(context, y), y, 2, out);
}

/* Recorded: it can be differentiated by x. Sets y to where the maximum is. */
static ag_var greatest(const saddle *s, const ag_var *x, gb_mode *mode, ag_var *y) {
    const ascent a = {x, mode};
    const gb_objective f = {2, height, height_gradient, &a};
    for (int i = 0; i < 2; i++) y[i] = ag_input(s->tape, s->start[i]);
    gb_descend(&f, -1, y);
    return height(&a, y);
}

/* ---- the minimum of that by x ---- */

static ag_var value(const void *context, const ag_var *x) {
    const saddle *s = context;
    ag_mark start = ag_tape_mark(s->tape);
    ag_var y[2], in[2] = {ag_input(s->tape, ag_value(x[0])), ag_input(s->tape, ag_value(x[1]))};
    double result = ag_value(greatest(s, in, s->inner, y));
    ag_tape_rewind(s->tape, start);
    return ag_num(result);
}

static void gradient(const void *context, const ag_var *x, ag_var *out) {
    const saddle *s = context;
    ag_mark start = ag_tape_mark(s->tape);
    ag_var y[2], slope[2], in[2] = {ag_input(s->tape, ag_value(x[0])), ag_input(s->tape, ag_value(x[1]))};
    s->outer(greatest(s, in, s->inner, y), in, 2, slope);
    for (int i = 0; i < 2; i++) out[i] = ag_num(ag_value(slope[i]));
    ag_tape_rewind(s->tape, start);
}

static void solve(gb_run *run, gb_mode *outer, gb_mode *inner) {
    saddle *s = run->state;
    s->outer = outer;
    s->inner = inner;
    const gb_objective f = {2, value, gradient, s};
    ag_var x[2] = {ag_num(s->start[0]), ag_num(s->start[1])}, y[2];
    gb_descend(&f, 1, x);
    greatest(s, x, outer, y); /* the last ascent is in the outer mode */
    for (int i = 0; i < 2; i++) {
        s->result[i] = ag_value(x[i]);
        s->result[2 + i] = ag_value(y[i]);
    }
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
