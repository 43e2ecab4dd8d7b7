/* Sparse Jacobians and Hessians through scans: patterns that are known, and numbers against dense derivatives. */
#include "sparse.h"

enum { N = 24 };

static ag_program *step_of(ag_model f, void *context, const ag_port *in, int nx, int ny) {
    ag_program *p = ag_program_trace(AG_F64, f, context, in, nx, NULL, ny);
    check_program("step", p);
    return p;
}

/* What scans x: a step, and how. */
typedef struct scanning {
    ag_program *step;
    int64_t steps;
    ag_scan_options options;
    bool sum; /* of the squares */
} scanning;

/* ---- a state of elements ---- */

/* An explicit step of the heat equation with a reaction: u[i] depends on i - 1, i and i + 1 before. */
static void heat_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var u = x[0], padded = ag_pad(u, 0, 1, 1);
    ag_var left = ag_slice(padded, 0, 0, N, 1), right = ag_slice(padded, 0, 2, N + 2, 1);
    y[0] = ag_add(u, ag_mul(0.1, ag_sub(ag_add(left, right), ag_mul(u, ag_add(ag_square(u), 1)))));
    (void)t, (void)context;
}

/* Each element takes its left neighbour's place: after s steps i depends on i - s. */
static void roll_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ag_sin(ag_concat((ag_var[]){ag_slice(x[0], 0, N - 1, N, 1), ag_slice(x[0], 0, 0, N - 1, 1)}, 2, 0));
    (void)t, (void)context;
}

/* Pairs that mix: the same pattern after any number of steps but none. */
static void pair_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var pairs = ag_reshape(x[0], AG_SHAPE(N / 2, 2));
    y[0] = ag_reshape(ag_add(ag_mul(0.5, ag_sin(pairs)), ag_prod_over(pairs, AG_AXES(1), true)), AG_SHAPE(N));
    (void)t, (void)context;
}

static void scan_state(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const scanning *s = context;
    ag_scan(t, s->step, s->steps, 1, x, NULL, &s->options, y);
    if (s->sum) y[0] = ag_sum(ag_square(y[0]));
}

static int around(int64_t i, int64_t j) { return (int)((i - j) % N + N) % N; }

static bool heat_entry(int64_t steps, int64_t i, int64_t j) { return i - j <= steps && j - i <= steps; }
static bool roll_entry(int64_t steps, int64_t i, int64_t j) { return around(i, j) == steps % N; }
static bool pair_entry(int64_t steps, int64_t i, int64_t j) { return steps ? i / 2 == j / 2 : i == j; }

typedef bool state_entry(int64_t steps, int64_t i, int64_t j);

static void check_states(const char *what, ag_model step, state_entry *entry, int64_t steps, ag_scan_options options) {
    scanning s = {
        .step = step_of(step, NULL, &(ag_port){"u", AG_SHAPE(N), NULL}, 1, 1), .steps = steps, options, false};
    ag_program *p = program_of(scan_state, &s, AG_SHAPE(N));
    ag_sparsity *got = ag_program_jacobian_sparsity(p, 0, 0);
    check_pattern(what, got);
    for (int64_t i = 0; i < N; i++)
        for (int64_t j = 0; j < N; j++)
            if (has(got, i, j) != entry(steps, i, j))
                fail_msg("%s, %d steps: entry (%d, %d) is %s", what, (int)steps, (int)i, (int)j,
                         has(got, i, j) ? "not there" : "missing");
    compare_at_points(what, p, false);
    ag_sparsity_free(got);
    ag_program_free(p);
    ag_program_free(s.step);
}

/* Few steps and many (more than are unrolled elsewhere), both ways, and in segments. */
static void states(void **unused) {
    (void)unused;
    const int64_t steps[] = {0, 1, 3, 7, 23, 400};
    for (int i = 0; i < 6; i++)
        for (int way = 0; way < 3; way++) {
            ag_scan_options o = {.backward = way == 1, .states = way == 2 ? 4 : 0};
            check_states("heat", heat_step, heat_entry, steps[i], o);
            check_states("roll", roll_step, roll_entry, steps[i], o);
            check_states("pairs", pair_step, pair_entry, steps[i], o);
        }
}

