/* Random programs through every transformation: derivatives that are the same have to agree, whichever way they are
 * computed, and with the eager tape. What fails is made smaller, step by step, and listed. */
#include "random_programs.h"
#include "recomputed.h"

#include <autograd/program/program_impl.h>

#include <pthread.h>

enum { SEEDS = 250 / SHARE, QUICK_SEEDS = 2000 / SHARE, ROWS = 67 };

/* A program to be checked, and the first thing that is wrong with it. */
typedef struct subject {
    int seed;
    uint64_t skipped;
    double x[TOTAL], v[TOTAL];
    bool kinks, wrong;
    int steps;
    char failure[512];
} subject;

static void fail_subject(subject *s, const char *format, ...) AG_FORMAT_(2, 3);
static void fail_subject(subject *s, const char *format, ...) {
    if (s->wrong) return;
    s->wrong = true;
    va_list args;
    va_start(args, format);
    vsnprintf(s->failure, sizeof s->failure, format, args);
    va_end(args);
}

/* Differences are relative to the largest number of a vector: programs can be badly conditioned. */
static void compare(subject *s, const char *what, const double *got, const double *want, int n, double tolerance) {
    double scale = 1;
    for (int i = 0; i < n; i++) scale = fmax(scale, fabs(want[i]));
    for (int i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * scale)) {
            fail_subject(s, "%s: number %d is %.17g, should be %.17g", what, i, got[i], want[i]);
            return;
        }
}

static subject subject_of(int seed) {
    subject s = {.seed = seed};
    uint64_t state = (uint64_t)seed + 77;
    for (int i = 0; i < TOTAL; i++) {
        s.x[i] = (double)(float)random_number(&state, -INPUT_BOUND, INPUT_BOUND);
        s.v[i] = (double)(float)random_number(&state, -1, 1);
    }
    return s;
}

/* ---- the eager tape's answers ---- */

typedef struct answers {
    double value, gradient[TOTAL], hv[TOTAL], tangent, curvature, third[TOTAL];
} answers;

static answers ask_tape(subject *s, ag_tape *t, bool all) {
    static program p;
    answers a = {0};
    ag_var x[PROGRAM_INPUTS], v[PROGRAM_INPUTS], g[PROGRAM_INPUTS], h[PROGRAM_INPUTS], d, c;
    double forgetting[TOTAL];
    ag_tape_clear(t);
    make_inputs(t, s->x, false, x);
    make_inputs(t, s->v, true, v);
    ag_var y = run_program_without(&p, s->seed, s->skipped, t, x);
    s->kinks = p.kinks;
    s->steps = p.steps;
    a.value = ag_value(y);
    ag_backward(y);
    for (int k = 0; k < PROGRAM_INPUTS; k++) ag_read_grad(x[k], a.gradient + START[k]);
    t->forget_from = 0;
    ag_sweep(&y, NULL, 1, AG_RESET_FORGET);
    for (int k = 0; k < PROGRAM_INPUTS; k++) ag_read_grad(x[k], forgetting + START[k]);
    if (memcmp(forgetting, a.gradient, sizeof forgetting) != 0) fail_subject(s, "a sweep that forgets differs");
    if (all) {
        ag_jvp(&y, 1, x, v, PROGRAM_INPUTS, &d);
        a.tangent = ag_value(d);
        ag_gradient(y, x, PROGRAM_INPUTS, g);
        ag_gradient(weighted(g, v), x, PROGRAM_INPUTS, h);
        read_all(h, a.hv);
        ag_jvp(&d, 1, x, v, PROGRAM_INPUTS, &c);
        a.curvature = ag_value(c);
        ag_backward(c);
        for (int k = 0; k < PROGRAM_INPUTS; k++) ag_read_grad(x[k], a.third + START[k]);
    }
    if (ag_tape_status(t) != AG_OK) fail_subject(s, "tape: %s", ag_tape_message(t));
    return a;
}

/* ---- programs ---- */

