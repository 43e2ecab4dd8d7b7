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

/* The end of main: an error, or a result that should have been better, is a failure. */
static inline int end(const nn_error *e, bool good) {
    if (e->status != AG_OK) fprintf(stderr, "error: %s\n", e->message);
    else if (!good) fprintf(stderr, "That is not as good as it should be.\n");
    return e->status == AG_OK && good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The same after nn_fit: a measure that is NaN was not reached, because of an interrupt. */
static inline int end_of_training(const nn_error *e, double measure, bool good) {
    if (e->status != AG_OK || !isnan(measure)) return end(e, good);
    fprintf(stderr, "Interrupted.\n");
    return EXIT_FAILURE;
}

#endif
