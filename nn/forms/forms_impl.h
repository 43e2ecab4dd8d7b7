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

#endif