static void model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    static program p;
    const subject *s = context;
    y[0] = run_program_without(&p, s->seed, s->skipped, t, x);
}

static ag_program *trace(const subject *s, ag_type type, bool with_values) {
    ag_port in[PROGRAM_INPUTS] = {{0}};
    for (int k = 0; k < PROGRAM_INPUTS; k++) {
        in[k].shape = program_input_shape(k);
        if (with_values) in[k].example = s->x + START[k];
    }
    return ag_program_trace(type, model, (void *)(uintptr_t)s, in, PROGRAM_INPUTS, NULL, 1);
}

static int64_t outputs_total(const ag_program *p) {
    int64_t n = 0;
    for (int k = 0; k < ag_program_outputs(p); k++) n += shape_count(ag_program_output(p, k).shape);
    return n;
}

/* The program at x and, if it has more inputs, `more`; its outputs one after the other. The runner's, too. */
static bool run_with(subject *s, const char *what, ag_runner *r, const ag_program *p, const double *x,
                     const double *more, double *out) {
    const double *xs[4 * PROGRAM_INPUTS];
    double *ys[512];
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    if (ag_program_status(p) != AG_OK) {
        fail_subject(s, "%s: %s", what, ag_program_message(p));
        return false;
    }
    assert_true(nx <= 4 * PROGRAM_INPUTS && ny <= 512);
    for (int k = 0; k < nx; k++) {
        if (k >= PROGRAM_INPUTS && nx == PROGRAM_INPUTS + 1) xs[k] = more; /* a seed */
        else xs[k] = (k < PROGRAM_INPUTS ? x : more) + START[k % PROGRAM_INPUTS];
    }
    int64_t at = 0;
    for (int k = 0; k < ny; k++) {
        ys[k] = out + at;
        at += shape_count(ag_program_output(p, k).shape);
    }
    if (ag_run(r, xs, ys) == AG_OK) return true;
    fail_subject(s, "%s: %s", what, ag_runner_message(r));
    return false;
}

static bool run(subject *s, const char *what, const ag_program *p, const double *more, double *out) {
    ag_runner *r = ag_runner_new(p);
    bool ok = run_with(s, what, r, p, s->x, more, out);
    ag_runner_free(r);
    return ok;
}

/* What a program gives from number `from` on; the program is freed if it is given away. */
static void check(subject *s, const char *what, const ag_program *p, const double *more, int from, const double *want,
                  int n, double tolerance) {
    double out[4096];
    int64_t total = outputs_total(p);
    if (s->wrong) return;
    assert_true(total <= 4096);
    if (ag_program_status(p) == AG_OK && total < from + n) fail_subject(s, "%s: %d numbers", what, (int)total);
    if (!s->wrong && run(s, what, p, more, out)) compare(s, what, out + from, want, n, tolerance);
}

/* Outputs from..to-1 of a program that is given away. */
static ag_program *outputs_of(ag_program *p, int from, int to) {
    int numbers[4 * PROGRAM_INPUTS];
    for (int k = from; k < to; k++) numbers[k - from] = k;
    ag_program *q = ag_program_select(p, numbers, to - from);
    ag_program_free(p);
    return q;
}

static const int FIRST[PROGRAM_INPUTS] = {0, 1, 2, 3, 4};

/* ---- rows ---- */

/* Points along v, as one row after the other of each input. */
static void points_of(const subject *s, int rows, double *x) {
    for (int k = 0; k < PROGRAM_INPUTS; k++) {
        int n = START[k + 1] - START[k];
        for (int row = 0; row < rows; row++)
            for (int i = 0; i < n; i++) {
                int e = START[k] + i;
                x[START[k] * rows + row * n + i] = s->x[e] + 0.001 * row * s->v[e];
            }
    }
}

