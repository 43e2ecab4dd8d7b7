/* Numbers that PyTorch computed, from a file in tests/torch, or in the folder that TORCH_NUMBERS in the environment names.
 * A line: kind, name, f64 or f32, step, numbers. */
#ifndef TORCH_NUMBERS_H
#define TORCH_NUMBERS_H

#include "derivatives.h"

enum { TORCH_MOST = 64 };

typedef struct torch_row {
    char kind[32], name[64];
    ag_type type;
    int step, count;
    double x[TORCH_MOST];
} torch_row;

static FILE *torch_open(const char *file) {
    const char *folder = getenv("TORCH_NUMBERS"), *slash = strrchr(__FILE__, '/');
    char path[4096];
    if (folder != NULL) snprintf(path, sizeof path, "%s/%s", folder, file);
    else snprintf(path, sizeof path, "%.*storch/%s", slash ? (int)(slash - __FILE__) + 1 : 0, __FILE__, file);
    FILE *in = fopen(path, "r");
    if (in == NULL) fail_msg("%s cannot be read", path);
    return in;
}

static bool torch_read(FILE *in, torch_row *row) {
    static char line[8192];
    do {
        if (fgets(line, sizeof line, in) == NULL) return false;
    } while (line[0] == '#');
    char type[8];
    int used = 0;
    if (sscanf(line, "%31s %63s %7s %d%n", row->kind, row->name, type, &row->step, &used) != 4)
        fail_msg("what is \"%s\"?", line);
    row->type = strcmp(type, "f32") == 0 ? AG_F32 : AG_F64;
    row->count = 0;
    for (char *at = line + used, *end; row->count < TORCH_MOST; at = end, row->count++) {
        row->x[row->count] = strtod(at, &end);
        if (end == at) break;
    }
    assert_in_range(row->count, 1, TORCH_MOST - 1);
    return true;
}

/* The row of this kind, name, type and step; fails if there is none. */
static UNUSED_OK torch_row torch_find(const char *file, const char *kind, const char *name, ag_type type, int step) {
    FILE *in = torch_open(file);
    torch_row row;
    while (torch_read(in, &row))
        if (strcmp(row.kind, kind) == 0 && strcmp(row.name, name) == 0 && row.type == type && row.step == step) {
            fclose(in);
            return row;
        }
    fail_msg("%s has no %s %s at step %d", file, kind, name, step);
    return row;
}

/* Relative to the numbers, and to 1 where they are smaller: 1e-5 in f32, 1e-10 in f64. */
static UNUSED_OK void torch_compare(const torch_row *row, const double *got) {
    double tolerance = row->type == AG_F64 ? 1e-10 : 1e-5;
    for (int i = 0; i < row->count; i++)
        if (!(number_error(got[i], row->x[i]) <= tolerance))
            fail_msg("%s %s, %s, step %d: number %d is %.17g; PyTorch has %.17g", row->kind, row->name,
                     row->type == AG_F64 ? "f64" : "f32", row->step, i, got[i], row->x[i]);
}

#endif
