/* The table of closed forms. */
#include "nn/forms/forms_impl.h"

#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

#define ARGUMENT(name, shape, distribution)                                                                            \
    { name, shape, NN_##distribution, false }
#define CONSTANT(name, shape, distribution)                                                                            \
    { name, shape, NN_##distribution, true }
#define ARGUMENTS(...)                                                                                                 \
    COUNT(((nn_argument[]){__VA_ARGS__})), { __VA_ARGS__ }

static const nn_closed_form forms[] = {
#define NN_FORM(name, formula, source, arguments)                                                                      \
    {#name, formula, source, arguments, nn_form_##name##_record, nn_form_##name##_value, nn_form_##name##_derivative},
#include "nn/forms/catalogue.def"
#undef NN_FORM
};

const nn_closed_form *nn_closed_forms(int *count) {
    if (count != NULL) *count = COUNT(forms);
    return forms;
}

const nn_closed_form *nn_closed_form_find(const char *name) {
    for (int i = 0; name != NULL && i < COUNT(forms); i++)
        if (strcmp(forms[i].name, name) == 0) return &forms[i];
    return NULL;
}
