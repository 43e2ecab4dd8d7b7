/* Steps of optimisers over 235,146 parameters in f32, those of the multilayer perceptron 784-256-128-10: beside PyTorch's,
 * and beside copying as many bytes as a step has to read and write. "optimisers 2": with two threads. */
#include <nn/nn.h>

#include "blas.h"
#include "torch.h"

enum { PARAMETERS = 6, MOST_ARRAYS = 5 };
static const ag_shape shapes[PARAMETERS] = {{2, {256, 784}}, {1, {256}},     {2, {128, 256}},
                                            {1, {128}},      {2, {10, 128}}, {1, {10}}};

typedef nn_optimiser *make(nn_model *m);
static nn_optimiser *sgd(nn_model *m) { return nn_sgd(m, (nn_sgd_options){.rate = 1e-6}); }
static nn_optimiser *sgd_momentum(nn_model *m) { return nn_sgd(m, (nn_sgd_options){.rate = 1e-6, .momentum = 0.9}); }
static nn_optimiser *adam(nn_model *m) { return nn_adam(m, (nn_adam_options){0}); }
static nn_optimiser *adamw(nn_model *m) { return nn_adamw(m, (nn_adam_options){0}); }
static nn_optimiser *adamw_clipped(nn_model *m) {
    nn_optimiser *o = adamw(m);
    nn_optimiser_clip_norm(o, 1e9);
    return o;
}
static nn_optimiser *rmsprop(nn_model *m) { return nn_rmsprop(m, (nn_rmsprop_options){0}); }
static nn_optimiser *adagrad(nn_model *m) { return nn_adagrad(m, (nn_adagrad_options){0}); }
static nn_optimiser *lion(nn_model *m) { return nn_lion(m, (nn_lion_options){0}); }

static const struct {
    const char *name, *torch, *torch_foreach; /* ours, PyTorch's; NULL: it has none */
    make *make;
    int streams; /* arrays that a step reads or writes, counted once each way */
} cases[] = {
    {"sgd", "torch_sgd", "torch_sgd_foreach", sgd, 3},
    {"sgd_momentum", "torch_sgd_momentum", "torch_sgd_momentum_foreach", sgd_momentum, 5},
    {"adam", "torch_adam", "torch_adam_foreach", adam, 7},
    {"adamw", "torch_adamw", "torch_adamw_foreach", adamw, 7},
    {"adamw, clipped", NULL, NULL, adamw_clipped, 7},
    {"rmsprop", "torch_rmsprop", "torch_rmsprop_foreach", rmsprop, 5},
    {"adagrad", "torch_adagrad", "torch_adagrad_foreach", adagrad, 5},
    {"lion", NULL, NULL, lion, 5},
};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct net {
    ag_tape *tape;
    nn_model *model;
    nn_optimiser *optimiser;
} net;

static net net_new(make *f) {
    net n = {.tape = ag_tape_new(AG_F32)};
    n.model = nn_model_new(n.tape, 1);
    ag_var y = ag_num(0);
    for (int i = 0; i < PARAMETERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        ag_var x = nn_parameter(n.model, name, shapes[i], NN_HE_NORMAL);
        y = ag_add(y, ag_sum(ag_square(ag_sub(x, 0.1))));
    }
    ag_backward(y);
    n.optimiser = f(n.model);
    return n;
}
static void run_step(void *context, double *lap) {
    (void)lap;
    nn_optimiser_step(((net *)context)->optimiser);
}

typedef struct copying {
    size_t bytes;
    char *from, *to;
} copying;
static void run_copy(void *context, double *lap) {
    (void)lap;
    copying *c = context;
    memcpy(c->to, c->from, c->bytes);
}

int main(int argc, char **argv) {
    const char *threads = argc > 1 ? argv[1] : "1";
    bench_threads(argv, threads);
    bench_title_threads("Optimisers, 235146 parameters, f32", "one step; ns a parameter",
                        strcmp(threads, "1") == 0 ? "one thread" : "several threads");
    bench_torch torch = bench_torch_start("optimisers.py");
    static const char *const columns[] = {"autograd", "bytes copied", "PyTorch", "its foreach", "x PyTorch's best"};
    bench_heading("", columns, 5);
    for (int i = 0; i < CASES; i++) {
        net n = net_new(cases[i].make);
        double count = (double)nn_model_size(n.model);
        copying c = {.bytes = (size_t)count * (size_t)cases[i].streams * 2};
        c.from = bench_alloc(c.bytes, 1);
        c.to = bench_alloc(c.bytes, 1);
        bench_set set = {.wall = true};
        int ours = bench_add(&set, cases[i].name, run_step, &n), copies = bench_add(&set, "copy", run_copy, &c);
        int its = cases[i].torch == NULL ? -1 : bench_add_torch(&set, &torch, cases[i].torch);
        int foreach = its < 0 ? -1 : bench_add_torch(&set, &torch, cases[i].torch_foreach);
        bench_run_beside(&set, &torch, 51, 2e-3);
        if (ag_tape_status(n.tape) != AG_OK) bench_wrong("%s", ag_tape_message(n.tape));
        double cells[5] = {bench_time(&set, ours), bench_time(&set, copies), (double)NAN, (double)NAN, (double)NAN};
        if (its >= 0) {
            cells[2] = bench_time(&set, its);
            cells[3] = bench_time(&set, foreach);
            cells[4] = bench_ratio(&set, ours, cells[2] < cells[3] ? its : foreach);
        }
        for (int k = 0; k < 4; k++) cells[k] *= 1e9 / count;
        bench_row(cases[i].name, cells, 5);
        free(c.from);
        free(c.to);
        nn_optimiser_free(n.optimiser);
        nn_model_free(n.model);
        ag_tape_free(n.tape);
    }
    bench_torch_stop(&torch);
    return 0;
}
