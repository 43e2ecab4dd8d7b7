/* A test on tapes of both precisions, reserved and not; and comparisons of single numbers. */
#ifndef ON_EACH_TAPE_H
#define ON_EACH_TAPE_H

#include "derivatives.h"

static UNUSED_OK void check_number(const char *what, double got, double want) {
    if (!(number_error(got, want) <= 1e-12)) fail_msg("%s is %.17g, should be %.17g", what, got, want);
}

static UNUSED_OK void check_grads(const char *what, ag_var x, const double *want) {
    double got[64] = {0};
    int64_t n = ag_count(x);
    assert_in_range(n, 1, 64);
    ag_read_grad(x, got);
    check_numbers(what, "adjoint", got, want, n, 1e-12);
}

static UNUSED_OK void check_read(const char *what, ag_var x, const double *want) {
    double got[64] = {0};
    int64_t n = ag_count(x);
    assert_in_range(n, 1, 64);
    ag_read(x, got);
    check_numbers(what, "value", got, want, n, 1e-12);
}

/* A test gets a tape of each kind in turn. */
typedef void tape_test(ag_tape *t);

static UNUSED_OK void on_each_tape(tape_test *test) {
    for (int i = 0; i < 4; i++) {
        ag_options options = {.type = i % 2 ? AG_F32 : AG_F64, .no_reserve = i >= 2};
        ag_tape *t = ag_tape_new_with(&options);
        test(t);
        check_fine("tape", t);
        ag_tape_free(t);
    }
}

#endif
