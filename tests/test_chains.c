/* Chains within a fused step, which are products until one of them is NaN: against the tape, on infinities and zeros. */
#include "programs.h"

#include <autograd/program/runner_impl.h>

enum { STEPS = 12, MOST_VALUES = STEPS + 2, MOST_ROOM = 301 * AG_LANES, MODELS = 1200 };

typedef struct random_chains {
    uint64_t seed;
    int64_t n;
} random_chains;

static int pick(uint64_t *seed, int n) { return (int)random_number(seed, 0, n - 1e-9); }

static ag_var moved(ag_tape *t, ag_var x, int by) {
    ag_var end = ag_ones(t, AG_SHAPE(1));
    ag_var rest = ag_slice(x, 0, by > 0 ? 0 : 1, by > 0 ? -1 : AG_END, 1);
    return ag_concat(by > 0 ? (ag_var[]){end, rest} : (ag_var[]){rest, end}, 2, 0);
}

static ag_var with_number(ag_var a, ag_var b, ag_var number, int how) {
    switch (how) {
    case 0: return ag_add(number, b);
    case 1: return ag_mul(b, number);
    case 2: return ag_fma(number, a, b);
    case 3: return ag_fma(a, b, number);
    case 4: return ag_sub(ag_fma(number, b, number), a);
    default: return ag_sub(a, ag_chain(b, number));
    }
}

/* Of two vectors: a vector, and the sum of another one. Some operations give a number for NaN. */
static void model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    const random_chains *r = context;
    uint64_t seed = r->seed;
    ag_var x[MOST_VALUES] = {in[0], in[1]};
    int by = pick(&seed, 2) ? 1 : -1, count = 2;
    bool keeps = pick(&seed, 2), moves = r->n > 1 && pick(&seed, 2);
    for (int i = 0; i < STEPS; i++) {
        ag_var a = x[pick(&seed, count)], b = x[count - 1];
        switch (pick(&seed, keeps ? 5 : 8)) {
        case 0: a = ag_add(a, ag_chain(b, in[i % 2])); break;
        case 1: a = ag_sub(a, ag_chain(b, in[i % 2])); break;
        case 2: a = ag_chain(a, b); break;
        case 3: a = with_number(a, b, ag_at(in[i % 2], r->n / 2), pick(&seed, 6)); break;
        case 4: a = moves ? moved(t, b, by) : ag_neg(b); break;
        case 5: a = ag_relu(b); break;
        case 6: a = ag_select(ag_gt(a, b), a, 1); break;
        default: a = ag_chain(ag_ne(b, b), a);
        }
        x[count++] = a;
    }
    out[0] = x[count - 1];
    out[1] = ag_sum(x[count - 2]);
}

/* Mostly ordinary numbers, now and then one whose product with another is NaN. */
static void draw(double *x, int64_t n, uint64_t seed) {
    static const double special[] = {INFINITY, -INFINITY, NAN};
    bool wild = seed % 3;
    for (int64_t i = 0; i < n; i++) {
        x[i] = (double)(float)random_number(&seed, -1, 1);
        if (pick(&seed, 4) == 0) x[i] = 0;
        if (wild && pick(&seed, 60) == 0) x[i] = special[pick(&seed, 3)];
    }
}

static void expect_same(const random_chains *r, const char *what, ag_type type, const double *got, const double *want,
                        int64_t n) {
    double allowed = type == AG_F64 ? 1e-12 : 1e-4;
    for (int64_t i = 0; i < n; i++) {
        bool same = isnan(want[i]) ? isnan(got[i]) : got[i] == want[i];
        if (!same && !(fabs(got[i] - want[i]) <= allowed * (1 + fabs(want[i]))))
            fail_msg("seed %llu, n %lld: %s[%lld] is %g, not %g", (unsigned long long)r->seed, (long long)r->n, what,
                     (long long)i, got[i], want[i]);
    }
}

/* Its values. */
static void by_tape(ag_type type, const random_chains *r, const double *in, double *out) {
    ag_tape *t = ag_tape_new(type);
    ag_var x[] = {ag_tensor(t, in, AG_SHAPE(r->n)), ag_tensor(t, in + r->n, AG_SHAPE(r->n))}, y[2];
    model(t, x, y, (void *)(uintptr_t)r);
    ag_read(y[0], out);
    out[r->n] = ag_value(y[1]);
    assert_string_equal(ag_tape_message(t), "");
    ag_tape_free(t);
}

static int quick_steps(const ag_program *p) {
    ag_runner *r = ag_runner_new(p);
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    int found = 0;
    for (uint64_t i = 0; i < r->steps.count; i++) found += steps[i].exacts > 0;
    ag_runner_free(r);
    return found;
}

