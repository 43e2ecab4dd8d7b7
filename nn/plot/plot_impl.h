/* Axes of plots. */
#ifndef NN_PLOT_IMPL_H
#define NN_PLOT_IMPL_H

#include "nn/data/data_impl.h"
#include "nn/plot.h"

enum { NN_MOST_TICKS = 12 };

typedef struct nn_axis {
    bool log, any; /* any: it has seen a number */
    double low, high;
    int count;
    struct {
        double at;
        char text[32];
    } ticks[NN_MOST_TICKS];
} nn_axis;

/* Whether a number has a place on an axis of that kind. */
bool nn_axis_has(const nn_axis *axis, double number);
void nn_axis_see(nn_axis *axis, double number);
/* When it has seen all: makes room at its ends, as a part of its length, and places about `wanted` ticks. */
void nn_axis_finish(nn_axis *axis, double margin, int wanted);
/* Where a number is, 0 to 1. */
double nn_axis_place(const nn_axis *axis, double number);

#endif