/* Of the sum of squares after s steps: two elements meet that are at most 2 s apart. */
static void hessian_of_states(void **unused) {
    (void)unused;
    for (int way = 0; way < 2; way++) {
        scanning s = {.step = step_of(heat_step, NULL, &(ag_port){"u", AG_SHAPE(N), NULL}, 1, 1),
                      .steps = 4,
                      .options = {.states = way ? 2 : 0},
                      .sum = true};
        ag_program *p = program_of(scan_state, &s, AG_SHAPE(N));
        ag_sparsity *h = ag_program_hessian_sparsity(p, 0);
        check_pattern("heat", h);
        for (int64_t i = 0; i < N; i++)
            for (int64_t j = 0; j < N; j++) assert_int_equal(has(h, i, j), i - j <= 8 && j - i <= 8);
        compare_at_points("heat", p, true);
        ag_sparsity_free(h);
        ag_program_free(p);
        ag_program_free(s.step);
    }
}

/* ---- a sequence ---- */

/* A Markov chain's energy: what neighbours give, the state being the one before. The last state is not used. */
static void chain_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = x[1];
    y[1] = ag_add(ag_square(ag_sub(x[1], ag_sin(x[0]))), ag_mul(0.1, ag_square(ag_square(x[1]))));
    (void)t, (void)context;
}

static void chain(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const scanning *s = context;
    ag_var in[2] = {ag_num(0), x[0]}, out[2] = {ag_num(0), ag_num(0)};
    ag_scan(t, s->step, s->steps, 1, in, NULL, &s->options, out);
    y[0] = s->sum ? ag_sum(out[1]) : out[1];
}

static ag_program *chain_program(scanning *s) {
    const ag_port in[] = {{"before", {.rank = 0}, NULL}, {"x", {.rank = 0}, NULL}};
    s->step = step_of(chain_step, NULL, in, 2, 2);
    return program_of(chain, s, AG_SHAPE(s->steps));
}

static void chains(void **unused) {
    (void)unused;
    for (int way = 0; way < 4; way++) {
        scanning s = {.steps = way == 3 ? 3 : 60, .options = {way == 1, way == 2 ? 8 : 0}};
        ag_program *p = chain_program(&s);
        ag_sparsity *j = ag_program_jacobian_sparsity(p, 0, 0);
        check_pattern("chain", j);
        assert_int_equal(j->nonzeros, 2 * s.steps - 1);
        assert_int_equal(j->column_colours + j->row_colours, 2);
        compare_at_points("chain", p, false);
        ag_program_free(p);
        ag_program_free(s.step);
        s.sum = true;
        p = chain_program(&s);
        ag_sparsity *h = ag_program_hessian_sparsity(p, 0);
        check_pattern("chain", h);
        assert_int_equal(h->nonzeros, 3 * s.steps - 2);
        for (int64_t k = 0; k < h->nonzeros; k++) assert_in_range(h->row[k] - h->column[k] + 1, 0, 2);
        compare_at_points("chain", p, true);
        ag_sparsity_free(h);
        ag_sparsity_free(j);
        ag_program_free(p);
        ag_program_free(s.step);
    }
}

/* The state is a product with the one before: each step depends on all before it. */
static void product_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ag_mul(x[0], x[1]);
    y[1] = y[0];
    (void)t, (void)context;
}

static void products(void **unused) {
    (void)unused;
    const ag_port in[] = {{"before", {.rank = 0}, NULL}, {"x", {.rank = 0}, NULL}};
    scanning s = {.step = step_of(product_step, NULL, in, 2, 2), .steps = 12};
    ag_program *p = program_of(chain, &s, AG_SHAPE(12));
    ag_sparsity *j = ag_program_jacobian_sparsity(p, 0, 0);
    check_pattern("a state of 0", j);
    assert_int_equal(j->nonzeros, 11 * 12 / 2); /* the first state is the constant 0, whatever x[0] */
    ag_sparsity_free(j);
    ag_program_free(p);
    ag_program_free(s.step);
}

