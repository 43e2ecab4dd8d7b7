/* Convolutions in f32, batch of 64, forward and reverse, beside the matrix products that they come down to, in BLAS: of
 * (filters, channels * kernel) with (channels * kernel, results) for each image, three times; the data's adjoint is not
 * asked for in the first layer, so two. Products are given their matrices; convolutions have to make them. */
#include <autograd/autograd.h>

#include "blas.h"

enum { BATCH = 64 };

typedef struct layer {
    const char *name;
    int channels, filters, side, kernel, stride;
    bool first;
} layer;

static const layer LAYERS[] = {
    {"1 -> 32, 3 x 3, 28 x 28, data", 1, 32, 28, 3, 1, true},
    {"32 -> 64, 3 x 3, 14 x 14", 32, 64, 14, 3, 1, false},
    {"64 -> 64, 3 x 3, 28 x 28", 64, 64, 28, 3, 1, false},
    {"64 -> 128, 3 x 3 by 2, 28 x 28", 64, 128, 28, 3, 2, false},
    {"128 -> 128, 1 x 1, 14 x 14", 128, 128, 14, 1, 1, false},
    {"16 -> 16, 5 x 5, 32 x 32", 16, 16, 32, 5, 1, false},
};

typedef struct convolution {
    const layer *layer;
    ag_tape *tape;
    ag_mark mark;
    ag_var x, w, bias, seed;
    int results; /* of an image */
    float *a, *columns, *c, *seed_data, *column_grad, *w_grad;
} convolution;

static float *random_floats(int64_t n) {
    float *p = bench_alloc((size_t)n, sizeof *p);
    uint64_t state = 17;
    for (int64_t i = 0; i < n; i++) p[i] = (float)bench_random(&state, -0.1, 0.1);
    return p;
}

static void open_convolution(convolution *c, const layer *l) {
    int out = (l->side - 1) / l->stride + 1, depth = l->channels * l->kernel * l->kernel;
    *c = (convolution){.layer = l, .tape = ag_tape_new(AG_F32), .results = out * out};
    int64_t nx = (int64_t)BATCH * l->channels * l->side * l->side, ny = (int64_t)BATCH * l->filters * c->results;
    float *x = random_floats(nx);
    c->a = random_floats((int64_t)l->filters * depth);
    c->columns = random_floats((int64_t)depth * c->results);
    c->seed_data = random_floats(ny);
    c->c = random_floats(ny);
    c->column_grad = random_floats((int64_t)depth * c->results);
    c->w_grad = random_floats((int64_t)l->filters * depth);
    ag_shape sx = AG_SHAPE(BATCH, l->channels, l->side, l->side);
    c->x = l->first ? ag_constant_tensor_f32(c->tape, x, sx) : ag_tensor_f32(c->tape, x, sx);
    c->w = ag_tensor_f32(c->tape, c->a, AG_SHAPE(l->filters, l->channels, l->kernel, l->kernel));
    c->bias = ag_tensor_f32(c->tape, c->a, AG_SHAPE(l->filters));
    c->seed = ag_constant_tensor_f32(c->tape, c->seed_data, AG_SHAPE(BATCH, l->filters, out, out));
    c->mark = ag_tape_mark(c->tape);
    free(x);
}

static void close_convolution(convolution *c) {
    ag_tape_free(c->tape);
    free(c->a), free(c->columns), free(c->c), free(c->seed_data), free(c->column_grad), free(c->w_grad);
}

static void run_convolution(void *context, double *lap) {
    convolution *c = context;
    const layer *l = c->layer;
    double start = bench_now();
    ag_conv_options o = {.stride = {l->stride, l->stride}, .padding = {l->kernel / 2, l->kernel / 2}, .bias = c->bias};
    ag_var y = ag_conv2d(c->x, c->w, o);
    bench_lap(&lap[0], &start);
    ag_sweep(&y, &c->seed, 1, AG_RESET);
    bench_lap(&lap[1], &start);
    ag_tape_rewind(c->tape, c->mark);
    if (ag_tape_status(c->tape) != AG_OK) bench_wrong("%s", ag_tape_message(c->tape));
}

static void run_products(void *context, double *lap) {
    convolution *c = context;
    const layer *l = c->layer;
    int m = l->filters, n = c->results, k = l->channels * l->kernel * l->kernel;
    double start = bench_now();
    for (int i = 0; i < BATCH; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, c->a, k, c->columns, n, 0,
                    c->c + (size_t)i * (size_t)(m * n), n);
    bench_lap(&lap[0], &start);
    for (int i = 0; i < BATCH; i++) {
        const float *seed = c->seed_data + (size_t)i * (size_t)(m * n);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, k, n, 1, seed, n, c->columns, n, 1, c->w_grad, k);
        if (l->first) continue;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, n, m, 1, c->a, k, seed, n, 0, c->column_grad, n);
    }
    memset(c->w_grad, 0, sizeof *c->w_grad * (size_t)(m * k));
    bench_lap(&lap[1], &start);
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    bench_title("Convolutions, f32, batch 64", "milliseconds; GFLOP/s of all; times of the products alone");
    bench_print_blas();
    static const char *const columns[] = {"forward", "reverse", "GFLOP/s", "x forward", "x reverse", "x products"};
    bench_heading("", columns, 6);
    for (size_t i = 0; i < sizeof LAYERS / sizeof *LAYERS; i++) {
        const layer *l = &LAYERS[i];
        convolution c;
        open_convolution(&c, l);
        bench_set set = {0};
        int base = bench_add(&set, "products", run_products, &c), own = bench_add(&set, l->name, run_convolution, &c);
        bench_run(&set, 31, 2e-3);
        double flops = 2.0 * BATCH * c.results * l->filters * l->channels * l->kernel * l->kernel * (l->first ? 2 : 3);
        double cells[] = {bench_lap_time(&set, own, 0) * 1e3,   bench_lap_time(&set, own, 1) * 1e3,
                          flops / bench_time(&set, own) * 1e-9, bench_lap_ratio(&set, own, base, 0),
                          bench_lap_ratio(&set, own, base, 1),  bench_ratio(&set, own, base)};
        bench_row(l->name, cells, 6);
        close_convolution(&c);
    }
    return 0;
}
