/* Values that are computed again where they are used instead of being kept: the same numbers, less memory, not much more
 * work. */
#include "recomputed.h"

enum { N = 400, STEPS = 30, MOST_OUT = 1 + 2 * N, KINDS = 5 };

/* ---- models of x (N), w (N) and a number ---- */

static ag_var moved(ag_var x, ag_var end, int by) {
    ag_var rest = ag_slice(x, 0, by > 0 ? 0 : 1, by > 0 ? -1 : AG_END, 1);
    return ag_concat(by > 0 ? (ag_var[]){end, rest} : (ag_var[]){rest, end}, 2, 0);
}

/* What the next state is computed from: a stage, cheap but for the kind that has functions. */
static ag_var stage(int kind, ag_var y, const ag_var *x, ag_var one) {
    switch (kind) {
    case 0: return ag_mul(x[0], moved(y, one, 1));
    case 1: return ag_mul(ag_sub(x[1], ag_mul(x[2], y)), y);
    case 2: return ag_sin(ag_mul(x[0], y));
    case 3: return ag_select(ag_gt(y, x[1]), ag_mul(x[0], y), ag_sub(x[0], ag_square(y)));
    default: return ag_sub(ag_add(moved(y, one, 1), moved(ag_mul(y, x[1]), one, -1)), ag_mul(2, y));
    }
}

/* Steps of two stages; to some a sum over all of the state comes. */
static void model(ag_tape *t, const ag_var *x, ag_var *out, void *context) {
    int kind = *(const int *)context;
    ag_var y = x[0], one = ag_ones(t, AG_SHAPE(1));
    for (int i = 0; i < STEPS; i++) {
        ag_var k1 = stage(kind, y, x, one), k2 = stage(kind, ag_fma(k1, 0.05, y), x, one);
        y = ag_fma(ag_add(k1, k2), 0.03, y);
        if (kind % 2 && i % 4 == 0) y = ag_mul(y, ag_tanh(ag_add(1, ag_mean(y))));
    }
    out[0] = ag_vdot(y, x[1]);
}

static ag_program *gradient_of(ag_type type, int *kind, bool twice) {
    const ag_port ports[] = {{"x", AG_SHAPE(N), NULL}, {"w", AG_SHAPE(N), NULL}, {"a", {0}, NULL}};
    ag_program *p = ag_program_trace(type, model, kind, ports, 3, NULL, 1);
    program_fine_("trace", p);
    ag_program *g = twice ? ag_program_hvp(p, (int[]){0}, 1) : ag_program_gradient(p, (int[]){0, 1}, 2);
    program_fine_("gradient", g);
    ag_program_free(p);
    return g;
}

static void the_same_numbers(void **state) {
    (void)state;
    double *in = new_numbers(3 * N + 2);
    uint64_t seed = 5;
    for (int i = 0; i < 3 * N + 2; i++) in[i] = (double)(float)random_number(&seed, -1, 1);
    for (int kind = 0; kind < KINDS; kind++)
        for (int way = 0; way < 4; way++) {
            char label[40];
            snprintf(label, sizeof label, "kind %d, way %d", kind, way);
            ag_program *p = gradient_of(way % 2 ? AG_F32 : AG_F64, &kind, way > 1);
            check_recomputed(label, p, in, MOST_OUT);
            ag_program_free(p);
        }
    free(in);
}

/* ---- cost ---- */

/* Elementwise operations that a plan executes, and those of one kind; the sines are never quick. */
static int operations_of(const ag_runner *r, uint32_t op) {
    const ag_straight *code = (const ag_straight *)(const void *)r->straight.range.base;
    const ag_pstep *steps = (const ag_pstep *)(const void *)r->steps.range.base;
    int found = 0;
    for (uint64_t i = 0; i < r->steps.count; i++) {
        bool fused = steps[i].kind == STEP_FUSED, straight = steps[i].kind == STEP_STRAIGHT;
        uint32_t first = fused ? steps[i].code : steps[i].first, n = fused ? steps[i].codes : steps[i].count;
        for (uint32_t k = 0; (fused || straight) && k < n; k++) found += op == AG_OPCODES || code[first + k].op == op;
        found += steps[i].kind == STEP_ELEMENTWISE && (op == AG_OPCODES || steps[i].code == op);
    }
    return found;
}

static void less_memory_for_little_work(void **state) {
    (void)state;
    enum { ARRAY = N * sizeof(double) };
    static const int64_t far[] = {1, 2 * ARRAY, 9 * ARRAY, 40 * ARRAY};
    static const double part[KINDS][4] = {
        {0.6, 0.5, 0.5, 0.65}, {0.35, 0.45, 0.25, 0.5}, {0.6, 0.6, 1, 0.85}, {0.5, 0.55, 0.15, 0.4}, {1, 1, 1, 1}};
    for (int kind = 0; kind < KINDS; kind++) {
        ag_program *p = gradient_of(AG_F64, &kind, false);
        ag_runner *kept = ag_runner_plan(p, false, INT64_MAX);
        int before = operations_of(kept, AG_OPCODES);
        for (int f = 0; f < 4; f++) {
            ag_runner *r = ag_runner_plan(p, false, far[f]);
            int after = operations_of(r, AG_OPCODES);
            if (after > before + before / 2) fail_msg("kind %d, far %d: %d operations, not %d", kind, f, after, before);
            if ((double)r->work_count > part[kind][f] * (double)kept->work_count)
                fail_msg("kind %d, far %d: %lld numbers, not %lld", kind, f, (long long)r->work_count,
                         (long long)kept->work_count);
            ag_runner_free(r);
        }
        ag_runner_free(kept);
        ag_program_free(p);
    }
}

static void nothing_costly_is_computed_again(void **state) {
    (void)state;
    int kind = 2;
    ag_program *p = gradient_of(AG_F64, &kind, false);
    ag_runner *kept = ag_runner_plan(p, false, INT64_MAX), *r = ag_runner_plan(p, false, 1);
    assert_int_equal(operations_of(kept, AG_SIN), 2 * STEPS);
    assert_int_equal(operations_of(r, AG_SIN), 2 * STEPS);
    assert_int_equal(operations_of(r, AG_COS), operations_of(kept, AG_COS));
    ag_runner_free(kept);
    ag_runner_free(r);
    ag_program_free(p);
}

/* What fits in a cache is kept. */
static void near_uses_change_nothing(void **state) {
    (void)state;
    int kind = 0;
    ag_program *p = gradient_of(AG_F64, &kind, false);
    ag_runner *kept = ag_runner_plan(p, false, INT64_MAX), *r = ag_runner_new(p);
    assert_int_equal(operations_of(kept, AG_OPCODES), operations_of(r, AG_OPCODES));
    assert_int_equal(kept->work_count, r->work_count);
    ag_runner_free(kept);
    ag_runner_free(r);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_numbers),
        cmocka_unit_test(less_memory_for_little_work),
        cmocka_unit_test(nothing_costly_is_computed_again),
        cmocka_unit_test(near_uses_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
