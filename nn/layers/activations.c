/* Activations by name or number. */
#include "nn/nn.h"

#include <math.h>

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
    if (ag_tape_of(x) == NULL) return ag_num((double)NAN);
    ag_fail(ag_tape_of(x), AG_ERR_VALUE, "activate: there is no activation %d", (int)activation);
    return ag_constant(ag_tape_of(x), 0); /* inert */
}

const char *nn_activation_name(nn_activation activation) {
    return (int)activation >= 0 && (int)activation < COUNT ? names[activation] : NULL;
}

bool nn_activation_find(const char *name, nn_activation *activation) {
    for (int i = 0; name != NULL && i < COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            if (activation != NULL) *activation = (nn_activation)i;
            return true;
        }
    return false;
}
