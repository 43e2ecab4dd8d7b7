/* What nn_fit is tried with: a small regression and all that trains it. */
#ifndef FIT_TASK_H
#define FIT_TASK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "folder.h"
#include "nn/nn.h"

enum { SAMPLES = 50, INPUTS = 4, BATCH = 8, EPOCHS = 5, MOST_WEIGHTS = 64 };

/* What becomes of a loss. */
enum { FINE, NAN_LOSS, INFINITE_LOSS, INFINITE_GRADIENT };

/* A regression, its data and everything that trains it. */
typedef struct task {
    nn_error e;
    nn_array x, y;
    nn_dataset train_set, validation_set;
    nn_loader *train, *validation;
    ag_tape *tape;
    nn_model *model;
    nn_dense hidden, output;
    nn_dropout dropout;
    nn_batch_norm norm; /* of one test */
    nn_optimiser *optimiser;
    nn_average *average;
    nn_plateau plateau;
    nn_step *step;
    int batches;                   /* prepared for training */
    int raise_at, fail_at, nan_at; /* at which a signal comes, nothing goes on, or a number is NaN; 0: never */
    int spoil;
    int epochs_seen, most_epochs;
} task;

static inline void forward(void *context, const ag_var *batch, ag_var *out) {
    task *k = context;
    ag_var h = ag_tanh(nn_dense_apply(k->hidden, batch[0]));
    h = nn_dropout_apply(k->dropout, nn_dropout_apply(k->dropout, h)); /* other numbers each time */
    out[1] = ag_reshape(nn_dense_apply(k->output, h), AG_SHAPE(-1));
    out[0] = nn_mse(out[1], batch[1]);
    if (k->spoil == NAN_LOSS) out[0] = ag_add(out[0], ag_sum(ag_log(ag_sub(nn_model_clock(k->model), 3))));
    if (k->spoil == INFINITE_LOSS) out[0] = ag_add(out[0], ag_div(1, nn_model_clock(k->model)));
    if (k->spoil == INFINITE_GRADIENT)
        out[0] = ag_add(out[0], ag_sqrt(ag_sub(ag_sum(k->output.weight), ag_sum(k->output.weight))));
}

static inline void hook(void *context, nn_batch *batch, nn_error *e) {
    task *k = context;
    k->batches++;
    if (k->batches == k->nan_at) ((float *)batch->fields[0].data)[0] = NAN;
    if (k->batches == k->raise_at) raise(SIGINT);
    if (k->batches == k->fail_at) nn_fail(e, AG_ERR_FILE, "killed");
}

static inline void open_task(task *k, bool traced) {
    *k = (task){.most_epochs = 1000};
    k->x = nn_array_new(NN_F32, AG_SHAPE(SAMPLES, INPUTS), &k->e);
    k->y = nn_array_new(NN_F32, AG_SHAPE(SAMPLES), &k->e);
    float *x = k->x.data, *y = k->y.data;
    for (int i = 0; i < SAMPLES; i++) {
        for (int j = 0; j < INPUTS; j++) x[i * INPUTS + j] = (float)sin(1.3 * (i * INPUTS + j));
        y[i] = x[i * INPUTS] - 0.5F * x[i * INPUTS + 1] * x[i * INPUTS + 2];
    }
    nn_dataset all = nn_dataset_of((const nn_array[]){k->x, k->y}, 2, &k->e);
    nn_dataset_split(&all, 0.7, 1, &k->train_set, &k->validation_set, &k->e);
    nn_dataset_free(&all);
    nn_loader_options o = {.batch = BATCH, .shuffle = true, .seed = 3, .threads = -1, .hook = hook, .context = k};
    k->train = nn_loader_new(&k->train_set, &o, &k->e);
    k->validation = nn_loader_new(&k->validation_set, &(nn_loader_options){.batch = BATCH}, &k->e);
    k->tape = ag_tape_new(AG_F32);
    k->model = nn_model_new(k->tape, 1);
    k->hidden = nn_dense_init(k->model, "hidden", INPUTS, 8, (nn_dense_options){0});
    k->dropout = nn_dropout_init(k->model, "drop", 0.1);
    k->output = nn_dense_init(k->model, "output", 8, 1, (nn_dense_options){0});
    k->optimiser = nn_adam(k->model, (nn_adam_options){.rate = 0.01});
    k->average = nn_average_new(k->model, 0.9);
    k->plateau = (nn_plateau){.rate = 0.01, .patience = 2};
    k->step = nn_step_new(k->model, forward, k, (nn_step_options){.outputs = 2, .traced = traced});
    if (k->e.status != AG_OK) fail_msg("%s", k->e.message);
}

static inline void close_task(task *k) {
    nn_step_free(k->step);
    nn_average_free(k->average);
    nn_optimiser_free(k->optimiser);
    nn_model_free(k->model);
    ag_tape_free(k->tape);
    nn_loader_free(k->train);
    nn_loader_free(k->validation);
    nn_dataset_free(&k->train_set);
    nn_dataset_free(&k->validation_set);
    nn_array_free(&k->x);
    nn_array_free(&k->y);
}

static inline bool count_epochs(void *context, const nn_epoch *q) {
    task *k = context;
    assert_true(q->epoch > k->epochs_seen);
    k->epochs_seen = (int)q->epoch;
    return q->epoch < k->most_epochs;
}

static inline nn_fit_options options_of(task *k) {
    return (nn_fit_options){.step = k->step,
                            .optimiser = k->optimiser,
                            .train = k->train,
                            .validation = k->validation,
                            .epochs = EPOCHS,
                            .metrics = {{.kind = NN_R2}, {.kind = NN_MAE}},
                            .metric_count = 2,
                            .average = k->average,
                            .plateau = &k->plateau,
                            .after_epoch = count_epochs,
                            .context = k};
}

static inline nn_fitted fit(task *k, nn_fit_options o) {
    nn_fitted f = nn_fit(&o, &k->e);
    if (k->e.status != AG_OK) fail_msg("%s", k->e.message);
    return f;
}

static inline void read_weights(const task *k, float *to) {
    for (int i = 0; i < nn_parameter_count(k->model); i++) {
        ag_var p = nn_parameter_at(k->model, i);
        ag_read_f32(p, to);
        to += ag_count(p);
    }
}

static inline char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

#endif
