/* nn/plot: curves as SVG, images as PNG. Files are written whole or not at all; errors stick to the nn_error. */
#ifndef NN_PLOT_H
#define NN_PLOT_H

#include <nn/data.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nn_curve {
    const char *name; /* for the legend; or NULL */
    int64_t count;
    const double *x; /* NULL: 1, 2, ... */
    const double *y; /* what is not finite is a gap, and so is, on a logarithmic axis, what is not positive */
} nn_curve;

typedef struct nn_curves_options {
    const char *title, *x_label, *y_label; /* UTF-8; or NULL */
    bool log_x, log_y;
    int width, height; /* 0: 720, 400 */
} nn_curves_options;

/* A picture that is whole by itself, on a light or a dark background, as the reader's browser has it. Options may be NULL.
 * Of points that are too close to be told apart, the outermost are drawn: a long curve is no large file. */
NN_API void nn_curves_svg(const char *path, const nn_curve *curves, int count, const nn_curves_options *options,
                          nn_error *e);

/* U8 numbers of shape (height, width), grey, or (height, width, 3), red, green and blue. */
NN_API void nn_png_write(const char *path, const nn_array *image, nn_error *e);
/* Images side by side, as nn_png_write takes them: (n, height, width) or (n, 1 or 3, height, width), floats from 0, black, to
 * 1, or integers to 255, beyond which they are cut off. Columns 0: about as many as rows. Each pixel becomes a square of
 * `scale`, at least 1. */
NN_API nn_array nn_image_grid(const nn_array *images, int columns, int scale, nn_error *e);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
