#include "nn/shapes.h"

#include <inttypes.h>

nn_shape_text nn_show_shape(ag_shape shape) {
    nn_shape_text s = {"("};
    for (int i = 0; i < shape.rank; i++) {
        size_t length = strlen(s.text);
        snprintf(s.text + length, sizeof s.text - length, "%s%" PRId64, i > 0 ? ", " : "", shape.dim[i]);
    }
    strcat(s.text, ")");
    return s;
}

bool nn_same_shape(ag_shape a, ag_shape b) {
    bool same = a.rank == b.rank;
    for (int i = 0; same && i < a.rank; i++) same = a.dim[i] == b.dim[i];
    return same;
}

ag_var nn_inert(ag_var x) { return ag_tape_of(x) == NULL ? ag_num(0) : ag_constant(ag_tape_of(x), 0); }