static void chains_are_as_on_the_tape(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 9, 16, 17, 64, 65, 128, 1000, 300 * AG_LANES + 1};
    double *in = new_numbers(2 * MOST_ROOM), *want = new_numbers(MOST_ROOM), *got = new_numbers(MOST_ROOM);
    int quick = 0, other = 0;
    for (uint64_t seed = 0; seed < MODELS / SHARE; seed++) {
        random_chains r = {seed, sizes[seed % (sizeof sizes / sizeof *sizes)]};
        ag_type type = seed % 5 == 3 ? AG_F32 : AG_F64;
        const ag_port ports[] = {{"x", AG_SHAPE(r.n), NULL}, {"w", AG_SHAPE(r.n), NULL}};
        ag_program *p = ag_program_trace(type, model, &r, ports, 2, NULL, 2);
        program_fine_("trace", p);
        if (quick_steps(p)) quick++;
        else other++;
        draw(in, 2 * r.n, seed + 1);
        by_tape(type, &r, in, want);
        run_once(p, in, got);
        expect_same(&r, "y", type, got, want, r.n);
        expect_same(&r, "sum", type, got + r.n, want + r.n, 1);
        ag_program_free(p);
    }
    assert_true(quick > MODELS / SHARE / 4 && other > MODELS / SHARE / 20);
    free(in);
    free(want);
    free(got);
}

/* A chain that only shows in what takes NaN for a number is none of them. */
static void hidden(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    out[0] = ag_relu(ag_neg(ag_chain(in[0], in[1])));
}

static void shown(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    out[0] = ag_sin(ag_sub(in[0], ag_chain(in[0], in[1])));
}

static void only_chains_that_show_are_products(void **state) {
    (void)state;
    const ag_port ports[] = {{"x", AG_SHAPE(100), NULL}, {"w", AG_SHAPE(100), NULL}};
    ag_program *p = ag_program_trace(AG_F64, hidden, NULL, ports, 2, NULL, 1);
    ag_program *q = ag_program_trace(AG_F64, shown, NULL, ports, 2, NULL, 1);
    assert_int_equal(quick_steps(p), 0);
    assert_int_equal(quick_steps(q), 1);
    ag_program_free(p);
    ag_program_free(q);
}

/* The gradient by numbers that are elements of a vector: sums of shape (1). */
static void polynomial(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    ag_var p = ag_expand(ag_at(in[0], 3), AG_SHAPE(100));
    for (int k = 2; k >= 0; k--) p = ag_fma(p, in[1], ag_at(in[0], k));
    out[0] = ag_sum(ag_square(p));
}

static void sums_of_any_shape_are_in_the_step(void **state) {
    (void)state;
    double in[104], out[5], want[4] = {0};
    draw(in, 104, 6);
    const ag_port ports[] = {{"x", AG_SHAPE(4), NULL}, {"t", AG_SHAPE(100), NULL}};
    ag_program *p = ag_program_trace(AG_F64, polynomial, NULL, ports, 2, NULL, 1);
    ag_program *g = ag_program_gradient(p, (const int[]){0}, 1);
    program_fine_("gradient", g);
    ag_runner *r = ag_runner_new(g);
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    uint32_t sums = 0;
    for (uint64_t i = 0; i < r->steps.count; i++) sums += steps[i].kind == STEP_FUSED ? steps[i].sums : 0;
    assert_int_equal(sums, 5);
    run_once(g, in, out);
    for (int i = 0; i < 100; i++) {
        double t = in[4 + i], y = in[0] + t * (in[1] + t * (in[2] + t * in[3]));
        for (int k = 0; k < 4; k++) want[k] += 2 * y * pow(t, k);
    }
    for (int k = 0; k < 4; k++) assert_true(fabs(out[1 + k] - want[k]) < 1e-12);
    ag_runner_free(r);
    ag_program_free(g);
    ag_program_free(p);
}

/* Sums of shape (1), of one element, too, and what needs them whole. */
static void centred(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    ag_var y = ag_mul(in[0], in[0]), sum = ag_sum_over(y, AG_AXES(0), true);
    ag_var again = ag_sum_over(sum, AG_AXES(0), true), one = ag_sin(sum);
    ag_var same = ag_sum_over(ag_reshape(ag_mul(sum, one), AG_SHAPE(1, 1)), AG_AXES(0), false);
    out[0] = ag_sub(ag_mul(y, 2), sum);
    out[1] = ag_add(ag_mul(same, one), again);
}

static void sums_come_before_what_needs_them(void **state) {
    (void)state;
    enum { N = 100 };
    double x[N], out[N + 1], sum = 0;
    draw(x, N, 9);
    const ag_port ports[] = {{"x", AG_SHAPE(N), NULL}};
    ag_program *p = ag_program_trace(AG_F64, centred, NULL, ports, 1, NULL, 2);
    program_fine_("trace", p);
    run_once(p, x, out);
    for (int i = 0; i < N; i++) sum += x[i] * x[i];
    for (int i = 0; i < N; i++) assert_true(fabs(out[i] - (2 * x[i] * x[i] - sum)) < 1e-12);
    assert_true(fabs(out[N] - (sum * sin(sum) * sin(sum) + sum)) < 1e-11);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_are_as_on_the_tape),
        cmocka_unit_test(only_chains_that_show_are_products),
        cmocka_unit_test(sums_of_any_shape_are_in_the_step),
        cmocka_unit_test(sums_come_before_what_needs_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