/* The gradient program over rows, its sums, and as a program of rows; against a run for each row. */
static void check_rows(subject *s, const ag_program *g) {
    enum { NUMBERS = 1 + TOTAL };
    static double x[ROWS * TOTAL], each[ROWS * NUMBERS], summed[NUMBERS], batched[ROWS * NUMBERS], want[ROWS * NUMBERS];
    double sum[NUMBERS] = {0};
    points_of(s, ROWS, x);
    ag_runner *r = ag_runner_new(g);
    for (int row = 0; row < ROWS; row++) {
        double at[TOTAL], one[NUMBERS];
        for (int i = 0; i < TOTAL; i++) at[i] = s->x[i] + 0.001 * row * s->v[i];
        if (!run_with(s, "one row", r, g, at, NULL, one)) break;
        for (int i = 0; i < NUMBERS; i++) sum[i] += one[i];
        for (int k = -1; k < PROGRAM_INPUTS; k++) {
            int from = k < 0 ? 0 : 1 + START[k], n = k < 0 ? 1 : START[k + 1] - START[k];
            memcpy(want + from * ROWS + row * n, one + from, (size_t)n * sizeof *one);
        }
    }
    ag_column xs[PROGRAM_INPUTS], ys[1 + PROGRAM_INPUTS], sums[1 + PROGRAM_INPUTS];
    const double *ins[PROGRAM_INPUTS];
    double *outs[1 + PROGRAM_INPUTS];
    for (int k = 0; k < PROGRAM_INPUTS; k++) {
        ins[k] = x + START[k] * ROWS;
        xs[k] = (ag_column){.data = x + START[k] * ROWS};
    }
    for (int k = 0; k <= PROGRAM_INPUTS; k++) {
        int from = k ? 1 + START[k - 1] : 0;
        ys[k] = (ag_column){.data = each + from * ROWS};
        sums[k] = (ag_column){.data = summed + from, .along = AG_SHARED};
        outs[k] = batched + from * ROWS;
    }
    if (ag_run_rows(r, ROWS, xs, ys) != AG_OK) fail_subject(s, "rows: %s", ag_runner_message(r));
    compare(s, "rows", each, want, ROWS * NUMBERS, 1e-10);
    if (ag_run_rows(r, ROWS, xs, sums) != AG_OK) fail_subject(s, "rows, summed: %s", ag_runner_message(r));
    compare(s, "rows, summed", summed, sum, NUMBERS, 1e-10);
    ag_runner_free(r);
    if (s->seed % 4) return;
    ag_program *b = ag_program_batch(g, ROWS, NULL, NULL);
    r = ag_runner_new(b);
    if (ag_run(r, ins, outs) != AG_OK) fail_subject(s, "batch: %s", ag_runner_message(r));
    compare(s, "batch", batched, each, ROWS * NUMBERS, 0);
    ag_runner_free(r);
    ag_program_free(b);
}

/* ---- differences ---- */

static void check_differences(subject *s, const ag_program *p, const answers *a) {
    const double h = 1e-3;
    double y[4];
    ag_runner *r = ag_runner_new(p);
    for (int k = 0; k < 4; k++) {
        double at[TOTAL], step = (k % 2 ? -h : h) * (k < 2 ? 1 : 2);
        for (int i = 0; i < TOTAL; i++) at[i] = s->x[i] + step * s->v[i];
        if (!run_with(s, "differences", r, p, at, NULL, &y[k])) break;
    }
    double difference = (8 * (y[0] - y[1]) - (y[2] - y[3])) / (12 * h);
    compare(s, "tangent against differences", &a->tangent, &difference, 1, 1e-5);
    ag_runner_free(r);
}

/* ---- threads ---- */

typedef struct job {
    const subject *s;
    const ag_program *p;
    double out[1 + TOTAL];
    ag_status status;
} job;

static void *run_job(void *data) {
    job *j = data;
    subject own = *j->s;
    ag_runner *r = ag_runner_new(j->p);
    for (int i = 0; i < 3; i++)
        if (!run_with(&own, "thread", r, j->p, own.x, NULL, j->out)) j->status = AG_ERR_VALUE;
    ag_runner_free(r);
    return NULL;
}

