/* Random programs, differentiated in every way there is, on every kind of tape. */
#include "random_programs.h"

enum { SEEDS = 150 / SHARE };

/* Inputs and a direction, one after the other. */
typedef struct point {
    double x[TOTAL], v[TOTAL];
} point;

static point point_of(int seed) {
    point p;
    uint64_t state = (uint64_t)seed + 77;
    for (int i = 0; i < TOTAL; i++) {
        p.x[i] = (double)(float)random_number(&state, -INPUT_BOUND, INPUT_BOUND);
        p.v[i] = (double)(float)random_number(&state, -1, 1);
    }
    return p;
}

static void read_adjoints(const ag_var *x, double *out) {
    for (int k = 0; k < PROGRAM_INPUTS; k++) ag_read_grad(x[k], out + START[k]);
}

static double inner(const double *a, const double *b) {
    double sum = 0;
    for (int i = 0; i < TOTAL; i++) sum += a[i] * b[i];
    return sum;
}

/* Differences are relative to the largest number of a vector: programs can be badly conditioned. */
static void compare(int seed, const char *what, const double *got, const double *want, int n, double tolerance) {
    double scale = 1;
    for (int i = 0; i < n; i++) scale = fmax(scale, fabs(want[i]));
    for (int i = 0; i < n; i++) {
        if (fabs(got[i] - want[i]) <= tolerance * scale) continue;
        fail_msg("seed %d: %s: number %d is %.17g, should be %.17g", seed, what, i, got[i], want[i]);
    }
}

/* Everything that a tape says of one program. */
typedef struct answers {
    bool kinks;
    double value, sweep[TOTAL], recorded[TOTAL], tangent, curvature;
    double reverse_reverse[TOTAL], forward_reverse[TOTAL], reverse_forward[TOTAL];
} answers;

/* Adjoints of results, views and elements along the way are their recorded gradients. */
static void check_intermediates(int seed, const program *p, ag_var y) {
    ag_var xs[4], g[4];
    int n = 0;
    for (int i = p->count - 1; i >= 0 && n < 4; i -= 1 + p->count / 5)
        if (!ag_is_constant(p->pool[i])) xs[n++] = p->pool[i];
    ag_backward(y);
    double adjoint[4][64], recorded[64];
    for (int i = 0; i < n; i++) ag_read_grad(xs[i], adjoint[i]);
    ag_gradient(y, xs, n, g);
    for (int i = 0; i < n; i++) {
        assert_int_equal(ag_count(g[i]), ag_count(xs[i]));
        ag_read(g[i], recorded);
        compare(seed, "gradient of an intermediate", recorded, adjoint[i], (int)ag_count(xs[i]),
                ag_tape_type(ag_tape_of(y)) == AG_F64 ? 1e-10 : 1e-3);
    }
}

/* Records the program on inputs x and asks for all derivatives. */
static answers ask(int seed, ag_tape *t, const ag_var *x, const point *at) {
    static program p;
    answers a = {0};
    ag_var v[PROGRAM_INPUTS], g[PROGRAM_INPUTS], h[PROGRAM_INPUTS], d, c;
    ag_var y = run_program(&p, seed, t, x);
    a.kinks = p.kinks;
    a.value = ag_value(y);
    ag_backward(y);
    read_adjoints(x, a.sweep);
    check_intermediates(seed, &p, y);
    make_inputs(t, at->v, true, v);
    ag_gradient(y, x, PROGRAM_INPUTS, g);
    read_all(g, a.recorded);
    ag_gradient(weighted(g, v), x, PROGRAM_INPUTS, h);
    read_all(h, a.reverse_reverse);
    ag_jvp(g, PROGRAM_INPUTS, x, v, PROGRAM_INPUTS, h);
    read_all(h, a.forward_reverse);
    ag_jvp(&y, 1, x, v, PROGRAM_INPUTS, &d);
    a.tangent = ag_value(d);
    ag_jvp(&d, 1, x, v, PROGRAM_INPUTS, &c);
    a.curvature = ag_value(c);
    ag_backward(d);
    read_adjoints(x, a.reverse_forward);
    if (ag_tape_status(t) != AG_OK) fail_msg("seed %d: %s", seed, ag_tape_message(t));
    return a;
}