/* ---- shared inputs, constants ---- */

/* Two states, an input of each step and two shared ones: a matrix and a factor for each element. */
static void mixed_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ag_tanh(ag_add(ag_matmul(x[3], x[0]), ag_mul(x[2], x[4])));
    y[1] = ag_add(x[1], ag_at(x[0], 0));
    y[2] = ag_mul(ag_slice(x[0], 0, 0, 2, 1), x[1]);
    (void)t, (void)context;
}

enum { STATE = 4, STEPS = 5 };
/* 0 <- 1 <- 2 and 3 by itself. */
static const double arrows[STATE * STATE] = {0.5, 1, 0, 0, 0, 0, 1, 0, 0, 0, -1, 0, 0, 0, 0, 0.5};

static void mixed(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const scanning *s = context;
    ag_var matrix = ag_constant_tensor(t, arrows, AG_SHAPE(STATE, STATE));
    ag_var in[] = {x[0], x[1], x[2], s->sum ? x[4] : matrix, x[3]};
    ag_along along[] = {AG_SHARED, AG_SHARED, AG_EACH, AG_SHARED, AG_SHARED};
    ag_scan(t, s->step, s->steps, 2, in, along, &s->options, y);
    y[3] = ag_add(ag_add(ag_sum(ag_sin(y[0])), y[1]), ag_sum(y[2]));
}

/* Whether i is reached from j by `steps` arrows. */
static bool reaches(int64_t steps, int64_t i, int64_t j) {
    if (steps == 0) return i == j;
    for (int k = 0; k < STATE; k++)
        if (arrows[i * STATE + k] != 0 && reaches(steps - 1, k, j)) return true;
    return false;
}

static void constants_and_shared_inputs(void **unused) {
    (void)unused;
    const ag_port step_in[] = {{"h", AG_SHAPE(STATE), NULL},
                               {"n", {.rank = 0}, NULL},
                               {"u", AG_SHAPE(STATE), NULL},
                               {"W", AG_SHAPE(STATE, STATE), NULL},
                               {"b", AG_SHAPE(STATE), NULL}};
    const ag_port in[] = {{"h", AG_SHAPE(STATE), NULL},
                          {"n", {.rank = 0}, NULL},
                          {"u", AG_SHAPE(STEPS, STATE), NULL},
                          {"b", AG_SHAPE(STATE), NULL},
                          {"W", AG_SHAPE(STATE, STATE), NULL}};
    double x[5][STEPS * STATE];
    uint64_t state = 4;
    const double *xs[] = {x[0], x[1], x[2], x[3], x[4]};
    for (int i = 0; i < 5 * STEPS * STATE; i++)
        x[i / (STEPS * STATE)][i % (STEPS * STATE)] = random_number(&state, 0.2, 1);
    for (int way = 0; way < 4; way++) {
        bool variable = way >= 2; /* the matrix is an input */
        scanning s = {step_of(mixed_step, NULL, step_in, 5, 3), STEPS, {.backward = way % 2}, variable};
        ag_program *p = ag_program_trace(AG_F64, mixed, &s, in, 5, NULL, 4);
        check_program("mixed", p);
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < 5; j++) compare_jacobian("mixed", p, k, j, xs);
        int last = 3;
        ag_program *sum = ag_program_select(p, &last, 1);
        for (int j = 0; j < 5; j++) compare_hessian("mixed", sum, j, xs);
        ag_sparsity *h = ag_program_jacobian_sparsity(p, 0, 0), *b = ag_program_jacobian_sparsity(p, 0, 3);
        for (int64_t i = 0; i < STATE; i++)
            for (int64_t j = 0; j < STATE; j++) {
                bool factor = false;
                for (int64_t n = 0; n < STEPS; n++) factor |= reaches(n, i, j);
                assert_int_equal(has(h, i, j), variable || reaches(STEPS, i, j));
                assert_int_equal(has(b, i, j), variable || factor);
            }
        ag_sparsity_free(h);
        ag_sparsity_free(b);
        ag_program_free(sum);
        ag_program_free(p);
        ag_program_free(s.step);
    }
}