static void check_threads(subject *s, const ag_program *g) {
    job jobs[2] = {{s, g, {0}, AG_OK}, {s, g, {0}, AG_OK}};
    pthread_t thread[2];
    double want[1 + TOTAL];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, run_job, &jobs[i]), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    if (!run(s, "alone", g, NULL, want)) return;
    for (int i = 0; i < 2; i++) {
        if (jobs[i].status != AG_OK) fail_subject(s, "threads: an error");
        compare(s, "threads", jobs[i].out, want, 1 + TOTAL, 0);
    }
}

/* ---- all ways ---- */

static void check_second_order(subject *s, const ag_program *p, const answers *a) {
    const double tolerance = 1e-9, one = 1;
    ag_program *h = ag_program_hvp(p, NULL, 0);
    check(s, "HVP", h, s->v, 0, a->gradient, TOTAL, tolerance);
    check(s, "HVP", h, s->v, TOTAL, a->hv, TOTAL, tolerance);
    ag_program *only = outputs_of(ag_program_gradient(p, NULL, 0), 1, 1 + PROGRAM_INPUTS);
    ag_program *ways[8] = {
        ag_program_vjp(only, NULL, 0),
        ag_program_jvp(only, NULL, 0),
        outputs_of(ag_program_jvp(p, NULL, 0), 1, 2),
    };
    ways[3] = ag_program_gradient(ways[2], FIRST, PROGRAM_INPUTS);
    check(s, "VJP of the gradient", ways[0], s->v, TOTAL, a->hv, TOTAL, tolerance);
    check(s, "JVP of the gradient", ways[1], s->v, TOTAL, a->hv, TOTAL, tolerance);
    check(s, "JVP", ways[2], s->v, 0, &a->tangent, 1, tolerance);
    check(s, "gradient of the JVP", ways[3], s->v, 1, a->hv, TOTAL, tolerance);
    ways[4] = ag_program_vjp(p, NULL, 0);
    check(s, "VJP", ways[4], &one, 1, a->gradient, TOTAL, tolerance);
    /* the directions of the second JVP are those of the first */
    ag_program *twice = ag_program_jvp(ways[2], FIRST, PROGRAM_INPUTS);
    double both[2 * TOTAL], *more = both;
    memcpy(both, s->v, sizeof s->v);
    memcpy(both + TOTAL, s->v, sizeof s->v);
    check(s, "JVP of the JVP", twice, more, 1, &a->curvature, 1, tolerance * 10);
    ag_program *curvature = outputs_of(twice, 1, 2);
    ways[5] = ag_program_gradient(curvature, FIRST, PROGRAM_INPUTS);
    check(s, "gradient of the JVP of the JVP", ways[5], more, 1, a->third, TOTAL, 1e-8);
    ag_program *hv = outputs_of(h, PROGRAM_INPUTS, 2 * PROGRAM_INPUTS);
    ways[6] = ag_program_jvp(hv, FIRST, PROGRAM_INPUTS);
    check(s, "JVP of the HVP", ways[6], more, TOTAL, a->third, TOTAL, 1e-8);
    ways[7] = ag_program_vjp(hv, FIRST, PROGRAM_INPUTS);
    check(s, "VJP of the HVP", ways[7], more, TOTAL, a->third, TOTAL, 1e-8);
    for (int i = 0; i < 8; i++) ag_program_free(ways[i]);
    ag_program_free(only);
    ag_program_free(curvature);
    ag_program_free(hv);
}

