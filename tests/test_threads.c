/* A tape belongs to one thread at a time, and tapes share nothing that shows: threads with a tape each get what one gets. */
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tapes_in_threads_do_not_disturb_each_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
