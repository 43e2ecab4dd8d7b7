/* One training step of an LSTM in f32, 32 inputs and 128 hidden numbers, 64 steps, a batch of 16, mean squared error, Adam:
 * steps recorded one by one or as a scan, anew each time or traced once; beside PyTorch and beside the matrix products
 * that it comes down to. "lstm 2": two threads. */
#include <nn/nn.h>

#include "blas.h"
#include "peak.h"
#include "torch.h"

enum { STEPS = 64, BATCH = 16, INPUTS = 32, HIDDEN = 128, GATES = 4 * HIDDEN, ROUNDS = 41 };
static const double most = 5.0 / 10.5; /* of the ratio to PyTorch's */

typedef struct way {
    const char *name;
    bool scan, traced;
} way;
static const way ways[] = {{"eager, step by step", false, false},
                           {"eager, a scan", true, false},
                           {"traced, step by step", false, true},
                           {"traced, a scan", true, true}};
enum { WAYS = sizeof ways / sizeof *ways };

typedef struct net {
    ag_tape *tape;
    nn_model *model;
    nn_recurrent lstm;
    nn_optimiser *optimiser;
    nn_step *step;
    nn_array fields[2];
    double loss;
} net;

static void forward(void *context, const ag_var *batch, ag_var *out) {
    const net *n = context;
    ag_var y = nn_recurrent_apply(&n->lstm, batch[0], (nn_recurrent_state){ag_num(0), ag_num(0)}, NULL);
    out[0] = nn_mse(y, batch[1]);
}

static nn_array random_array(ag_shape shape, uint64_t *state) {
    nn_error e = {.status = AG_OK};
    nn_array a = nn_array_new(NN_F32, shape, &e);
    if (e.status != AG_OK) bench_wrong("%s", e.message);
    for (int64_t i = 0; i < nn_array_count(&a); i++) ((float *)a.data)[i] = (float)bench_random(state, 0, 1);
    return a;
}

/* In its place: the step keeps where it is. */
static void net_init(net *n, const way *w) {
    uint64_t state = 5;
    *n = (net){.tape = ag_tape_new(AG_F32)};
    n->model = nn_model_new(n->tape, 1);
    n->lstm = nn_recurrent_init(n->model, NN_LSTM, "lstm", INPUTS, HIDDEN,
                                (nn_recurrent_options){.unroll = w->scan ? -1 : STEPS});
    n->optimiser = nn_adam(n->model, (nn_adam_options){.rate = 1e-3});
    n->step = nn_step_new(n->model, forward, n, (nn_step_options){.traced = w->traced});
    n->fields[0] = random_array(AG_SHAPE(STEPS, BATCH, INPUTS), &state);
    n->fields[1] = random_array(AG_SHAPE(STEPS, BATCH, HIDDEN), &state);
}

static void net_free(net *n) {
    for (int k = 0; k < 2; k++) nn_array_free(&n->fields[k]);
    nn_step_free(n->step);
    nn_optimiser_free(n->optimiser);
    nn_model_free(n->model);
    ag_tape_free(n->tape);
}

static void run_step(void *context, double *lap) {
    net *n = context;
    double start = bench_now();
    n->loss = nn_step_run(n->step, n->fields, 2, NN_GRADIENTS);
    bench_lap(&lap[0], &start);
    nn_optimiser_step(n->optimiser);
    bench_lap(&lap[1], &start);
}

static void run_for_peak(void *context) {
    const way *w = context;
    net n;
    double lap[BENCH_LAPS];
    net_init(&n, w);
    for (int i = 0; i < 5; i++) run_step(&n, lap);
}

/* ---- the products alone: of inputs and of states, forward, for the weights and for the states ---- */

static float *operands[3];

static void product(int m, int n, int k, int times) {
    for (int i = 0; i < times; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, operands[0], k, operands[1], n, 0,
                    operands[2], n);
}

static void run_products(void *context, double *lap) {
    (void)context, (void)lap;
    product(STEPS * BATCH, GATES, INPUTS, 1), product(GATES, INPUTS, STEPS * BATCH, 1);
    product(BATCH, GATES, HIDDEN, STEPS), product(BATCH, HIDDEN, GATES, STEPS);
    product(GATES, HIDDEN, STEPS * BATCH, 1);
}

/* ---- all of it ---- */

static void check(net *n, const net *like) {
    double lap[BENCH_LAPS], first;
    run_step(n, lap);
    first = n->loss;
    for (int i = 0; i < 20; i++) run_step(n, lap);
    if (ag_tape_status(n->tape) != AG_OK) bench_wrong("%s", ag_tape_message(n->tape));
    if (!(n->loss < 0.9 * first)) bench_wrong("a loss of %g became %g", first, n->loss);
    if (fabs(n->loss - like->loss) > 1e-4 * like->loss) bench_wrong("a loss of %.8g, not %.8g", n->loss, like->loss);
}

int main(int argc, char **argv) {
    const char *threads = argc > 1 ? argv[1] : "1";
    bench_threads(argv, threads);
    bench_title_threads("LSTM 32-128, 64 steps, batch 16, f32, Adam", "one training step; milliseconds, megabytes",
                        strcmp(threads, "1") == 0 ? "one thread" : "several threads");
    bench_print_blas();
    double peak[WAYS];
    for (int i = 0; i < WAYS; i++) peak[i] = bench_peak(run_for_peak, (void *)(uintptr_t)&ways[i]);
    for (int k = 0; k < 3; k++) {
        uint64_t state = 9;
        operands[k] = bench_alloc(STEPS * BATCH * GATES, sizeof(float));
        for (int i = 0; i < STEPS * BATCH * GATES; i++) operands[k][i] = (float)bench_random(&state, -1, 1);
    }
    bench_torch torch = bench_torch_start("lstm.py");
    net nets[WAYS];
    bench_set set = {.wall = true};
    int own[WAYS], base = bench_add(&set, "products", run_products, NULL);
    for (int i = 0; i < WAYS; i++) {
        net_init(&nets[i], &ways[i]);
        check(&nets[i], &nets[0]);
        own[i] = bench_add(&set, ways[i].name, run_step, &nets[i]);
    }
    int its = bench_add_torch(&set, &torch, "torch_lstm");
    bench_run_beside(&set, &torch, ROUNDS, 2e-3);

    static const char *const columns[] = {"gradients", "update",  "total", "x products",
                                          "x PyTorch", "at most", "memory"};
    bench_heading("", columns, 7);
    double none = (double)NAN, cells[7] = {none, none, bench_time(&set, base) * 1e3, 1, none, none, none};
    bench_row("matrix products alone", cells, 7);
    for (int i = 0; i < WAYS; i++) {
        for (int k = 0; k < 2; k++) cells[k] = bench_lap_time(&set, own[i], k) * 1e3;
        cells[2] = bench_time(&set, own[i]) * 1e3;
        cells[3] = bench_ratio(&set, own[i], base);
        cells[4] = its < 0 ? none : bench_ratio(&set, own[i], its);
        cells[5] = most;
        cells[6] = peak[i];
        bench_row(ways[i].name, cells, 7);
    }
    if (its >= 0) {
        double row[7] = {none, none, bench_time(&set, its) * 1e3, bench_ratio(&set, its, base), 1, none, none};
        row[6] = bench_torch_peak(&torch);
        bench_row("PyTorch", row, 7);
    }
    bench_torch_stop(&torch);
    for (int i = 0; i < WAYS; i++) net_free(&nets[i]);
    for (int k = 0; k < 3; k++) free(operands[k]);
    return 0;
}
