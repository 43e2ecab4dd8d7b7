/* The right values and derivatives by the tape: the recorded function in double precision, whatever the type of the
 * user's arrays. */
#include "nn/check/backward/backward_impl.h"

#include <math.h>

static void load_inputs(nn_backward_check *c, ag_tape *tape, int row, ag_var *x) {
    for (int i = 0; i < c->b->input_count; i++) {
        const nn_backward_input *input = &c->b->inputs[i];
        const double *values = c->x[i] + row * c->in_count[i];
        if (input->shape.rank == 0) x[i] = input->constant ? ag_constant(tape, *values) : ag_input(tape, *values);
        else
            x[i] = input->constant ? ag_constant_tensor(tape, values, input->shape)
                                   : ag_tensor(tape, values, input->shape);
    }
}

static bool tape_is_fine(nn_backward_check *c, ag_tape *tape) {
    ag_status status = ag_tape_status(tape);
    return status == AG_OK || nn_backward_fail(c, status, "the recorded function: %s", ag_tape_message(tape));
}

static bool output_fits(nn_backward_check *c, ag_tape *tape, int o, ag_var *y) {
    const nn_backward_output *output = &c->b->outputs[o];
    char got[96], want[96];
    if (ag_tape_of(*y) == NULL) *y = ag_constant(tape, ag_value(*y));
    if (ag_tape_of(*y) != tape)
        return nn_backward_fail(c, AG_ERR_TAPE, "the recorded %s is on another tape", output->name);
    if (ag_is_inert(*y)) return nn_backward_fail(c, AG_ERR_STALE, "the recorded %s is inert or stale", output->name);
    if (nn_same_shape(ag_shape_of(*y), output->shape)) return true;
    nn_shape_phrase(ag_shape_of(*y), got, sizeof got);
    nn_shape_phrase(output->shape, want, sizeof want);
    return nn_backward_fail(c, AG_ERR_SHAPE, "the recorded %s is %s, not %s", output->name, got, want);
}

static bool sweep(nn_backward_check *c, ag_tape *tape, int row, const ag_var *x, const ag_var *y) {
    ag_var seeds[NN_MAX_OUTPUTS];
    memset(seeds, 0, sizeof seeds);
    for (int o = 0; o < c->b->output_count; o++) {
        const double *g = c->g[o] + row * c->out_count[o];
        ag_shape shape = c->b->outputs[o].shape;
        seeds[o] = shape.rank == 0 ? ag_constant(tape, *g) : ag_constant_tensor(tape, g, shape);
        ag_read(y[o], c->right_y[o] + row * c->out_count[o]);
    }
    ag_sweep(y, seeds, c->b->output_count, AG_RESET);
    for (int i = 0; i < c->b->input_count; i++)
        if (c->right[i] != NULL) ag_read_grad(x[i], c->right[i] + row * c->in_count[i]);
    return tape_is_fine(c, tape);
}

/* Doubles are held to what two computations in double precision differ by. Errors of floats are in proportion to the
 * greatest number of their array, for sums cancel. */
static void allow(const nn_backward_check *c, const double *right, int64_t count, double *slack) {
    double size = 0.01;
    for (int64_t e = 0; e < count; e++) size = fmax(size, fabs(right[e]));
    for (int64_t e = 0; e < count; e++)
        slack[e] = c->b->tolerance > 0    ? c->b->tolerance * fmax(1, fabs(right[e]))
                   : c->b->type == AG_F64 ? 1e-9 * fmax(1, fabs(right[e]))
                                          : 1e-4 * size;
}

bool nn_backward_by_tape(nn_backward_check *c, ag_tape *tape, int draw) {
    ag_var x[NN_MAX_INPUTS], y[NN_MAX_OUTPUTS];
    memset(x, 0, sizeof x);
    memset(y, 0, sizeof y);
    ag_tape_clear(tape);
    load_inputs(c, tape, draw * c->seeds, x);
    c->b->record(c->b->context, tape, x, y);
    if (!tape_is_fine(c, tape)) return false;
    for (int o = 0; o < c->b->output_count; o++)
        if (!output_fits(c, tape, o, &y[o])) return false;
    for (int row = draw * c->seeds; row < (draw + 1) * c->seeds; row++) {
        if (!sweep(c, tape, row, x, y)) return false;
        for (int i = 0; i < c->b->input_count; i++) {
            int64_t n = c->in_count[i];
            if (c->right[i] == NULL) continue;
            allow(c, c->right[i] + row * n, n, c->slack[i] + row * n);
            memcpy(c->low[i] + row * n, c->right[i] + row * n, (size_t)n * sizeof(double));
            memcpy(c->high[i] + row * n, c->right[i] + row * n, (size_t)n * sizeof(double));
        }
        for (int o = 0; o < c->b->output_count; o++)
            allow(c, c->right_y[o] + row * c->out_count[o], c->out_count[o], c->slack_y[o] + row * c->out_count[o]);
    }
    return true;
}
