/* Every form of catalogue.def has three functions: nn_form_NAME_record, _value and _derivative (see nn_closed_form). */
#ifndef NN_FORMS_IMPL_H
#define NN_FORMS_IMPL_H

#include "nn/forms/formulas.h"
#include "nn/nn.h"

#define NN_RECORD(name) ag_var nn_form_##name##_record(const ag_var *x)
#define NN_VALUE(name) void nn_form_##name##_value(nn_sizes s, const double *const *x, double *y)
#define NN_DERIVATIVE(name) void nn_form_##name##_derivative(nn_sizes s, const double *const *x, double *const *d)

#define NN_FORM(name, ...)                                                                                             \
    NN_RECORD(name);                                                                                                   \
    NN_VALUE(name);                                                                                                    \
    NN_DERIVATIVE(name);
#include "nn/forms/catalogue.def"
#undef NN_FORM

enum { MAX_ROWS = 2 * NN_MAX_SIZE }; /* of labels */

/* The labels of one-hot rows, for the tape. Returns how many there are. */
static inline int64_t read_labels(ag_var rows, int64_t *labels) {
    double y[MAX_ROWS * NN_MAX_SIZE] = {0};
    ag_shape shape = ag_shape_of(rows);
    int64_t count = ag_count(rows);
    if (shape.rank != 2 || count > MAX_ROWS * NN_MAX_SIZE) return 0;
    ag_read(rows, y);
    for (int64_t i = 0; i < count; i++)
        if (y[i] == 1) labels[i / shape.dim[1]] = i % shape.dim[1];
    return shape.dim[0];
}

#endif
