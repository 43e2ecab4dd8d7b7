/* Programs on short vectors: steps whose rows are the same in every run, and whose code is kept once. */
#include "programs.h"

#include <autograd/program/runner_impl.h>

enum { MOST = AG_LANES, PARTS = 3 };

/* A recurrence over the rows of a sequence: y = tanh(y w + row) c, where c is one number; a sum of all y w. */
typedef struct sequences {
    int64_t n, steps;
} sequences;

static void model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    const sequences *s = context;
    ag_var y = ag_constant(t, 0.5), sum = ag_num(0);
    for (int64_t i = 0; i < s->steps; i++) {
        y = ag_mul(ag_tanh(ag_fma(y, in[0], ag_index(in[1], 0, i))), ag_at(in[2], i % 3));
        sum = ag_add(sum, ag_sum(ag_mul(y, in[0])));
    }
    out[0] = sum;
}

static ag_program *gradient_of(ag_type type, const sequences *s) {
    const ag_port ports[] = {
        {"w", AG_SHAPE(s->n), NULL}, {"rows", AG_SHAPE(s->steps, s->n), NULL}, {"c", AG_SHAPE(3), NULL}};
    ag_program *p = ag_program_trace(type, model, (void *)(uintptr_t)s, ports, PARTS, NULL, 1);
    program_fine_("trace", p);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    program_fine_("gradient", g);
    ag_program_free(p);
    return g;
}

static void by_tape(ag_type type, const sequences *s, const double *in, double *out) {
    int64_t n = s->n, steps = s->steps;
    ag_tape *t = ag_tape_new(type);
    ag_var x[] = {ag_tensor(t, in, AG_SHAPE(n)), ag_tensor(t, in + n, AG_SHAPE(steps, n)),
                  ag_tensor(t, in + n + steps * n, AG_SHAPE(3))},
           y;
    model(t, x, &y, (void *)(uintptr_t)s);
    out[0] = ag_value(y);
    ag_backward(y);
    ag_read_grad(x[0], out + 1);
    ag_read_grad(x[1], out + 1 + n);
    ag_read_grad(x[2], out + 1 + n + steps * n);
    assert_string_equal(ag_tape_message(t), "");
    ag_tape_free(t);
}

static void short_vectors_are_as_on_the_tape(void **state) {
    (void)state;
    static const int64_t sizes[] = {2, 5, 15, 16, 17, 33, 64};
    enum { STEPS = 9, ROOM = 1 + MOST + STEPS * MOST + 3 };
    double in[ROOM], want[ROOM], got[ROOM];
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        for (int special = 0; special <= SPECIALS; special++) {
            sequences s = {sizes[k], STEPS};
            ag_type type = special % 2 ? AG_F32 : AG_F64;
            uint64_t seed = k + 1;
            int64_t count = s.n + STEPS * s.n + 3;
            for (int64_t i = 0; i < count; i++) in[i] = (double)(float)random_number(&seed, -1, 1);
            if (special < SPECIALS) in[special * 7 % count] = SPECIAL[special];
            by_tape(type, &s, in, want);
            ag_program *g = gradient_of(type, &s);
            run_once(g, in, got);
            for (int64_t i = 0; i < 1 + count; i++)
                if (!same_bits(got[i], want[i]) &&
                    !(fabs(got[i] - want[i]) <= (type == AG_F64 ? 1e-13 : 1e-5) * (1 + fabs(want[i]))))
                    fail_msg("n %lld, special %d: number %lld is %g, not %g", (long long)s.n, special, (long long)i,
                             got[i], want[i]);
            ag_program_free(g);
        }
    }
}

/* However long the loop was: its code is kept once, and nothing is looked up in a run, though the sequence is long. */
static void long_loops_have_the_code_of_short_ones(void **state) {
    (void)state;
    uint64_t code[2];
    for (int k = 0; k < 2; k++) {
        sequences s = {48, k ? 3000 : 1000};
        ag_program *g = gradient_of(AG_F64, &s);
        ag_runner *r = ag_runner_new(g);
        assert_string_equal(ag_runner_message(r), "");
        const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
        uint64_t straight = 0, looked_up = 0;
        for (uint64_t i = 0; i < r->steps.count; i++) {
            if (steps[i].kind == STEP_STRAIGHT) straight += steps[i].count;
            looked_up += steps[i].kind == STEP_FUSED && !steps[i].fixed;
        }
        assert_true(looked_up <= 1); /* what is an output at once */
        code[k] = r->straight.count - straight;
        ag_runner_free(r);
        ag_program_free(g);
    }
    assert_true(code[0] > 0);
    assert_true(code[1] <= code[0] + code[0] / 4);
}

/* Lanes behind the last element are 0 when a step is done: they would be computed on and on otherwise, and might become
 * denormal numbers, which take a hundred times as long. */
