/* Named parameters on a tape, what they start from, and a step of gradient descent. */
#include "nn/memory.h"
#include "nn/nn.h"
#include "nn/random.h"

#include <inttypes.h>
#include <math.h>

typedef struct parameter {
    char *name;
    ag_var var;
    int64_t count; /* numbers in it */
} parameter;

struct nn_model {
    ag_tape *tape;
    uint64_t seed;
    int count, capacity;
    parameter *parameters;
};

nn_model *nn_model_new(ag_tape *tape, uint64_t seed) {
    if (tape == NULL) return NULL;
    nn_model *model = nn_allocate(1, sizeof *model);
    if (model == NULL) {
        ag_fail(tape, AG_ERR_MEMORY, "model: out of memory");
        return NULL;
    }
    model->tape = tape;
    model->seed = seed;
    return model;
}

void nn_model_free(nn_model *model) {
    if (model == NULL) return;
    for (int i = 0; i < model->count; i++) nn_release(model->parameters[i].name);
    nn_release(model->parameters);
    nn_release(model);
}

ag_tape *nn_model_tape(const nn_model *model) { return model == NULL ? NULL : model->tape; }

/* ---- initial values -------------------------------------------------------------------------------------------- */

/* FNV-1a (Fowler, Noll, Vo), so that a parameter's numbers depend on its name and not on the others. */
static nn_random random_for(const nn_model *model, const char *name) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name != '\0'; name++) hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    nn_random random = {model->seed};
    random.state = nn_random_bits(&random) ^ hash;
    return random;
}

static void fill(nn_random *random, ag_shape shape, nn_initial initial, double *x, int64_t count) {
    double window = 1, in, out;
    for (int i = 0; i < shape.rank - 2; i++) window *= (double)shape.dim[i];
    in = shape.rank < 2 ? (double)count : window * (double)shape.dim[shape.rank - 2];
    out = shape.rank < 2 ? (double)count : window * (double)shape.dim[shape.rank - 1];
    bool glorot = initial == NN_GLOROT_UNIFORM || initial == NN_GLOROT_NORMAL;
    double deviation = sqrt(2 / (glorot ? in + out : in)), limit = sqrt(3) * deviation;
    for (int64_t i = 0; i < count; i++) switch (initial) {
        case NN_ZEROS: break; /* allocated as zeros */
        case NN_ONES: x[i] = 1; break;
        case NN_GLOROT_UNIFORM:
        case NN_HE_UNIFORM: x[i] = nn_random_uniform(random, -limit, limit); break;
        case NN_GLOROT_NORMAL:
        case NN_HE_NORMAL: x[i] = deviation * nn_random_normal(random); break;
        }
}

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static int find(const nn_model *model, const char *name) {
    for (int i = 0; i < model->count; i++)
        if (strcmp(model->parameters[i].name, name) == 0) return i;
    return -1;
}

/* The number of elements, or 0 after an error. */
static int64_t checked_count(nn_model *model, const char *name, ag_shape shape, nn_initial initial) {
    int64_t count = 1;
    if (name == NULL || *name == '\0') ag_fail(model->tape, AG_ERR_VALUE, "parameter: no name");
    else if (find(model, name) >= 0) ag_fail(model->tape, AG_ERR_VALUE, "parameter: the name \"%.80s\" is taken", name);
    else if (initial < NN_ZEROS || initial > NN_HE_NORMAL)
        ag_fail(model->tape, AG_ERR_VALUE, "parameter %.80s: no initial values of kind %d", name, (int)initial);
    else if (shape.rank < 0 || shape.rank > AG_MAX_RANK)
        ag_fail(model->tape, AG_ERR_SHAPE, "parameter %.80s: rank %d, not 0 to %d", name, shape.rank, AG_MAX_RANK);
    else
        for (int i = 0; i < shape.rank && count > 0; i++) {
            if (shape.dim[i] < 1 || count > INT64_MAX / 8 / shape.dim[i]) {
                ag_fail(model->tape, AG_ERR_SHAPE, "parameter %.80s: dimension %d is %" PRId64, name, i + 1,
                        shape.dim[i]);
                return 0;
            }
            count *= shape.dim[i];
        }
    return ag_tape_status(model->tape) == AG_OK ? count : 0;
}

