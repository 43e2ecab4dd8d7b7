/* Pooling, norms and dropout in f32, forward and reverse together, in milliseconds. bench/torch_operations.py prints the
 * same rows, and those of bench/conv.c and bench/cnn.c, for PyTorch. */
#include <autograd/autograd.h>

#include "blas.h"

typedef struct operation {
    const char *name;
    ag_var (*f)(ag_var x, ag_var weight, ag_var bias);
    ag_shape shape, weights;
} operation;

static ag_var max_pool(ag_var x, ag_var w, ag_var b) {
    return (void)w, (void)b, ag_max_pool2d(x, (ag_pool_options){.kernel = {2, 2}});
}
static ag_var max_pool3(ag_var x, ag_var w, ag_var b) {
    return (void)w, (void)b, ag_max_pool2d(x, (ag_pool_options){.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}});
}
static ag_var avg_pool(ag_var x, ag_var w, ag_var b) {
    return (void)w, (void)b, ag_avg_pool2d(x, (ag_pool_options){.kernel = {2, 2}});
}
static ag_var dropout(ag_var x, ag_var w, ag_var b) { return (void)w, (void)b, ag_dropout(x, 0.5, 1, ag_num(1)); }
static ag_var layer_norm(ag_var x, ag_var w, ag_var b) { return ag_layer_norm(x, 1, w, b, 1e-5); }
static ag_var batch_norm(ag_var x, ag_var w, ag_var b) { return ag_batch_norm(x, w, b, 1e-5); }

#define IMAGES                                                                                                         \
    {                                                                                                                  \
        .rank = 4, .dim = { 64, 32, 28, 28 }                                                                           \
    }
static const operation OPERATIONS[] = {
    {"max pool 2 x 2, (64, 32, 28, 28)", max_pool, IMAGES, {.rank = 1, .dim = {1}}},
    {"max pool 3 x 3 by 2, (64, 32, 28, 28)", max_pool3, IMAGES, {.rank = 1, .dim = {1}}},
    {"mean pool 2 x 2, (64, 32, 28, 28)", avg_pool, IMAGES, {.rank = 1, .dim = {1}}},
    {"dropout, (64, 32, 28, 28)", dropout, IMAGES, {.rank = 1, .dim = {1}}},
    {"batch norm, (64, 32, 28, 28)", batch_norm, IMAGES, {.rank = 1, .dim = {32}}},
    {"layer norm, (768, 128)", layer_norm, {.rank = 2, .dim = {768, 128}}, {.rank = 1, .dim = {128}}},
};

typedef struct running {
    const operation *operation;
    ag_tape *tape;
    ag_mark mark;
    ag_var x, w, b, seed;
} running;

static ag_var random_input(ag_tape *t, ag_shape shape) {
    ag_var x = ag_tensor(t, NULL, shape);
    float *data = ag_data(x);
    uint64_t state = 5;
    for (int64_t i = 0; i < ag_count(x); i++) data[i] = (float)bench_random(&state, -1, 1);
    return x;
}

static void run(void *context, double *lap) {
    running *r = context;
    (void)lap;
    ag_var y = r->operation->f(r->x, r->w, r->b);
    ag_sweep(&y, &r->seed, 1, AG_RESET);
    ag_tape_rewind(r->tape, r->mark);
    if (ag_tape_status(r->tape) != AG_OK) bench_wrong("%s", ag_tape_message(r->tape));
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    bench_title("Pooling, norms, dropout, f32", "forward and reverse; milliseconds");
    static const char *const columns[] = {"ms"};
    bench_heading("", columns, 1);
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++) {
        running r = {.operation = &OPERATIONS[i], .tape = ag_tape_new(AG_F32)};
        r.x = random_input(r.tape, r.operation->shape);
        r.w = random_input(r.tape, r.operation->weights);
        r.b = random_input(r.tape, r.operation->weights);
        ag_var y = ag_detach(r.operation->f(r.x, r.w, r.b));
        r.seed = y;
        r.mark = ag_tape_mark(r.tape);
        bench_set set = {0};
        bench_add(&set, r.operation->name, run, &r);
        bench_run(&set, 51, 2e-3);
        double ms = bench_time(&set, 0) * 1e3;
        bench_row(r.operation->name, &ms, 1);
        ag_tape_free(r.tape);
    }
    return 0;
}
