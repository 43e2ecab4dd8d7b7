/* Shapes in conditions and sentences. */
#ifndef NN_SHAPES_H
#define NN_SHAPES_H

#include <nn/nn.h>

/* A shape as "(2, 3)". */
typedef struct nn_shape_text {
    char text[AG_MAX_RANK * 21 + 4]; /* 19 digits and ", " a dimension */
} nn_shape_text;
nn_shape_text nn_show_shape(ag_shape shape);

bool nn_same_shape(ag_shape a, ag_shape b);

/* A result for what cannot be computed: inert if x is of a tape. */
ag_var nn_inert(ag_var x);

#endif