static void lanes_behind_the_last_element_stay_clear(void **state) {
    (void)state;
    sequences s = {14, 40};
    double x[14 + 40 * 14 + 3], y[1 + 14 + 40 * 14 + 3];
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = random_number(&seed, -1, 1);
    ag_program *g = gradient_of(AG_F64, &s);
    ag_runner *r = ag_runner_new(g);
    const double *xs[] = {x, x + 14, x + 14 + 40 * 14};
    assert_int_equal(ag_run(r, xs, (double *[]){y, y + 1, y + 15, y + 15 + 40 * 14}), AG_OK);
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    int seen = 0;
    for (uint64_t i = 0; i < r->steps.count; i++) {
        if (!steps[i].fixed) continue;
        ag_run_fixed(r, &steps[i]); /* once more */
        for (uint32_t k = 0; k < steps[i].outs; k++, seen++)
            for (int64_t l = steps[i].view->count; l < steps[i].lanes; l++)
                assert_true(((const double *)steps[i].fixed[k])[l] == 0);
    }
    assert_true(seen > 40);
    ag_runner_free(r);
    ag_program_free(g);
}

/* A random program on two short vectors: products, sums of them that are numbers or tensors of one, and what is made of
 * sums and vectors together; and all sums as one vector. */
enum { LENGTH = 40, SUMS_AT = 1 };
typedef struct short_program {
    int n;
    uint64_t seed;
} short_program;

typedef struct pool {
    ag_var of[LENGTH];
    int count;
} pool;

static int one_of(uint64_t *state, int n) { return (int)random_number(state, 0, n); }
static ag_var some(const pool *p, uint64_t *state) { return p->of[one_of(state, p->count)]; }
static void keep(pool *p, ag_var x) { p->of[p->count++] = x; }

static void random_model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    const short_program *c = context;
    uint64_t state = c->seed;
    pool v = {{in[0], in[1]}, 2}, s = {{ag_reshape(ag_sum(in[0]), AG_SHAPE(1))}, 1};
    (void)t;
    for (int steps = 5 + one_of(&state, LENGTH - 8); steps > 0; steps--) {
        ag_var a = some(&v, &state), b = some(&v, &state), sum = some(&s, &state);
        switch (one_of(&state, 9)) {
        case 0: keep(&v, ag_mul(a, b)); break;
        case 1: keep(&v, ag_fma(a, b, some(&v, &state))); break;
        case 2: keep(&v, ag_tanh(ag_mul(a, sum))); break;
        case 3: keep(&v, ag_tanh(ag_sub(ag_mul(a, b), ag_at(sum, 0)))); break;
        case 4: keep(&s, ag_sum_over(ag_mul(a, b), AG_AXES(0), true)); break;
        case 5: keep(&s, ag_sum_over(a, AG_AXES(0), true)); break;
        case 6: keep(&s, ag_tanh(ag_add(sum, some(&s, &state)))); break;
        case 7: keep(&s, ag_reshape(ag_at(a, one_of(&state, c->n)), AG_SHAPE(1))); break;
        default: keep(&s, ag_reshape(ag_tanh(ag_sum(a)), AG_SHAPE(1)));
        }
    }
    out[0] = ag_num(0);
    for (int i = 0; i < v.count; i++) out[0] = ag_add(out[0], ag_sum(ag_tanh(v.of[i])));
    for (int i = 0; i < s.count; i++) out[0] = ag_add(out[0], ag_tanh(ag_at(s.of[i], 0)));
    out[SUMS_AT] = ag_concat(s.of, s.count, 0);
}

static void check_random(ag_type type, short_program c) {
    enum { ROOM = 1 + LENGTH + 2 * (MOST + 8) };
    double in[ROOM], want[ROOM], got[ROOM];
    uint64_t state = c.seed + 1;
    for (int i = 0; i < 2 * c.n; i++) in[i] = (double)(float)random_number(&state, -1, 1);
    ag_tape *t = ag_tape_new(type);
    ag_var x[] = {ag_tensor(t, in, AG_SHAPE(c.n)), ag_tensor(t, in + c.n, AG_SHAPE(c.n))}, y[2];
    random_model(t, x, y, &c);
    int sums = (int)ag_count(y[SUMS_AT]), all = 1 + sums + 2 * c.n;
    want[0] = ag_value(y[0]);
    ag_read(y[SUMS_AT], want + 1);
    ag_backward(y[0]);
    ag_read_grad(x[0], want + 1 + sums);
    ag_read_grad(x[1], want + 1 + sums + c.n);
    assert_string_equal(ag_tape_message(t), "");
    ag_tape_free(t);

    const ag_port ports[] = {ag_in("a", AG_SHAPE(c.n)), ag_in("b", AG_SHAPE(c.n))};
    ag_program *p = ag_program_trace(type, random_model, &c, ports, 2, NULL, 2);
    program_fine_("trace", p);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    program_fine_("gradient", g);
    run_once(g, in, got);
    for (int i = 0; i < all; i++)
        if (!(fabs(got[i] - want[i]) <= (type == AG_F64 ? 1e-10 : 2e-3) * (1 + fabs(want[i]))))
            fail_msg("seed %llu, n %d: number %d is %.17g, not %.17g", (unsigned long long)c.seed, c.n, i, got[i],
                     want[i]);
    ag_program_free(g);
    ag_program_free(p);
}

static void sums_and_vectors_are_as_on_the_tape(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++)
        check_random(i % 2 ? AG_F32 : AG_F64, (short_program){1 + i * 7 % (MOST + 8), (uint64_t)i * 100});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_vectors_are_as_on_the_tape),
        cmocka_unit_test(lanes_behind_the_last_element_stay_clear),
        cmocka_unit_test(sums_and_vectors_are_as_on_the_tape),
        cmocka_unit_test(long_loops_have_the_code_of_short_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
