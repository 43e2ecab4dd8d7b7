/* A tape belongs to one thread at a time, and tapes share nothing that shows: threads with a tape each get what one gets.
 * A program is shared: threads with runners of their own get what one gets. */
#include <autograd/autograd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

enum { THREADS = 4, STEPS = 50, PARAMETERS = 12 };

/* Descends for a while on a small net with every kind of instruction; its last parameters. */
static void train(int seed, double *parameters) {
    ag_tape *t = ag_tape_new(seed % 2 ? AG_F32 : AG_F64);
    double w[PARAMETERS], x[6] = {0.1, -0.4, 0.7, 1.2, -0.3, 0.5};
    for (int i = 0; i < PARAMETERS; i++) w[i] = 0.1 * (i + seed) - 0.5;
    ag_var weights = ag_tensor(t, w, AG_SHAPE(3, 4)), data = ag_constant_tensor(t, x, AG_SHAPE(2, 3));
    ag_mark mark = ag_tape_mark(t);
    for (int i = 0; i < STEPS; i++) {
        ag_var p = ag_softmax(ag_tanh(ag_matmul(data, weights)), 1);
        ag_var loss = ag_add(ag_sum(ag_square(p)), ag_sin(ag_mul(ag_at(weights, 5), ag_at(p, 1))));
        ag_backward(loss);
        ag_step(weights, -0.1);
        ag_tape_rewind(t, mark);
    }
    ag_read(weights, parameters);
    assert_string_equal(ag_tape_message(t), "");
    ag_tape_free(t);
}

typedef struct job {
    int seed;
    double parameters[PARAMETERS];
} job;

static void *run(void *data) {
    job *j = data;
    train(j->seed, j->parameters);
    return NULL;
}

static void tapes_in_threads_do_not_disturb_each_other(void **state) {
    (void)state;
    job jobs[THREADS] = {{0}};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i].seed = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        double alone[PARAMETERS];
        train(i, alone);
        assert_memory_equal(alone, jobs[i].parameters, sizeof alone);
    }
}

/* ---- one program, many threads ---- */

enum { ROWS = 100, RUNS = 4 };

static void row_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_softmax(x[0], 0), x[1]);
}

/* A map inside, whose runners and derivatives are kept with the inner program. */
static void map_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const ag_along in[2] = {AG_EACH, AG_SHARED};
    ag_map(t, context, ROWS, x, in, NULL, y);
    y[0] = ag_sum(ag_square(y[0]));
}

typedef struct sharing {
    const ag_program *row, *whole, *gradient;
    double x[ROWS * 3 + 1], run[2 + ROWS * 3], rows[ROWS * 3], sum[3], adjoint[ROWS * 3];
    ag_status status;
} sharing;

static void note_status(sharing *s, ag_status status) {
    if (s->status == AG_OK) s->status = status;
}

static void *share(void *data) {
    sharing *s = data;
    ag_program *own = ag_program_gradient(s->whole, NULL, 0); /* derived by every thread at once */
    ag_runner *r = ag_runner_new(s->gradient), *each = ag_runner_new(s->row), *mine = ag_runner_new(own);
    const double *xs[2] = {s->x, s->x + ROWS * 3};
    double *ys[3] = {s->run, s->run + 1, s->run + 1 + ROWS * 3};
    ag_column in[2] = {ag_each(s->x), ag_shared(xs[1])}, out = ag_each(s->rows), sum = ag_shared(s->sum);
    for (int i = 0; i < RUNS; i++) {
        note_status(s, ag_run(i % 2 ? mine : r, xs, ys));
        note_status(s, ag_run_rows(each, ROWS, in, &out));
        note_status(s, ag_run_rows(each, ROWS, in, &sum));
    }
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[2] = {ag_tensor(t, s->x, AG_SHAPE(ROWS, 3)), ag_input(t, s->x[ROWS * 3])}, y;
    const ag_along along[2] = {AG_EACH, AG_SHARED};
    ag_map(t, s->row, ROWS, x, along, NULL, &y);
    ag_backward(ag_sum(ag_square(y)));
    ag_read_grad(x[0], s->adjoint);
    note_status(s, ag_tape_status(t));
    ag_tape_free(t);
    ag_runner_free(r);
    ag_runner_free(each);
    ag_runner_free(mine);
    ag_program_free(own);
    return NULL;
}

static void threads_share_a_program(void **state) {
    (void)state;
    const ag_port row_in[2] = {{"x", AG_SHAPE(3), NULL}, {"s", {0}, NULL}};
    const ag_port in[2] = {{"x", AG_SHAPE(ROWS, 3), NULL}, {"s", {0}, NULL}};
    static sharing all[THREADS + 1];
    pthread_t threads[THREADS];
    ag_program *row = ag_program_trace(AG_F64, row_model, NULL, row_in, 2, NULL, 1);
    ag_program *whole = ag_program_trace(AG_F64, map_model, row, in, 2, NULL, 1);
    ag_program *gradient = ag_program_gradient(whole, NULL, 0);
    assert_string_equal(ag_program_message(gradient), "");
    for (int i = 0; i <= THREADS; i++) {
        all[i] = (sharing){.row = row, .whole = whole, .gradient = gradient};
        for (int k = 0; k <= ROWS * 3; k++) all[i].x[k] = 0.01 * (k * 37 % 101) - 0.5;
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, share, &all[i]), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    (void)share(&all[THREADS]);
    for (int i = 0; i <= THREADS; i++) assert_int_equal(all[i].status, AG_OK);
    for (int i = 0; i < THREADS; i++) {
        assert_memory_equal(all[i].run, all[THREADS].run, sizeof all[i].run);
        assert_memory_equal(all[i].rows, all[THREADS].rows, sizeof all[i].rows);
        assert_memory_equal(all[i].sum, all[THREADS].sum, sizeof all[i].sum);
        assert_memory_equal(all[i].adjoint, all[THREADS].adjoint, sizeof all[i].adjoint);
    }
    ag_program_free(row);
    ag_program_free(whole);
    ag_program_free(gradient);
}

/* Each part is done once; threads that work have none to share. */
static void count_part(void *data, int k) {
    int *parts = data;
    parts[k] += ag_threads() >= 1;
}
static void count_long_part(void *data, int k) {
    int *parts = data;
    parts[k] += ag_threads() == 1;
}
static void parts_are_done_once(void **state) {
    (void)state;
    int parts[9] = {0}, many[99] = {0};
    for (int n = 0; n <= 9; n++) ag_parallel(n, count_part, parts);
    for (int k = 0; k < 9; k++) assert_int_equal(parts[k], 9 - k);
    for (int n = 0; n <= 99; n += 33) ag_parallel_long(n, count_long_part, many);
    for (int k = 0; k < 99; k++) assert_int_equal(many[k], 3 - k / 33);
    assert_true(ag_threads() >= 1);
    assert_true(strcmp(ag_isa(), "base") == 0 || strcmp(ag_isa(), "v3") == 0 || strcmp(ag_isa(), "v4") == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tapes_in_threads_do_not_disturb_each_other),
        cmocka_unit_test(threads_share_a_program),
        cmocka_unit_test(parts_are_done_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
