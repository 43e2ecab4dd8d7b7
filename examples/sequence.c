/* The adding problem (Hochreiter, Schmidhuber, 1997): a sequence of numbers of which two are marked; what is their sum? An
 * LSTM has to keep the first until the second comes. Who always says 1 has an error of 1/6. */
#include "common.h"

static const char *const help = "FOLDER holds inputs.npy (sequences, steps, 2), numbers and marks, and targets.npy "
                                "(sequences), the sums. Without it,\n"
                                "sequences of 12 steps are made.\n";

enum { SEQUENCES = 2500, LENGTH = 12, HIDDEN = 24, EPOCHS = 12 };

typedef struct net {
    nn_recurrent lstm;
    nn_dense output;
} net;

/* One mark in each half of a sequence. */
static void invent(nn_array *inputs, nn_array *targets, nn_error *e) {
    *inputs = nn_array_new(NN_F32, AG_SHAPE(SEQUENCES, LENGTH, 2), e);
    *targets = nn_array_new(NN_F32, AG_SHAPE(SEQUENCES), e);
    uint64_t state = 1;
    for (int i = 0; i < SEQUENCES && e->status == AG_OK; i++) {
        float(*x)[2] = (float(*)[2])inputs->data + i * LENGTH;
        for (int k = 0; k < LENGTH; k++) x[k][0] = (float)uniform(&state);
        int first = (int)(LENGTH / 2 * uniform(&state)), second = LENGTH / 2 + (int)(LENGTH / 2 * uniform(&state));
        x[first][1] = x[second][1] = 1;
        ((float *)targets->data)[i] = x[first][0] + x[second][0];
    }
}

/* Fields: sequences (n, steps, 2), sums (n). Outputs: the loss, sums. */
static void forward(void *context, const ag_var *batch, ag_var *out) {
    const net *n = context;
    nn_recurrent_state end;
    nn_recurrent_apply(&n->lstm, batch[0], (nn_recurrent_state){0}, &end);
    ag_var last = ag_index(end.h, 0, 0); /* of the one layer: (n, HIDDEN) */
    out[1] = ag_squeeze(nn_dense_apply(n->output, last), 1);
    out[0] = nn_mse(out[1], batch[1]);
}

static double fit(nn_model *model, net *n, nn_loader *train, nn_loader *test, nn_error *e) {
    nn_step *step = nn_step_new(model, forward, n, (nn_step_options){.outputs = 2, .traced = true});
    nn_optimiser *adam = nn_adam(model, (nn_adam_options){0});
    nn_optimiser_clip_norm(adam, 1);
    nn_optimiser_schedule(adam, nn_one_cycle_schedule(2e-2, EPOCHS * nn_loader_batches(train), 0, 0, 0));
    nn_fitted fitted = nn_fit(&(nn_fit_options){.step = step,
                                                .optimiser = adam,
                                                .train = train,
                                                .validation = test,
                                                .epochs = EPOCHS,
                                                .metrics = {{.kind = NN_R2}},
                                                .metric_count = 1,
                                                .progress = stdout,
                                                .curves = "sequence.svg"},
                              e);
    nn_optimiser_free(adam);
    nn_step_free(step);
    return fitted.last.epoch == EPOCHS ? fitted.last.validation_loss : NAN;
}

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, help);
    nn_error e = {0};
    nn_array arrays[2] = {0}; /* sequences, sums */
    if (folder == NULL) invent(&arrays[0], &arrays[1], &e);
    else
        arrays[0] = nn_npy_read(path_in(folder, "inputs.npy"), &e),
        arrays[1] = nn_npy_read(path_in(folder, "targets.npy"), &e);
    nn_dataset all = nn_dataset_of(arrays, 2, &e), train, test;
    nn_dataset_split(&all, 0.9, 1, &train, &test, &e);
    nn_loader *train_batches = nn_loader_new(&train, &(nn_loader_options){.batch = 50, .shuffle = true, .seed = 1}, &e);
    nn_loader *test_batches = nn_loader_new(&test, &(nn_loader_options){.batch = 300}, &e);

    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    net n = {nn_recurrent_init(model, NN_LSTM, "lstm", 2, HIDDEN, (nn_recurrent_options){.batch_first = true}),
             nn_dense_init(model, "output", HIDDEN, 1, (nn_dense_options){0})};
    double loss = fit(model, &n, train_batches, test_batches, &e);

    if (!isnan(loss)) printf("mean squared error %.5f, of who says 1: 0.167; curves in sequence.svg\n", loss);
    int status = end_of_training(&e, loss, loss < 0.01);
    nn_model_free(model);
    ag_tape_free(tape);
    nn_loader_free(train_batches);
    nn_loader_free(test_batches);
    nn_dataset_free(&train);
    nn_dataset_free(&test);
    nn_dataset_free(&all);
    for (int i = 0; i < 2; i++) nn_array_free(&arrays[i]);
    return status;
}
