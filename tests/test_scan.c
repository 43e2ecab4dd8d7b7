/* Scans: the same numbers as the steps one by one, of any order of derivative, in any direction, with any number of
 * states kept; in programs, in each other, in maps and maps in them. */
#include "../bench/held.h"
#include "count_allocations.h"
#include "derivatives.h"

#include <unistd.h>

/* ---- a step: state h (3) and c; rows x (2) and a; shared W (3, 3) and b; gives y (2), and z ---- */

enum { STEP_INPUTS = 6, STEP_OUTPUTS = 4, CARRIES = 2 };

static void step_model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    ag_var h = in[0], c = in[1], x = in[2], w = in[3], a = in[4], b = in[5];
    ag_var next = ag_tanh(ag_add(ag_matmul(w, h), ag_mul(ag_at(x, 0), c)));
    out[0] = next;
    out[1] = ag_add(ag_mul(c, ag_cos(a)), ag_mul(b, ag_mul(ag_at(h, 1), ag_at(x, 1))));
    out[2] = ag_mul(x, ag_add(ag_sum(next), a));
    out[3] = ag_mul(ag_exp(ag_mul(c, 0.3)), ag_at(h, 2));
}

static ag_program *new_step(ag_type type) {
    const ag_port in[STEP_INPUTS] = {{"h", AG_SHAPE(3), NULL},    {"c", {.rank = 0}, NULL}, {"x", AG_SHAPE(2), NULL},
                                     {"W", AG_SHAPE(3, 3), NULL}, {"a", {.rank = 0}, NULL}, {"b", {.rank = 0}, NULL}};
    return ag_program_trace(type, step_model, NULL, in, STEP_INPUTS, NULL, STEP_OUTPUTS);
}

static const ag_along along[STEP_INPUTS] = {AG_SHARED, AG_SHARED, AG_EACH, AG_SHARED, AG_EACH, AG_SHARED};

typedef struct scan_case {
    ag_program *step[2]; /* f64, f32 */
    int64_t steps;
    ag_scan_options options;
    bool by_hand;
} scan_case;

static scan_case new_case(int64_t steps, bool backward, int64_t states) {
    return (scan_case){{new_step(AG_F64), new_step(AG_F32)}, steps, {backward, states}, false};
}

static void free_case(scan_case *c) {
    ag_program_free(c->step[0]);
    ag_program_free(c->step[1]);
}

/* The steps one after the other. */
static void scan_by_hand(ag_tape *t, const scan_case *c, const ag_var *xs, ag_var *ys) {
    ag_var *rows = calloc((size_t)(2 * c->steps) + 1, sizeof *rows), in[STEP_INPUTS], out[STEP_OUTPUTS];
    memcpy(in, xs, sizeof in);
    for (int64_t i = 0; i < c->steps; i++) {
        int64_t at = c->options.backward ? c->steps - 1 - i : i;
        in[2] = ag_index(xs[2], 0, at);
        in[4] = ag_at(xs[4], at);
        ag_program_call(t, c->step[ag_tape_type(t) == AG_F32], in, out);
        in[0] = out[0];
        in[1] = out[1];
        rows[at] = out[2];
        rows[c->steps + at] = out[3];
    }
    ys[0] = in[0];
    ys[1] = in[1];
    ys[2] = c->steps ? ag_stack(rows, (int)c->steps, 0) : ag_zeros(t, AG_SHAPE(0, 2));
    ys[3] = c->steps ? ag_stack(rows + c->steps, (int)c->steps, 0) : ag_zeros(t, AG_SHAPE(0));
    free(rows);
}

static void record_case(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const scan_case *c = context;
    if (c->by_hand) scan_by_hand(t, c, xs, ys);
    else ag_scan(t, c->step[ag_tape_type(t) == AG_F32], c->steps, CARRIES, xs, along, &c->options, ys);
}

/* All results in one tensor. */
static ag_var all_results(ag_tape *t, const ag_var *x, int n, void *context) {
    ag_var ys[STEP_OUTPUTS];
    (void)n;
    record_case(t, x, ys, context);
    for (int k = 0; k < STEP_OUTPUTS; k++) ys[k] = ag_reshape(ys[k], AG_SHAPE(-1));
    return ag_concat(ys, STEP_OUTPUTS, 0);
}

