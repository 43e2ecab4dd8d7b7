#include "nn/losses/checks.h"

#include <inttypes.h>
#include <math.h>

static bool has_shape(ag_var x) { return ag_tape_of(x) != NULL && !ag_is_inert(x); }

bool nn_comparable(const char *what, ag_var predictions, ag_var targets) {
    if (!has_shape(predictions) || !has_shape(targets)) return true;
    ag_shape a = ag_shape_of(predictions), b = ag_shape_of(targets);
    if (nn_same_shape(a, b)) return true;
    ag_fail(ag_tape_of(predictions), AG_ERR_SHAPE, "%s: predictions have shape %s, targets %s; they must be equal",
            what, nn_show_shape(a).text, nn_show_shape(b).text);
    return false;
}

static double number_at(ag_var x, const void *data, int64_t i) {
    return ag_tape_type(ag_tape_of(x)) == AG_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

bool nn_among(const char *what, ag_var targets, double a, double b) {
    if (!has_shape(targets)) return true;
    targets = ag_contiguous(targets);
    const void *data = ag_data(targets);
    int64_t count = ag_count(targets), values = 0;
    for (int64_t i = 0; data != NULL && i < count; i++) values += !isnan(number_at(targets, data, i));
    for (int64_t i = 0; data != NULL && values > 0 && i < count; i++) {
        double x = number_at(targets, data, i);
        if (x == a || x == b) continue;
        ag_fail(ag_tape_of(targets), AG_ERR_VALUE, "%s: target %" PRId64 " is %g, not %g or %g", what, i,
                isnan(x) ? NAN : x, a, b);
        return false;
    }
    return true;
}

bool nn_one_a_row(const char *what, const char *name, ag_var x, ag_var of) {
    if (!has_shape(of)) return true;
    ag_shape rows = ag_shape_of(of), shape = rows;
    if (shape.rank > 0) shape.rank--;
    if (rows.rank > 0 && (!has_shape(x) || nn_same_shape(ag_shape_of(x), shape))) return true;
    ag_fail(ag_tape_of(of), AG_ERR_SHAPE,
            "%s: %s of shape %s do not go with shape %s, which has one of them for each row", what, name,
            nn_show_shape(ag_shape_of(x)).text, nn_show_shape(rows).text);
    return false;
}
