/* A training step of a GPT of characters in f32: 4 blocks, width 128, 4 heads, 64 positions, batch of 12, AdamW; recorded
 * anew each time and traced, beside PyTorch's and beside the products of the step alone, in the same BLAS. And the peak of
 * memory. "gpt 2": two threads. */
#include "blas.h"
#include "torch.h"
#include "training.h"

enum { MOST_BLOCKS = 4 };

typedef struct sizes {
    int64_t blocks, width, heads, positions, batch, characters;
} sizes;
static const sizes whole = {4, 128, 4, 64, 12, 65}, tiny = {1, 32, 2, 8, 1, 65};

typedef struct gpt {
    sizes s;
    bench_training training;
    nn_embedding tokens;
    ag_var positions;
    nn_block blocks[MOST_BLOCKS];
    nn_layer_norm norm;
    nn_dense head;
} gpt;

/* Fields: characters and the ones after them, (batch, positions). */
static void forward(void *context, const ag_var *batch, ag_var *out) {
    const gpt *g = context;
    ag_var x = ag_add(nn_embedding_at(g->tokens, batch[0]), g->positions);
    for (int i = 0; i < g->s.blocks; i++) x = nn_block_apply(&g->blocks[i], x, ag_num(0));
    out[0] = nn_softmax_cross_entropy_at(nn_dense_apply(g->head, nn_layer_norm_apply(g->norm, x)), batch[1],
                                         (nn_class_options){0});
}

static void gpt_open(gpt *g, sizes s, bool traced) {
    bench_training *t = &g->training;
    *g = (gpt){.s = s, .training = {.tape = ag_tape_new(AG_F32)}};
    nn_error e = {0};
    uint64_t state = 7;
    t->model = nn_model_new(t->tape, 1);
    g->tokens = nn_embedding_init(t->model, "wte", s.characters, s.width, (nn_embedding_options){.gain = 0.02});
    g->positions = nn_parameter_with(t->model, "wpe", AG_SHAPE(s.positions, s.width), NN_GAUSSIAN, 0.02);
    for (int i = 0; i < s.blocks; i++) {
        char name[16];
        snprintf(name, sizeof name, "h.%d", i);
        g->blocks[i] =
            nn_block_init(t->model, name, s.width, s.heads, (nn_block_options){.initial = NN_GAUSSIAN, .gain = 0.02});
    }
    g->norm = nn_layer_norm_init(t->model, "ln_f", s.width, (nn_norm_options){0});
    g->head = nn_dense_init(t->model, "lm_head", s.width, s.characters, (nn_dense_options){.no_bias = true});
    t->optimiser = nn_adamw(t->model, (nn_adam_options){.rate = 1e-3, .decay = 0.1});
    t->step = nn_step_new(t->model, forward, g, (nn_step_options){.traced = traced});
    for (int k = 0; k < 2; k++) {
        t->fields[k] = nn_array_new(NN_I32, AG_SHAPE(s.batch, s.positions), &e);
        if (e.status != AG_OK) bench_wrong("%s", e.message);
        int32_t *codes = t->fields[k].data;
        for (int64_t i = 0; i < s.batch * s.positions; i++)
            codes[i] = (int32_t)bench_random(&state, 0, (double)s.characters);
    }
}

/* Steps of a model that is made for them: what peak memory is asked of. */
static void run_few(const sizes *s, bool traced) {
    gpt g;
    double lap[BENCH_LAPS];
    gpt_open(&g, *s, traced);
    for (int i = 0; i < 3; i++) bench_train(&g.training, lap);
    if (ag_tape_status(g.training.tape) != AG_OK) bench_wrong("%s", ag_tape_message(g.training.tape));
    bench_end_training(&g.training);
}
static void few_eager(const void *s) { run_few(s, false); }
static void few_traced(const void *s) { run_few(s, true); }

/* ---- the products alone ---- */

static float *operands[3];

/* Forward, for the weights' gradient and for the input's. */
static void dense(int rows, int in, int out) {
    const float *x = operands[0], *w = operands[1];
    float *y = operands[2];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1, x, in, w, in, 0, y, out);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, rows, 1, x, out, w, in, 0, y, in);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, in, out, 1, x, out, w, in, 0, y, in);
}

