/* Layers and activations. */
#include "nn/memory.h"
#include "nn/nn.h"

#include <math.h>

/* A parameter whose name is that of its layer and a suffix. */
static ag_var named_parameter(nn_model *model, const char *name, const char *suffix, ag_shape shape,
                              nn_initial initial) {
    if (name == NULL || *name == '\0') return nn_parameter(model, NULL, shape, initial); /* an error */
    size_t size = strlen(name) + strlen(suffix) + 1;
    char *full = nn_allocate(size, 1);
    if (full == NULL) {
        ag_fail(nn_model_tape(model), AG_ERR_MEMORY, "parameter %.80s%s: out of memory", name, suffix);
        return ag_constant(nn_model_tape(model), 0); /* inert */
    }
    snprintf(full, size, "%s%s", name, suffix);
    ag_var parameter = nn_parameter(model, full, shape, initial);
    nn_release(full);
    return parameter;
}

nn_dense nn_dense_init(nn_model *model, const char *name, int64_t inputs, int64_t outputs, nn_initial initial) {
    nn_dense layer = {ag_num(0), ag_num(0)};
    if (model == NULL) return layer;
    layer.weight = named_parameter(model, name, ".weight", AG_SHAPE(inputs, outputs), initial);
    layer.bias = named_parameter(model, name, ".bias", AG_SHAPE(outputs), NN_ZEROS);
    return layer;
}

ag_var nn_dense_apply(nn_dense layer, ag_var x) { return ag_add(ag_matmul(x, layer.weight), layer.bias); }

/* ---- activations ----------------------------------------------------------------------------------------------- */

static const char *const names[] = {
#define X(NAME, name, function) #name,
    NN_ACTIVATIONS(X)
#undef X
};
enum { COUNT = (int)(sizeof names / sizeof names[0]) };

ag_var nn_activate(nn_activation activation, ag_var x) {
    switch (activation) {
#define X(NAME, name, function)                                                                                        \
    case NN_##NAME: return function;
        NN_ACTIVATIONS(X)
#undef X
    }
    if (x.tape == NULL) return ag_num((double)NAN);
    ag_fail(x.tape, AG_ERR_VALUE, "activate: there is no activation %d", (int)activation);
    return ag_constant(x.tape, 0); /* inert */
}

const char *nn_activation_name(nn_activation activation) {
    return (int)activation >= 0 && (int)activation < COUNT ? names[activation] : NULL;
}

bool nn_activation_find(const char *name, nn_activation *activation) {
    for (int i = 0; name != NULL && i < COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            *activation = (nn_activation)i;
            return true;
        }
    return false;
}