static void operands(ag_tape *t, int64_t steps, ag_var *x) {
    x[0] = random_tensor(t, AG_SHAPE(3), -1, 1);
    x[1] = random_tensor(t, (ag_shape){.rank = 0}, 0.5, 1);
    x[2] = random_tensor(t, AG_SHAPE(steps, 2), -1, 1);
    x[3] = random_tensor(t, AG_SHAPE(3, 3), -0.7, 0.7);
    x[4] = random_tensor(t, AG_SHAPE(steps), -1, 1);
    x[5] = random_tensor(t, (ag_shape){.rank = 0}, -1, 1);
}

/* ---- against the steps by hand ---- */

static void every_route_agrees(void **state) {
    (void)state;
    static const struct { int64_t steps, states; } cases[] = {{1, 0}, {2, 0}, {5, 0}, {7, 5}, {9, 6}, {11, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases - (SHARE > 1 ? 2 : 0); i++) {
        for (int backward = 0; backward < 2; backward++) {
            ag_tape *t = ag_tape_new(AG_F64);
            ag_var x[STEP_INPUTS];
            operands(t, cases[i].steps, x);
            scan_case c = new_case(cases[i].steps, backward, cases[i].states);
            check_derivatives(backward ? "backward" : "forward", all_results, &c, x, STEP_INPUTS);
            routes_case rc = routes_case_new("scan", all_results, &c, x, STEP_INPUTS);
            routes scan = check_routes(&rc);
            c.by_hand = true;
            routes hand = check_routes(&rc);
            routes_agree(&rc, "against the steps", &scan, &hand, 1e-12);
            routes_free(&scan);
            routes_free(&hand);
            routes_case_free(&rc);
            free_case(&c);
            ag_tape_free(t);
        }
    }
}

static double third_of(scan_case *c, const double *const *data) {
    ag_tape *t = ag_tape_new(AG_F64);
    const ag_shape shapes[STEP_INPUTS] = {AG_SHAPE(3),    {.rank = 0},        AG_SHAPE(c->steps, 2),
                                          AG_SHAPE(3, 3), AG_SHAPE(c->steps), {.rank = 0}};
    ag_var x[STEP_INPUTS], g, d[2];
    for (int k = 0; k < STEP_INPUTS; k++) x[k] = ag_tensor(t, data[k], shapes[k]);
    ag_var s = ag_sum(ag_square(all_results(t, x, STEP_INPUTS, c)));
    ag_gradient(s, &x[3], 1, &g);
    ag_gradient(ag_sum(ag_square(g)), x, 2, d);
    ag_var v = ag_ones(t, AG_SHAPE(3)), third;
    ag_jvp(&d[1], 1, x, &v, 1, &third);
    check_fine("third order", t);
    double value = ag_value(third);
    ag_tape_free(t);
    return value;
}

static void third_order(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[STEP_INPUTS];
    operands(t, 6, x);
    const double *data[STEP_INPUTS];
    for (int k = 0; k < STEP_INPUTS; k++) data[k] = ag_data(x[k]);
    for (int states = 0; states < 6; states += 5) {
        scan_case c = new_case(6, false, states);
        double scan = third_of(&c, data);
        c.by_hand = true;
        double hand = third_of(&c, data);
        assert_true(fabs(hand) > 1e-3);
        check_numbers("third order", "scan", &scan, &hand, 1, 1e-11);
        free_case(&c);
    }
    ag_tape_free(t);
}

static void no_steps(void **state) {
    (void)state;
    for (int states = 0; states < 2; states++) {
        scan_case c = new_case(0, false, states);
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x[STEP_INPUTS], ys[STEP_OUTPUTS], g[STEP_INPUTS];
        operands(t, 0, x);
        record_case(t, x, ys, &c);
        check_fine("no steps", t);
        double h[3], last[3], one[3] = {1, 1, 1};
        ag_read(x[0], h);
        ag_read(ys[0], last);
        check_numbers("no steps", "state", last, h, 3, 0);
        assert_int_equal(ag_count(ys[2]), 0);
        ag_gradient(ag_add(ag_sum(ys[0]), ys[1]), x, STEP_INPUTS, g);
        ag_read(g[0], last);
        check_numbers("no steps", "gradient", last, one, 3, 0);
        ag_backward(ag_sum(ys[0]));
        ag_read_grad(x[0], last);
        check_numbers("no steps", "adjoint", last, one, 3, 0);
        check_fine("no steps", t);
        ag_tape_free(t);
        free_case(&c);
    }
}

/* ---- in programs ---- */

static ag_program *new_program(scan_case *c) {
    const ag_port in[STEP_INPUTS] = {{"h", AG_SHAPE(3), NULL},           {"c", {.rank = 0}, NULL},
                                     {"x", AG_SHAPE(c->steps, 2), NULL}, {"W", AG_SHAPE(3, 3), NULL},
                                     {"a", AG_SHAPE(c->steps), NULL},    {"b", {.rank = 0}, NULL}};
    return ag_program_trace(AG_F64, record_case, c, in, STEP_INPUTS, NULL, STEP_OUTPUTS);
}

static void loss_model(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    ys[0] = ag_sum(ag_square(all_results(t, xs, STEP_INPUTS, context)));
}

static ag_program *new_loss(scan_case *c) {
    ag_program *p = new_program(c);
    ag_port in[STEP_INPUTS];
    for (int k = 0; k < STEP_INPUTS; k++) in[k] = ag_program_input(p, k);
    ag_program *q = ag_program_trace(AG_F64, loss_model, c, in, STEP_INPUTS, NULL, 1);
    ag_program_free(p);
    return q;
}

/* Runs a program on numbers of its own; its outputs, one after the other. Runs it thrice: none but the first may
 * allocate. */
static int threads(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }

static double *run_program(const ag_program *p, int64_t *count) {
    double *in[32], *out[32], *all;
    uint64_t seed = 5;
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    assert_string_equal(ag_program_message(p), "");
    for (int k = 0; k < nx; k++) {
        int64_t n = shape_count(ag_program_input(p, k).shape);
        in[k] = new_numbers(n);
        for (int64_t i = 0; i < n; i++) in[k][i] = random_number(&seed, -0.8, 0.8);
    }
    *count = 0;
    for (int k = 0; k < ny; k++) *count += shape_count(ag_program_output(p, k).shape);
    all = new_numbers(*count);
    for (int64_t k = 0, at = 0; k < ny; k++) {
        out[k] = all + at;
        at += shape_count(ag_program_output(p, (int)k).shape);
    }
    ag_runner *r = ag_runner_new(p);
    assert_string_equal(ag_runner_message(r), "");
    assert_int_equal(ag_run(r, (const double *const *)in, out), AG_OK);
    int runs = 0;
    for (int still = 0; still < 3; runs++) { /* a thread that had no rows until now plans once more */
        long before = allocations;
        assert_int_equal(ag_run(r, (const double *const *)in, out), AG_OK);
        still = allocations == before ? still + 1 : 0;
        assert_in_range(runs, 0, 3 + 4 * threads());
    }
    ag_runner_free(r);
    for (int k = 0; k < nx; k++) free(in[k]);
    return all;
}

static void compare_programs(const char *label, ag_program *p, ag_program *q) {
    int64_t n, m;
    double *got = run_program(p, &n), *want = run_program(q, &m);
    assert_int_equal(n, m);
    check_numbers(label, "program", got, want, n, 1e-11);
    free(got);
    free(want);
    ag_program_free(p);
    ag_program_free(q);
}

/* Every transformation of the scan and of the steps by hand, and transformations of those. */
static void programs_agree(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        scan_case c = new_case(7, i % 2, i < 2 ? 0 : 5), hand = new_case(7, i % 2, 0);
        hand.by_hand = true;
        compare_programs("value", new_program(&c), new_program(&hand));
        ag_program *p = new_loss(&c), *q = new_loss(&hand);
        compare_programs("gradient", ag_program_gradient(p, NULL, 0), ag_program_gradient(q, NULL, 0));
        compare_programs("jvp", ag_program_jvp(p, NULL, 0), ag_program_jvp(q, NULL, 0));
        compare_programs("hvp", ag_program_hvp(p, NULL, 0), ag_program_hvp(q, NULL, 0));
        compare_programs("hessian", ag_program_hessian(p, 0), ag_program_hessian(q, 0));
        ag_program *pg = ag_program_gradient(p, NULL, 0), *qg = ag_program_gradient(q, NULL, 0);
        ag_program *ph = ag_program_vjp(pg, NULL, 0), *qh = ag_program_vjp(qg, NULL, 0);
        compare_programs("third order", ag_program_jvp(ph, NULL, 0), ag_program_jvp(qh, NULL, 0));
        ag_program *all[] = {p, q, pg, qg, ph, qh};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) ag_program_free(all[k]);
        free_case(&c);
        free_case(&hand);
    }
}

