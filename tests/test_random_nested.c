/* Random programs in maps and scans, maps in scans, guards in all of them: the same derivatives as with the rows and steps
 * recorded one by one, by every route of derivatives.h, in both precisions, sparse, and compiled. What fails is made smaller, piece
 * by piece, and listed. */
#include "folder.h"
#include "random_programs.h"
#include "sparse.h"

#include <sys/wait.h>
#include <unistd.h>

enum {
    SEEDS = SHARE > 1 ? 4 : 24,
    EACH_COMPILED = 8,
    MOST_STEPS = 6,
    ROWS_INSIDE = 3,
    INPUT_ROOM = MOST_STEPS * TOTAL
};

/* A random program `seed`, of about a fourth of its steps, over rows or steps. */
typedef struct nested {
    int seed;
    bool scan, inside; /* a scan or a map; with a map in it */
    int64_t steps;
    ag_scan_options options;
    uint64_t skipped[2]; /* steps that the program of a row is without, and that of the map in it */
    bool by_hand;
    ag_program *step[2], *body[2]; /* in each precision */
} nested;

enum { ROW, INSIDE };

static ag_var random_body(ag_tape *t, const nested *c, int part, const ag_var *x) {
    static program p;
    ag_var y = run_program_without(&p, c->seed + 1000 * part, c->skipped[part], t, x);
    return ag_guard(ag_lt(ag_abs(y), 1e3), "bounded") ? ag_sin(y) : ag_num(0);
}

static uint64_t most_steps(int seed) {
    uint64_t state = (uint64_t)seed * 31 + 5, skipped = 0;
    for (int i = 0; i < 64; i++) skipped |= (uint64_t)(random_number(&state, 0, 4) >= 1) << i;
    return skipped;
}

/* ---- a map within ---- */

static void body_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const nested *c = context;
    y[0] = random_body(t, c, INSIDE, x);
}

static ag_var map_inside(ag_tape *t, const nested *c, ag_var first, const ag_var *x) {
    const ag_along in[] = {AG_SHARED, AG_EACH, AG_SHARED, AG_SHARED, AG_SHARED}, out[] = {AG_SHARED};
    ag_var xs[] = {first, x[2], x[2], x[3], x[4]}, y = ag_num(0), sum = y;
    if (!c->by_hand) {
        ag_map(t, c->body[ag_tape_type(t)], ROWS_INSIDE, xs, in, out, &sum);
        return sum;
    }
    for (int i = 0; i < ROWS_INSIDE; i++) {
        xs[1] = ag_at(x[2], i);
        body_model(t, xs, &y, (void *)(uintptr_t)c);
        sum = ag_add(sum, y);
    }
    return sum;
}

/* ---- a row, a step ---- */

static void step_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const nested *c = context;
    ag_var r = random_body(t, c, ROW, x);
    if (c->inside) r = ag_add(r, ag_mul(0.3, ag_tanh(map_inside(t, c, r, x))));
    y[0] = ag_tanh(ag_add(r, ag_mul(0.5, x[0])));
    y[1] = ag_mul(x[2], ag_sin(r));
}

static void record_by_hand(ag_tape *t, const nested *c, const ag_var *x, ag_var *ys) {
    ag_var rows[MOST_STEPS], out[2], sum = ag_num(0), in[PROGRAM_INPUTS];
    memcpy(in, x, sizeof in);
    for (int64_t i = 0; i < c->steps; i++) {
        int64_t at = c->options.backward ? c->steps - 1 - i : i;
        in[1] = ag_at(x[1], at);
        in[2] = ag_index(x[2], 0, at);
        step_model(t, in, out, (void *)(uintptr_t)c);
        rows[at] = out[1];
        sum = ag_add(sum, out[0]);
        if (c->scan) in[0] = out[0];
    }
    ys[0] = c->scan ? in[0] : sum;
    ys[1] = ag_stack(rows, (int)c->steps, 0);
}

