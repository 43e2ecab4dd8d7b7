/* Whole training steps in f32 - forward, backward, update - of models on the tape, recorded anew each time, beside
 * PyTorch's: issue 5's table. And beside the products of the step alone, in the same BLAS. "train_steps 2": two threads. */
#include <nn/nn.h>

#include "blas.h"
#include "torch.h"

enum { MOST_LAYERS = 3 };

typedef struct kind {
    const char *name, *torch;
    int layers, width[MOST_LAYERS + 1];
    int64_t batch;
    bool adam, classify; /* else mean squared error, and tanh for relu */
    double most;         /* of the ratio to PyTorch's, by the table */
} kind;
static const kind kinds[] = {
    {"MLP 2-16-1, batch 4, SGD", "torch_tiny_sgd", 2, {2, 16, 1}, 4, false, false, 2.0 / 59},
    {"MLP 784-256-128-10, batch 1, SGD", "torch_mlp_1_sgd", 3, {784, 256, 128, 10}, 1, false, true, 100.0 / 185},
    {"MLP 784-256-128-10, batch 64, SGD", "torch_mlp_64_sgd", 3, {784, 256, 128, 10}, 64, false, true, 480.0 / 668},
    {"MLP 784-256-128-10, batch 512, SGD",
     "torch_mlp_512_sgd",
     3,
     {784, 256, 128, 10},
     512,
     false,
     true,
     3500.0 / 4309},
    {"MLP 784-256-128-10, batch 64, Adam", "torch_mlp_64_adam", 3, {784, 256, 128, 10}, 64, true, true, 620.0 / 1178},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct net {
    const kind *kind;
    ag_tape *tape;
    nn_model *model;
    nn_dense layer[MOST_LAYERS];
    nn_optimiser *optimiser;
    ag_var x, y;
    ag_mark mark;
    int64_t *labels;
    float *left, *right, *product; /* of the products alone */
    double loss;
} net;

static net net_new(const kind *k) {
    net n = {.kind = k, .tape = ag_tape_new(AG_F32)};
    uint64_t state = 3;
    int most = 0;
    n.model = nn_model_new(n.tape, 1);
    for (int i = 0; i < k->layers; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer%d", i);
        n.layer[i] = nn_dense_init(n.model, name, k->width[i], k->width[i + 1], (nn_dense_options){0});
        most = k->width[i] > most ? k->width[i] : most;
    }
    float *x = bench_alloc((size_t)(k->batch * most), sizeof *x);
    for (int64_t i = 0; i < k->batch * most; i++) x[i] = (float)bench_random(&state, 0, 1);
    n.x = ag_constant_tensor_f32(n.tape, x, AG_SHAPE(k->batch, k->width[0]));
    n.y = ag_constant_tensor_f32(n.tape, x, AG_SHAPE(k->batch, 1));
    n.labels = bench_alloc((size_t)k->batch, sizeof *n.labels);
    for (int64_t i = 0; i < k->batch; i++) n.labels[i] = (int64_t)bench_random(&state, 0, k->width[k->layers]);
    n.optimiser =
        k->adam ? nn_adam(n.model, (nn_adam_options){.rate = 1e-5}) : nn_sgd(n.model, (nn_sgd_options){.rate = 1e-3});
    n.mark = ag_tape_mark(n.tape);
    n.left = x;
    n.right = bench_alloc((size_t)(most * most), sizeof(float));
    n.product = bench_alloc((size_t)(k->batch > most ? k->batch * most : most * most), sizeof(float));
    return n;
}
static void net_free(net *n) {
    nn_optimiser_free(n->optimiser);
    nn_model_free(n->model);
    ag_tape_free(n->tape);
    free(n->labels);
    free(n->left);
    free(n->right);
    free(n->product);
}

static void run_step(void *context, double *lap) {
    net *n = context;
    const kind *k = n->kind;
    double start = k->batch < 16 ? 0 : bench_now(); /* the clock takes its time, too */
    ag_var h = n->x;
    for (int i = 0; i < k->layers; i++) {
        nn_activation activation = i + 1 == k->layers ? NN_IDENTITY : k->classify ? NN_RELU : NN_TANH;
        h = nn_dense_activated(n->layer[i], h, activation);
    }
    ag_var loss = k->classify ? nn_softmax_cross_entropy(h, n->labels, k->batch) : nn_mse(h, n->y);
    if (k->batch >= 16) bench_lap(&lap[0], &start);
    ag_sweep(&loss, NULL, 1, AG_RESET_FORGET);
    if (k->batch >= 16) bench_lap(&lap[1], &start);
    nn_optimiser_step(n->optimiser);
    n->loss = ag_value(loss);
    ag_tape_rewind(n->tape, n->mark);
    if (k->batch >= 16) bench_lap(&lap[2], &start);
}

/* Forward, for the weights' gradients, for the layers' inputs' (but not the data's). */
static void run_products(void *context, double *lap) {
    net *n = context;
    const kind *k = n->kind;
    int batch = (int)k->batch;
    (void)lap;
    for (int i = 0; i < k->layers; i++) {
        int in = k->width[i], out = k->width[i + 1];
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, batch, out, in, 1, n->left, in, n->right, in, 0,
                    n->product, out);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, batch, 1, n->left, out, n->left, in, 0,
                    n->product, in);
        if (i > 0)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, batch, in, out, 1, n->left, out, n->right, in, 0,
                        n->product, in);
    }
}

