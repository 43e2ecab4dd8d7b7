/* One training step of a convolutional network in f32: 28 x 28 images, 3 x 3 convolution to 32 channels, relu, pooling by
 * two, the same to 64 channels, a dense layer of 128, ten classes; batch of 64; Adam. Forward, reverse, update; beside
 * the matrix products that it comes down to, in BLAS, which are given their matrices. */
#include <autograd/autograd.h>

#include "blas.h"

enum { BATCH = 64, PARAMETERS = 8 };

static const int64_t COUNT[PARAMETERS] = {32 * 9, 32, 64 * 32 * 9, 64, 3136 * 128, 128, 128 * 10, 10};

typedef struct network {
    ag_tape *tape;
    ag_mark mark;
    ag_var images, labels, parameter[PARAMETERS];
    float *moment[PARAMETERS], *square[PARAMETERS];
    int steps;
    double loss;
} network;

static float *random_floats(int64_t n, double size) {
    static uint64_t state = 17;
    float *p = bench_alloc((size_t)n, sizeof *p);
    for (int64_t i = 0; i < n; i++) p[i] = (float)bench_random(&state, -size, size);
    return p;
}

static void open_network(network *n) {
    const ag_shape shape[PARAMETERS] = {AG_SHAPE(32, 1, 3, 3), AG_SHAPE(32),  AG_SHAPE(64, 32, 3, 3), AG_SHAPE(64),
                                        AG_SHAPE(3136, 128),   AG_SHAPE(128), AG_SHAPE(128, 10),      AG_SHAPE(10)};
    const double size[PARAMETERS] = {0.3, 0.3, 0.06, 0.06, 0.018, 0.018, 0.09, 0.09};
    *n = (network){.tape = ag_tape_new(AG_F32)};
    float *images = random_floats(BATCH * 784, 1), labels[BATCH];
    for (int i = 0; i < BATCH; i++) labels[i] = (float)(i * 7 % 10);
    n->images = ag_constant_tensor_f32(n->tape, images, AG_SHAPE(BATCH, 1, 28, 28));
    n->labels = ag_constant_tensor_f32(n->tape, labels, AG_SHAPE(BATCH));
    for (int k = 0; k < PARAMETERS; k++) {
        float *data = random_floats(COUNT[k], size[k]);
        n->parameter[k] = ag_tensor_f32(n->tape, data, shape[k]);
        n->moment[k] = bench_alloc((size_t)COUNT[k], sizeof(float));
        n->square[k] = bench_alloc((size_t)COUNT[k], sizeof(float));
        free(data);
    }
    free(images);
    n->mark = ag_tape_mark(n->tape);
}

static void adam(network *n) {
    n->steps++;
    float rate = 1e-3f * sqrtf(1 - powf(0.999f, (float)n->steps)) / (1 - powf(0.9f, (float)n->steps));
    for (int k = 0; k < PARAMETERS; k++) {
        float *restrict x = ag_data(n->parameter[k]), *restrict m = n->moment[k], *restrict v = n->square[k];
        const float *restrict g = ag_grad_data(n->parameter[k]);
        for (int64_t i = 0; i < COUNT[k]; i++) {
            m[i] = 0.9f * m[i] + 0.1f * g[i];
            v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
            x[i] -= rate * m[i] / (sqrtf(v[i]) + 1e-8f);
        }
    }
}

static void run_step(void *context, double *lap) {
    network *n = context;
    const ag_var *p = n->parameter;
    double start = bench_now();
    ag_pool_options twos = {.kernel = {2, 2}};
    ag_conv_options first = {.padding = {1, 1}, .bias = p[1]}, second = {.padding = {1, 1}, .bias = p[3]};
    ag_var h = ag_max_pool2d(ag_relu(ag_conv2d(n->images, p[0], first)), twos);
    h = ag_max_pool2d(ag_relu(ag_conv2d(h, p[2], second)), twos);
    h = ag_relu(ag_add(ag_matmul(ag_reshape(h, AG_SHAPE(BATCH, 3136)), p[4]), p[5]));
    ag_var loss = ag_mean(ag_cross_entropy_at(ag_add(ag_matmul(h, p[6]), p[7]), n->labels));
    n->loss = ag_value(loss);
    bench_lap(&lap[0], &start);
    ag_backward(loss);
    bench_lap(&lap[1], &start);
    adam(n);
    ag_tape_rewind(n->tape, n->mark);
    bench_lap(&lap[2], &start);
}

/* The products alone. */
static float *operands[3];

static void product(int m, int n, int k, int times) {
    for (int i = 0; i < times; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, operands[0], k, operands[1], n, 0,
                    operands[2], n);
}

static void run_products(void *context, double *lap) {
    (void)context, (void)lap;
    product(32, 784, 9, BATCH), product(32, 9, 784, BATCH);
    product(64, 196, 288, BATCH), product(64, 288, 196, BATCH), product(288, 196, 64, BATCH);
    product(BATCH, 128, 3136, 1), product(3136, 128, BATCH, 1), product(BATCH, 3136, 128, 1);
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    bench_title("Convolutional network, f32, batch 64, Adam", "one training step; milliseconds");
    bench_print_blas();
    network n;
    open_network(&n);
    for (int k = 0; k < 3; k++) operands[k] = random_floats(3136 * 288, 0.1);
    double lap[BENCH_LAPS], first;
    run_step(&n, lap);
    first = n.loss;
    for (int i = 0; i < 20; i++) run_step(&n, lap);
    if (ag_tape_status(n.tape) != AG_OK) bench_wrong("%s", ag_tape_message(n.tape));
    if (!(n.loss < 0.7 * first)) bench_wrong("a loss of %g became %g", first, n.loss);

    static const char *const columns[] = {"forward", "reverse", "update", "total", "x products"};
    bench_set set = {0};
    int base = bench_add(&set, "matrix products alone", run_products, NULL);
    int own = bench_add(&set, "autograd", run_step, &n);
    bench_run(&set, 51, 2e-3);
    bench_heading("", columns, 5);
    double cells[] = {NAN, NAN, NAN, bench_time(&set, base) * 1e3, 1};
    bench_row("matrix products alone", cells, 5);
    for (int k = 0; k < 3; k++) cells[k] = bench_lap_time(&set, own, k) * 1e3;
    cells[3] = bench_time(&set, own) * 1e3;
    cells[4] = bench_ratio(&set, own, base);
    bench_row("autograd", cells, 5);
    ag_tape_free(n.tape);
    for (int k = 0; k < PARAMETERS; k++) free(n.moment[k]), free(n.square[k]);
    for (int k = 0; k < 3; k++) free(operands[k]);
    return 0;
}
