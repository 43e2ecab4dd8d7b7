/* One training step of a multilayer perceptron 784-256-128-10 in f32: relu, softmax and cross-entropy with labels,
 * batch of 64; forward, reverse, gradient descent, rewind. Beside the time of its matrix products alone, in the same
 * BLAS: three forward, three for the gradients of the weights, two for the gradients of the layers' inputs (nobody asks
 * for that of the data). And beside a step written by hand around the same products. */
#include <autograd/autograd.h>

#include "blas.h"

enum { LAYERS = 3, BATCH = 64, CLASSES = 10 };
static const int width[LAYERS + 1] = {784, 256, 128, CLASSES};
static const double learning_rate = 1e-3; /* small: the losses stay comparable over thousands of steps */

/* All numbers of the net by hand, row-major; layer k has weights (width[k], width[k + 1]). */
typedef struct hand_net {
    float *weight[LAYERS], *bias[LAYERS];
    float *weight_grad[LAYERS], *bias_grad[LAYERS];
    float *layer[LAYERS + 1],
        *layer_grad[LAYERS + 1]; /* (BATCH, width[k]); layer[0] is the data, the last the logits */
    int64_t label[BATCH];
    double loss;
} hand_net;

typedef struct tape_net {
    ag_tape *tape;
    ag_mark mark;
    ag_var data, weight[LAYERS], bias[LAYERS];
    const int64_t *label;
    double loss;
} tape_net;

/* ---- by hand ----------------------------------------------------------------------------------------------------- */

static void forward_product(hand_net *net, int k) {
    int in = width[k], out = width[k + 1];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, BATCH, out, in, 1, net->layer[k], in, net->weight[k], out, 0,
                net->layer[k + 1], out);
}
static void weight_product(hand_net *net, int k) {
    int in = width[k], out = width[k + 1];
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, in, out, BATCH, 1, net->layer[k], in, net->layer_grad[k + 1],
                out, 0, net->weight_grad[k], out);
}
static void input_product(hand_net *net, int k) {
    int in = width[k], out = width[k + 1];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, BATCH, in, out, 1, net->layer_grad[k + 1], out, net->weight[k],
                out, 0, net->layer_grad[k], in);
}

static void run_products(void *context, double *lap) {
    hand_net *net = context;
    (void)lap;
    for (int k = 0; k < LAYERS; k++) forward_product(net, k);
    for (int k = LAYERS - 1; k >= 0; k--) {
        weight_product(net, k);
        if (k > 0) input_product(net, k);
    }
}

static void hand_forward(hand_net *net) {
    for (int k = 0; k < LAYERS; k++) {
        forward_product(net, k);
        float *restrict y = net->layer[k + 1];
        const float *restrict b = net->bias[k];
        int out = width[k + 1];
        for (int i = 0; i < BATCH; i++)
            for (int j = 0; j < out; j++) {
                float v = y[i * out + j] + b[j];
                y[i * out + j] = k + 1 < LAYERS && v < 0 ? 0 : v;
            }
    }
}
/* The loss, and its derivative by the logits. */
static void hand_loss(hand_net *net) {
    double loss = 0;
    for (int i = 0; i < BATCH; i++) {
        const float *z = net->layer[LAYERS] + i * CLASSES;
        float *g = net->layer_grad[LAYERS] + i * CLASSES;
        float max = z[0], sum = 0;
        for (int j = 1; j < CLASSES; j++) max = z[j] > max ? z[j] : max;
        for (int j = 0; j < CLASSES; j++) sum += g[j] = expf(z[j] - max);
        for (int j = 0; j < CLASSES; j++) g[j] /= sum * BATCH;
        g[net->label[i]] -= 1.0f / BATCH;
        loss += (double)(logf(sum) + max - z[net->label[i]]);
    }
    net->loss = loss / BATCH;
}
static void hand_reverse(hand_net *net) {
    for (int k = LAYERS - 1; k >= 0; k--) {
        int out = width[k + 1];
        float *restrict g = net->layer_grad[k + 1], *restrict bias = net->bias_grad[k];
        const float *restrict y = net->layer[k + 1];
        memset(bias, 0, (size_t)out * sizeof *bias);
        for (int i = 0; i < BATCH; i++)
            for (int j = 0; j < out; j++) {
                if (k + 1 < LAYERS) g[i * out + j] = y[i * out + j] > 0 ? g[i * out + j] : 0;
                bias[j] += g[i * out + j];
            }
        weight_product(net, k);
        if (k > 0) input_product(net, k);
    }
}
static void hand_update(float *restrict x, const float *restrict grad, int n) {
    for (int i = 0; i < n; i++) x[i] -= (float)learning_rate * grad[i];
}
static void run_hand(void *context, double *lap) {
    hand_net *net = context;
    double start = bench_now();
    hand_forward(net);
    hand_loss(net);
    bench_lap(&lap[0], &start);
    hand_reverse(net);
    bench_lap(&lap[1], &start);
    for (int k = 0; k < LAYERS; k++) {
        hand_update(net->weight[k], net->weight_grad[k], width[k] * width[k + 1]);
        hand_update(net->bias[k], net->bias_grad[k], width[k + 1]);
    }
    bench_lap(&lap[2], &start);
}