/* Steps of a model that is made for them: what peak memory is asked of. */
static void run_few(const void *of) {
    net n = net_new(of);
    double lap[BENCH_LAPS];
    for (int i = 0; i < 3; i++) run_step(&n, lap);
    net_free(&n);
}

static void print_memory(const bench_torch *torch) {
    static const char *const columns[] = {"autograd", "PyTorch"};
    bench_heading("Peak of memory: a model, steps of it, MB", columns, 2);
    for (int i = 1; i < KINDS; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s_memory", kinds[i].torch);
        double theirs = torch->to == NULL ? (double)NAN : bench_torch_time(torch, name, 1);
        bench_row(kinds[i].name,
                  (double[]){bench_growth(run_few, &kinds[0], &kinds[i]) / (1 << 20), theirs / (1 << 20)}, 2);
    }
}

int main(int argc, char **argv) {
    const char *threads = argc > 1 ? argv[1] : "1";
    bench_threads(argv, threads);
    bench_title_threads("Training steps, f32", "forward, backward, update; microseconds",
                        strcmp(threads, "1") == 0 ? "one thread" : "several threads");
    bench_print_blas();
    bench_torch torch = bench_torch_start("train_steps.py");
    print_memory(&torch); /* before anything else has taken any */
    static const char *const columns[] = {"products", "forward", "backward",  "update",
                                          "total",    "PyTorch", "x PyTorch", "at most"};
    bench_heading("", columns, 8);
    for (int i = 0; i < KINDS; i++) {
        net n = net_new(&kinds[i]);
        bench_set set = {.wall = true};
        int products = bench_add(&set, "products", run_products, &n), ours = bench_add(&set, "", run_step, &n);
        int its = bench_add_torch(&set, &torch, kinds[i].torch);
        bench_run_beside(&set, &torch, 101, 2e-3);
        if (ag_tape_status(n.tape) != AG_OK) bench_wrong("%s", ag_tape_message(n.tape));
        double cells[8] = {bench_time(&set, products),
                           bench_lap_time(&set, ours, 0),
                           bench_lap_time(&set, ours, 1),
                           bench_lap_time(&set, ours, 2),
                           bench_time(&set, ours),
                           (double)NAN,
                           (double)NAN,
                           kinds[i].most};
        for (int c = 0; c < 5; c++) cells[c] = c > 0 && c < 4 && kinds[i].batch < 16 ? (double)NAN : 1e6 * cells[c];
        if (its >= 0) {
            cells[5] = 1e6 * bench_time(&set, its);
            cells[6] = bench_ratio(&set, ours, its);
        }
        bench_row(kinds[i].name, cells, 8);
        net_free(&n);
    }
    bench_torch_stop(&torch);
    return 0;
}