static ag_var nested_function(ag_tape *t, const ag_var *x, int n, void *context) {
    const nested *c = context;
    const ag_along in[] = {AG_SHARED, AG_EACH, AG_EACH, AG_SHARED, AG_SHARED}, out[] = {AG_SHARED, AG_EACH};
    ag_var ys[2] = {ag_num(0), ag_num(0)};
    const ag_program *step = c->step[ag_tape_type(t)];
    assert_int_equal(n, PROGRAM_INPUTS);
    if (c->by_hand) record_by_hand(t, c, x, ys);
    else if (c->scan) ag_scan(t, step, c->steps, 1, x, in, &c->options, ys);
    else ag_map(t, step, c->steps, x, in, out, ys);
    return ag_add(ys[1], ys[0]);
}

/* ---- cases ---- */

static ag_program *trace_part(ag_model f, const nested *c, ag_type type) {
    static const double example[TOTAL];
    ag_port in[PROGRAM_INPUTS] = {{0}};
    for (int k = 0; k < PROGRAM_INPUTS; k++) in[k] = (ag_port){.shape = program_input_shape(k), .example = example};
    return ag_program_trace(type, f, (void *)(uintptr_t)c, in, PROGRAM_INPUTS, NULL, f == step_model ? 2 : 1);
}

static nested nested_of(int seed) {
    nested c = {.seed = seed, .scan = seed % 4 != 0, .inside = seed % 3 == 0, .steps = 1 + seed % MOST_STEPS};
    c.options = (ag_scan_options){.backward = c.scan && seed % 8 < 4, .states = seed % 5 ? 0 : 3};
    c.skipped[ROW] = most_steps(seed);
    c.skipped[INSIDE] = most_steps(seed + 1000);
    return c;
}

static void open_nested(nested *c) {
    for (ag_type type = AG_F64; type <= AG_F32; type++) {
        c->body[type] = trace_part(body_model, c, type);
        c->step[type] = trace_part(step_model, c, type);
    }
}

static void close_nested(nested *c) {
    for (ag_type type = AG_F64; type <= AG_F32; type++) {
        ag_program_free(c->step[type]);
        ag_program_free(c->body[type]);
    }
}

/* A point for each input, the rows of inputs 1 and 2 being different ones. */
static routes_case point_of(nested *c, const char *label) {
    double x[INPUT_ROOM];
    uint64_t state = (uint64_t)c->seed + 3;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var inputs[PROGRAM_INPUTS];
    for (int k = 0; k < PROGRAM_INPUTS; k++) {
        ag_shape s = program_input_shape(k);
        if (k == 1) s = AG_SHAPE(c->steps);
        if (k == 2) s = AG_SHAPE(c->steps, 3);
        for (int64_t i = 0; i < shape_count(s); i++) x[i] = random_number(&state, -INPUT_BOUND, INPUT_BOUND);
        inputs[k] = ag_tensor(t, x, s);
    }
    routes_case r = routes_case_new(label, nested_function, c, inputs, PROGRAM_INPUTS);
    ag_tape_free(t);
    return r;
}

static void check_compiled(const routes_case *r, const routes *want) {
    ag_program *p = routes_trace(r, AG_F64), *g = ag_program_gradient(p, NULL, 0);
    ag_compiled *compiled = ag_program_compile(g, &(ag_compile_options){.cache = folder});
    assert_string_equal(ag_compiled_message(compiled), "");
    double s, *values = new_numbers(want->values), *gradient = new_numbers(r->start[r->n]);
    const double *xs[PROGRAM_INPUTS];
    double *ys[2 + PROGRAM_INPUTS] = {&s, values};
    for (int k = 0; k < PROGRAM_INPUTS; k++) {
        xs[k] = r->x + r->start[k];
        ys[2 + k] = gradient + r->start[k];
    }
    assert_int_equal(ag_compiled_run(compiled, xs, ys), AG_OK);
    check_numbers(r->label, "compiled, values", values, want->value, want->values, 1e-10);
    check_numbers(r->label, "compiled, gradient", gradient, want->gradient, r->start[r->n], 1e-10);
    free(values), free(gradient);
    ag_compiled_free(compiled);
    ag_program_free(g);
    ag_program_free(p);
}

