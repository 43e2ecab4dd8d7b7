/* Numbers as they were printed: their value, and how much their last digit is worth. */
#ifndef NN_CHECK_LITERAL_H
#define NN_CHECK_LITERAL_H

#include <autograd/autograd.h>

/* Reads a number ("-0.34", "3", "1.5e-3") at *text and moves *text behind it. `unit` becomes one unit of its last
 * printed digit (0.01, 0, 0.0001), 0 for a number without a decimal point: that is exact. False if there is no
 * number, or one outside of double's range. */
bool nn_literal_number(const char **text, double *value, double *unit);

/* Reads a whole text that is a number, a vector "[a, b]" or a matrix "[[a, b], [c, d]]" of numbers. At most `capacity`
 * values and units are written, row-major. False if it is none of these or too large. */
bool nn_literal_array(const char *text, int64_t capacity, ag_shape *shape, double *value, double *unit);

#endif