/* A map with a constant matrix for all rows. */
static void row_times(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ag_matmul(x[1], ag_square(x[0]));
    (void)t, (void)context;
}

static void map_with_matrix(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var in[] = {x[0], ag_constant_tensor(t, arrows, AG_SHAPE(STATE, STATE))};
    ag_map(t, context, STEPS, in, (ag_along[]){AG_EACH, AG_SHARED}, NULL, y);
}

static void constants_of_a_map(void **unused) {
    (void)unused;
    const ag_port in[] = {{"x", AG_SHAPE(STATE), NULL}, {"W", AG_SHAPE(STATE, STATE), NULL}};
    ag_program *row = step_of(row_times, NULL, in, 2, 1), *p = program_of(map_with_matrix, row, AG_SHAPE(STEPS, STATE));
    ag_sparsity *s = ag_program_jacobian_sparsity(p, 0, 0);
    check_pattern("map", s);
    assert_int_equal(s->nonzeros, STEPS * 5);
    compare_at_points("map", p, false);
    ag_sparsity_free(s);
    ag_program_free(p);
    ag_program_free(row);
}

/* ---- large ones ---- */

static void large(void **unused) {
    (void)unused;
    double start = seconds();
    scanning s = {.steps = 100000, .sum = true};
    ag_program *p = chain_program(&s);
    ag_sparsity *h = ag_program_hessian_sparsity(p, 0);
    check_pattern("chain", h);
    assert_int_equal(h->nonzeros, 3 * s.steps - 2);
    assert_int_equal(h->column_colours, 3);
    print_message("Hessian of a chain of %d: %.2f s\n", (int)s.steps, seconds() - start);
    ag_sparsity_free(h);
    ag_program_free(p);
    ag_program_free(s.step);
}

/* ---- memory ---- */

static bool permit(void *context, size_t bytes) {
    (void)bytes;
    return (*(int64_t *)context)-- != 0;
}

/* One request of a pattern is refused after the other: an error, and never another pattern. */
static void refusals(void **unused) {
    (void)unused;
    const ag_port in[] = {{"x", AG_SHAPE(STATE), NULL}, {"W", AG_SHAPE(STATE, STATE), NULL}};
    for (int which = 0; which < 2; which++) {
        int64_t left = -1;
        ag_options o = {.type = AG_F64, .permit = permit, .context = &left, .no_reserve = true};
        scanning s = {.steps = 9};
        const ag_port whole = {"x", which ? AG_SHAPE(STEPS, STATE) : AG_SHAPE(9), NULL};
        ag_program *p;
        if (which) s.step = ag_program_trace_with(&o, row_times, NULL, in, 2, NULL, 1);
        else
            s.step = ag_program_trace_with(&o, chain_step, NULL, (ag_port[]){{.name = "a"}, {.name = "b"}}, 2, NULL, 2);
        p = ag_program_trace_with(&o, which ? map_with_matrix : chain, which ? (void *)s.step : &s, &whole, 1, NULL, 1);
        check_program("refusals", p);
        int64_t at = 0, want = which ? STEPS * 5 : 2 * 9 - 1;
        for (bool refused = true; refused; at++) {
            left = at;
            ag_sparsity *got = ag_program_jacobian_sparsity(p, 0, 0);
            refused = left < 0;
            left = -1;
            assert_int_equal(got->status, refused ? AG_ERR_MEMORY : AG_OK);
            assert_int_equal(got->nonzeros, refused ? 0 : want);
            ag_sparsity_free(got);
        }
        assert_true(at > 20);
        ag_program_free(p);
        ag_program_free(s.step);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states),
        cmocka_unit_test(hessian_of_states),
        cmocka_unit_test(chains),
        cmocka_unit_test(products),
        cmocka_unit_test(constants_and_shared_inputs),
        cmocka_unit_test(constants_of_a_map),
        cmocka_unit_test(large),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