/* A gradient has two scans: one forward, which gives value and states, and one back. */
static void one_scan_each_way(void **state) {
    (void)state;
    scan_case c = new_case(100, false, 0);
    ag_program *p = new_loss(&c), *g = ag_program_gradient(p, NULL, 0);
    int scans = 0;
    for (uint64_t i = 0; i < g->codes.count; i++) {
        const ag_code *code = ag_code_at(g, i);
        scans += code->op == CODE_CALL && strcmp(ag_pcall_at(g, code->extra)->operation->name, "scan") == 0;
    }
    assert_int_equal(scans, 2);
    ag_program_free(g);
    ag_program_free(p);
    free_case(&c);
}

/* ---- nesting ---- */

static void compare_batches(const char *label, const ag_program *p, const ag_program *q) {
    const ag_along in[STEP_INPUTS] = {AG_EACH, AG_SHARED, AG_EACH, AG_SHARED, AG_EACH, AG_EACH};
    ag_along out[16];
    for (int k = 0; k < 16; k++) out[k] = k % 2 ? AG_SHARED : AG_EACH;
    ag_program *a = ag_program_batch(p, 70, in, out), *b = ag_program_batch(q, 70, in, out);
    ag_program *la = ag_program_vjp(a, NULL, 0), *lb = ag_program_vjp(b, NULL, 0);
    compare_programs(label, a, b);
    compare_programs(label, la, lb);
}

