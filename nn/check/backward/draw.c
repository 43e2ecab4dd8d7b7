/* The inputs and output gradients of a draw, and the outputs there. */
#include "nn/check/backward/backward_impl.h"

#include <inttypes.h>
#include <math.h>

static void fill(nn_backward_check *c, int i, double *x) {
    const nn_backward_input *input = &c->b->inputs[i];
    int64_t count = c->in_count[i], k = input->shape.rank > 0 ? input->shape.dim[input->shape.rank - 1] : 1;
    switch (input->distribution) {
    case NN_NORMAL: nn_fill_normal(&c->random, x, count, 1); break;
    case NN_POSITIVE: nn_fill_positive(&c->random, x, count); break;
    case NN_SIMPLEX: nn_fill_simplex(&c->random, x, count / k, k); break;
    case NN_ONE_HOT: nn_fill_one_hot(&c->random, x, count / k, k); break;
    case NN_BINARY: nn_fill_binary(&c->random, x, count); break;
    case NN_UNIT: nn_fill_unit(&c->random, x, count); break;
    }
}

/* Around the given values: of the same sign, so that logarithms and roots stay defined; what is 0 moves too. */
static void vary(nn_backward_check *c, double *x, int64_t count) {
    double size = 0;
    for (int64_t e = 0; e < count; e++) size = fmax(size, fabs(x[e]));
    for (int64_t e = 0; e < count; e++) {
        double z = 0.2 * nn_random_normal(&c->random);
        x[e] = x[e] != 0 ? x[e] * (1 + z) : z * (size > 0 ? size : 1);
    }
}

/* Values as the user's functions get them: rounded to their type. */
static void draw_inputs(nn_backward_check *c, int draw) {
    int row = draw * c->seeds;
    for (int i = 0; i < c->b->input_count; i++) {
        const nn_backward_input *input = &c->b->inputs[i];
        double *x = c->x[i] + row * c->in_count[i];
        if (input->data == NULL) {
            fill(c, i, x);
        } else {
            nn_array_store(c->b->type, input->data, x, c->in_count[i]);
            if (draw > 0 && !input->constant) vary(c, x, c->in_count[i]);
        }
        nn_array_load(c->b->type, c->inputs[i], x, c->in_count[i]);
        for (int s = 0; s < c->seeds; s++)
            nn_array_store(c->b->type, c->inputs[i], x + s * c->in_count[i], c->in_count[i]);
    }
}

static bool inputs_are_numbers(nn_backward_check *c, int draw) {
    for (int i = 0; i < c->b->input_count; i++)
        for (int64_t e = 0; e < c->in_count[i]; e++)
            if (isnan(c->x[i][draw * c->seeds * c->in_count[i] + e]))
                return nn_backward_fail(c, AG_ERR_VALUE, "entry %" PRId64 " of the input %s is nan", e + 1,
                                        c->b->inputs[i].name);
    return true;
}

static void draw_gradients(nn_backward_check *c, int draw) {
    for (int row = draw * c->seeds; row < (draw + 1) * c->seeds; row++)
        for (int o = 0; o < c->b->output_count; o++) {
            double *g = c->g[o] + row * c->out_count[o];
            for (int64_t e = 0; e < c->out_count[o]; e++) {
                double value = c->b->unit_gradients ? 1 : nn_random_normal(&c->random);
                g[e] = c->b->type == AG_F64 ? value : (double)(float)value;
            }
        }
}

static bool store_outputs(nn_backward_check *c, int draw) {
    for (int o = 0; o < c->b->output_count; o++)
        for (int64_t e = 0; e < c->out_count[o]; e++) {
            double y = nn_array_get(c->b->type, c->outputs[o], e);
            if (!isfinite(y))
                return nn_backward_fail(c, AG_ERR_VALUE,
                                        "forward gives %g for entry %" PRId64
                                        " of %s at draw %d: choose inputs inside its domain, by data or distribution",
                                        y, e + 1, c->b->outputs[o].name, draw + 1);
            for (int s = 0; s < c->seeds; s++) c->y[o][(draw * c->seeds + s) * c->out_count[o] + e] = y;
        }
    return true;
}

/* Does forward, called again, give the same? */
static bool repeats(nn_backward_check *c, int draw) {
    for (int o = 0; o < c->b->output_count; o++)
        for (int64_t e = 0; e < c->out_count[o]; e++)
            if (nn_array_get(c->b->type, c->outputs[o], e) != c->y[o][draw * c->seeds * c->out_count[o] + e])
                return nn_backward_fail(c, AG_ERR_VALUE, "forward gives different values of %s for the same inputs",
                                        c->b->outputs[o].name);
    return true;
}

bool nn_backward_draw(nn_backward_check *c, int draw) {
    draw_inputs(c, draw);
    draw_gradients(c, draw);
    return inputs_are_numbers(c, draw) && nn_call_forward(c) && nn_inputs_unchanged(c, draw * c->seeds, "forward") &&
           store_outputs(c, draw) && nn_call_forward(c) && repeats(c, draw);
}
