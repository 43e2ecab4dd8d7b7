/* The arrays that the user's functions work on, and calling them. Behind each array is a guard that tells whether a
 * function wrote beyond the array's end. */
#include "nn/check/backward/backward_impl.h"
#include "nn/memory.h"

#include <inttypes.h>

enum { GUARD = 8 }; /* numbers behind each array */
static const double guard_value = -7.25e30;

double nn_array_get(ag_type type, const void *array, int64_t i) {
    return type == AG_F64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

void nn_array_set(ag_type type, void *array, int64_t i, double value) {
    if (type == AG_F64) ((double *)array)[i] = value;
    else ((float *)array)[i] = (float)value;
}

void nn_array_load(ag_type type, void *array, const double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) nn_array_set(type, array, i, values[i]);
}

void nn_array_store(ag_type type, const void *array, double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = nn_array_get(type, array, i);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* Hands out parts of a block of numbers, or, before there is one, counts what will be handed out. */
typedef struct parts {
    double *next;
    int64_t taken;
} parts;

static double *take(parts *p, int64_t count) {
    p->taken += count;
    if (p->next == NULL) return NULL;
    p->next += count;
    return p->next - count;
}

/* Room for doubles does for floats too. */
static void take_all(nn_backward_check *c, parts *p) {
    const nn_backward *b = c->b;
    for (int i = 0; i < b->input_count; i++) {
        int64_t table = c->rows * c->in_count[i];
        c->inputs[i] = take(p, c->in_count[i] + GUARD);
        c->x[i] = take(p, table);
        if (b->inputs[i].constant) continue;
        c->input_gradients[i] = take(p, c->in_count[i] + GUARD);
        double **tables[] = {&c->claimed[i], &c->right[i], &c->again[i], &c->slack[i], &c->low[i], &c->high[i]};
        for (size_t k = 0; k < sizeof tables / sizeof tables[0]; k++) *tables[k] = take(p, table);
    }
    for (int o = 0; o < b->output_count; o++) {
        int64_t table = c->rows * c->out_count[o];
        c->outputs[o] = take(p, c->out_count[o] + GUARD);
        c->output_gradients[o] = take(p, c->out_count[o] + GUARD);
        double **tables[] = {&c->y[o], &c->g[o], &c->right_y[o], &c->slack_y[o]};
        for (size_t k = 0; k < sizeof tables / sizeof tables[0]; k++) *tables[k] = take(p, table);
    }
    c->work = take(p, b->record != NULL ? c->out_total : c->out_total * NN_DIFFERENCE_WORK);
}

static void set_guard(ag_type type, void *array, int64_t count) {
    for (int64_t i = 0; array != NULL && i < GUARD; i++) nn_array_set(type, array, count + i, guard_value);
}

static bool is_guarded(ag_type type, const void *array, int64_t count) {
    double guard = type == AG_F64 ? guard_value : (double)(float)guard_value;
    for (int64_t i = 0; array != NULL && i < GUARD; i++)
        if (nn_array_get(type, array, count + i) != guard) return false;
    return true;
}

bool nn_backward_allocate(nn_backward_check *c) {
    parts p = {NULL, 0};
    take_all(c, &p);
    c->memory = nn_allocate((size_t)p.taken, sizeof(double));
    if (c->memory == NULL) return nn_backward_fail(c, AG_ERR_MEMORY, "out of memory for %" PRId64 " numbers", p.taken);
    p.next = c->memory;
    take_all(c, &p);
    ag_type type = c->b->type;
    for (int i = 0; i < c->b->input_count; i++) {
        set_guard(type, c->inputs[i], c->in_count[i]);
        set_guard(type, c->input_gradients[i], c->in_count[i]);
    }
    for (int o = 0; o < c->b->output_count; o++) {
        set_guard(type, c->outputs[o], c->out_count[o]);
        set_guard(type, c->output_gradients[o], c->out_count[o]);
    }
    return true;
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

static bool beyond(nn_backward_check *c, const char *function, const char *what, const char *name) {
    return nn_backward_fail(c, AG_ERR_VALUE, "%s writes beyond the end of %s%s", function, what, name);
}

static bool guards_hold(nn_backward_check *c, const char *function) {
    const nn_backward *b = c->b;
    for (int i = 0; i < b->input_count; i++) {
        if (!is_guarded(b->type, c->inputs[i], c->in_count[i])) return beyond(c, function, "", b->inputs[i].name);
        if (!is_guarded(b->type, c->input_gradients[i], c->in_count[i]))
            return beyond(c, function, "the gradient by ", b->inputs[i].name);
    }
    for (int o = 0; o < b->output_count; o++) {
        if (!is_guarded(b->type, c->outputs[o], c->out_count[o])) return beyond(c, function, "", b->outputs[o].name);
        if (!is_guarded(b->type, c->output_gradients[o], c->out_count[o]))
            return beyond(c, function, "the output gradient of ", b->outputs[o].name);
    }
    return true;
}

static void clear(ag_type type, void *array, int64_t count) {
    for (int64_t i = 0; array != NULL && i < count; i++) nn_array_set(type, array, i, 0);
}

bool nn_call_forward(nn_backward_check *c) {
    for (int o = 0; o < c->b->output_count; o++) clear(c->b->type, c->outputs[o], c->out_count[o]);
    c->b->forward(c->b->context, (const void *const *)c->inputs, c->outputs);
    return guards_hold(c, "forward");
}

bool nn_call_backward(nn_backward_check *c) {
    for (int i = 0; i < c->b->input_count; i++) clear(c->b->type, c->input_gradients[i], c->in_count[i]);
    c->b->backward(c->b->context, (const void *const *)c->inputs, (const void *const *)c->output_gradients,
                   c->input_gradients);
    return guards_hold(c, "backward");
}

void nn_load_inputs(nn_backward_check *c, int row) {
    for (int i = 0; i < c->b->input_count; i++)
        nn_array_load(c->b->type, c->inputs[i], c->x[i] + row * c->in_count[i], c->in_count[i]);
}

bool nn_inputs_unchanged(nn_backward_check *c, int row, const char *function) {
    for (int i = 0; i < c->b->input_count; i++)
        for (int64_t e = 0; e < c->in_count[i]; e++)
            if (nn_array_get(c->b->type, c->inputs[i], e) != c->x[i][row * c->in_count[i] + e])
                return nn_backward_fail(c, AG_ERR_VALUE, "%s changes its input %s", function, c->b->inputs[i].name);
    return true;
}
