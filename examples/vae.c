/* A variational autoencoder of digits (Kingma, Welling, arXiv:1312.6114), trained by a loop of its own: an encoder says where
 * among 16 numbers a picture may be, a decoder draws it again, and new pictures are drawn from numbers at random.
 *
 *     OPENBLAS_CORETYPE=SkylakeX vae --data FOLDER     (README.md says where the variable helps) */
#include "digits.h"

enum { LATENT = 16, HIDDEN = 256, SAMPLES = 64, MOST_EPOCHS = 30 };

typedef struct vae {
    nn_model *model;
    nn_dense encoder, mean, log_variance;
    nn_dense decoder, pixels;
} vae;

static vae make_vae(nn_model *model) {
    nn_dense_options relu = {.initial = NN_HE_NORMAL}, none = {0};
    return (vae){model,
                 nn_dense_init(model, "encoder", PIXELS, HIDDEN, relu),
                 nn_dense_init(model, "mean", HIDDEN, LATENT, none),
                 nn_dense_init(model, "log_variance", HIDDEN, LATENT, none),
                 nn_dense_init(model, "decoder", LATENT, HIDDEN, relu),
                 nn_dense_init(model, "pixels", HIDDEN, PIXELS, none)};
}

/* Logits of pixels. */
static ag_var decode(const vae *v, ag_var z) {
    return nn_dense_apply(v->pixels, ag_relu(nn_dense_apply(v->decoder, z)));
}

/* Minus the evidence lower bound of a picture in nats: what its pixels cost, and how far z is from a normal distribution. */
static void forward(void *context, const ag_var *batch, ag_var *out) {
    const vae *v = context;
    ag_var x = ag_div(ag_reshape(batch[0], AG_SHAPE(-1, PIXELS)), 255);
    ag_var h = ag_relu(nn_dense_apply(v->encoder, x));
    ag_var mean = nn_dense_apply(v->mean, h), log_variance = nn_dense_apply(v->log_variance, h);
    ag_var noise =
        ag_random_normal(ag_tape_of(x), ag_shape_of(mean), nn_model_key(v->model, "noise"), nn_model_clock(v->model));
    ag_var z = ag_fma(ag_exp(ag_mul(0.5, log_variance)), noise, mean);
    ag_var pixels = ag_mul(PIXELS, nn_bce_logits(decode(v, z), x));
    ag_var each = ag_sub(ag_add(ag_square(mean), ag_exp(log_variance)), ag_add(log_variance, 1));
    out[0] = ag_add(pixels, ag_mul(0.5 * LATENT, ag_mean(each)));
}

/* The mean loss of an epoch; trains if there is an optimiser. */
static double run_epoch(vae *v, nn_step *step, nn_loader *batches, nn_optimiser *optimiser, nn_error *e) {
    double sum = 0, count = 0;
    nn_model_train(v->model, optimiser != NULL);
    for (nn_batch b; nn_loader_next(batches, &b, e);) {
        sum += (double)b.count * nn_step_run(step, b.fields, 1, optimiser != NULL ? NN_GRADIENTS : NN_VALUES);
        count += (double)b.count;
        if (optimiser != NULL) nn_optimiser_step(optimiser);
    }
    return sum / count;
}

/* Digits that nobody wrote, as one picture. */
static void draw_samples(const vae *v, const char *path, nn_error *e) {
    nn_array pictures = nn_array_new(NN_F32, AG_SHAPE(SAMPLES, SIDE, SIDE), e);
    ag_tape *t = nn_model_tape(v->model);
    ag_var z =
        ag_random_normal(t, AG_SHAPE(SAMPLES, LATENT), nn_model_key(v->model, "samples"), nn_model_clock(v->model));
    if (e->status == AG_OK) ag_read_f32(ag_sigmoid(decode(v, z)), pictures.data);
    nn_array grid = nn_image_grid(&pictures, 0, 2, e);
    nn_png_write(path, &grid, e);
    nn_array_free(&grid);
    nn_array_free(&pictures);
}

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, DIGITS_HELP);
    nn_error e = {0};
    digits d = {0};
    open_digits(&d, folder, true, &e);
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    vae v = make_vae(model);
    nn_step *step = nn_step_new(model, forward, &v, (nn_step_options){.traced = true});
    nn_optimiser *adam = nn_adam(model, (nn_adam_options){.rate = 2e-3});

    double losses[2][MOST_EPOCHS] = {{0}}, expected = folder != NULL ? 115 : 320;
    int epochs = folder != NULL ? MOST_EPOCHS : 5;
    for (int i = 0; i < epochs && e.status == AG_OK; i++) {
        losses[0][i] = run_epoch(&v, step, d.train_batches, adam, &e);
        losses[1][i] = run_epoch(&v, step, d.test_batches, NULL, &e);
        if (ag_tape_status(tape) != AG_OK) nn_fail(&e, ag_tape_status(tape), "%s", ag_tape_message(tape));
        printf("epoch %2d: %.2f nats a digit, of others %.2f\n", i + 1, losses[0][i], losses[1][i]);
    }
    const nn_curve curves[] = {{"training", epochs, NULL, losses[0]}, {"test", epochs, NULL, losses[1]}};
    nn_curves_svg("vae.svg", curves, 2, &(nn_curves_options){.x_label = "epoch", .y_label = "nats a digit"}, &e);
    draw_samples(&v, "vae.png", &e);

    if (e.status == AG_OK) printf("new digits are in vae.png, curves in vae.svg\n");
    int status = end(&e, losses[1][epochs - 1] < expected);
    nn_optimiser_free(adam);
    nn_step_free(step);
    nn_model_free(model);
    ag_tape_free(tape);
    close_digits(&d);
    return status;
}