/* Scores and means of values of one head, and four in reverse. Rows of q, k and v are `row` apart. */
static void head(int positions, int width, int row) {
    const float *q = operands[0], *k = operands[1];
    float *y = operands[2];
    for (int i = 0; i < 2; i++) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, positions, positions, width, 1, q, row, k, row, 0, y,
                    positions);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, positions, width, positions, 1, q, positions, k, row, 0,
                    y, row);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, positions, width, positions, 1, q, positions, k, row, 0, y,
                    row);
    }
}

static void run_products(void *context, double *lap) {
    const sizes *s = context;
    int width = (int)s->width, rows = (int)(s->batch * s->positions);
    (void)lap;
    for (int i = 0; i < s->blocks; i++) {
        dense(rows, width, 3 * width);
        for (int k = 0; k < s->batch * s->heads; k++) head((int)s->positions, (int)(s->width / s->heads), 3 * width);
        dense(rows, width, width);
        dense(rows, width, 4 * width);
        dense(rows, 4 * width, width);
    }
    dense(rows, width, (int)s->characters);
}

/* ---- */

static void print_memory(const bench_torch *torch) {
    static const char *const columns[] = {"eager", "traced", "PyTorch"};
    double cells[] = {bench_growth(few_eager, &tiny, &whole), bench_growth(few_traced, &tiny, &whole),
                      torch->to == NULL ? (double)NAN : bench_torch_time(torch, "torch_gpt_memory", 1)};
    for (int k = 0; k < 3; k++) cells[k] /= 1 << 20;
    bench_heading("Peak of memory: a model, steps of it, MB", columns, 3);
    bench_row("GPT", cells, 3);
}

int main(int argc, char **argv) {
    const char *threads = argc > 1 ? argv[1] : "1";
    bench_threads(argv, threads);
    bench_title_threads("A training step of a GPT, f32", "4 blocks, width 128, 4 heads, 64 positions, batch 12, AdamW",
                        strcmp(threads, "1") == 0 ? "one thread" : "several threads");
    bench_print_blas();
    bench_torch torch = bench_torch_start("gpt.py");
    print_memory(&torch); /* before anything else has taken any */

    gpt eager, traced;
    sizes s = whole;
    gpt_open(&eager, s, false);
    gpt_open(&traced, s, true);
    uint64_t state = 3;
    for (int k = 0; k < 3; k++) {
        operands[k] = bench_alloc(768 * 1024, sizeof(float));
        for (int i = 0; i < 768 * 1024; i++) operands[k][i] = (float)bench_random(&state, -1, 1);
    }
    bench_set set = {.wall = true};
    int products = bench_add(&set, "products", run_products, &s);
    int ours[] = {bench_add(&set, "eager", bench_train, &eager.training),
                  bench_add(&set, "traced", bench_train, &traced.training)};
    int its = bench_add_torch(&set, &torch, "torch_gpt_step");
    bench_run_beside(&set, &torch, 41, 2e-3);
    const bench_training *both[] = {&eager.training, &traced.training};
    for (int k = 0; k < 2; k++) {
        if (ag_tape_status(both[k]->tape) != AG_OK) bench_wrong("%s", ag_tape_message(both[k]->tape));
        if (!(both[k]->loss < 4)) bench_wrong("a loss of %g after learning a batch by heart", both[k]->loss);
    }

    static const char *const columns[] = {"gradients", "update", "total", "x products", "x PyTorch", "at most"};
    static const char *const names[] = {"eager", "traced"};
    bench_heading("Milliseconds", columns, 6);
    double cells[6] = {NAN, NAN, 1e3 * bench_time(&set, products), 1, NAN, NAN};
    bench_row("matrix products alone", cells, 6);
    for (int k = 0; k < 2; k++) {
        double row[6] = {1e3 * bench_lap_time(&set, ours[k], 0),
                         1e3 * bench_lap_time(&set, ours[k], 1),
                         1e3 * bench_time(&set, ours[k]),
                         bench_ratio(&set, ours[k], products),
                         its < 0 ? (double)NAN : bench_ratio(&set, ours[k], its),
                         22.0 / 44.5};
        bench_row(names[k], row, 6);
    }
    if (its >= 0) {
        cells[2] = 1e3 * bench_time(&set, its);
        cells[3] = bench_ratio(&set, its, products);
        cells[4] = 1;
        bench_row("PyTorch", cells, 6);
    }
    bench_end_training(&eager.training);
    bench_end_training(&traced.training);
    for (int k = 0; k < 3; k++) free(operands[k]);
    bench_torch_stop(&torch);
    return 0;
}
