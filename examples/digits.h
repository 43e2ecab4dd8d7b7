/* Pictures of digits for the examples: MNIST's, or ones drawn here. */
#ifndef EXAMPLES_DIGITS_H
#define EXAMPLES_DIGITS_H

#include "common.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, DRAWN = 1000 };

#define DIGITS_HELP                                                                                                    \
    "FOLDER holds MNIST's 10,000 test digits, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz, to be found "   \
    "at\n"                                                                                                             \
    "https://ossci-datasets.s3.amazonaws.com/mnist/ and elsewhere. Without it, digits are drawn: seven segments, "     \
    "shifted,\n"                                                                                                       \
    "slanted, in noise.\n"

/* From (x, y) along (dx, dy), in the unit square, y downwards: a stroke of a soft brush. */
static inline void draw_stroke(uint8_t *image, double x, double y, double dx, double dy, double width) {
    for (int i = 0; i < PIXELS; i++) {
        double px = (i % SIDE + 0.5) - SIDE * x, py = (i / SIDE + 0.5) - SIDE * y;
        double ex = SIDE * dx, ey = SIDE * dy, along = (px * ex + py * ey) / (ex * ex + ey * ey);
        along = fmin(fmax(along, 0), 1);
        double ink = 255 * (width - hypot(px - along * ex, py - along * ey)), old = image[i];
        image[i] = (uint8_t)fmin(fmax(ink, old), 255);
    }
}

/* Which of the segments top, upper left, upper right, middle, lower left, lower right, bottom are lit (bits 0 to 6). */
static const uint8_t segments[10] = {0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f, 0x6f};

static inline void draw_digit(uint8_t *image, int digit, uint64_t *state) {
    static const struct {
        double x, y, dx, dy;
    } lines[7] = {{0, 0, 1, 0}, {0, 0, 0, 1}, {1, 0, 0, 1}, {0, 1, 1, 0}, {0, 1, 0, 1}, {1, 1, 0, 1}, {0, 2, 1, 0}};
    double wide = 0.3 + 0.1 * uniform(state), high = 0.25 + 0.08 * uniform(state), slant = 0.2 * uniform(state);
    double left = 0.2 + 0.15 * uniform(state), top = 0.15 + 0.15 * uniform(state), width = 1.6 + uniform(state);
    memset(image, 0, PIXELS);
    for (int k = 0; k < 7; k++)
        if (segments[digit] >> k & 1)
            draw_stroke(image, left + wide * lines[k].x + slant * (1 - lines[k].y / 2), top + high * lines[k].y,
                        wide * lines[k].dx - slant * lines[k].dy / 2, high * lines[k].dy, width);
    for (int i = 0; i < PIXELS; i++) image[i] = (uint8_t)fmin(image[i] + 40 * uniform(state), 255);
}

/* images (n, 28, 28) and labels (n), of bytes. */
static inline void read_digits(const char *folder, nn_array *images, nn_array *labels, nn_error *e) {
    if (folder != NULL) {
        *images = nn_idx_read(path_in(folder, "t10k-images-idx3-ubyte.gz"), e);
        *labels = nn_idx_read(path_in(folder, "t10k-labels-idx1-ubyte.gz"), e);
        return;
    }
    *images = nn_array_new(NN_U8, AG_SHAPE(DRAWN, SIDE, SIDE), e);
    *labels = nn_array_new(NN_U8, AG_SHAPE(DRAWN), e);
    uint64_t state = 1;
    for (int i = 0; i < DRAWN && e->status == AG_OK; i++) {
        ((uint8_t *)labels->data)[i] = (uint8_t)(i % 10);
        draw_digit((uint8_t *)images->data + i * PIXELS, i % 10, &state);
    }
}

/* All that is read, split in nine parts to learn from and one to test with. */
typedef struct digits {
    nn_array arrays[2]; /* images, labels */
    nn_dataset all, train, test;
    nn_scale scale;
    nn_augment shift;
    nn_loader *train_batches, *test_batches; /* fields: images (n, 28, 28), labels (n) */
} digits;

/* Images are scaled to mean 0 and deviation 1, and those to learn from moved by up to a pixel; or raw. */
static inline void open_digits(digits *d, const char *folder, bool raw, nn_error *e) {
    read_digits(folder, &d->arrays[0], &d->arrays[1], e);
    d->all = nn_dataset_of(d->arrays, 2, e);
    nn_dataset_split(&d->all, 0.9, 1, &d->train, &d->test, e);
    d->scale = nn_scale_fit(&d->train, 0, NN_PER_FIELD, e);
    d->shift.shift = 1;
    const nn_scale *scale = raw ? NULL : &d->scale;
    d->train_batches = nn_loader_new(
        &d->train,
        &(nn_loader_options){
            .batch = 64, .shuffle = true, .seed = 1, .fields = {{.scale = scale, .augment = raw ? NULL : &d->shift}}},
        e);
    d->test_batches = nn_loader_new(&d->test, &(nn_loader_options){.batch = 250, .fields = {{.scale = scale}}}, e);
    if (e->status == AG_OK)
        printf("%lld digits to learn from, %lld to test with\n", (long long)d->train.count, (long long)d->test.count);
}

static inline void close_digits(digits *d) {
    nn_loader_free(d->train_batches);
    nn_loader_free(d->test_batches);
    nn_scale_free(&d->scale);
    nn_dataset_free(&d->train);
    nn_dataset_free(&d->test);
    nn_dataset_free(&d->all);
    for (int i = 0; i < 2; i++) nn_array_free(&d->arrays[i]);
}

/* Trains a model whose outputs are the loss and logits, and returns its accuracy on digits that it never saw. */
static inline double fit_digits(nn_model *model, nn_forward *forward, void *net, const digits *d, int64_t epochs,
                                const char *curves, nn_error *e) {
    int64_t steps = epochs * nn_loader_batches(d->train_batches);
    nn_step *step = nn_step_new(model, forward, net, (nn_step_options){.outputs = 2, .traced = true});
    nn_optimiser *adam = nn_adamw(model, (nn_adam_options){.decay = 0.05});
    nn_optimiser_schedule(adam, nn_one_cycle_schedule(3e-3, steps, 0, 0, 0));
    nn_fitted fitted = nn_fit(&(nn_fit_options){.step = step,
                                                .optimiser = adam,
                                                .train = d->train_batches,
                                                .validation = d->test_batches,
                                                .epochs = epochs,
                                                .metrics = {{.kind = NN_ACCURACY}},
                                                .metric_count = 1,
                                                .progress = stdout,
                                                .curves = curves},
                              e);
    nn_optimiser_free(adam);
    nn_step_free(step);
    if (fitted.last.epoch < epochs) return NAN; /* after an error or an interrupt */
    printf("%.1f %% are right; curves in %s\n", 100 * fitted.last.metrics[0], curves);
    return fitted.last.metrics[0];
}

#endif
