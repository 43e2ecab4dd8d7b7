#include "nn/layers/parts.h"
#include "nn/memory.h"

#include <math.h>

char *nn_join_names(nn_model *model, const char *name, const char *suffix) {
    if (model == NULL) return NULL;
    if (name == NULL || *name == '\0') {
        ag_fail(nn_model_tape(model), AG_ERR_VALUE, "a layer has no name (its part is called %.80s)", suffix);
        return NULL;
    }
    size_t size = strlen(name) + strlen(suffix) + 1;
    char *full = nn_allocate(size, 1);
    if (full != NULL) snprintf(full, size, "%s%s", name, suffix);
    else ag_fail(nn_model_tape(model), AG_ERR_MEMORY, "%.80s%.80s: out of memory", name, suffix);
    return full;
}

static ag_var part(nn_model *model, const char *name, const char *suffix, ag_shape shape, nn_initial initial,
                   double gain, bool is_buffer) {
    if (model == NULL) return ag_num(0);
    char *full = nn_join_names(model, name, suffix);
    if (full == NULL) return ag_constant(nn_model_tape(model), 0); /* inert */
    ag_var var =
        is_buffer ? nn_buffer(model, full, shape, initial) : nn_parameter_with(model, full, shape, initial, gain);
    nn_release(full);
    return var;
}

ag_var nn_part(nn_model *model, const char *name, const char *suffix, ag_shape shape, nn_initial initial, double gain) {
    return part(model, name, suffix, shape, initial, gain, false);
}

ag_var nn_part_buffer(nn_model *model, const char *name, const char *suffix, ag_shape shape, nn_initial initial) {
    return part(model, name, suffix, shape, initial, 1, true);
}

bool nn_check_epsilon(nn_model *model, const char *what, const char *name, double epsilon) {
    if (epsilon > 0 && isfinite(epsilon)) return true;
    ag_fail(nn_model_tape(model), AG_ERR_VALUE, "%s %.80s: an epsilon of %g, not %s", what, name == NULL ? "" : name,
            epsilon, isfinite(epsilon) ? "above 0" : "a finite number");
    return false;
}

nn_dropout nn_part_dropout(nn_model *model, const char *name, const char *suffix, double probability) {
    nn_dropout layer = {model, 0, 0};
    char *full = nn_join_names(model, name, suffix);
    if (full != NULL) layer = nn_dropout_init(model, full, probability);
    nn_release(full);
    return layer;
}