/* Jacobian and Hessian by one input; H v of that input alone is compared with its HVP. */
static void check_matrices(subject *s, const ag_program *p, const answers *a) {
    int k = s->seed % PROGRAM_INPUTS, n = START[k + 1] - START[k];
    ag_program *j = ag_program_jacobian(p, 0, k), *h = ag_program_hessian(p, k), *one = ag_program_hvp(p, &k, 1);
    check(s, "Jacobian", j, NULL, 1, a->gradient + START[k], n, 1e-9);
    double matrix[1 + 36], product[6] = {0}, out[12];
    const double *xs[PROGRAM_INPUTS + 1];
    for (int i = 0; i < PROGRAM_INPUTS; i++) xs[i] = s->x + START[i];
    xs[PROGRAM_INPUTS] = s->v + START[k];
    ag_runner *r = ag_runner_new(one);
    if (ag_run(r, xs, (double *[]){out, out + n}) != AG_OK) fail_subject(s, "HVP by one: %s", ag_runner_message(r));
    ag_runner_free(r);
    if (run(s, "Hessian", h, NULL, matrix))
        for (int i = 0; i < n; i++)
            for (int e = 0; e < n; e++) product[i] += matrix[1 + i * n + e] * s->v[START[k] + e];
    compare(s, "Hessian times v", product, out + n, n, 1e-9);
    ag_program_free(j);
    ag_program_free(h);
    ag_program_free(one);
}

/* The program recorded on an ordinary tape, swept. */
static void check_call(subject *s, ag_tape *t, const ag_program *p, const answers *a) {
    ag_var x[PROGRAM_INPUTS], y;
    double gradient[TOTAL];
    ag_tape_clear(t);
    make_inputs(t, s->x, false, x);
    ag_program_call(t, p, x, &y);
    ag_backward(y);
    for (int k = 0; k < PROGRAM_INPUTS; k++) ag_read_grad(x[k], gradient + START[k]);
    if (ag_tape_status(t) != AG_OK) {
        fail_subject(s, "call: %s", ag_tape_message(t));
        return;
    }
    double value = ag_value(y);
    compare(s, "call", &value, &a->value, 1, 1e-12);
    compare(s, "call, swept", gradient, a->gradient, TOTAL, 1e-10);
    ag_program *frozen = ag_program_freeze(x, NULL, PROGRAM_INPUTS, &y, NULL, 1);
    check(s, "called, then frozen", frozen, NULL, 0, &a->value, 1, 1e-12);
    ag_program_free(frozen);
}

static void check_single(subject *s, const answers *a) {
    ag_program *p = trace(s, AG_F32, false), *g = ag_program_gradient(p, NULL, 0);
    float x[TOTAL], out[1 + TOTAL], *ys[1 + PROGRAM_INPUTS] = {out};
    const float *xs[PROGRAM_INPUTS];
    double got[1 + TOTAL], want[1 + TOTAL] = {a->value};
    memcpy(want + 1, a->gradient, sizeof a->gradient);
    for (int i = 0; i < TOTAL; i++) x[i] = (float)s->x[i];
    for (int k = 0; k < PROGRAM_INPUTS; k++) {
        xs[k] = x + START[k];
        ys[1 + k] = out + 1 + START[k];
    }
    ag_runner *r = ag_runner_new(g);
    if (ag_run_f32(r, xs, ys) != AG_OK) fail_subject(s, "f32: %s", ag_runner_message(r));
    for (int i = 0; i <= TOTAL; i++) got[i] = (double)out[i];
    compare(s, "f32", got, want, 1 + TOTAL, 5e-3);
    ag_runner_free(r);
    ag_program_free(p);
    ag_program_free(g);
}

/* All ways, or those that show most for their time. */
static void check_subject(subject *s, ag_tape *t, bool all) {
    s->wrong = false;
    answers a = ask_tape(s, t, all);
    ag_program *p = trace(s, AG_F64, false), *g = ag_program_gradient(p, NULL, 0);
    check(s, "value", p, NULL, 0, &a.value, 1, 1e-12);
    check(s, "gradient", g, NULL, 1, a.gradient, TOTAL, 1e-10);
    ag_program *scalars = ag_program_scalars(g);
    check(s, "scalars", scalars, NULL, 1, a.gradient, TOTAL, 1e-10);
    if (!s->wrong && all) {
        check_rows(s, g);
        check_second_order(s, p, &a);
        check_matrices(s, p, &a);
        check_call(s, t, p, &a);
        check_single(s, &a);
        if (!s->kinks) check_differences(s, p, &a);
        if (s->seed % 16 == 0) check_threads(s, g);
        ag_program *valued = trace(s, AG_F64, true);
        check(s, "traced with values", valued, NULL, 0, &a.value, 1, 1e-12);
        if (ag_program_size(valued) != ag_program_size(p)) fail_subject(s, "values change what is traced");
        ag_program_free(valued);
    }
    ag_program_free(p);
    ag_program_free(g);
    ag_program_free(scalars);
}