static float *floats(int n, double lo, double hi, uint64_t *state) {
    float *x = bench_alloc((size_t)n, sizeof *x);
    for (int i = 0; i < n; i++) x[i] = (float)bench_random(state, lo, hi);
    return x;
}
static hand_net *hand_net_new(void) {
    hand_net *net = bench_alloc(1, sizeof *net);
    uint64_t state = 1;
    for (int k = 0; k <= LAYERS; k++) {
        net->layer[k] = floats(BATCH * width[k], -1, 1, &state);
        net->layer_grad[k] = floats(BATCH * width[k], -1, 1, &state);
    }
    for (int k = 0; k < LAYERS; k++) {
        double scale = sqrt(3.0 / width[k]);
        net->weight[k] = floats(width[k] * width[k + 1], -scale, scale, &state);
        net->weight_grad[k] = floats(width[k] * width[k + 1], 0, 1, &state);
        net->bias[k] = floats(width[k + 1], -0.1, 0.1, &state);
        net->bias_grad[k] = floats(width[k + 1], 0, 1, &state);
    }
    for (int i = 0; i < BATCH; i++) net->label[i] = (int64_t)(bench_random(&state, 0, 1) * CLASSES);
    return net;
}
static void hand_net_free(hand_net *net) {
    for (int k = 0; k <= LAYERS; k++) {
        free(net->layer[k]);
        free(net->layer_grad[k]);
    }
    for (int k = 0; k < LAYERS; k++) {
        free(net->weight[k]);
        free(net->weight_grad[k]);
        free(net->bias[k]);
        free(net->bias_grad[k]);
    }
    free(net);
}

/* ---- on the tape ------------------------------------------------------------------------------------------------- */

static void run_tape(void *context, double *lap) {
    tape_net *net = context;
    double start = bench_now();
    ag_var h = net->data;
    for (int k = 0; k < LAYERS; k++) {
        h = ag_add(ag_matmul(h, net->weight[k]), net->bias[k]);
        if (k + 1 < LAYERS) h = ag_relu(h);
    }
    ag_var loss = ag_mean(ag_cross_entropy(h, net->label));
    bench_lap(&lap[0], &start);
    ag_backward(loss);
    bench_lap(&lap[1], &start);
    for (int k = 0; k < LAYERS; k++) {
        ag_step(net->weight[k], -learning_rate);
        ag_step(net->bias[k], -learning_rate);
    }
    net->loss = ag_value(loss);
    ag_tape_rewind(net->tape, net->mark);
    bench_lap(&lap[2], &start);
}

/* With the weights that the net by hand has now. */
static tape_net *tape_net_new(const hand_net *hand) {
    tape_net *net = bench_alloc(1, sizeof *net);
    net->tape = ag_tape_new(AG_F32);
    net->data = ag_constant_tensor_f32(net->tape, hand->layer[0], AG_SHAPE(BATCH, width[0]));
    for (int k = 0; k < LAYERS; k++) {
        net->weight[k] = ag_tensor_f32(net->tape, hand->weight[k], AG_SHAPE(width[k], width[k + 1]));
        net->bias[k] = ag_tensor_f32(net->tape, hand->bias[k], AG_SHAPE(width[k + 1]));
    }
    net->label = hand->label;
    net->mark = ag_tape_mark(net->tape);
    return net;
}

static void check_floats(const char *what, ag_var x, const float *right, int n, bool adjoints) {
    float *got = bench_alloc((size_t)n, sizeof *got);
    if (adjoints) ag_read_grad_f32(x, got);
    if (!adjoints) ag_read_f32(x, got);
    for (int i = 0; i < n; i++) {
        double g = (double)got[i], r = (double)right[i];
        bench_check(what, &g, &r, 1, 1e-5);
    }
    free(got);
}
/* A step on the tape against one by hand: loss, adjoints and new weights. */
static void check(hand_net *hand, tape_net *net) {
    double lap[BENCH_LAPS];
    for (int step = 0; step < 3; step++) {
        run_hand(hand, lap);
        run_tape(net, lap);
        if (ag_tape_status(net->tape) != AG_OK) bench_wrong("%s", ag_tape_message(net->tape));
        bench_check("loss", &net->loss, &hand->loss, 1, 1e-5);
        for (int k = 0; k < LAYERS; k++) {
            int count = width[k] * width[k + 1];
            check_floats("adjoints of weights", net->weight[k], hand->weight_grad[k], count, true);
            check_floats("adjoints of a bias", net->bias[k], hand->bias_grad[k], width[k + 1], true);
            check_floats("weights", net->weight[k], hand->weight[k], count, false);
        }
    }
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    bench_title("Multilayer perceptron 784-256-128-10, f32, batch 64", "one training step; microseconds");
    bench_print_blas();
    hand_net *hand = hand_net_new(), *products = hand_net_new();
    tape_net *net = tape_net_new(hand);
    check(hand, net);

    static const char *const columns[5] = {"forward", "reverse", "update", "total", "x products"};
    bench_set set = {0};
    int base = bench_add(&set, "matrix products alone", run_products, products);
    bench_add(&set, "by hand", run_hand, hand);
    bench_add(&set, "autograd", run_tape, net);
    bench_run(&set, 101, 1e-3);
    if (ag_tape_status(net->tape) != AG_OK) bench_wrong("%s", ag_tape_message(net->tape));
    bench_heading("", columns, 5);
    for (int i = 0; i < set.tasks; i++) {
        double cells[5];
        for (int k = 0; k < BENCH_LAPS; k++) cells[k] = i == base ? (double)NAN : bench_lap_time(&set, i, k) * 1e6;
        cells[3] = bench_time(&set, i) * 1e6;
        cells[4] = bench_ratio(&set, i, base);
        bench_row(set.task[i].name, cells, 5);
    }
    ag_tape_free(net->tape);
    free(net);
    hand_net_free(hand);
    hand_net_free(products);
    return 0;
}
