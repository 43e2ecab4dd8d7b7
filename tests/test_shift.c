/* Values moved by a few elements within a fused step, as recurrences do: against the tape, and that it is one step. */
#include "recomputed.h"

enum { STEPS = 24, MOST_VALUES = STEPS + 2, MOST_ROOM = 1100, FAR = AG_LANES + 1 };

typedef struct random_shifts {
    uint64_t seed;
    int64_t n;
} random_shifts;

static int pick(uint64_t *seed, int n) { return (int)random_number(seed, 0, n - 1e-9); }

/* x moved by some elements, to the back or to the front; from beyond the end come zeros, one number, or other numbers. */
static ag_var shifted(ag_tape *t, ag_var x, ag_var other, int64_t by, int edge) {
    int64_t n = ag_count(x), far = by < 0 ? -by : by;
    ag_var rest = by > 0 ? ag_slice(x, 0, 0, n - far, 1) : ag_slice(x, 0, far, n, 1);
    if (edge == 0) return ag_pad(rest, 0, by > 0 ? far : 0, by > 0 ? 0 : far);
    ag_var end = edge == 1 ? ag_expand(ag_at(other, n / 2), AG_SHAPE(far)) : ag_slice(other, 0, far - 1, AG_END, -1);
    if (edge == 3) end = ag_slice(ag_sin(ag_slice(x, 0, 0, far, 1)), 0, 0, far, 1); /* needs x first */
    (void)t;
    return by > 0 ? ag_concat((ag_var[]){end, rest}, 2, 0) : ag_concat((ag_var[]){rest, end}, 2, 0);
}

/* Of two vectors: a number, and a shifted vector. */
static void model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    const random_shifts *r = context;
    static const int distances[] = {1, 1, 1, 2, 5, AG_LANES, FAR};
    uint64_t seed = r->seed;
    ag_var x[MOST_VALUES] = {in[0], in[1]}, sum = ag_num(0);
    int count = 2, mostly = pick(&seed, 2) ? 1 : -1;
    for (int i = 0; i < STEPS; i++) {
        ag_var a = x[count - 1], b = x[pick(&seed, count)];
        int64_t by = distances[pick(&seed, 7)] * (pick(&seed, 8) ? mostly : -mostly);
        switch (pick(&seed, 5)) {
        case 0: a = ag_add(ag_mul(0.5, a), b); break;
        case 1: a = ag_sin(ag_mul(a, b)); break;
        case 2: sum = ag_add(sum, ag_sum(a)); break;
        default: a = shifted(t, ag_add(a, ag_mul(0.25, b)), b, by, pick(&seed, 4));
        }
        x[count++] = a;
    }
    out[0] = ag_add(sum, ag_vdot(x[count - 1], in[0]));
    out[1] = shifted(t, ag_mul(x[count - 1], in[1]), in[0], mostly, 2);
}

static void draw(double *x, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) x[i] = (double)(float)random_number(&seed, -1, 1);
}

static void expect_close(const random_shifts *r, const char *what, ag_type type, const double *got, const double *want,
                         int64_t n) {
    double most = 1, allowed = type == AG_F64 ? 1e-12 : 2e-4;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= allowed * most))
            fail_msg("seed %llu, n %lld: %s[%lld] is %g, not %g", (unsigned long long)r->seed, (long long)r->n, what,
                     (long long)i, got[i], want[i]);
}

/* The model's values and gradient: behind one another. */
static void by_tape(ag_type type, const random_shifts *r, const double *in, double *out) {
    int64_t n = r->n;
    ag_tape *t = ag_tape_new(type);
    ag_var x[] = {ag_tensor(t, in, AG_SHAPE(n)), ag_tensor(t, in + n, AG_SHAPE(n))}, y[2];
    model(t, x, y, (void *)(uintptr_t)r);
    out[0] = ag_value(y[0]);
    ag_read(y[1], out + 1);
    ag_backward(y[0]);
    ag_read_grad(x[0], out + 1 + n);
    ag_read_grad(x[1], out + 1 + 2 * n);
    assert_string_equal(ag_tape_message(t), "");
    ag_tape_free(t);
}