/* Sparse derivatives against dense ones: by what has rows, and second ones by what is shared. */
static void check_sparse(const routes_case *r) {
    ag_program *p = routes_trace(r, AG_F64);
    const double *xs[PROGRAM_INPUTS];
    for (int k = 0; k < PROGRAM_INPUTS; k++) xs[k] = r->x + r->start[k];
    for (int k = 0; k < 3; k++) compare_jacobian(r->label, p, 1, k, xs);
    for (int k = 2; k < 4; k++) compare_hessian(r->label, p, k, xs);
    ag_program_free(p);
}

static void check_nested(nested c) {
    char label[96];
    snprintf(label, sizeof label, "seed %d, %s%s of %d%s%s", c.seed, c.inside ? "maps in a " : "",
             c.scan ? "scan" : "map", (int)c.steps, c.options.backward ? ", backward" : "",
             c.options.states ? ", few states" : "");
    open_nested(&c);
    routes_case r = point_of(&c, label);
    c.by_hand = true;
    routes want = routes_of(&r, AG_F64);
    c.by_hand = false;
    for (ag_type type = AG_F64; type <= (c.seed % 5 < 3 ? AG_F32 : AG_F64); type++) {
        double tolerance = type == AG_F64 ? 1e-10 : 2e-4;
        routes got = routes_of(&r, type);
        routes_agree(&r, type == AG_F64 ? "f64" : "f32", &got, &want, tolerance);
        check_program_routes(&r, type, &want, tolerance);
        routes_free(&got);
    }
    check_sparse(&r);
    if (have_compiler && c.seed % EACH_COMPILED == 0) check_compiled(&r, &want);
    routes_free(&want);
    routes_case_free(&r);
    close_nested(&c);
}

/* ---- what fails ---- */

static nested current; /* of seed 0 where nothing is checked */

/* Whether it fails: in a process of its own, which ends with it. Silent, or not. */
static bool fails_apart(const nested *c, bool silent) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (silent && (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))) _exit(2);
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* a test that fails does not go on */
        alarm(60);
        check_nested(*c);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A case with one thing changed, if it still fails. */
static void try_smaller(nested *c, const nested *smaller) {
    if (fails_apart(smaller, true)) *c = *smaller;
}

typedef struct leaving_out {
    nested *c;
    int part;
} leaving_out;

static bool fails_without(uint64_t skipped, void *context) {
    leaving_out *l = context;
    nested next = *l->c;
    next.skipped[l->part] = skipped;
    if (!fails_apart(&next, true)) return false;
    *l->c = next;
    return true;
}

static void make_smaller(nested *c) {
    nested next = *c;
    next.inside = false;
    try_smaller(c, &next);
    next = *c;
    next.options.states = 0;
    try_smaller(c, &next);
    next = *c;
    next.options.backward = false;
    try_smaller(c, &next);
    for (int64_t steps = 1; steps < c->steps; steps++) {
        next = *c;
        next.steps = steps;
        try_smaller(c, &next);
    }
    for (int part = ROW; part <= (c->inside ? INSIDE : ROW); part++)
        without_steps(c->skipped[part], 64, fails_without, &(leaving_out){c, part});
}

/* After the test: what it was at when it failed is made as small as it can be, and shown. */
static int show_failure(void **unused) {
    (void)unused;
    if (!current.seed) return 0;
    make_smaller(&current);
    fprintf(stderr, "smallest case that fails, without steps %llx and %llx:\n",
            (unsigned long long)current.skipped[ROW], (unsigned long long)current.skipped[INSIDE]);
    open_nested(&current);
    ag_program_list(current.step[AG_F64], stderr);
    close_nested(&current);
    fails_apart(&current, false);
    current.seed = 0;
    return 0;
}

static void every_route(void **unused) {
    (void)unused;
    for (int seed = 1; seed <= SEEDS; seed++) {
        current = nested_of(seed);
        check_nested(current);
    }
    current.seed = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(every_route, show_failure)};
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
