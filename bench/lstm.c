/* One training step of an LSTM in f32, 32 inputs and 128 hidden numbers, 64 steps, a batch of 16, mean squared error, Adam:
 * recorded anew each time or traced once. And of a GRU, whose steps are recorded one by one or are a scan. Beside PyTorch
 * and beside the matrix products that it comes down to. "lstm 2": two threads. */
#include <nn/nn.h>

#include "blas.h"
#include "peak.h"
#include "torch.h"

enum { STEPS = 64, BATCH = 16, INPUTS = 32, HIDDEN = 128, ROUNDS = 41, CELLS = 2 };

typedef struct cell {
    const char *name, *torch;
    nn_cell cell;
    int gates;
    double most; /* of the ratio to PyTorch's, by the table */
} cell;
static const cell cells[CELLS] = {{"LSTM: products alone", "torch_lstm", NN_LSTM, 4, 5.0 / 10.5},
                                  {"GRU: products alone", "torch_gru", NN_GRU, 3, (double)NAN}};

typedef struct way {
    const char *name;
    int cell;
    bool scan, traced;
} way;
static const way ways[] = {{"LSTM, eager", 0, false, false},
                           {"LSTM, traced", 0, false, true},
                           {"GRU, eager, step by step", 1, false, false},
                           {"GRU, eager, a scan", 1, true, false},
                           {"GRU, traced, step by step", 1, false, true},
                           {"GRU, traced, a scan", 1, true, true}};
enum { WAYS = sizeof ways / sizeof *ways };

typedef struct net {
    ag_tape *tape;
    nn_model *model;
    nn_recurrent layer;
    nn_optimiser *optimiser;
    nn_step *step;
    nn_array fields[2];
    double loss;
} net;

static void forward(void *context, const ag_var *batch, ag_var *out) {
    const net *n = context;
    ag_var y = nn_recurrent_apply(&n->layer, batch[0], (nn_recurrent_state){ag_num(0), ag_num(0)}, NULL);
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
    n->layer = nn_recurrent_init(n->model, cells[w->cell].cell, "layer", INPUTS, HIDDEN,
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
    int rows = ((const cell *)context)->gates * HIDDEN;
    (void)lap;
    product(STEPS * BATCH, rows, INPUTS, 1), product(rows, INPUTS, STEPS * BATCH, 1);
    product(BATCH, rows, HIDDEN, STEPS), product(BATCH, HIDDEN, rows, STEPS);
    product(rows, HIDDEN, STEPS * BATCH, 1);
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
    bench_title_threads("LSTM and GRU 32-128, 64 steps, batch 16, f32, Adam",
                        "one training step; milliseconds, megabytes",
                        strcmp(threads, "1") == 0 ? "one thread" : "several threads");
    bench_print_blas();
    double peak[WAYS];
    for (int i = 0; i < WAYS; i++) peak[i] = bench_peak(run_for_peak, (void *)(uintptr_t)&ways[i]);
    for (int k = 0; k < 3; k++) {
        uint64_t state = 9;
        operands[k] = bench_alloc(STEPS * BATCH * 4 * HIDDEN, sizeof(float));
        for (int i = 0; i < STEPS * BATCH * 4 * HIDDEN; i++) operands[k][i] = (float)bench_random(&state, -1, 1);
    }
    net nets[WAYS];
    bench_set set = {.wall = true};
    int own[WAYS], base[CELLS], its[CELLS];
    for (int c = 0; c < CELLS; c++) base[c] = bench_add(&set, "", run_products, (void *)(uintptr_t)&cells[c]);
    for (int i = 0; i < WAYS; i++) {
        net_init(&nets[i], &ways[i]);
        check(&nets[i], &nets[ways[i].cell ? 2 : 0]);
        own[i] = bench_add(&set, ways[i].name, run_step, &nets[i]);
    }
    bench_torch torch = bench_torch_start("lstm.py");
    for (int c = 0; c < CELLS; c++) its[c] = bench_add_torch(&set, &torch, cells[c].torch);
    double torch_peak = its[0] < 0 ? (double)NAN : bench_torch_run_peak(&torch, cells[0].torch, 5);
    bench_run_beside(&set, &torch, ROUNDS, 2e-3);

    static const char *const columns[] = {"gradients", "update",  "total", "x products",
                                          "x PyTorch", "at most", "memory"};
    bench_heading("", columns, 7);
    const double none = (double)NAN;
    for (int c = 0; c < CELLS; c++) {
        double alone[7] = {none, none, bench_time(&set, base[c]) * 1e3, 1, none, none, none};
        bench_row(cells[c].name, alone, 7);
        for (int i = 0; i < WAYS; i++) {
            if (ways[i].cell != c) continue;
            double row[7] = {bench_lap_time(&set, own[i], 0) * 1e3,
                             bench_lap_time(&set, own[i], 1) * 1e3,
                             bench_time(&set, own[i]) * 1e3,
                             bench_ratio(&set, own[i], base[c]),
                             its[c] < 0 ? none : bench_ratio(&set, own[i], its[c]),
                             cells[c].most,
                             peak[i]};
            bench_row(ways[i].name, row, 7);
        }
        if (its[c] < 0) continue;
        double row[7] = {none, none, bench_time(&set, its[c]) * 1e3, bench_ratio(&set, its[c], base[c]), 1, none, none};
        if (c == 0) row[6] = torch_peak;
        bench_row("PyTorch", row, 7);
    }
    bench_torch_stop(&torch);
    for (int i = 0; i < WAYS; i++) net_free(&nets[i]);
    for (int k = 0; k < 3; k++) free(operands[k]);
    return 0;
}
