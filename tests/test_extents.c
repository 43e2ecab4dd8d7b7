/* Stretches: that elements which are not needed, or known to be 0, are not computed, and that nothing else changes. */
#include "recomputed.h"

#include <autograd/program/plan_impl.h>

enum { STEPS = 16, MOST_VALUES = STEPS + 2, MOST_ROOM = 1100, INPUTS = 2 };

typedef struct cones {
    uint64_t seed;
    int64_t n;
} cones;

static int pick(uint64_t *seed, int n) { return (int)random_number(seed, 0, n - 1e-9); }

/* x moved to the back or to the front; from beyond the end come zeros or elements of another value. */
static ag_var shifted(ag_var x, ag_var other, int64_t by, bool zeros) {
    int64_t n = ag_count(x), far = by < 0 ? -by : by;
    ag_var rest = by > 0 ? ag_slice(x, 0, 0, n - far, 1) : ag_slice(x, 0, far, n, 1);
    if (zeros) return ag_pad(rest, 0, by > 0 ? far : 0, by > 0 ? 0 : far);
    ag_var end = ag_slice(other, 0, 0, far, 1);
    return by > 0 ? ag_concat((ag_var[]){end, rest}, 2, 0) : ag_concat((ag_var[]){rest, end}, 2, 0);
}

/* One element of vectors made of shifts, padded slices, sums and quotients, and a slice of others. */
static void model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    const cones *m = context;
    static const int distances[] = {1, 1, 1, 2, 7, AG_LANES};
    uint64_t seed = m->seed;
    int64_t n = m->n;
    ag_var x[MOST_VALUES] = {in[0], in[1]};
    int count = INPUTS, mostly = pick(&seed, 2) ? 1 : -1;
    for (int i = 0; i < STEPS; i++) {
        ag_var a = x[count - 1], b = x[pick(&seed, count)];
        int64_t by = distances[pick(&seed, 6)] * (pick(&seed, 8) ? mostly : -mostly);
        int64_t lo = pick(&seed, (int)n), hi = lo + 1 + pick(&seed, (int)(n - lo));
        switch (pick(&seed, 9)) {
        case 0: a = ag_add(ag_mul(0.5, a), b); break;
        case 1: a = ag_div(a, ag_add(2, ag_square(b))); break;
        case 2: a = ag_pad(ag_slice(a, 0, lo, hi, 1), 0, lo, n - hi); break;
        case 7: a = ag_add(ag_cumsum(a, 0), ag_at(b, lo)); break; /* no member of a group */
        case 8: a = ag_mul(ag_neg(a), ag_pad(ag_slice(b, 0, lo, hi, 1), 0, lo, n - hi)); break;
        case 3: a = ag_sub(ag_mul(a, b), ag_pad(ag_slice(b, 0, lo, hi, 1), 0, n - hi, lo)); break;
        default: a = shifted(ag_mul(a, 0.75), b, by, pick(&seed, 2));
        }
        x[count++] = a;
    }
    (void)t;
    int64_t at = pick(&seed, (int)n), to = at + 1 + pick(&seed, (int)(n - at));
    out[0] = ag_at(ag_mul(x[count - 1], x[count - 2]), at);
    if (pick(&seed, 2)) out[0] = ag_add(out[0], ag_sum(ag_slice(x[count - 2], 0, at, to, 1)));
}

/* Some draws have special numbers among them; returns how many. */
static int draw(double *x, int64_t n, uint64_t seed) {
    uint64_t places = seed;
    int specials = pick(&places, 3);
    for (int64_t i = 0; i < n; i++) x[i] = (double)(float)random_number(&seed, -1, 1);
    for (int k = 0; k < specials; k++) x[pick(&places, (int)n)] = SPECIAL[pick(&places, SPECIALS)];
    return specials;
}

static void by_tape(ag_type type, const cones *m, const double *in, double *out) {
    int64_t n = m->n;
    ag_tape *t = ag_tape_new(type);
    ag_var x[] = {ag_tensor(t, in, AG_SHAPE(n)), ag_tensor(t, in + n, AG_SHAPE(n))}, y;
    model(t, x, &y, (void *)(uintptr_t)m);
    out[0] = ag_value(y);
    ag_backward(y);
    ag_read_grad(x[0], out + 1);
    ag_read_grad(x[1], out + 1 + n);
    assert_string_equal(ag_tape_message(t), "");
    ag_tape_free(t);
}

static ag_program *gradient_of(ag_type type, const cones *m) {
    const ag_port ports[] = {{"x", AG_SHAPE(m->n), NULL}, {"w", AG_SHAPE(m->n), NULL}};
    ag_program *p = ag_program_trace(type, model, (void *)(uintptr_t)m, ports, INPUTS, NULL, 1);
    program_fine_("trace", p);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    program_fine_("gradient", g);
    ag_program_free(p);
    return g;
}

