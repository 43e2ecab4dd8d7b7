/* For tests of printed and compiled programs: a cache that goes away, comparison with the machine, and a file of all that was
 * printed, which `clean` compiles. */
#ifndef PRINTED_H
#define PRINTED_H

#include "autograd/ops/ops_impl.h"
#include "folder.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *all_printed;
static int printed_count;

/* The folder is the cache, too. */
static int open_printed(void **unused) {
    char path[64];
    if (open_folder(unused) != 0) return 1;
    if (!have_compiler) print_message("there is no C compiler '%s': what needs one is skipped\n", compiler());
    snprintf(path, sizeof path, "%s/all.c", folder);
    all_printed = fopen(path, "w");
    return all_printed == NULL;
}

/* ---- comparison ---- */

static double difference(ag_type type, double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? 0 : HUGE_VAL;
    if (a == b) return 0;
    double scale = fmax(fmax(fabs(a), fabs(b)), type == AG_F64 ? 1e-300 : 1e-30);
    return fabs(a - b) / fmax(scale, 1);
}

static int64_t count_of(ag_shape shape) {
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    return n;
}

typedef struct data {
    const void *xs[32];
    void *ys[32], *zs[32]; /* of the machine, of C */
} data;

static double drawn(uint32_t *random) {
    *random = *random * 1664525u + 1013904223u;
    return 0.25 + (*random >> 8) / 16777216.0 * 1.5;
}

static data open_data(const ag_program *p) {
    data d;
    uint32_t random = 7;
    size_t size = ag_type_size(ag_program_type(p));
    assert_true(ag_program_inputs(p) <= 32 && ag_program_outputs(p) <= 32);
    for (int k = 0; k < ag_program_inputs(p); k++) {
        int64_t n = count_of(ag_program_input(p, k).shape);
        void *x = calloc((size_t)n + 1, size);
        for (int64_t i = 0; i < n; i++) ag_store(ag_program_type(p), x, i, drawn(&random));
        d.xs[k] = x;
    }
    for (int k = 0; k < ag_program_outputs(p); k++) {
        size_t n = (size_t)count_of(ag_program_output(p, k).shape) + 1;
        d.ys[k] = calloc(n, size);
        d.zs[k] = calloc(n, size);
    }
    return d;
}

static void close_data(const ag_program *p, data *d) {
    for (int k = 0; k < ag_program_inputs(p); k++) free((void *)(uintptr_t)d->xs[k]);
    for (int k = 0; k < ag_program_outputs(p); k++) {
        free(d->ys[k]);
        free(d->zs[k]);
    }
}

static void assert_same(const char *what, const ag_program *p, const data *d) {
    ag_type type = ag_program_type(p);
    double most = type == AG_F64 ? 2e-13 : 2e-5;
    for (int k = 0; k < ag_program_outputs(p); k++)
        for (int64_t i = 0; i < count_of(ag_program_output(p, k).shape); i++) {
            double y = ag_load(type, d->ys[k], i), z = ag_load(type, d->zs[k], i);
            if (!(difference(type, y, z) <= most))
                fail_msg("%s: output %s[%d]: machine %.17g, C %.17g", what, ag_program_output(p, k).name, (int)i, y, z);
        }
}

/* ---- checks of one program ---- */

/* Prints a program to the file of all of them, which `clean` compiles. */
static void print_too(const char *what, const ag_program *p, const char *name, bool rows) {
    char own[32];
    snprintf(own, sizeof own, "f%d", ++printed_count);
    ag_printed printed = ag_program_print_c(p, name ? name : own, &(ag_c_options){.rows = rows}, all_printed);
    if (printed.status != AG_OK) fail_msg("%s: %s", what, printed.message);
}

/* One file with everything that was printed compiles without a warning. */
static void clean(void **unused) {
    static const char *const compilers[] = {"gcc", "clang"};
    char command[400];
    (void)unused;
    assert_int_equal(fclose(all_printed), 0);
    all_printed = NULL;
    for (int k = 0; k < 2; k++) {
        snprintf(command, sizeof command,
                 "! command -v %s >/dev/null || %s -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror "
                 "-fsyntax-only "
                 "%s/all.c",
                 compilers[k], compilers[k], folder);
        if (system(command) != 0) fail_msg("%s warns", compilers[k]);
    }
}

static void run_machine(const ag_program *p, data *d) {
    ag_runner *r = ag_runner_new(p);
    ag_status s = ag_program_type(p) == AG_F64
                      ? ag_run(r, (const double *const *)(void *)d->xs, (double *const *)(void *)d->ys)
                      : ag_run_f32(r, (const float *const *)(void *)d->xs, (float *const *)(void *)d->ys);
    if (s != AG_OK) fail_msg("%s", ag_runner_message(r));
    ag_runner_free(r);
}

static const char *const quick[] = {"-O0", "-ffp-contract=off", NULL};

/* Takes the program. */
static void check(const char *what, ag_program *p) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s", what, ag_program_message(p));
    print_too(what, p, NULL, true);
    if (have_compiler) {
        ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick});
        if (ag_compiled_status(c) != AG_OK) fail_msg("%s: %s", what, ag_compiled_message(c));
        data d = open_data(p);
        run_machine(p, &d);
        ag_status s = ag_program_type(p) == AG_F64
                          ? ag_compiled_run(c, (const double *const *)(void *)d.xs, (double *const *)(void *)d.zs)
                          : ag_compiled_run_f32(c, (const float *const *)(void *)d.xs, (float *const *)(void *)d.zs);
        assert_int_equal(s, AG_OK);
        assert_same(what, p, &d);
        close_data(p, &d);
        ag_compiled_free(c);
    }
    ag_program_free(p);
}

#endif
