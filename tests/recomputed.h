/* That a program gives the same numbers when values are computed again instead of being kept. */
#ifndef RECOMPUTED_H
#define RECOMPUTED_H

#include "programs.h"

#include <autograd/program/runner_impl.h>

/* Of a plan: all outputs, one after the other, of inputs that lie so. Returns how many numbers. */
static UNUSED_OK int64_t run_plan(const ag_program *p, int64_t far, const double *in, double *out) {
    enum { PORTS = 8 };
    const void *xs[PORTS];
    void *ys[PORTS];
    int64_t nx = 0, ny = 0, at = 0;
    int inputs = ag_program_inputs(p), outputs = ag_program_outputs(p);
    size_t size = ag_type_size(ag_program_type(p));
    assert_true(inputs <= PORTS && outputs <= PORTS);
    for (int k = 0; k < inputs; k++) nx += shape_count(ag_program_input(p, k).shape);
    for (int k = 0; k < outputs; k++) ny += shape_count(ag_program_output(p, k).shape);
    char *x = calloc((size_t)(nx + ny) + 1, size), *y = x + (size_t)nx * size;
    assert_non_null(x);
    for (int64_t i = 0; i < nx; i++) ag_store(ag_program_type(p), x, i, in[i]);
    for (int k = 0; k < inputs; k++) {
        xs[k] = x + (size_t)at * size;
        at += shape_count(ag_program_input(p, k).shape);
    }
    for (int k = 0; k < outputs; k++) {
        ys[k] = x + (size_t)at * size;
        at += shape_count(ag_program_output(p, k).shape);
    }
    ag_runner *r = ag_runner_plan(p, false, far);
    if (ag_runner_run(r, ag_program_type(p), xs, ys) != AG_OK) fail_msg("run: %s", ag_runner_message(r));
    for (int64_t i = 0; i < ny; i++) out[i] = ag_load(ag_program_type(p), y, i);
    ag_runner_free(r);
    free(x);
    return ny;
}

/* Zeros are equal, whatever their sign. */
static UNUSED_OK void check_recomputed(const char *label, const ag_program *p, const double *in, int64_t most_out) {
    static const int64_t far[] = {1, 1 << 11, 1 << 13, 1 << 15, 1 << 17};
    double *want = new_numbers(most_out), *got = new_numbers(most_out);
    int64_t n = run_plan(p, INT64_MAX, in, want);
    assert_true(n <= most_out);
    for (size_t f = 0; f < sizeof far / sizeof *far; f++) {
        (void)run_plan(p, far[f], in, got);
        for (int64_t i = 0; i < n; i++)
            if (got[i] != want[i] && !(isnan(got[i]) && isnan(want[i])))
                fail_msg("%s, computed again from %lld bytes on: output %lld is %.17g, not %.17g", label,
                         (long long)far[f], (long long)i, got[i], want[i]);
    }
    free(want);
    free(got);
}

#endif