static void check_consistent(int seed, const answers *a, const point *at, double tolerance) {
    compare(seed, "recorded gradient", a->recorded, a->sweep, TOTAL, tolerance);
    compare(seed, "forward over reverse", a->forward_reverse, a->reverse_reverse, TOTAL, tolerance);
    compare(seed, "reverse over forward", a->reverse_forward, a->reverse_reverse, TOTAL, tolerance);
    double along = inner(a->sweep, at->v), curvature = inner(a->reverse_reverse, at->v);
    compare(seed, "tangent", &a->tangent, &along, 1, tolerance * 10);
    compare(seed, "forward over forward", &a->curvature, &curvature, 1, tolerance * 10);
}

static void check_close(int seed, const char *how, const answers *a, const answers *b, double tolerance) {
    char what[64];
    const struct {
        const char *name;
        const double *got, *want;
        int n;
    } all[] = {{"value", &a->value, &b->value, 1},
               {"sweep", a->sweep, b->sweep, TOTAL},
               {"recorded", a->recorded, b->recorded, TOTAL},
               {"tangent", &a->tangent, &b->tangent, 1},
               {"second order", a->reverse_reverse, b->reverse_reverse, TOTAL}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(what, sizeof what, "%s, %s", how, all[i].name);
        compare(seed, what, all[i].got, all[i].want, all[i].n, tolerance);
    }
}

static void every_way_of_differentiating(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64), *single = ag_tape_new(AG_F32);
    ag_tape *copying = ag_tape_new_with(&(ag_options){.no_reserve = true});
    for (int seed = 1; seed <= SEEDS; seed++) {
        point at = point_of(seed);
        ag_var x[PROGRAM_INPUTS];
        ag_tape_clear(t);
        make_inputs(t, at.x, false, x);
        ag_mark mark = ag_tape_mark(t);
        answers a = ask(seed, t, x, &at);
        check_consistent(seed, &a, &at, 1e-10);
        ag_tape_rewind(t, mark);
        answers again = ask(seed, t, x, &at);
        check_close(seed, "after rewinding", &again, &a, 0);
        ag_tape_rewind(t, mark);
        (void)ag_mul(x[0], 3); /* other slots, other alignment */
        (void)ag_tensor(t, NULL, AG_SHAPE(3));
        again = ask(seed, t, x, &at);
        check_close(seed, "elsewhere on the tape", &again, &a, 1e-13);

        ag_tape_clear(copying);
        make_inputs(copying, at.x, false, x);
        again = ask(seed, copying, x, &at);
        check_close(seed, "on a tape that copies", &again, &a, 0);

        ag_tape_clear(single);
        make_inputs(single, at.x, false, x);
        again = ask(seed, single, x, &at);
        check_consistent(seed, &again, &at, 2e-3);
        check_close(seed, "f32", &again, &a, 5e-3);
    }
    ag_tape_free(t);
    ag_tape_free(single);
    ag_tape_free(copying);
}

