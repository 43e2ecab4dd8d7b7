/* Arrays in the shape of each parameter of a model: the state of optimisers and averages. */
#include "nn/memory.h"
#include "optimise_impl.h"

enum { LINE = 64 }; /* bytes of the cache's lines, where each array starts */

static size_t bytes_of(const nn_model *model, int parameter) {
    size_t bytes = (size_t)ag_count(nn_parameter_at(model, parameter)) * nn_size_of(ag_tape_type(nn_model_tape(model)));
    return (bytes + LINE - 1) / LINE * LINE;
}

/* Room for every parameter's name, a dot, and every name of an array. */
static size_t longest_name(const nn_moments *a) {
    size_t longest = 0, more = 0;
    for (int i = 0; i < a->parameters; i++) {
        size_t length = strlen(nn_parameter_name(a->model, i));
        longest = length > longest ? length : longest;
    }
    for (int k = 0; k < a->each; k++) more = strlen(a->names[k]) > more ? strlen(a->names[k]) : more;
    return longest + more + 2;
}

bool nn_moments_new(nn_moments *a, nn_model *model, const char *const names[NN_MOST_ARRAYS]) {
    *a = (nn_moments){.model = model, .parameters = nn_parameter_count(model)};
    while (a->each < NN_MOST_ARRAYS && names[a->each] != NULL) {
        a->names[a->each] = names[a->each];
        a->each++;
    }
    size_t bytes = LINE;
    for (int i = 0; i < a->parameters; i++) bytes += (size_t)a->each * bytes_of(model, i);
    a->name_size = longest_name(a);
    a->name = nn_allocate(a->name_size, 1);
    a->place = nn_allocate((size_t)nn_moments_count(a), sizeof *a->place);
    a->memory = nn_allocate(bytes, 1);
    if (a->name == NULL || a->place == NULL || a->memory == NULL) {
        nn_moments_free(a);
        return false;
    }
    char *next = (char *)a->memory + (LINE - (uintptr_t)a->memory % LINE) % LINE;
    for (int i = 0; i < nn_moments_count(a); i++) {
        a->place[i] = next;
        next += bytes_of(model, i / a->each);
    }
    return true;
}

void nn_moments_free(nn_moments *a) {
    nn_release(a->name);
    nn_release(a->place);
    nn_release(a->memory);
    *a = (nn_moments){0};
}

void nn_moments_state(nn_moments *a, int i, nn_state *state) {
    int parameter = i / a->each;
    ag_var var = nn_parameter_at(a->model, parameter);
    snprintf(a->name, a->name_size, "%s.%s", nn_parameter_name(a->model, parameter), a->names[i % a->each]);
    *state = (nn_state){a->name, ag_tape_type(ag_tape_of(var)), ag_shape_of(var), ag_count(var), a->place[i]};
}

bool nn_moments_fit(const nn_moments *a, const char *what) {
    ag_tape *tape = nn_model_tape(a->model);
    if (ag_tape_status(tape) != AG_OK) return false;
    if (nn_parameter_count(a->model) == a->parameters) return true;
    ag_fail(tape, AG_ERR_VALUE, "%s: the model has %d parameters, and had %d when this was made", what,
            nn_parameter_count(a->model), a->parameters);
    return false;
}

nn_state nn_state_of_numbers(const char *name, double *numbers, int64_t count) {
    return (nn_state){name, AG_F64, AG_SHAPE(count), count, numbers};
}
