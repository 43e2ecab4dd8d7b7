/* Training steps of nn's models on a fixed batch, for benchmarks. */
#ifndef BENCH_TRAINING_H
#define BENCH_TRAINING_H

#include <nn/nn.h>

#include "common.h"

typedef struct bench_training {
    ag_tape *tape;
    nn_model *model;
    nn_optimiser *optimiser;
    nn_step *step;
    nn_array fields[2]; /* what the step takes */
    double loss;
} bench_training;

static inline nn_array bench_random_array(ag_shape shape, double lo, double hi, uint64_t *state) {
    nn_error e = {.status = AG_OK};
    nn_array a = nn_array_new(NN_F32, shape, &e);
    if (e.status != AG_OK) bench_wrong("%s", e.message);
    for (int64_t i = 0; i < nn_array_count(&a); i++) ((float *)a.data)[i] = (float)bench_random(state, lo, hi);
    return a;
}

/* The task: lap 0 is the step up to gradients, lap 1 the update. */
static inline void bench_train(void *context, double *lap) {
    bench_training *t = context;
    double start = bench_now();
    t->loss = nn_step_run(t->step, t->fields, 2, NN_GRADIENTS);
    bench_lap(&lap[0], &start);
    nn_optimiser_step(t->optimiser);
    bench_lap(&lap[1], &start);
}

/* Some steps, after which the loss is as good as it should be and the same as another one's. */
static inline void bench_check_training(bench_training *t, const bench_training *like, double better) {
    double lap[BENCH_LAPS], first;
    bench_train(t, lap);
    first = t->loss;
    for (int i = 0; i < 20; i++) bench_train(t, lap);
    if (ag_tape_status(t->tape) != AG_OK) bench_wrong("%s", ag_tape_message(t->tape));
    if (!(t->loss < better * first)) bench_wrong("a loss of %g became %g", first, t->loss);
    if (!(fabs(t->loss - like->loss) <= 1e-3 * like->loss))
        bench_wrong("a loss of %.8g, not %.8g", t->loss, like->loss);
}

static inline void bench_end_training(bench_training *t) {
    for (int k = 0; k < 2; k++) nn_array_free(&t->fields[k]);
    nn_step_free(t->step);
    nn_optimiser_free(t->optimiser);
    nn_model_free(t->model);
    ag_tape_free(t->tape);
}

#endif