static bool make_room(nn_model *model) {
    if (model->count < model->capacity) return true;
    int capacity = model->capacity > 0 ? 2 * model->capacity : 8;
    parameter *more = nn_allocate((size_t)capacity, sizeof *more);
    if (more == NULL) return false;
    if (model->count > 0) memcpy(more, model->parameters, (size_t)model->count * sizeof *more);
    nn_release(model->parameters);
    model->parameters = more;
    model->capacity = capacity;
    return true;
}

static char *copy_text(const char *text) {
    char *copy = nn_allocate(strlen(text) + 1, 1);
    if (copy != NULL) memcpy(copy, text, strlen(text) + 1);
    return copy;
}

static void add(nn_model *model, const char *name, ag_shape shape, nn_initial initial, int64_t count) {
    double *values = nn_allocate((size_t)count, sizeof *values);
    char *copy = copy_text(name);
    if (values == NULL || copy == NULL || !make_room(model)) {
        ag_fail(model->tape, AG_ERR_MEMORY, "parameter %.80s: out of memory for %" PRId64 " numbers", name, count);
    } else {
        nn_random random = random_for(model, name);
        fill(&random, shape, initial, values, count);
        ag_var var = shape.rank == 0 ? ag_input(model->tape, *values) : ag_tensor(model->tape, values, shape);
        ag_name(var, name);
        if (ag_tape_status(model->tape) == AG_OK) {
            model->parameters[model->count++] = (parameter){copy, var, count};
            copy = NULL;
        }
    }
    nn_release(copy);
    nn_release(values);
}

ag_var nn_parameter(nn_model *model, const char *name, ag_shape shape, nn_initial initial) {
    if (model == NULL) return ag_num(0);
    if (ag_tape_status(model->tape) == AG_OK) {
        int64_t count = checked_count(model, name, shape, initial);
        if (count > 0) add(model, name, shape, initial, count);
    }
    if (ag_tape_status(model->tape) != AG_OK) return ag_constant(model->tape, 0); /* inert */
    return model->parameters[model->count - 1].var;
}

int nn_parameter_count(const nn_model *model) { return model == NULL ? 0 : model->count; }

const char *nn_parameter_name(const nn_model *model, int i) {
    return i >= 0 && i < nn_parameter_count(model) ? model->parameters[i].name : NULL;
}

ag_var nn_parameter_at(const nn_model *model, int i) {
    if (model == NULL) return ag_num(0);
    if (i >= 0 && i < model->count) return model->parameters[i].var;
    ag_fail(model->tape, AG_ERR_VALUE, "parameter: there is no number %d of %d", i, model->count);
    return ag_constant(model->tape, 0); /* inert */
}

ag_var nn_parameter_find(const nn_model *model, const char *name) {
    if (model == NULL) return ag_num(0);
    int i = name == NULL ? -1 : find(model, name);
    if (i >= 0) return model->parameters[i].var;
    ag_fail(model->tape, AG_ERR_VALUE, "parameter: there is none with the name \"%.80s\"", name == NULL ? "" : name);
    return ag_constant(model->tape, 0); /* inert */
}

int64_t nn_model_size(const nn_model *model) {
    int64_t size = 0;
    for (int i = 0; i < nn_parameter_count(model); i++) size += model->parameters[i].count;
    return size;
}

void nn_sgd_step(nn_model *model, double rate) {
    if (model == NULL) return;
    if (!isfinite(rate)) ag_fail(model->tape, AG_ERR_VALUE, "sgd_step: the rate is %g", rate);
    if (ag_tape_status(model->tape) != AG_OK) return;
    for (int i = 0; i < model->count; i++) ag_step(model->parameters[i].var, -rate);
}
