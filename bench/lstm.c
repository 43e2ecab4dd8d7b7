/* One training step of an LSTM in f32, 32 inputs and 128 hidden numbers, 64 steps, a batch of 16, mean squared error, Adam:
 * recorded anew each time or traced once. And of a GRU, whose steps are recorded one by one or are a scan. Beside PyTorch
 * and beside the matrix products that it comes down to. "lstm 2": two threads. */
#include "blas.h"
#include "torch.h"
#include "training.h"

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
    bench_training training;
    nn_recurrent layer;
} net;

static void forward(void *context, const ag_var *batch, ag_var *out) {
    const net *n = context;
    ag_var y = nn_recurrent_apply(&n->layer, batch[0], (nn_recurrent_state){ag_num(0), ag_num(0)}, NULL);
    out[0] = nn_mse(y, batch[1]);
}

/* In its place: the step keeps where it is. */
static void net_init(net *n, const way *w) {
    uint64_t state = 5;
    bench_training *t = &n->training;
    *t = (bench_training){.tape = ag_tape_new(AG_F32)};
    t->model = nn_model_new(t->tape, 1);
    n->layer = nn_recurrent_init(t->model, cells[w->cell].cell, "layer", INPUTS, HIDDEN,
                                 (nn_recurrent_options){.unroll = w->scan ? -1 : STEPS});
    t->optimiser = nn_adam(t->model, (nn_adam_options){.rate = 1e-3});
    t->step = nn_step_new(t->model, forward, n, (nn_step_options){.traced = w->traced});
    t->fields[0] = bench_random_array(AG_SHAPE(STEPS, BATCH, INPUTS), 0, 1, &state);
    t->fields[1] = bench_random_array(AG_SHAPE(STEPS, BATCH, HIDDEN), 0, 1, &state);
}

static void run_few(const void *context) {
    const way *w = context;
    net n;
    double lap[BENCH_LAPS];
    net_init(&n, w);
    for (int i = 0; i < 5; i++) bench_train(&n.training, lap);
}

/* ---- the products alone: of inputs and of states, forward, for the weights and for the states ---- */

static void run_products(void *context, double *lap) {
    int rows = ((const cell *)context)->gates * HIDDEN;
    (void)lap;
    bench_product(STEPS * BATCH, rows, INPUTS, 1), bench_product(rows, INPUTS, STEPS * BATCH, 1);
    bench_product(BATCH, rows, HIDDEN, STEPS), bench_product(BATCH, HIDDEN, rows, STEPS);
    bench_product(rows, HIDDEN, STEPS * BATCH, 1);
}

/* ---- all of it ---- */

int main(int argc, char **argv) {
    const char *threads = argc > 1 ? argv[1] : "1";
    bench_threads(argv, threads);
    bench_title_threads("LSTM and GRU 32-128, 64 steps, batch 16, f32, Adam",
                        "one training step; milliseconds, megabytes",
                        strcmp(threads, "1") == 0 ? "one thread" : "several threads");
    bench_print_blas();
    double peak[WAYS];
    for (int i = 0; i < WAYS; i++) peak[i] = bench_growth(run_few, NULL, &ways[i]) / 1e6;
    bench_open_products(STEPS * BATCH * 4 * HIDDEN);
    net nets[WAYS];
    bench_set set = {.wall = true};
    int own[WAYS], base[CELLS], its[CELLS];
    for (int c = 0; c < CELLS; c++) base[c] = bench_add(&set, "", run_products, (void *)(uintptr_t)&cells[c]);
    for (int i = 0; i < WAYS; i++) {
        net_init(&nets[i], &ways[i]);
        bench_check_training(&nets[i].training, &nets[ways[i].cell ? 2 : 0].training, 0.9);
        own[i] = bench_add(&set, ways[i].name, bench_train, &nets[i].training);
    }
    bench_torch torch = bench_torch_start("lstm.py");
    for (int c = 0; c < CELLS; c++) its[c] = bench_add_torch(&set, &torch, cells[c].torch);
    double torch_peak = its[0] < 0 ? (double)NAN : bench_torch_time(&torch, "torch_lstm_memory", 1) / 1e6;
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
    for (int i = 0; i < WAYS; i++) bench_end_training(&nets[i].training);
    bench_close_products();
    return 0;
}
