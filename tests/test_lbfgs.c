/* L-BFGS: PyTorch's numbers, its line search at hard functions, what it says of bad input, memory that runs out. */
#include "nn/nn.h"
#include "nn_memory.h"
#include "on_each_tape.h"
#include "torch_numbers.h"

#define DATA "optimisers.txt"

/* A function of the parameters "x" and, behind it, "y", as one vector. */
typedef struct problem {
    ag_tape *tape;
    nn_model *model;
    ag_var x;
    ag_var (*function)(ag_var x);
    int calls, break_at; /* the call at which something goes wrong */
    enum { FAIL, NOT_FINITE, RECORD_TOO_LITTLE } break_how;
} problem;

static problem problem_new(ag_type type, ag_var (*function)(ag_var x), const double *start, int64_t n) {
    problem p = {.tape = ag_tape_new(type), .function = function, .break_at = -1};
    p.model = nn_model_new(p.tape, 1);
    ag_set(nn_parameter(p.model, "x", AG_SHAPE(2), NN_ZEROS), start);
    ag_set(nn_parameter(p.model, "y", AG_SHAPE(n - 2), NN_ZEROS), start + 2);
    return p;
}
static void problem_free(problem *p) {
    nn_model_free(p->model);
    ag_tape_free(p->tape);
}
static void problem_read(const problem *p, double *x) {
    ag_read(nn_parameter_at(p->model, 0), x);
    ag_read(nn_parameter_at(p->model, 1), x + 2);
}

static double evaluate(void *context) {
    problem *p = context;
    ag_var parts[] = {nn_parameter_at(p->model, 0), nn_parameter_at(p->model, 1)};
    ag_var y = p->function(ag_concat(parts, 2, 0));
    ag_backward(y);
    if (p->calls++ == p->break_at && p->break_how == FAIL) ag_fail(p->tape, AG_ERR_VALUE, "the data ended");
    if (p->calls > p->break_at && p->break_at >= 0 && p->break_how == NOT_FINITE) return (double)NAN;
    return ag_value(y);
}

/* Those of tests/torch/optimisers.py. */
static ag_var rosenbrock(ag_var x) {
    ag_var a = ag_slice(x, 0, 0, -1, 1), b = ag_slice(x, 0, 1, AG_END, 1);
    return ag_sum(ag_add(ag_mul(100, ag_square(ag_sub(b, ag_square(a)))), ag_square(ag_sub(1, a))));
}
static ag_var bowl(ag_var x) {
    ag_var scale = ag_arange(ag_tape_of(x), 1, 1, ag_count(x));
    return ag_add(ag_sum(ag_mul(scale, ag_square(ag_sub(x, 1)))), ag_cosh(ag_sum(x)));
}

