/* For tests of programs: special numbers, bits, scalar programs, what a program says when it is listed. */
#ifndef PROGRAMS_H
#define PROGRAMS_H

#include "operations.h"

#include <autograd/program/program_impl.h>

static const double SPECIAL[] = {0.0,      -0.0,      1,   -1,        2,          -2,       0.5,      -3.75,
                                 INFINITY, -INFINITY, NAN, 0x1p-1074, -0x1p-1022, 0x1p1023, 0x1p-149, 0x1.5p127};
enum { SPECIALS = sizeof SPECIAL / sizeof *SPECIAL };

/* The same number: NaNs are one, and zeros have signs. */
static UNUSED_OK bool same_bits(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

/* x y + z rounded once is as good as rounded twice. */
static UNUSED_OK bool is_product_sum(ag_type type, double x, double y, double z, double got) {
    if (type == AG_F64) return same_bits(got, fma(x, y, z));
    return same_bits(got, (double)fmaf((float)x, (float)y, (float)z));
}

static UNUSED_OK void program_fine_(const char *what, const ag_program *p) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s", what, ag_program_message(p));
}

/* That a program is in error, with this sentence; it is freed. */
static UNUSED_OK void check_program_failure(ag_program *p, ag_status status, const char *sentence) {
    assert_string_equal(ag_program_message(p), sentence);
    assert_int_equal(ag_program_status(p), status);
    ag_program_free(p);
}

/* One run of a program in any precision; inputs and outputs one after the other. */
static UNUSED_OK void run_once(const ag_program *p, const double *x, double *y) {
    run_numbers("program", "run", p, 0, false, x, y);
}

/* A program of n scalars, kept with its runner for many runs. */
typedef struct scalar_program {
    ag_program *p;
    ag_runner *r;
} scalar_program;

static UNUSED_OK scalar_program scalar_program_new(ag_type type, ag_model f, void *context, int nx, int ny) {
    ag_port in[8] = {{0}};
    scalar_program s = {.p = ag_program_trace(type, f, context, in, nx, NULL, ny)};
    program_fine_("trace", s.p);
    s.r = ag_runner_new(s.p);
    return s;
}

static UNUSED_OK void scalar_program_free(scalar_program *s) {
    ag_runner_free(s->r);
    ag_program_free(s->p);
}

static UNUSED_OK void run_scalars(const scalar_program *s, const double *x, double *y) {
    ag_status status;
    if (ag_program_type(s->p) == AG_F64) {
        const double *xs[8];
        double *ys[8];
        for (int k = 0; k < 8; k++) xs[k] = x + k, ys[k] = y + k;
        status = ag_run(s->r, xs, ys);
    } else {
        float in[8] = {0}, out[8];
        const float *xs[8];
        float *ys[8];
        for (int k = 0; k < 8; k++) xs[k] = in + k, ys[k] = out + k;
        for (int k = 0; k < ag_program_inputs(s->p); k++) in[k] = (float)x[k];
        status = ag_run_f32(s->r, xs, ys);
        for (int k = 0; k < ag_program_outputs(s->p); k++) y[k] = (double)out[k];
    }
    if (status != AG_OK) fail_msg("run: %s", ag_runner_message(s->r));
}

#endif
