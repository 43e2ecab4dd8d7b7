/* Invented districts for examples/tabular.c, in a file like that of the real ones. */
#ifndef EXAMPLES_DISTRICTS_H
#define EXAMPLES_DISTRICTS_H

#include "common.h"

enum { INVENTED = 2000 };

/* Districts whose price is known but for noise. Every tenth has no number of bedrooms. */
static inline void invent_districts(const char *path, const char *const *columns, nn_error *e) {
    static const char *const places[] = {"INLAND", "NEAR BAY", "NEAR OCEAN"};
    FILE *file = fopen(path, "w");
    uint64_t state = 1;
    if (file == NULL) {
        nn_fail(e, AG_ERR_FILE, "%s cannot be written", path);
        return;
    }
    for (int k = 0; k < 10; k++) fprintf(file, "%s%c", columns[k], k < 9 ? ',' : '\n');
    for (int i = 0; i < INVENTED; i++) {
        int place = (int)(3 * uniform(&state));
        double x = -124 + 10 * uniform(&state), y = 32 + 10 * uniform(&state), age = 1 + floor(51 * uniform(&state));
        double homes = ceil(50 + 1000 * uniform(&state)), income = 1 + 9 * uniform(&state) * uniform(&state);
        double value = 30000 + 40000 * income * (1 + 0.4 * place) + 20000 * sin(x) * cos(y) + 10000 * normal(&state);
        fprintf(file, "%.2f,%.2f,%g,%g,", x, y, age, ceil(homes * (4 + 2 * uniform(&state))));
        if (i % 10 != 0) fprintf(file, "%g", ceil(homes * 1.1));
        fprintf(file, ",%g,%g,%.4f,%s,%.0f\n", ceil(homes * 3), homes, income, places[place], value);
    }
    if (fclose(file) != 0) nn_fail(e, AG_ERR_FILE, "%s cannot be written", path);
}

#endif