/* Short scans are unrolled over lanes, long ones run row by row. */
static void a_map_of_scans(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        scan_case c = new_case(i ? 120 : 4, false, 0), hand = c;
        hand.by_hand = true;
        ag_program *p = new_program(&c), *q = new_program(&hand);
        compare_batches(i ? "long" : "short", p, q);
        ag_program_free(p);
        ag_program_free(q);
        free_case(&c);
    }
}

/* A step that maps: state (4, 3) and so on. */
typedef struct mapped {
    ag_program *step;
    bool by_hand;
    int depth;
} mapped;

static void mapped_step(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const mapped *m = context;
    const ag_along in[STEP_INPUTS] = {AG_EACH, AG_EACH, AG_SHARED, AG_SHARED, AG_SHARED, AG_SHARED};
    if (!m->by_hand) {
        ag_map(t, m->step, 4, xs, in, NULL, ys);
        return;
    }
    ag_var parts[STEP_OUTPUTS][4], one[STEP_INPUTS], out[STEP_OUTPUTS];
    for (int i = 0; i < 4; i++) {
        memcpy(one, xs, sizeof one);
        one[0] = ag_index(xs[0], 0, i);
        one[1] = ag_at(xs[1], i);
        ag_program_call(t, m->step, one, out);
        for (int k = 0; k < STEP_OUTPUTS; k++) parts[k][i] = out[k];
    }
    for (int k = 0; k < STEP_OUTPUTS; k++) ys[k] = ag_stack(parts[k], 4, 0);
}

static void scan_of_maps(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_port in[STEP_INPUTS] = {{NULL, AG_SHAPE(4, 3), NULL}, {NULL, AG_SHAPE(4), NULL},
                                     {NULL, AG_SHAPE(2), NULL},    {NULL, AG_SHAPE(3, 3), NULL},
                                     {NULL, {.rank = 0}, NULL},    {NULL, {.rank = 0}, NULL}};
    ag_program *step = ag_program_trace(AG_F64, mapped_step, context, in, STEP_INPUTS, NULL, STEP_OUTPUTS);
    ag_var out[STEP_OUTPUTS];
    ag_scan(t, step, 5, CARRIES, xs, along, &(ag_scan_options){.states = 4}, out);
    ag_program_free(step);
    ys[0] = ag_num(0);
    for (int k = 0; k < STEP_OUTPUTS; k++) ys[0] = ag_add(ys[0], ag_sum(ag_square(out[k])));
}

