#include "nn/losses/checks.h"

static bool has_shape(ag_var x) { return x.tape != NULL && !ag_is_inert(x); }

bool nn_comparable(const char *what, ag_var predictions, ag_var targets) {
    if (!has_shape(predictions) || !has_shape(targets)) return true;
    ag_shape a = ag_shape_of(predictions), b = ag_shape_of(targets);
    if (nn_same_shape(a, b)) return true;
    ag_fail(predictions.tape, AG_ERR_SHAPE, "%s: predictions have shape %s, targets %s; they must be equal", what,
            nn_show_shape(a).text, nn_show_shape(b).text);
    return false;
}

bool nn_one_a_row(const char *what, const char *name, ag_var x, ag_var of) {
    if (!has_shape(of)) return true;
    ag_shape rows = ag_shape_of(of), shape = rows;
    if (shape.rank > 0) shape.rank--;
    if (rows.rank > 0 && (!has_shape(x) || nn_same_shape(ag_shape_of(x), shape))) return true;
    ag_fail(of.tape, AG_ERR_SHAPE, "%s: %s of shape %s do not go with shape %s, which has one of them for each row",
            what, name, nn_show_shape(ag_shape_of(x)).text, nn_show_shape(rows).text);
    return false;
}