static const double rosenbrock_start[] = {-1.2, 1, -0.5, 0.8}, bowl_start[] = {2, -1, 0.3, 1.7, -2};
static const struct {
    const char *name;
    ag_var (*function)(ag_var x);
    const double *start;
    int n;
    nn_lbfgs_options options;
} cases[] = {
    {"rosenbrock", rosenbrock, rosenbrock_start, 4, {.iterations = 5}},
    {"rosenbrock_short", rosenbrock, rosenbrock_start, 4, {.iterations = 4, .history = 2}},
    {"bowl", bowl, bowl_start, 5, {.iterations = 6, .rate = 0.5}},
    {"bowl_converges", bowl, bowl_start, 5, {.rate = 1}},
    {"bowl_plain", bowl, bowl_start, 5, {.iterations = 4, .rate = 0.1, .no_line_search = true}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Walks the file: loss, number of evaluations so far, parameters after each call. */
static void steps_are_pytorchs(void **state) {
    FILE *in = torch_open(DATA);
    torch_row row;
    problem p = {0};
    nn_lbfgs *l = NULL;
    int compared = 0;
    (void)state;
    while (torch_read(in, &row)) {
        if (strcmp(row.kind, "lbfgs") != 0) continue;
        int i = 0;
        while (i < CASES && strcmp(cases[i].name, row.name) != 0) i++;
        assert_true(i < CASES);
        if (row.step == 1) {
            if (l != NULL) problem_free(&p);
            nn_lbfgs_free(l);
            p = problem_new(row.type, cases[i].function, cases[i].start, cases[i].n);
            l = nn_lbfgs_new(p.model, cases[i].options);
        }
        double got[8];
        got[0] = nn_lbfgs_step(l, evaluate, &p);
        got[1] = p.calls;
        problem_read(&p, got + 2);
        check_fine(row.name, p.tape);
        torch_compare(&row, got);
        compared++;
    }
    problem_free(&p);
    nn_lbfgs_free(l);
    fclose(in);
    assert_int_equal(compared, 15 + 5);
    assert_int_equal(taken, 0);
}

/* Saved and loaded between two calls. */
static void state_is_all_that_there_is(void **state) {
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int i = 0; i < CASES; i++) {
            double x[2][5] = {{0}};
            problem p[2];
            nn_lbfgs *l[2];
            nn_state from, to;
            for (int j = 0; j < 2; j++) {
                p[j] = problem_new((ag_type)type, cases[i].function, cases[i].start, cases[i].n);
                l[j] = nn_lbfgs_new(p[j].model, cases[i].options);
            }
            nn_lbfgs_step(l[0], evaluate, &p[0]);
            problem_read(&p[0], x[0]);
            ag_set(nn_parameter_at(p[1].model, 0), x[0]);
            ag_set(nn_parameter_at(p[1].model, 1), x[0] + 2);
            int k = 0;
            for (; nn_lbfgs_state(l[0], k, &from); k++) {
                assert_true(nn_lbfgs_state(l[1], k, &to));
                assert_string_equal(from.name, to.name);
                assert_true(from.count == shape_count(from.shape) && from.count == to.count && from.type == to.type);
                memcpy(to.data, from.data, (size_t)from.count * (from.type == AG_F64 ? 8 : 4));
            }
            assert_int_equal(k, 6);
            for (int j = 0; j < 2; j++) {
                nn_lbfgs_step(l[j], evaluate, &p[j]);
                problem_read(&p[j], x[j]);
                check_fine("state", p[j].tape);
                nn_lbfgs_free(l[j]);
                problem_free(&p[j]);
            }
            assert_memory_equal(x[0], x[1], sizeof x[0]);
        }
}

/* ---- functions that are hard to search --------------------------------------------------------------------------- */

/* -log of something that ends: beyond 1 there is no loss, and its gradient is no number. */
static ag_var walled(ag_var x) {
    return ag_sub(ag_sum(ag_mul(0.01, ag_square(x))), ag_sum(ag_log(ag_sub(1, ag_square(x)))));
}
/* Nearly flat far away: long steps first. */
static ag_var far_away(ag_var x) { return ag_sum(ag_log1p(ag_square(ag_sub(x, 1000)))); }
/* Many waves. */
static ag_var waves(ag_var x) { return ag_sum(ag_add(ag_mul(0.1, ag_square(x)), ag_sin(ag_mul(5, x)))); }
static ag_var flat(ag_var x) { return ag_mul(0, ag_sum(x)); }
static ag_var linear(ag_var x) { return ag_sum(x); }

static void it_converges_where_it_is_hard(void **state) {
    static const double start[] = {0.9, -0.99, 0.5, 0.999};
    static const struct {
        ag_var (*function)(ag_var x);
        double rate, slope; /* of the end, at most */
    } hard[] = {{walled, 1, 1e-4},  {walled, 1e4, 1e-4},   {far_away, 1, 1e-4}, {waves, 1, 1e-4},
                {waves, 100, 1e-4}, {rosenbrock, 1, 1e-4}, {flat, 1, 0},        {linear, 1, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        for (int type = AG_F64; type <= AG_F32; type++) {
            problem p = problem_new((ag_type)type, hard[i].function, start, 4);
            nn_lbfgs *l =
                nn_lbfgs_new(p.model, (nn_lbfgs_options){.rate = hard[i].rate, .change = NN_ZERO, .history = 5});
            double last = INFINITY, x[4], g[4];
            for (int call = 0; call < 20; call++) {
                double loss = nn_lbfgs_step(l, evaluate, &p);
                check_fine("hard", p.tape);
                assert_true(loss <= last); /* it never climbs */
                last = loss;
            }
            ag_mark mark = ag_tape_mark(p.tape);
            evaluate(&p);
            problem_read(&p, x);
            ag_read_grad(nn_parameter_at(p.model, 0), g);
            ag_read_grad(nn_parameter_at(p.model, 1), g + 2);
            for (int k = 0; k < 4; k++)
                if (!(fabs(g[k]) <= hard[i].slope * (type == AG_F32 ? 100 : 1)))
                    fail_msg("function %d: the slope at the end is %g at %g", (int)i, g[k], x[k]);
            ag_tape_rewind(p.tape, mark);
            nn_lbfgs_free(l);
            problem_free(&p);
        }
}

/* ---- bad input ------------------------------------------------------------------------------------------------- */

static void expect_error(ag_tape *t, ag_status status, const char *part) {
    if (ag_tape_status(t) != status || strstr(ag_tape_message(t), part) == NULL)
        fail_msg("status %d, \"%s\"; should be %d with \"%s\"", (int)ag_tape_status(t), ag_tape_message(t), (int)status,
                 part);
    ag_tape_recover(t);
}

/* An error in any evaluation leaves the parameters of the last whole iteration, from where it can go on. */
static void errors_leave_good_parameters(void **state) {
    (void)state;
    for (int at = 0; at < 9; at++) {
        problem p = problem_new(AG_F64, rosenbrock, rosenbrock_start, 4);
        nn_lbfgs *l = nn_lbfgs_new(p.model, (nn_lbfgs_options){.change = NN_ZERO});
        double x[4], loss;
        p.break_at = at;
        assert_true(isnan(nn_lbfgs_step(l, evaluate, &p)));
        expect_error(p.tape, AG_ERR_VALUE, "the data ended");
        problem_read(&p, x);
        assert_true((memcmp(x, rosenbrock_start, sizeof x) == 0) == (at <= 1));
        loss = nn_lbfgs_step(l, evaluate, &p);
        assert_true(loss <= 281.7 + 1e-9);
        for (int i = 0; i < 3; i++) nn_lbfgs_step(l, evaluate, &p);
        check_fine("going on", p.tape);
        problem_read(&p, x);
        check_numbers("going on", "x", x, (const double[]){1, 1, 1, 1}, 4, 1e-6);
        nn_lbfgs_free(l);
        problem_free(&p);
    }
}

static void losses_that_are_not_finite(void **state) {
    problem p = problem_new(AG_F64, rosenbrock, rosenbrock_start, 4);
    nn_lbfgs *l = nn_lbfgs_new(p.model, (nn_lbfgs_options){.iterations = 1});
    double x[4], y[4];
    (void)state;
    p.break_at = 0;
    p.break_how = NOT_FINITE;
    assert_true(isnan(nn_lbfgs_step(l, evaluate, &p)));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: the loss is nan");
    p.break_at = p.calls + 2; /* after the start: nowhere is a loss */
    nn_lbfgs_step(l, evaluate, &p);
    problem_read(&p, x);
    p.break_at = p.calls + 1;
    nn_lbfgs_step(l, evaluate, &p);
    check_fine("nowhere a loss", p.tape);
    problem_read(&p, y);
    assert_memory_equal(x, y, sizeof x);
    assert_true(p.calls < 60);
    nn_lbfgs_free(l);
    problem_free(&p);
}

static double rewinds_too_far(void *context) {
    problem *p = context;
    ag_tape_clear(p->tape);
    return 1;
}
static double loss_without_sweep(void *context) {
    (void)context;
    return 1;
}

static void bad_calls_are_errors(void **state) {
    problem p = problem_new(AG_F64, bowl, bowl_start, 5);
    nn_state s;
    (void)state;
    assert_null(nn_lbfgs_new(p.model, (nn_lbfgs_options){.rate = -1}));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: the rate is -1; it must be finite and at least 0");
    assert_null(nn_lbfgs_new(p.model, (nn_lbfgs_options){.iterations = -1}));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: the number of iterations is -1; it must be at least 1 and below");
    assert_null(nn_lbfgs_new(p.model, (nn_lbfgs_options){.history = -3}));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: the length of the history is -3");
    assert_null(nn_lbfgs_new(p.model, (nn_lbfgs_options){.change = NAN}));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: the least change is nan");
    nn_lbfgs *l = nn_lbfgs_new(p.model, (nn_lbfgs_options){0});
    assert_true(isnan(nn_lbfgs_step(l, NULL, NULL)));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: no loss function");
    assert_true(nn_lbfgs_step(l, loss_without_sweep, NULL) == 1); /* a gradient of zeros: converged */
    check_fine("no gradient", p.tape);
    assert_false(nn_lbfgs_state(l, 6, &s) || nn_lbfgs_state(l, -1, &s) || nn_lbfgs_state(NULL, 0, &s));
    assert_true(isnan(nn_lbfgs_step(NULL, evaluate, &p)));
    assert_null(nn_lbfgs_new(NULL, (nn_lbfgs_options){0}));
    nn_lbfgs_free(NULL);
    nn_parameter(p.model, "z", AG_SHAPE(1), NN_ONES);
    assert_true(isnan(nn_lbfgs_step(l, evaluate, &p)));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: the model has 3 parameters, and had 2 when this was made");
    nn_lbfgs_free(l);
    problem_free(&p);

    p = problem_new(AG_F64, bowl, bowl_start, 5);
    l = nn_lbfgs_new(p.model, (nn_lbfgs_options){0});
    assert_true(isnan(nn_lbfgs_step(l, rewinds_too_far, &p)));
    expect_error(p.tape, AG_ERR_STALE, "");
    assert_true(isnan(nn_lbfgs_step(l, evaluate, &p)));
    expect_error(p.tape, AG_ERR_STALE, "lbfgs: parameter x");
    nn_lbfgs_free(l);
    problem_free(&p);
}

/* A running mean moves once a call that starts well, and the clock stands still within it. */
static double with_buffer(void *context) {
    problem *p = context;
    ag_var mean = nn_buffer_find(p->model, "mean");
    nn_model_update(p->model, mean, ag_add(mean, 1));
    assert_true(ag_value(nn_model_clock(p->model)) == p->break_at);
    double loss = evaluate(context);
    return loss;
}
static void buffers_move_once_a_call(void **state) {
    problem p = problem_new(AG_F64, bowl, bowl_start, 5);
    ag_var mean = nn_buffer(p.model, "mean", AG_SHAPE(2), NN_ZEROS);
    nn_lbfgs *l = nn_lbfgs_new(p.model, (nn_lbfgs_options){.iterations = 3});
    (void)state;
    for (int call = 0; call < 3; call++) {
        p.break_at = call; /* what the clock is */
        p.break_how = RECORD_TOO_LITTLE;
        nn_lbfgs_step(l, with_buffer, &p);
        check_fine("buffers", p.tape);
        check_read("mean", mean, (const double[]){call + 1, call + 1});
    }
    assert_true(ag_value(nn_model_clock(p.model)) == 3);
    p.break_at = 3; /* the clock, and with so many calls behind it the loss is NaN */
    p.break_how = NOT_FINITE;
    assert_true(isnan(nn_lbfgs_step(l, with_buffer, &p)));
    expect_error(p.tape, AG_ERR_VALUE, "lbfgs: the loss is nan");
    check_read("mean", mean, (const double[]){3, 3});
    nn_lbfgs_free(l);
    problem_free(&p);
}

/* What dropout keeps is the same in all evaluations of a call, and also if it was applied before. */
typedef struct dropped_problem {
    problem p;
    nn_dropout dropout;
    double sums[2]; /* of the first evaluation */
    int evaluations;
} dropped_problem;
static double with_dropout(void *context) {
    dropped_problem *d = context;
    for (int k = 0; k < 2; k++) {
        ag_var kept = nn_dropout_apply(d->dropout, ag_ones(d->p.tape, AG_SHAPE(1000)));
        double sum = ag_value(ag_sum(kept));
        if (d->evaluations == 0) d->sums[k] = sum;
        assert_true(sum == d->sums[k]);
    }
    d->evaluations++;
    return evaluate(&d->p);
}
static void evaluations_drop_the_same(void **state) {
    (void)state;
    dropped_problem d = {.p = problem_new(AG_F64, bowl, bowl_start, 5)};
    d.dropout = nn_dropout_init(d.p.model, "drop", 0.5);
    nn_lbfgs *l = nn_lbfgs_new(d.p.model, (nn_lbfgs_options){.iterations = 3});
    (void)nn_dropout_apply(d.dropout, ag_ones(d.p.tape, AG_SHAPE(1000)));
    nn_lbfgs_step(l, with_dropout, &d);
    check_fine("dropout", d.p.tape);
    assert_true(d.evaluations > 2 && d.sums[0] != d.sums[1]);
    nn_lbfgs_free(l);
    problem_free(&d.p);
}

static void memory_may_run_out(void **state) {
    problem p = problem_new(AG_F32, bowl, bowl_start, 5);
    int before = taken;
    (void)state;
    for (int k = 0; k < 4; k++) {
        allowed = k;
        assert_null(nn_lbfgs_new(p.model, (nn_lbfgs_options){0}));
        allowed = -1;
        expect_error(p.tape, AG_ERR_MEMORY, "lbfgs: out of memory");
        assert_int_equal(taken, before);
    }
    allowed = 4;
    nn_lbfgs *l = nn_lbfgs_new(p.model, (nn_lbfgs_options){0});
    assert_int_equal(allowed, 0); /* steps take none */
    nn_lbfgs_step(l, evaluate, &p);
    allowed = -1;
    check_fine("enough memory", p.tape);
    nn_lbfgs_free(l);
    problem_free(&p);
    assert_int_equal(taken, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_pytorchs),
        cmocka_unit_test(state_is_all_that_there_is),
        cmocka_unit_test(it_converges_where_it_is_hard),
        cmocka_unit_test(errors_leave_good_parameters),
        cmocka_unit_test(losses_that_are_not_finite),
        cmocka_unit_test(bad_calls_are_errors),
        cmocka_unit_test(buffers_move_once_a_call),
        cmocka_unit_test(evaluations_drop_the_same),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
