/* A line search for the strong Wolfe conditions: a step t along a direction at which a function is sufficiently less than
 * at 0, f(t) <= f(0) + 1e-4 t f'(0), and much flatter, |f'(t)| <= 0.9 |f'(0)|. */
#ifndef NN_LINE_SEARCH_IMPL_H
#define NN_LINE_SEARCH_IMPL_H

#include <stdbool.h>

/* A point on the line. */
typedef struct nn_line_point {
    double t, f, slope;
    int gradient; /* the place where the caller keeps the gradient there */
} nn_line_point;

typedef struct nn_line {
    nn_line_point start; /* t = 0 */
    double longest;      /* greatest absolute element of the direction */
    double change;       /* ends when the bracket is shorter than this, by that element */
    int evaluations;     /* were used */
    /* Sets f, slope and a gradient at point->t, where `gradient` tells the place to keep it; f is infinite where there is
     * none. False ends the search. */
    bool (*evaluate)(void *context, nn_line_point *point);
    void *context;
} nn_line;

/* From a first trial t. Gradients are kept at places 0 to 3; that of the start stays at its own. *found is the best point,
 * maybe the start itself; false if evaluate was. */
bool nn_line_search(nn_line *line, double t, nn_line_point *found);

#endif
