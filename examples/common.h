/* What the examples share that train a model on data: their argument, their random numbers, their end. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <nn/nn.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The folder after --data, or NULL. Any other argument prints `help` and ends the program. */
static inline const char *data_folder(int argc, char **argv, const char *help) {
    if (argc == 3 && strcmp(argv[1], "--data") == 0) return argv[2];
    if (argc == 1) return NULL;
    bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: %s [--data FOLDER]\n%s", argv[0], help);
    exit(asked ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* A file in a folder; valid until the next call. */
static inline const char *path_in(const char *folder, const char *file) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return path;
}

/* Uniform in 0..1, always the same numbers (a 64-bit linear congruential generator, Knuth's MMIX). */
static inline double uniform(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 11) * 0x1p-53;
}

/* Mean 0, standard deviation 1 (Box, Muller, 1958). */
static inline double normal(uint64_t *state) {
    double length = sqrt(-2 * log(1 - uniform(state)));
    return length * cos(2 * 3.14159265358979 * uniform(state));
}

/* One line of a drawing: y[i] at x0 + i * dx; or, if dots is set, a dot for each. */
typedef struct line {
    const char *name, *colour;
    const double *y;
    int count, stride;
    double x0, dx;
    bool dots;
} line;

/* An SVG of some lines, 720 x 400, axes from the least to the greatest number. */
static inline void draw_lines(const char *path, const char *title, const line *lines, int n, nn_error *e) {
    double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < lines[k].count; i++) {
            double x = lines[k].x0 + i * lines[k].dx, y = lines[k].y[i * lines[k].stride];
            x0 = fmin(x0, x), x1 = fmax(x1, x), y0 = fmin(y0, y), y1 = fmax(y1, y);
        }
    FILE *f = e->status == AG_OK ? fopen(path, "w") : NULL;
    if (f == NULL) {
        nn_fail(e, AG_ERR_FILE, "%s cannot be written", path);
        return;
    }
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 720 400' font-family='sans-serif' font-size='13'>\n"
            "<rect width='720' height='400' fill='white'/><text x='60' y='20'>%s</text>\n",
            title);
    fprintf(f,
            "<path d='M60 30V360H700' fill='none' stroke='gray'/><text x='5' y='40'>%.4g</text>"
            "<text x='5' y='360'>%.4g</text><text x='60' y='380'>%.4g</text><text x='670' y='380'>%.4g</text>\n",
            y1, y0, x0, x1);
    for (int k = 0; k < n; k++) {
        const line *l = &lines[k];
        fprintf(f, "<text x='%d' y='20' fill='%s'>%s</text>\n", 400 + 100 * k, l->colour, l->name);
        if (!l->dots) fprintf(f, "<polyline fill='none' stroke='%s' points='", l->colour);
        for (int i = 0; i < l->count; i++) {
            double x = 60 + 640 * (l->x0 + i * l->dx - x0) / (x1 - x0),
                   y = 360 - 330 * (l->y[i * l->stride] - y0) / (y1 - y0);
            if (l->dots) fprintf(f, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", x, y, l->colour);
            else fprintf(f, "%.1f,%.1f ", x, y);
        }
        if (!l->dots) fprintf(f, "'/>\n");
    }
    fprintf(f, "</svg>\n");
    if (fclose(f) != 0) nn_fail(e, AG_ERR_FILE, "%s cannot be written", path);
}

/* The end of main: an error, or a result that should have been better, is a failure. */
static inline int end(const nn_error *e, bool good, const char *result) {
    if (e->status != AG_OK) fprintf(stderr, "error: %s\n", e->message);
    else printf("%s%s\n", result, good ? "" : ": not as good as it should be");
    return e->status == AG_OK && good ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