/* What is made smaller. */
typedef struct shrinking {
    subject smallest;
    ag_tape *t;
    bool all;
} shrinking;

static bool still_wrong(uint64_t skipped, void *context) {
    shrinking *k = context;
    subject next = k->smallest;
    next.skipped = skipped;
    check_subject(&next, k->t, k->all);
    if (next.wrong) k->smallest = next;
    return next.wrong;
}

static void report(subject *s, ag_tape *t, bool all) {
    shrinking k = {*s, t, all};
    without_steps(s->skipped, s->steps, still_wrong, &k);
    subject smallest = k.smallest;
    ag_program *p = trace(&smallest, AG_F64, false);
    ag_program_list(p, stderr);
    fail_msg("seed %d: %s\nwithout steps %llx: %s", s->seed, s->failure, (unsigned long long)smallest.skipped,
             smallest.failure);
}

static void check_seeds(int from, int to, bool all) {
    ag_tape *t = ag_tape_new(AG_F64);
    for (int seed = from; seed < to; seed++) {
        subject s = subject_of(seed);
        check_subject(&s, t, all);
        if (s.wrong) report(&s, t, all);
    }
    ag_tape_free(t);
}

static void every_way_there_is(void **unused) {
    (void)unused;
    check_seeds(1, 1 + SEEDS, true);
}

static void many_programs(void **unused) {
    (void)unused;
    check_seeds(10000, 10000 + QUICK_SEEDS, false);
}

/* ---- longer tensors: chains of elementwise operations and sums, which the machine runs in one pass ---- */

enum { CHAIN_SEEDS = 500 / SHARE, CHAIN_INPUTS = 4, CHAIN_POOL = 34, CHAIN_TOTAL = 200 + 40 + 5 + 1 };

static ag_shape chain_shape(int k) {
    return k == 0 ? AG_SHAPE(5, 40) : k == 1 ? AG_SHAPE(40) : k == 2 ? AG_SHAPE(5, 1) : (ag_shape){0};
}

/* Operands are in -1..1 or nearly, and so is what this gives. */
static ag_var chain_step(uint64_t *state, ag_var x, ag_var y) {
    double c = (double)(float)random_number(state, -1, 1);
    ag_shape s = ag_shape_of(x);
    switch ((int)random_number(state, 0, 20)) {
    case 0: return ag_sin(ag_add(x, y));
    case 1: return ag_sub(ag_mul(x, y), c);
    case 2: return ag_tanh(ag_sub(x, ag_mul(y, c)));
    case 3: return ag_div(x, ag_add(ag_square(y), 1));
    case 4: return ag_max(x, y);
    case 5: return ag_select(ag_gt(x, c), y, x);
    case 6: return ag_exp(ag_sub(ag_mul(-0.5, ag_square(x)), 0.5));
    case 7: return ag_tanh(ag_fma(x, y, x));
    case 8: return ag_sin(ag_fnma(x, c, y));
    case 9: return s.rank > 1 ? ag_transpose(x) : ag_neg(x);
    case 10: return s.rank ? ag_flip(x, s.rank - 1) : ag_cos(x);
    case 11: return s.rank > 1 ? ag_mean_over(x, AG_AXES(1), true) : ag_atan(x);
    case 12: return s.rank ? ag_tanh(ag_sum_over(ag_mul(x, x), AG_AXES(0), false)) : ag_abs(x);
    case 13: return ag_tanh(ag_mul(0.01, ag_sum(ag_mul(x, y))));
    case 14: return s.rank && s.dim[0] > 2 ? ag_slice(x, 0, 1, AG_END, 2) : ag_sigmoid(x);
    case 15: return s.rank ? ag_softmax(x, s.rank - 1) : ag_square(x);
    case 16: return ag_chain(x, ag_lt(y, c));
    case 17: return ag_mul(ag_sigmoid(ag_mul(3, x)), y);
    case 18: return ag_mul(x, x);
    default: return ag_neg(ag_mul(x, c));
    }
}

