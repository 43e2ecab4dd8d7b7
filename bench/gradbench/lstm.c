/* A long short-term memory whose weight matrices are diagonal, l layers of b cells over a sequence of c vectors: the mean
 * loss of predicting each vector from those before it, and its gradient by all parameters. */
#include "gradbench.h"

/* A layer's parameters, two gates a var: the forget and output gates see what comes from below; the input gate and the
 * change see the layer's own hidden vector. Then its state. */
typedef struct layer {
    ag_var outer_weight, outer_bias, inner_weight, inner_bias; /* (2, b) */
    ag_var hidden, cell;                                       /* (b) */
} layer;

typedef struct lstm {
    int64_t l, b, c;
    double *main, *extra, *state, *sequence; /* (2 l, 4 b), (3, b), (2 l, b), (c, b) */
    layer *layers;                           /* l */
    ag_var *outputs;                         /* c - 1: the last layer's hidden vector after each step */
    double loss, *gradient;                  /* by main, then by extra */
} lstm;

static bool parse(gb_run *run, const json_t *input) {
    lstm *s = run->state;
    int64_t main[] = {GB_ANY, GB_ANY};
    s->main = gb_tensor(run, input, "main_params", 2, main);
    if (run->error[0]) return false;
    if (main[0] < 2 || main[0] % 2 || main[1] < 4 || main[1] % 4)
        return gb_fail(run, "main_params: expected 2 l rows of 4 b numbers, got %lld rows of %lld", (long long)main[0],
                       (long long)main[1]);
    s->l = main[0] / 2;
    s->b = main[1] / 4;
    int64_t extra[] = {3, s->b}, state[] = {2 * s->l, s->b}, sequence[] = {GB_ANY, s->b};
    s->extra = gb_tensor(run, input, "extra_params", 2, extra);
    s->state = gb_tensor(run, input, "state", 2, state);
    s->sequence = gb_tensor(run, input, "sequence", 2, sequence);
    if (run->error[0]) return false;
    s->c = sequence[0];
    if (s->c < 2 || s->c > INT32_MAX)
        return gb_fail(run, "sequence: expected 2 vectors at least, got %lld", (long long)s->c);
    s->layers = gb_array(run, s->l, sizeof *s->layers);
    s->outputs = gb_array(run, s->c - 1, sizeof *s->outputs);
    s->gradient = GB_DOUBLES(run, (8 * s->l + 3) * s->b);
    return !run->error[0];
}

static layer make_layer(ag_var main, ag_var state, int64_t i) {
    ag_var weight = ag_index(main, 0, 2 * i), bias = ag_index(main, 0, 2 * i + 1); /* (4, b): forget, in, out, change */
    ag_var own = ag_index(state, 0, i);
    return (layer){ag_slice(weight, 0, 0, 4, 2), ag_slice(bias, 0, 0, 4, 2), ag_slice(weight, 0, 1, 4, 2),
                   ag_slice(bias, 0, 1, 4, 2),   ag_index(own, 0, 0),        ag_index(own, 0, 1)};
}

/* One step of a layer on x; returns its hidden vector. */
static ag_var step(layer *a, ag_var x) {
    ag_var outer = ag_sigmoid(ag_fma(x, a->outer_weight, a->outer_bias));
    ag_var inner = ag_fma(a->hidden, a->inner_weight, a->inner_bias);
    ag_var in = ag_sigmoid(ag_index(inner, 0, 0)), change = ag_tanh(ag_index(inner, 0, 1));
    a->cell = ag_fma(a->cell, ag_index(outer, 0, 0), ag_mul(in, change));
    a->hidden = ag_mul(ag_index(outer, 0, 1), ag_tanh(a->cell));
    return a->hidden;
}

static ag_var loss(lstm *s, ag_var main, ag_var extra) {
    int64_t steps = s->c - 1;
    ag_var state = ag_constant_tensor(main.tape, s->state, AG_SHAPE(s->l, 2, s->b));
    ag_var sequence = ag_constant_tensor(main.tape, s->sequence, AG_SHAPE(s->c, s->b));
    for (int64_t i = 0; i < s->l; i++) s->layers[i] = make_layer(main, state, i);
    ag_var inputs = ag_mul(ag_slice(sequence, 0, 0, -1, 1), ag_index(extra, 0, 0));
    for (int64_t t = 0; t < steps; t++) {
        ag_var x = ag_index(inputs, 0, t);
        for (int64_t i = 0; i < s->l; i++) x = step(&s->layers[i], x);
        s->outputs[t] = x;
    }
    ag_var predicted = ag_fma(ag_stack(s->outputs, (int)steps, 0), ag_index(extra, 0, 1), ag_index(extra, 0, 2));
    ag_var norm = ag_log(ag_add(ag_sum_over(ag_exp(predicted), AG_AXES(1), true), 2)); /* the 2 is the eval's */
    ag_var likelihood = ag_vdot(ag_slice(sequence, 0, 1, AG_END, 1), ag_sub(predicted, norm));
    return ag_div(likelihood, -(double)(steps * s->b));
}

static void objective(gb_run *run) {
    lstm *s = run->state;
    ag_var main = ag_tensor(run->tape, s->main, AG_SHAPE(2 * s->l, 4, s->b));
    s->loss = ag_value(loss(s, main, ag_tensor(run->tape, s->extra, AG_SHAPE(3, s->b))));
}

static void jacobian(gb_run *run) {
    lstm *s = run->state;
    ag_var main = ag_tensor(run->tape, s->main, AG_SHAPE(2 * s->l, 4, s->b));
    ag_var extra = ag_tensor(run->tape, s->extra, AG_SHAPE(3, s->b));
    ag_backward(loss(s, main, extra));
    ag_read_grad(main, s->gradient);
    ag_read_grad(extra, s->gradient + 8 * s->l * s->b);
}

static json_t *print_loss(gb_run *run) { return json_real(((lstm *)run->state)->loss); }

static json_t *print_gradient(gb_run *run) {
    lstm *s = run->state;
    return gb_vector(s->gradient, (8 * s->l + 3) * s->b);
}

const gb_function gb_lstm[] = {{"lstm", "objective", sizeof(lstm), parse, NULL, objective, print_loss},
                               {"lstm", "jacobian", sizeof(lstm), parse, NULL, jacobian, print_gradient},
                               {0}};