static void a_scan_of_maps(void **state) {
    (void)state;
    const ag_port in[STEP_INPUTS] = {{NULL, AG_SHAPE(4, 3), NULL}, {NULL, AG_SHAPE(4), NULL},
                                     {NULL, AG_SHAPE(5, 2), NULL}, {NULL, AG_SHAPE(3, 3), NULL},
                                     {NULL, AG_SHAPE(5), NULL},    {NULL, {.rank = 0}, NULL}};
    mapped m = {new_step(AG_F64), false, 0}, hand = {m.step, true, 0};
    ag_program *p = ag_program_trace(AG_F64, scan_of_maps, &m, in, STEP_INPUTS, NULL, 1);
    ag_program *q = ag_program_trace(AG_F64, scan_of_maps, &hand, in, STEP_INPUTS, NULL, 1);
    compare_programs("scan of maps, gradient", ag_program_gradient(p, NULL, 0), ag_program_gradient(q, NULL, 0));
    compare_programs("scan of maps, hvp", ag_program_hvp(p, NULL, 0), ag_program_hvp(q, NULL, 0));
    ag_program_free(p);
    ag_program_free(q);
    ag_program_free(m.step);
}

/* ---- large, and memory ---- */

/* A damped pendulum, 2 numbers of state. */
static void pendulum(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    out[0] = ag_add(in[0], ag_mul(in[1], 1e-3));
    out[1] = ag_sub(in[1], ag_mul(ag_add(ag_mul(in[2], ag_sin(in[0])), ag_mul(in[1], 0.1)), 1e-3));
}

typedef struct swing {
    ag_program *step;
    int64_t steps, states;
} swing;

static void swing_model(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const swing *s = context;
    const ag_along in[3] = {AG_SHARED, AG_SHARED, AG_SHARED};
    ag_scan(t, s->step, s->steps, 2, xs, in, &(ag_scan_options){.states = s->states}, ys);
}

static ag_program *swing_gradient(int64_t steps, int64_t states) {
    swing s = {ag_program_trace(AG_F64, pendulum, NULL, (ag_port[3]){{"x", {.rank = 0}, NULL}}, 3, NULL, 2), steps,
               states};
    ag_program *p = ag_program_trace(AG_F64, swing_model, &s, (ag_port[3]){{"x", {.rank = 0}, NULL}}, 3, NULL, 2);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    ag_program_free(p);
    ag_program_free(s.step);
    return g;
}

static void states_are_bounded(void **state) {
    (void)state;
    const int64_t steps = 40000;
    double want[5] = {0}, got[5];
    size_t all = 0;
    static const int64_t states[] = {0, 2000, 400, 100, 40, 1};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        ag_program *g = swing_gradient(steps, states[i]);
        ag_runner *r = ag_runner_new(g);
        const double x[3] = {0.5, 0.1, 9.81}, *in[3] = {x, x + 1, x + 2};
        double *out[5] = {got, got + 1, got + 2, got + 3, got + 4};
        assert_int_equal(ag_program_outputs(g), 5);
        assert_int_equal(ag_run(r, in, out), AG_OK);
        held_census c = held_by(r, g);
        size_t held = c.bytes;
        if (i == 0) {
            memcpy(want, got, sizeof want);
            all = held;
            assert_true(held > (size_t)steps * 2 * sizeof(double));
        } else {
            check_numbers("states are bounded", "gradient", got, want, 5, 1e-9);
            int64_t kept = states[i] > 40 ? states[i] : 40;                        /* 2 log2(steps) is the least */
            if (held > (size_t)kept * 2 * sizeof(double) + (size_t)c.count * 8000) /* a plan of each program */
                fail_msg("%lld states: %zu bytes; all states: %zu", (long long)states[i], held, all);
        }
        ag_runner_free(r);
        ag_program_free(g);
    }
}

/* On an ordinary tape, with a budget. */
static bool at_most(void *context, size_t bytes) {
    size_t *left = context;
    if (bytes > *left) return false;
    *left -= bytes;
    return true;
}