static void expect_close(const cones *m, ag_type type, const double *got, const double *want, int64_t n) {
    double most = 1, allowed = type == AG_F64 ? 1e-13 : 1e-5;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i])) most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= allowed * most) && !same_bits(got[i], want[i]))
            fail_msg("seed %llu, n %lld: number %lld is %g, not %g", (unsigned long long)m->seed, (long long)m->n,
                     (long long)i, got[i], want[i]);
}

/* Rows end within the room of what they are computed into, and of what they are read from. */
static void check_rooms(const ag_program *p) {
    ag_runner *r = ag_runner_new(p);
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    for (uint64_t i = 0; i < r->steps.count; i++)
        if (steps[i].kind == STEP_FUSED && steps[i].view->count > AG_LANES)
            assert_true(steps[i].from + steps[i].blocks * steps[i].lanes <=
                        ag_row_room(ag_program_type(p), steps[i].view->count));
    ag_runner_free(r);
}

static void gradients_are_as_on_the_tape(void **state) {
    (void)state;
    static const int64_t sizes[] = {65, 127, 128, 129, 200, 1000, 1024, 1090};
    double *in = new_numbers(INPUTS * MOST_ROOM), *want = new_numbers(3 * MOST_ROOM), *got = new_numbers(3 * MOST_ROOM);
    for (uint64_t seed = 0; seed < 600 / SHARE; seed++) {
        cones m = {seed, sizes[seed % (sizeof sizes / sizeof *sizes)]};
        ag_type type = seed % 4 == 3 ? AG_F32 : AG_F64;
        int specials = draw(in, INPUTS * m.n, seed + 1);
        by_tape(type, &m, in, want);
        ag_program *g = gradient_of(type, &m);
        check_rooms(g);
        run_once(g, in, got);
        expect_close(&m, type, got, want, 1 + 2 * m.n);
        /* how sums of groups with a NaN are rounded depends on the groups */
        if (!specials) check_recomputed("stretches", g, in, 1 + 2 * m.n);
        ag_program_free(g);
    }
    free(in);
    free(want);
    free(got);
}

/* Nothing of an earlier run is left where nothing is computed. */
static void runs_do_not_depend_on_earlier_ones(void **state) {
    (void)state;
    enum { N = 300 };
    double nan[INPUTS * N], in[INPUTS * N], first[1 + 2 * N], again[1 + 2 * N];
    for (int i = 0; i < INPUTS * N; i++) nan[i] = NAN;
    for (uint64_t seed = 0; seed < 60; seed++) {
        cones m = {seed, N};
        (void)draw(in, INPUTS * N, seed + 1);
        ag_program *g = gradient_of(AG_F64, &m);
        ag_runner *r = ag_runner_new(g);
        const double *xs[] = {in, in + N}, *nans[] = {nan, nan + N};
        assert_int_equal(ag_run(r, xs, (double *[]){first, first + 1, first + 1 + N}), AG_OK);
        assert_int_equal(ag_run(r, nans, (double *[]){again, again + 1, again + 1 + N}), AG_OK);
        assert_int_equal(ag_run(r, xs, (double *[]){again, again + 1, again + 1 + N}), AG_OK);
        for (int i = 0; i < 1 + 2 * N; i++) assert_true(same_bits(first[i], again[i]));
        ag_runner_free(r);
        ag_program_free(g);
    }
}

/* ---- where ---- */

/* A result whose last elements are needed, with another one behind it that is read later. */
static void part_model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    int64_t n = ag_count(in[0]), lo = *(const int64_t *)context;
    (void)t;
    ag_var w = ag_cumsum(in[0], 0), behind = ag_cumsum(ag_slice(w, 0, 0, 70, 1), 0);
    ag_var part = ag_slice(ag_add(ag_exp(ag_mul(in[0], ag_at(behind, 69))), in[0]), 0, lo, n, 1);
    out[0] = ag_cumsum(ag_mul(ag_at(ag_cumsum(part, 0), n - lo - 1), behind), 0);
}

