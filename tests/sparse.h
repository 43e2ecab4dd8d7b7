/* For tests of sparse derivatives: their patterns' form, and their numbers against dense derivatives. */
#ifndef SPARSE_H
#define SPARSE_H

#include "derivatives.h"

#include <time.h>

static UNUSED_OK void check_program(const char *what, const ag_program *p) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s", what, ag_program_message(p));
}

static UNUSED_OK void check_pattern(const char *what, const ag_sparsity *s) {
    if (s->status != AG_OK) fail_msg("%s: %s", what, s->message);
    assert_int_equal(s->start[0], 0);
    assert_int_equal(s->start[s->rows], s->nonzeros);
    for (int64_t i = 0; i < s->rows; i++)
        for (int32_t k = s->start[i]; k < s->start[i + 1]; k++) {
            assert_int_equal(s->row[k], i);
            assert_true(s->column[k] >= 0 && s->column[k] < s->columns);
            assert_true(k == s->start[i] || s->column[k - 1] < s->column[k]);
        }
}

static UNUSED_OK bool has(const ag_sparsity *s, int64_t i, int64_t j) {
    for (int32_t k = s->start[i]; k < s->start[i + 1]; k++)
        if (s->column[k] == j) return true;
    return false;
}

static UNUSED_OK ag_program *program_of(ag_model f, void *context, ag_shape shape) {
    ag_program *p = ag_program_trace(AG_F64, f, context, &(ag_port){.name = "x", .shape = shape}, 1, NULL, 1);
    check_program("trace", p);
    return p;
}

/* ---- running ---- */

enum { MOST_PORTS = 12 };

/* The last output of a program at a point; the others are not asked for. */
static UNUSED_OK void run_last(const ag_program *p, const double *const *xs, double *last) {
    double *ys[MOST_PORTS] = {NULL};
    ys[ag_program_outputs(p) - 1] = last;
    ag_runner *r = ag_runner_new(p);
    if (ag_run(r, xs, ys) != AG_OK) fail_msg("run: %s", ag_runner_message(r));
    ag_runner_free(r);
}

/* Every number of the dense derivative is that of the sparse one, and 0 where that has none. */
static UNUSED_OK void compare(const char *what, const ag_program *dense, const ag_program *sparse, const ag_sparsity *s,
                              const double *const *xs) {
    double *all = new_numbers(s->rows * s->columns), *some = new_numbers(s->nonzeros);
    run_last(dense, xs, all);
    run_last(sparse, xs, some);
    for (int64_t i = 0; i < s->rows; i++)
        for (int32_t k = s->start[i]; k < s->start[i + 1]; k++) {
            double *right = &all[i * s->columns + s->column[k]];
            if (number_error(some[k], *right) > 1e-9)
                fail_msg("%s: entry (%d, %d) is %.17g, not %.17g", what, s->row[k], s->column[k], some[k], *right);
            *right = 0;
        }
    for (int64_t i = 0; i < s->rows * s->columns; i++)
        if (all[i] != 0)
            fail_msg("%s: entry (%d, %d), %.17g, is missing", what, (int)(i / s->columns), (int)(i % s->columns),
                     all[i]);
    free(all);
    free(some);
}

/* Takes the programs and the pattern. */
static void compare_and_free(const char *what, ag_program *dense, ag_program *sparse, ag_sparsity *s,
                             const double *const *xs) {
    check_program(what, sparse);
    check_program(what, dense);
    check_pattern(what, s);
    compare(what, dense, sparse, s, xs);
    ag_program_free(sparse);
    ag_program_free(dense);
    ag_sparsity_free(s);
}

static UNUSED_OK void compare_jacobian(const char *what, const ag_program *p, int output, int input,
                                       const double *const *xs) {
    ag_sparsity *s;
    ag_program *sparse = ag_program_sparse_jacobian(p, output, input, &s);
    compare_and_free(what, ag_program_jacobian(p, output, input), sparse, s, xs);
}

static UNUSED_OK void compare_hessian(const char *what, const ag_program *p, int input, const double *const *xs) {
    ag_sparsity *s;
    ag_program *sparse = ag_program_sparse_hessian(p, input, &s);
    compare_and_free(what, ag_program_hessian(p, input), sparse, s, xs);
}

/* At random points. */
static UNUSED_OK void compare_at_points(const char *what, const ag_program *p, bool hessian) {
    int64_t n = shape_count(ag_program_input(p, 0).shape);
    double *x = new_numbers(n);
    uint64_t state = 5;
    for (int point = 0; point < 2; point++) {
        for (int64_t i = 0; i < n; i++) x[i] = random_number(&state, 0.2, 1.2);
        if (hessian) compare_hessian(what, p, 0, (const double *[]){x});
        else compare_jacobian(what, p, 0, 0, (const double *[]){x});
    }
    free(x);
}

static UNUSED_OK double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