static void a_tape_with_a_budget(void **state) {
    (void)state;
    double want[3] = {0};
    for (int i = 0; i < 3; i++) {
        size_t left = 400000; /* all states of 100000 steps are 1.6 MB */
        ag_options options = {AG_F64, at_most, &left, true};
        ag_tape *t = i ? ag_tape_new_with(&options) : ag_tape_new(AG_F64);
        swing s = {ag_program_trace(AG_F64, pendulum, NULL, (ag_port[3]){{"x", {.rank = 0}, NULL}}, 3, NULL, 2), 100000,
                   i == 1 ? 700 : 0};
        ag_var x[3] = {ag_input(t, 0.5), ag_input(t, 0.1), ag_input(t, 9.81)}, y[2];
        swing_model(t, x, y, &s);
        ag_backward(y[0]);
        if (i == 2) {
            assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
        } else {
            check_fine("budget", t);
            double got[3] = {ag_grad(x[0]), ag_grad(x[1]), ag_grad(x[2])};
            if (i) check_numbers("budget", "adjoint", got, want, 3, 1e-9);
            else memcpy(want, got, sizeof want);
        }
        ag_program_free(s.step);
        ag_tape_free(t);
    }
}

static void a_million_steps(void **state) {
    (void)state;
    double got[2][5];
    for (int i = 0; i < 2; i++) {
        ag_program *g = swing_gradient(1000000, i ? 300 : 0);
        ag_runner *r = ag_runner_new(g);
        const double x[3] = {0.5, 0.1, 9.81}, *in[3] = {x, x + 1, x + 2};
        double *out[5] = {got[i], got[i] + 1, got[i] + 2, got[i] + 3, got[i] + 4};
        assert_int_equal(ag_run(r, in, out), AG_OK);
        ag_runner_free(r);
        ag_program_free(g);
    }
    check_numbers("a million steps", "gradient", got[1], got[0], 5, 1e-6);
}

/* ---- errors ---- */

static void singular_step(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    out[0] = ag_sub(in[0], in[1]);
    ag_var a = ag_reshape(in[0], AG_SHAPE(1, 1));
    out[1] = ag_at(ag_solve(a, ag_ones(t, AG_SHAPE(1))), 0);
}

static void errors_are_told(void **state) {
    (void)state;
    ag_program *p = ag_program_trace(AG_F64, singular_step, NULL, (ag_port[2]){{"x", {.rank = 0}, NULL}}, 2, NULL, 2);
    assert_string_equal(ag_program_message(p), "");
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[2] = {ag_input(t, 3), ag_tensor(t, (double[]){1, 1, 1, 1, 1}, AG_SHAPE(5))}, ys[2];
    ag_scan(t, p, 5, 1, x, NULL, NULL, ys);
    check_failure(t, ys[0], AG_ERR_SINGULAR, "scan: step 3: solve: shape (1, 1): singular matrix, pivot 0 is 0");
    ag_scan(t, p, 4, 1, x, NULL, NULL, ys);
    check_failure(t, ys[0], AG_ERR_SHAPE,
                  "scan: input x1 has shape () for a step, so 4 steps take another one than (5)");
    ag_scan(t, p, -1, 1, x, NULL, NULL, ys);
    check_failure(t, ys[0], AG_ERR_VALUE, "scan: -1 steps, 0 states");
    ag_scan(t, p, 5, 3, x, NULL, NULL, ys);
    check_failure(t, ys[0], AG_ERR_VALUE, "scan: a state of 3 inputs and outputs; the program has 2 and 2");
    ag_tape_free(t);
    t = ag_tape_new(AG_F32);
    x[0] = ag_input(t, 3);
    ag_scan(t, p, 0, 1, x, NULL, NULL, ys);
    check_failure(t, ys[0], AG_ERR_VALUE, "scan: the program is of another precision than the tape");
    ag_tape_free(t);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_agrees),
        cmocka_unit_test(third_order),
        cmocka_unit_test(no_steps),
        cmocka_unit_test(programs_agree),
        cmocka_unit_test(one_scan_each_way),
        cmocka_unit_test(a_map_of_scans),
        cmocka_unit_test(a_scan_of_maps),
        cmocka_unit_test(states_are_bounded),
        cmocka_unit_test(a_tape_with_a_budget),
        cmocka_unit_test(a_million_steps),
        cmocka_unit_test(errors_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