static void chain_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    uint64_t state = (uint64_t) * (int *)context * 7919;
    ag_var pool[CHAIN_POOL];
    (void)t;
    for (int k = 0; k < CHAIN_INPUTS; k++) pool[k] = x[k];
    for (int i = CHAIN_INPUTS; i < CHAIN_POOL; i++) {
        int j = (int)random_number(&state, i > 10 ? i - 10 : 0, i), k = (int)random_number(&state, 0, i);
        ag_var a = pool[j], b = pool[k];
        if (!broadcasts(ag_shape_of(a), ag_shape_of(b))) b = ag_mean(b);
        pool[i] = chain_step(&state, a, b);
    }
    y[0] = ag_num(0);
    for (int i = CHAIN_POOL - 6; i < CHAIN_POOL; i++) y[0] = ag_add(y[0], ag_mean(ag_mul(pool[i], 0.5 + i % 3)));
    y[1] = pool[CHAIN_POOL - 1];
    y[2] = ag_transpose(pool[CHAIN_POOL - 4]);
}

static void check_chain(int seed, ag_type type) {
    ag_port in[CHAIN_INPUTS] = {{0}};
    double x[CHAIN_TOTAL];
    uint64_t state = (uint64_t)seed;
    for (int i = 0; i < CHAIN_TOTAL; i++) x[i] = (double)(float)random_number(&state, -1, 1);
    ag_tape *t = ag_tape_new(type);
    ag_var v[CHAIN_INPUTS], y[3];
    int64_t at = 0;
    for (int k = 0; k < CHAIN_INPUTS; k++) {
        in[k].shape = chain_shape(k);
        v[k] = in[k].shape.rank ? ag_tensor(t, x + at, in[k].shape) : ag_input(t, x[at]);
        at += shape_count(in[k].shape);
    }
    chain_model(t, v, y, &seed);
    ag_backward(y[0]);
    int64_t n1 = ag_count(y[1]), n2 = ag_count(y[2]), n = 1 + n1 + n2 + CHAIN_TOTAL;
    double *want = new_numbers(n), *got = new_numbers(n);
    want[0] = ag_value(y[0]);
    ag_read(y[1], want + 1);
    ag_read(y[2], want + 1 + n1);
    at = 1 + n1 + n2;
    for (int k = 0; k < CHAIN_INPUTS; k++) {
        ag_read_grad(v[k], want + at);
        at += ag_count(v[k]);
    }
    char label[32];
    snprintf(label, sizeof label, "chain %d", seed);
    check_fine(label, t);
    ag_program *p = ag_program_trace(type, chain_model, &seed, in, CHAIN_INPUTS, NULL, 3);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    run_numbers(label, "run", p, 0, false, x, got);
    check_numbers(label, "values", got, want, 1 + n1 + n2, type == AG_F64 ? 1e-13 : 1e-4);
    run_numbers(label, "run", g, 0, false, x, got);
    if (type == AG_F64) check_numbers(label, "gradient", got, want, n, 1e-11);
    check_recomputed(label, g, x, n);
    ag_program_free(p);
    ag_program_free(g);
    ag_tape_free(t);
    free(want), free(got);
}

static void longer_tensors(void **unused) {
    (void)unused;
    for (int seed = 1; seed <= CHAIN_SEEDS; seed++) check_chain(seed, seed % 4 ? AG_F64 : AG_F32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_there_is),
        cmocka_unit_test(many_programs),
        cmocka_unit_test(longer_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
