/* Averages of a model's parameters over training. */
#include "nn/memory.h"
#include "optimise_impl.h"

#include <math.h>

struct nn_average {
    nn_moments arrays;
    double decay;
    double numbers[2]; /* updates; 1 while the averages are the weights */
};
enum { UPDATES, SWAPPED };

nn_average *nn_average_new(nn_model *model, double decay) {
    if (model == NULL) return NULL;
    ag_tape *tape = nn_model_tape(model);
    static const char *const names[NN_MOST_ARRAYS] = {"average"};
    if (!(decay >= 0 && decay < 1))
        ag_fail(tape, AG_ERR_VALUE, "average: the decay is %g; it must be at least 0 and below 1", decay);
    if (ag_tape_status(tape) != AG_OK) return NULL;
    nn_average *a = nn_allocate(1, sizeof *a);
    if (a != NULL && nn_moments_new(&a->arrays, model, names)) {
        a->decay = decay;
        return a;
    }
    nn_release(a);
    ag_fail(tape, AG_ERR_MEMORY, "average: out of memory for %lld numbers", (long long)nn_model_size(model));
    return NULL;
}

void nn_average_free(nn_average *a) {
    if (a == NULL) return;
    nn_moments_free(&a->arrays);
    nn_release(a);
}

/* Whether all weights are where they were; if not, an error. */
static bool weights_are_there(const nn_average *a) {
    bool there = nn_moments_fit(&a->arrays, "average");
    for (int i = 0; there && i < a->arrays.parameters; i++)
        there = nn_parameter_is_there(a->arrays.model, "average", i);
    return there;
}

void nn_average_update(nn_average *a) {
    if (a == NULL || !weights_are_there(a)) return;
    ag_tape *tape = nn_model_tape(a->arrays.model);
    ag_type type = ag_tape_type(tape);
    if (a->numbers[SWAPPED] != 0) {
        ag_fail(tape, AG_ERR_VALUE, "average: an update while the averages are the weights; swap them back first");
        return;
    }
    double n = a->numbers[UPDATES]++, part = a->decay > 0 ? 1 - a->decay : 1 / (n + 1);
    for (int i = 0; i < a->arrays.parameters; i++) {
        ag_var var = nn_parameter_at(a->arrays.model, i);
        size_t count = (size_t)ag_count(var);
        if (n == 0) memcpy(a->arrays.place[i], ag_data(var), count * nn_size_of(type));
        else nn_kernels_for(type)->average(count, a->arrays.place[i], part, ag_data(var));
    }
}

static void swap_bytes(char *restrict x, char *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char was = x[i];
        x[i] = y[i];
        y[i] = was;
    }
}

void nn_average_swap(nn_average *a) {
    if (a == NULL || !weights_are_there(a)) return;
    ag_tape *tape = nn_model_tape(a->arrays.model);
    if (a->numbers[UPDATES] == 0) {
        ag_fail(tape, AG_ERR_VALUE, "average: there was no update before a swap");
        return;
    }
    for (int i = 0; i < a->arrays.parameters; i++) {
        ag_var var = nn_parameter_at(a->arrays.model, i);
        swap_bytes(ag_data(var), a->arrays.place[i], (size_t)ag_count(var) * nn_size_of(ag_tape_type(tape)));
    }
    a->numbers[SWAPPED] = a->numbers[SWAPPED] == 0;
}

bool nn_average_state(nn_average *a, int i, nn_state *state) {
    if (a == NULL || state == NULL || i < 0 || i > nn_moments_count(&a->arrays)) return false;
    if (i < nn_moments_count(&a->arrays)) nn_moments_state(&a->arrays, i, state);
    else *state = nn_state_of_numbers("averages", a->numbers, 2);
    return true;
}
