/* Fuzzer of weights and checkpoints: a file is loaded into a small model, strictly and leniently, and as a checkpoint, whose
 * sum is made right so that what is behind it is reached. What does not fit changes nothing; what fits can be trained on.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined -DFUZZ_KEEP, over this file and the libraries.
 * test_fuzz_keep.c runs it on saved and on changed inputs.
 *
 * What does not hold ends the program by abort(). */
#include "nn/keep/keep_impl.h"
#include "nn/nn.h"

#include <stdlib.h>
#include <string.h>

#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) broken(#condition, __LINE__);                                                                \
    } while (0)

static void broken(const char *what, int line) {
    fprintf(stderr, "fuzz_keep.c:%d: does not hold: %s\n", line, what);
    abort();
}

enum { SAMPLES = 5, NUMBERS = 4 + 2 + 2 + 1 };

typedef struct training {
    ag_tape *tape;
    nn_model *model;
    nn_dense fc;
    nn_array x;
    nn_loader *loader;
    nn_optimiser *adam;
    nn_lbfgs *lbfgs;
    nn_plateau plateau;
    nn_array history;
    nn_kept kept[5];
} training;

static void open_training(training *t) {
    nn_error e = {0};
    *t = (training){.tape = ag_tape_new(AG_F32), .plateau = {.rate = 0.1}};
    t->model = nn_model_new(t->tape, 1);
    t->fc = nn_dense_init(t->model, "fc", 2, 2, (nn_dense_options){0});
    (void)nn_buffer(t->model, "mean", AG_SHAPE(2), NN_ZEROS);
    (void)nn_buffer(t->model, "num_batches_tracked", (ag_shape){.rank = 0}, NN_ZEROS);
    t->x = nn_array_new(NN_F32, AG_SHAPE(SAMPLES, 2), &e);
    for (int i = 0; i < 2 * SAMPLES; i++) ((float *)t->x.data)[i] = (float)i;
    nn_dataset set = nn_dataset_of(&t->x, 1, &e);
    t->loader = nn_loader_new(&set, &(nn_loader_options){.batch = 2, .shuffle = true, .threads = -1}, &e);
    t->adam = nn_adam(t->model, (nn_adam_options){0});
    t->lbfgs = nn_lbfgs_new(t->model, (nn_lbfgs_options){.history = 2, .iterations = 3});
    HOLDS(e.status == AG_OK && ag_tape_status(t->tape) == AG_OK);
    const nn_kept kept[] = {{"train", .loader = t->loader},
                            {"adam", .optimiser = t->adam},
                            {"lbfgs", .lbfgs = t->lbfgs},
                            {"plateau", .plateau = &t->plateau},
                            {"history", .array = &t->history}};
    memcpy(t->kept, kept, sizeof kept);
}

static void close_training(training *t) {
    nn_array_free(&t->history);
    nn_lbfgs_free(t->lbfgs);
    nn_optimiser_free(t->adam);
    nn_loader_free(t->loader);
    nn_array_free(&t->x);
    nn_model_free(t->model);
    ag_tape_free(t->tape);
}

static void numbers_of(const training *t, float numbers[NUMBERS]) {
    memcpy(numbers, ag_data(nn_parameter_at(t->model, 0)), 4 * sizeof *numbers);
    memcpy(numbers + 4, ag_data(nn_parameter_at(t->model, 1)), 2 * sizeof *numbers);
    memcpy(numbers + 6, ag_data(nn_buffer_at(t->model, 0)), 2 * sizeof *numbers);
    memcpy(numbers + 8, ag_data(nn_buffer_at(t->model, 1)), sizeof *numbers);
}

static double loss_of(void *context) {
    training *t = context;
    nn_error e = {0};
    nn_batch b = {0};
    if (!nn_loader_next(t->loader, &b, &e)) (void)nn_loader_next(t->loader, &b, &e);
    HOLDS(e.status == AG_OK && b.count > 0);
    ag_mark mark = ag_tape_mark(t->tape);
    ag_var x = ag_constant_tensor_f32(t->tape, b.fields[0].data, b.fields[0].shape);
    ag_var loss = ag_mean(ag_square(nn_dense_apply(t->fc, x)));
    ag_backward(loss);
    double value = ag_value(loss);
    ag_tape_rewind(t->tape, mark);
    return value;
}

/* Whatever the numbers are, training ends well or with an error. */
static void train(training *t) {
    for (int i = 0; i < 2; i++) {
        double loss = nn_lbfgs_step(t->lbfgs, loss_of, t);
        ag_tape_recover(t->tape);
        (void)nn_optimiser_rate(t->adam);
        (void)nn_plateau_rate(&t->plateau, loss);
        (void)loss_of(t);
        nn_optimiser_step(t->adam);
        ag_tape_recover(t->tape);
    }
}

static void look_at(const training *t, const nn_error *e, const float before[NUMBERS]) {
    float after[NUMBERS];
    numbers_of(t, after);
    HOLDS((e->status == AG_OK) == (e->message[0] == '\0'));
    HOLDS(ag_tape_status(t->tape) == AG_OK);
    if (e->status != AG_OK) HOLDS(memcmp(before, after, sizeof after) == 0);
}

static void mend_sum(nn_safetensors *f) {
    for (int64_t i = 0; i < f->metadata_count; i++) {
        if (strcmp(f->metadata[i].key, NN_CHECKPOINT_KEY) != 0) continue;
        nn_error e = {0};
        nn_sum sum = nn_sum_of((const nn_tensor *const *)f->by_name_, f->count, f->metadata, f->metadata_count, false);
        nn_release((char *)(uintptr_t)f->metadata[i].value);
        f->metadata[i].value = nn_copy_text(sum.text, strlen(sum.text), &e);
    }
}

static void fuzz_keep(const uint8_t *data, size_t size) {
    const nn_renaming renamings[] = {{"m.", ""}, {"x", "fc"}};
    for (int how = 0; how < 4; how++) {
        nn_error e = {0};
        nn_safetensors f = {0};
        training t;
        float before[NUMBERS];
        nn_safetensors_parse("f", data, size, &f, &e);
        if (e.status == AG_OK) {
            open_training(&t);
            numbers_of(&t, before);
            mend_sum(&f);
            if (how < 3)
                (void)nn_model_load_from(t.model, &f, "f", (nn_load_options){how > 0, renamings, how > 1 ? 2 : 0}, &e);
            else nn_checkpoint_load_from(t.model, &f, "f", t.kept, 5, &e);
            look_at(&t, &e, before);
            if (e.status == AG_OK) train(&t);
            close_training(&t);
        }
        nn_safetensors_close(&f);
    }
}

#ifdef FUZZ_KEEP
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_keep(data, size);
    return 0;
}
#endif