static void results_stay_within_their_room(void **state) {
    (void)state;
    enum { MOST_PARTS = 600 };
    double in[MOST_PARTS], want[70], got[70];
    for (int64_t n = 80; n <= MOST_PARTS; n += 20) {
        for (int64_t lo = 1; lo < n; lo += 19) {
            ag_type type = lo % 2 ? AG_F64 : AG_F32;
            const ag_port port = {"x", AG_SHAPE(n), NULL};
            ag_program *p = ag_program_trace(type, part_model, &lo, &port, 1, NULL, 1);
            for (int64_t i = 0; i < n; i++) in[i] = (double)(float)(0.1 * sin((double)i));
            check_rooms(p);
            run_once(p, in, got);
            ag_tape *t = ag_tape_new(type);
            ag_var x = ag_tensor(t, in, AG_SHAPE(n)), y;
            part_model(t, &x, &y, &lo);
            ag_read(y, want);
            for (int i = 0; i < 70; i++)
                if (!(fabs(got[i] - want[i]) <= (type == AG_F64 ? 1e-12 : 1e-4) * (1 + fabs(want[i]))))
                    fail_msg("%lld, from %lld on: number %d is %g, not %g", (long long)n, (long long)lo, i, got[i],
                             want[i]);
            ag_tape_free(t);
            ag_program_free(p);
        }
    }
}

/* ---- signs ---- */

static void zeros_model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    int64_t n = ag_count(in[0]);
    (void)t, (void)context;
    ag_var zeros = ag_pad(ag_slice(in[0], 0, 0, 10, 1), 0, 0, n - 10), minus = ag_neg(ag_square(zeros));
    ag_var moved = ag_concat((ag_var[]){ag_slice(minus, 0, 1, n, 1), ag_slice(in[0], 0, 0, 1, 1)}, 2, 0);
    out[0] = ag_mul(minus, 2);
    out[1] = ag_add(ag_mul(zeros, -3), minus);
    out[2] = ag_sub(zeros, ag_mul(minus, -0.5));
    out[3] = ag_fnma(zeros, 2, minus);
    out[4] = ag_recip(ag_mul(minus, ag_at(ag_cumsum(minus, 0), 3)));
    out[5] = moved;
}

static void zeros_have_their_signs(void **state) {
    (void)state;
    enum { N = 300, OUTPUTS = 6 };
    double in[N], want[OUTPUTS * N], got[OUTPUTS * N];
    for (int i = 0; i < N; i++) in[i] = 1 + i % 3;
    const ag_port port = {"x", AG_SHAPE(N), NULL};
    ag_program *p = ag_program_trace(AG_F64, zeros_model, NULL, &port, 1, NULL, OUTPUTS);
    program_fine_("zeros", p);
    run_once(p, in, got);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, in, AG_SHAPE(N)), y[OUTPUTS];
    zeros_model(t, &x, y, NULL);
    for (int k = 0; k < OUTPUTS; k++) ag_read(y[k], want + k * N);
    for (int i = 0; i < OUTPUTS * N; i++)
        if (!same_bits(got[i], want[i])) fail_msg("output %d at %d is %g, not %g", i / N, i % N, got[i], want[i]);
    ag_tape_free(t);
    ag_program_free(p);
}

/* ---- how much is computed ---- */

/* y_i = x_i y_(i-1), so many times, from a vector of ones: its last element. */
typedef struct waves {
    int64_t n, steps;
} waves;

static void wave(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    const waves *w = context;
    ag_var y = ag_sin(in[0]), one = ag_ones(t, AG_SHAPE(1));
    for (int64_t i = 0; i < w->steps; i++)
        y = ag_mul(in[0], ag_concat((ag_var[]){one, ag_slice(y, 0, 0, -1, 1)}, 2, 0));
    out[0] = ag_at(y, w->n - 1);
}

static int64_t elements_computed(const ag_program *p) {
    ag_runner *r = ag_runner_new(p);
    assert_string_equal(ag_runner_message(r), "");
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    int64_t found = 0;
    for (uint64_t i = 0; i < r->steps.count; i++)
        if (steps[i].kind == STEP_FUSED) found += steps[i].blocks * steps[i].lanes * steps[i].codes;
    ag_runner_free(r);
    return found;
}

/* So many steps reach so many elements, however many there are. */
static void work_grows_with_what_is_reached(void **state) {
    (void)state;
    int64_t work[2];
    for (int k = 0; k < 2; k++) {
        waves w = {k ? 1 << 20 : 1 << 10, 30};
        const ag_port port = {"x", AG_SHAPE(w.n), NULL};
        ag_program *p = ag_program_trace(AG_F64, wave, &w, &port, 1, NULL, 1), *g = ag_program_gradient(p, NULL, 0);
        program_fine_("gradient", g);
        work[k] = elements_computed(g);
        assert_true(work[k] > 0);
        ag_program_free(g);
        ag_program_free(p);
    }
    assert_int_equal(work[0], work[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_as_on_the_tape),    cmocka_unit_test(runs_do_not_depend_on_earlier_ones),
        cmocka_unit_test(results_stay_within_their_room),  cmocka_unit_test(zeros_have_their_signs),
        cmocka_unit_test(work_grows_with_what_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