static void by_program(ag_type type, const random_shifts *r, const double *in, double *out) {
    const ag_port ports[] = {{"x", AG_SHAPE(r->n), NULL}, {"w", AG_SHAPE(r->n), NULL}};
    ag_program *p = ag_program_trace(type, model, (void *)(uintptr_t)r, ports, 2, NULL, 2);
    program_fine_("trace", p);
    ag_program *first = ag_program_select(p, (const int[]){0}, 1), *g = ag_program_gradient(first, NULL, 0);
    program_fine_("gradient", g);
    double *gradient = new_numbers(1 + 2 * r->n);
    run_once(p, in, out);
    run_once(g, in, gradient);
    check_recomputed("shifts", g, in, 1 + 2 * r->n);
    assert_true(gradient[0] == out[0]);
    memcpy(out + 1 + r->n, gradient + 1, (size_t)(2 * r->n) * sizeof *out);
    free(gradient);
    ag_program_free(g);
    ag_program_free(first);
    ag_program_free(p);
}

static void shifts_are_as_on_the_tape(void **state) {
    (void)state;
    static const int64_t sizes[] = {65, 66, 100, 127, 128, 129, 192, 1000, 1024};
    double *in = new_numbers(2 * MOST_ROOM), *want = new_numbers(4 * MOST_ROOM), *got = new_numbers(4 * MOST_ROOM);
    for (uint64_t seed = 0; seed < 400 / SHARE; seed++) {
        random_shifts r = {seed, sizes[seed % (sizeof sizes / sizeof *sizes)]};
        ag_type type = seed % 4 == 3 ? AG_F32 : AG_F64;
        draw(in, 2 * r.n, seed + 1);
        by_tape(type, &r, in, want);
        by_program(type, &r, in, got);
        expect_close(&r, "y", type, got, want, 1);
        expect_close(&r, "shifted", type, got + 1, want + 1, r.n);
        expect_close(&r, "gradient", type, got + 1 + r.n, want + 1 + r.n, 2 * r.n);
    }
    free(in);
    free(want);
    free(got);
}

/* ---- steps ---- */

/* Rows y_i = w_i y_(i-1) + x_i or w_i y_(i+1) + x_i, again and again, where w is a transposed matrix. */
static void recurrence(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    int64_t n = ag_shape_of(in[0]).dim[0];
    bool back = *(const int *)context > 0;
    ag_var y = ag_cos(in[0]), end = ag_ones(t, AG_SHAPE(1, 2));
    for (int i = 0; i < 6; i++) {
        ag_var rest = ag_slice(y, 0, back ? 0 : 1, back ? n - 1 : n, 1);
        ag_var moved = ag_concat(back ? (ag_var[]){end, rest} : (ag_var[]){rest, end}, 2, 0);
        y = ag_add(ag_mul(ag_transpose(in[1]), moved), in[0]);
    }
    out[0] = ag_sin(y);
}

static int steps_of(const ag_program *p, ag_step_kind kind) {
    ag_runner *r = ag_runner_new(p);
    assert_string_equal(ag_runner_message(r), "");
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    int found = 0;
    for (uint64_t i = 0; i < r->steps.count; i++) found += steps[i].kind == kind;
    ag_runner_free(r);
    return found;
}

static void a_recurrence_goes_over_memory_once(void **state) {
    (void)state;
    enum { ROWS = 500 };
    double *in = new_numbers(4 * ROWS), *got = new_numbers(2 * ROWS), *want = new_numbers(2 * ROWS);
    draw(in, 4 * ROWS, 7);
    for (int by = -1; by <= 1; by += 2) {
        const ag_port ports[] = {{"x", AG_SHAPE(ROWS, 2), NULL}, {"w", AG_SHAPE(2, ROWS), NULL}};
        ag_program *p = ag_program_trace(AG_F64, recurrence, &by, ports, 2, NULL, 1);
        program_fine_("trace", p);
        assert_int_equal(steps_of(p, STEP_FUSED), 1);
        assert_int_equal(steps_of(p, STEP_CALL), 0);
        run_once(p, in, got);
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x[] = {ag_tensor(t, in, AG_SHAPE(ROWS, 2)), ag_tensor(t, in + 2 * ROWS, AG_SHAPE(2, ROWS))}, y;
        recurrence(t, x, &y, &by);
        ag_read(y, want);
        for (int i = 0; i < 2 * ROWS; i++) assert_true(fabs(got[i] - want[i]) <= 1e-14);
        ag_tape_free(t);
        ag_program_free(p);
    }
    free(in);
    free(got);
    free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shifts_are_as_on_the_tape),
        cmocka_unit_test(a_recurrence_goes_over_memory_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
