/* One training step of a convolutional network in f32: 28 x 28 images, 3 x 3 convolution to 32 channels, relu, pooling by
 * two, the same to 64 channels, a dense layer of 128, ten classes; batch of 64; Adam. Recorded anew each time or traced
 * once; beside PyTorch and beside the matrix products that it comes down to, in BLAS, which are given their matrices.
 * "cnn 2": two threads. */
#include "blas.h"
#include "torch.h"
#include "training.h"

enum { BATCH = 64, CLASSES = 10, ROUNDS = 41, WAYS = 2 };
static const double most = 12 / 24.5; /* of the ratio to PyTorch's, by the table */
static const char *const ways[WAYS] = {"eager", "traced"};

typedef struct net {
    bench_training training;
    nn_sequential *layers;
} net;

static void forward(void *context, const ag_var *batch, ag_var *out) {
    ag_var logits = nn_sequential_apply(((const net *)context)->layers, batch[0]);
    out[0] = nn_softmax_cross_entropy_at(logits, batch[1], (nn_class_options){0});
}

static nn_sequential *layers_new(nn_model *model) {
    const nn_conv_options padded = {.padding = {1, 1}};
    const ag_pool_options twos = {.kernel = {2, 2}};
    nn_sequential *list = nn_sequential_new(model, "net");
    nn_sequential_conv(list, NN_CONV2D, 1, 32, 3, 3, padded);
    nn_sequential_activation(list, NN_RELU);
    nn_sequential_max_pool2d(list, twos);
    nn_sequential_conv(list, NN_CONV2D, 32, 64, 3, 3, padded);
    nn_sequential_activation(list, NN_RELU);
    nn_sequential_max_pool2d(list, twos);
    nn_sequential_flatten(list);
    nn_sequential_dense(list, 3136, 128, (nn_dense_options){0});
    nn_sequential_activation(list, NN_RELU);
    nn_sequential_dense(list, 128, CLASSES, (nn_dense_options){0});
    return list;
}

/* In its place: the step keeps where it is. */
static void net_init(net *n, bool traced) {
    uint64_t state = 17;
    bench_training *t = &n->training;
    *t = (bench_training){.tape = ag_tape_new(AG_F32)};
    t->model = nn_model_new(t->tape, 1);
    n->layers = layers_new(t->model);
    t->optimiser = nn_adam(t->model, (nn_adam_options){.rate = 1e-3});
    t->step = nn_step_new(t->model, forward, n, (nn_step_options){.traced = traced});
    t->fields[0] = bench_random_array(AG_SHAPE(BATCH, 1, 28, 28), -1, 1, &state);
    t->fields[1] = bench_random_array(AG_SHAPE(BATCH), 0, 1, &state);
    for (int i = 0; i < BATCH; i++) ((float *)t->fields[1].data)[i] = (float)(i * 7 % CLASSES);
}

static void run_few(const void *context) {
    net n;
    double lap[BENCH_LAPS];
    net_init(&n, *(const bool *)context);
    for (int i = 0; i < 5; i++) bench_train(&n.training, lap);
}

/* The products alone. */
static void run_products(void *context, double *lap) {
    (void)context, (void)lap;
    bench_product(32, 784, 9, BATCH), bench_product(32, 9, 784, BATCH);
    bench_product(64, 196, 288, BATCH), bench_product(64, 288, 196, BATCH), bench_product(288, 196, 64, BATCH);
    bench_product(BATCH, 128, 3136, 1), bench_product(3136, 128, BATCH, 1), bench_product(BATCH, 3136, 128, 1);
}

int main(int argc, char **argv) {
    const char *threads = argc > 1 ? argv[1] : "1";
    bench_threads(argv, threads);
    bench_title_threads("Convolutional network, f32, batch 64, Adam", "one training step; milliseconds, megabytes",
                        strcmp(threads, "1") == 0 ? "one thread" : "several threads");
    bench_print_blas();
    double peak[WAYS], torch_peak = (double)NAN;
    for (int i = 0; i < WAYS; i++) peak[i] = bench_growth(run_few, NULL, (bool[]){i == 1}) / 1e6;
    bench_open_products(3136 * 288);
    bench_torch torch = bench_torch_start("cnn.py");
    net nets[WAYS];
    bench_set set = {.wall = true};
    int own[WAYS], base = bench_add(&set, "", run_products, NULL);
    for (int i = 0; i < WAYS; i++) {
        net_init(&nets[i], i == 1);
        bench_check_training(&nets[i].training, &nets[0].training, 0.7);
        own[i] = bench_add(&set, ways[i], bench_train, &nets[i].training);
    }
    int its = bench_add_torch(&set, &torch, "torch_cnn");
    if (its >= 0) torch_peak = bench_torch_time(&torch, "torch_cnn_memory", 1) / 1e6;
    bench_run_beside(&set, &torch, ROUNDS, 2e-3);

    static const char *const columns[] = {"gradients", "update",  "total", "x products",
                                          "x PyTorch", "at most", "memory"};
    const double none = (double)NAN;
    bench_heading("", columns, 7);
    bench_row("matrix products alone", (double[]){none, none, bench_time(&set, base) * 1e3, 1, none, none, none}, 7);
    for (int i = 0; i < WAYS; i++) {
        double row[7] = {bench_lap_time(&set, own[i], 0) * 1e3,
                         bench_lap_time(&set, own[i], 1) * 1e3,
                         bench_time(&set, own[i]) * 1e3,
                         bench_ratio(&set, own[i], base),
                         its < 0 ? none : bench_ratio(&set, own[i], its),
                         most,
                         peak[i]};
        bench_row(ways[i], row, 7);
    }
    if (its >= 0)
        bench_row(
            "PyTorch",
            (double[]){none, none, bench_time(&set, its) * 1e3, bench_ratio(&set, its, base), 1, none, torch_peak}, 7);
    bench_torch_stop(&torch);
    for (int i = 0; i < WAYS; i++) bench_end_training(&nets[i].training);
    bench_close_products();
    return 0;
}