/* Sweeps of two outputs, accumulated, are the sweep of both, and of their sum. */
static void accumulated_sweeps(void **unused) {
    (void)unused;
    static program p;
    ag_tape *t = ag_tape_new(AG_F64);
    for (int seed = 1; seed <= SEEDS; seed++) {
        point at = point_of(seed);
        ag_var x[PROGRAM_INPUTS];
        double accumulated[TOTAL], both[TOTAL], sum[TOTAL], previous[TOTAL], adjoint = 0;
        ag_tape_clear(t);
        make_inputs(t, at.x, false, x);
        ag_var y = run_program(&p, seed, t, x), middle = p.pool[p.count / 2], ys[2] = {y, middle};
        ag_var seeds[2] = {ag_num(1), ag_num(-2)};
        ag_sweep(ys, seeds, 1, AG_RESET);
        read_adjoints(x, previous);
        ag_sweep(ys + 1, seeds + 1, 1, AG_ACCUMULATE);
        read_adjoints(x, accumulated);
        ag_sweep(ys, seeds, 2, AG_RESET);
        read_adjoints(x, both);
        ag_var late = ag_tensor(t, NULL, AG_SHAPE(2)); /* recorded between two sweeps */
        ag_var total = ag_add(ag_add(y, ag_mul(ag_sum(middle), -2)), ag_sum(late));
        ag_backward(total);
        read_adjoints(x, sum);
        adjoint = ag_grad(ag_at(late, 1));
        if (ag_tape_status(t) != AG_OK) fail_msg("seed %d: %s", seed, ag_tape_message(t));
        compare(seed, "two sweeps", accumulated, both, TOTAL, 1e-12);
        compare(seed, "sum", sum, both, TOTAL, 1e-12);
        assert_true(adjoint == 1);
        ag_sweep(ys, seeds, 1, AG_RESET);
        read_adjoints(x, sum);
        compare(seed, "again", sum, previous, TOTAL, 0);
        for (int i = 0; i < 3; i++) ag_sweep(ys, seeds, 1, AG_ACCUMULATE);
        read_adjoints(x, sum);
        for (int i = 0; i < TOTAL; i++) previous[i] *= 4;
        compare(seed, "four times", sum, previous, TOTAL, 1e-12);
    }
    ag_tape_free(t);
}

static ag_var seed_function(ag_tape *t, const ag_var *x, int n, void *context) {
    static program p;
    (void)n;
    return run_program(&p, *(int *)context, t, x);
}

/* Smooth programs against ag_check_gradient, and their gradients against differences of gradients. */
static void programs_against_differences(void **unused) {
    (void)unused;
    static program p;
    int smooth = 0;
    ag_tape *t = ag_tape_new(AG_F64);
    for (int seed = 1; seed <= SEEDS; seed++) {
        point at = point_of(seed);
        ag_var x[PROGRAM_INPUTS];
        ag_tape_clear(t);
        make_inputs(t, at.x, false, x);
        (void)run_program(&p, seed, t, x);
        if (p.kinks) continue;
        smooth++;
        answers a = ask(seed, t, x, &at);
        double want[TOTAL], got[TOTAL], g[4][TOTAL];
        memcpy(want, a.reverse_reverse, sizeof want);
        const double h = 1e-3;
        for (int k = 0; k < 4; k++) {
            double moved[TOTAL], step = (k % 2 ? -h : h) * (k < 2 ? 1 : 2);
            for (int i = 0; i < TOTAL; i++) moved[i] = at.x[i] + step * at.v[i];
            ag_tape_clear(t);
            make_inputs(t, moved, false, x);
            ag_backward(run_program(&p, seed, t, x));
            read_adjoints(x, g[k]);
        }
        for (int i = 0; i < TOTAL; i++) got[i] = (8 * (g[0][i] - g[1][i]) - (g[2][i] - g[3][i])) / (12 * h);
        compare(seed, "differences of gradients", got, want, TOTAL, 1e-4);
        if (smooth % 8) continue;
        make_inputs(t, at.x, false, x);
        ag_report report = ag_check_gradient(seed_function, &seed, x, PROGRAM_INPUTS, 1e-5);
        if (!report.holds) {
            ag_report_write(&report, stderr);
            fail_msg("seed %d: ag_check_gradient", seed);
        }
    }
    assert_true(smooth > SEEDS / 10);
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_of_differentiating),
        cmocka_unit_test(accumulated_sweeps),
        cmocka_unit_test(programs_against_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
