/* Errors: each leaves a status and a sentence with operation, shapes and values; after it everything is inert, and
 * nothing is changed, until the tape is recovered or cleared. */
#include "derivatives.h"

/* What the bad calls work on. */
typedef struct fixture {
    ag_tape *t, *other;
    ag_var x, foreign;               /* scalars */
    ag_var v3, v4, m23, m34, square; /* tensors of these shapes; square: (2, 2) */
} fixture;

static void fixture_open(fixture *f, ag_type type) {
    const double data[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    f->t = ag_tape_new(type);
    f->other = ag_tape_new(type);
    f->x = ag_input(f->t, 2);
    f->foreign = ag_input(f->other, 2);
    f->v3 = ag_tensor(f->t, data, AG_SHAPE(3));
    f->v4 = ag_tensor(f->t, data, AG_SHAPE(4));
    f->m23 = ag_tensor(f->t, data, AG_SHAPE(2, 3));
    f->m34 = ag_tensor(f->t, data, AG_SHAPE(3, 4));
    f->square = ag_tensor(f->t, data, AG_SHAPE(2, 2));
}

static void fixture_close(fixture *f) {
    ag_tape_free(f->t);
    ag_tape_free(f->other);
}

/* ---- everything after an error ---- */

enum { USES = 46 };

/* One use of the tape; for a var, what it returned. */
static ag_var use(const fixture *f, int which) {
    ag_var out = f->x;
    const int64_t labels[3] = {0, 1, 0};
    const double data[6] = {0};
    ag_var one = ag_num(1);
    switch (which) {
    case 0: return ag_input(f->t, 1);
    case 1: return ag_constant(f->t, 1);
    case 2: return ag_tensor(f->t, data, AG_SHAPE(2, 3));
    case 3: return ag_constant_tensor_f32(f->t, NULL, AG_SHAPE(3));
    case 4: return ag_full(f->t, 2, AG_SHAPE(3));
    case 5: return ag_eye(f->t, 3);
    case 6: return ag_arange(f->t, 0, 1, 3);
    case 7: return ag_one_hot(f->t, labels, 3, 2);
    case 8: return ag_add(f->x, f->x);
    case 9: return ag_mul(f->x, 2);
    case 10: return ag_div(1, f->x);
    case 11: return ag_fma(f->x, f->x, f->x);
    case 12: return ag_exp(f->x);
    case 13: return ag_pow(f->x, 2);
    case 14: return ag_select(f->x, f->v3, 1);
    case 15: return ag_mul(f->m23, f->v3);
    case 16: return ag_reshape(f->m23, AG_SHAPE(6));
    case 17: return ag_transpose(f->m23);
    case 18: return ag_permute(f->m23, AG_AXES(1, 0));
    case 19: return ag_slice(f->v3, 0, 0, 1, 1);
    case 20: return ag_index(f->m23, 0, 0);
    case 21: return ag_at(f->v3, 0);
    case 22: return ag_expand(f->x, AG_SHAPE(3));
    case 23: return ag_unsqueeze(f->v3, 0);
    case 24: return ag_flip(f->v3, 0);
    case 25: return ag_diagonal(f->square);
    case 26: return ag_contiguous(ag_transpose(f->m23));
    case 27: return ag_sum(f->m23);
    case 28: return ag_max_over(f->m23, AG_AXES(1), true);
    case 29: return ag_argmax(f->m23, 0);
    case 30: return ag_matmul(f->m23, f->v3);
    case 31: return ag_outer(f->v3, f->v4);
    case 32: return ag_softmax(f->m23, 1);
    case 33: return ag_cross_entropy(f->square, labels);
    case 34: return ag_gather(f->v3, 0, labels, 3);
    case 35: return ag_concat(&f->v3, 1, 0);
    case 36: return ag_stack(&f->v3, 1, 0);
    case 37: return ag_pad(f->v3, 0, 1, 1);
    case 38: return ag_tril(f->square, 0);
    case 39: return ag_solve(f->square, ag_index(f->square, 0, 0));
    case 40: return ag_det(f->square);
    case 41: return ag_detach(f->v3);
    case 42: ag_gradient(f->x, &f->x, 1, &out); return out;
    case 43: ag_jvp(&f->x, 1, &f->x, &one, 1, &out); return out;
    case 44: return ag_hessian(f->x, f->x);
    default: return ag_hvp(f->x, f->x, one);
    }
}

static void calls_without_result(const fixture *f) {
    const double data[6] = {-1, -1, -1, -1, -1, -1};
    ag_var one = ag_num(1);
    ag_set(f->x, data);
    ag_set(f->m23, data);
    ag_step(f->x, 1);
    ag_name(f->x, "name");
    ag_backward(f->x);
    ag_sweep(&f->v3, &one, 1, AG_ACCUMULATE);
    ag_mark mark = ag_tape_mark(f->t);
    ag_tape_rewind(f->t, mark);
    ag_pause(f->t);
    ag_resume(f->t);
    ag_tape_trim(f->t);
    ag_fail(f->t, AG_ERR_MEMORY, "a later error");
}

static void check_inert(const fixture *f) {
    char message[640];
    ag_status status = ag_tape_status(f->t);
    ag_stats before = ag_tape_stats(f->t);
    snprintf(message, sizeof message, "%s", ag_tape_message(f->t));
    for (int i = 0; i < USES; i++) {
        ag_var r = use(f, i);
        if (!ag_is_inert(r)) fail_msg("use %d is not inert after \"%s\"", i, message);
    }
    calls_without_result(f);
    assert_int_equal(ag_tape_status(f->t), status);
    assert_string_equal(ag_tape_message(f->t), message);
    ag_stats after = ag_tape_stats(f->t);
    assert_int_equal(after.slots, before.slots);
    assert_int_equal(after.instruction_bytes, before.instruction_bytes);
    assert_int_equal(after.adjoint_bytes, before.adjoint_bytes);
}

/* Recovered, the tape works, and has lost nothing. */
static void check_recovered(const fixture *f) {
    ag_tape_recover(f->t);
    assert_int_equal(ag_tape_status(f->t), AG_OK);
    assert_string_equal(ag_tape_message(f->t), "");
    for (int i = 0; i < USES; i++) {
        ag_var r = use(f, i);
        if (ag_is_inert(r)) fail_msg("use %d after recovery: %s", i, ag_tape_message(f->t));
    }
    ag_var y = ag_mul(ag_sum(ag_matmul(f->m23, f->m34)), f->x);
    ag_backward(y);
    double g[6];
    ag_read_grad(f->m23, g);
    const double want[6] = {20, 52, 84, 20, 52, 84};
    check_numbers("after recovery", "gradient", g, want, 6, 1e-6);
    assert_true(ag_grad(f->x) == 610);
}

/* ---- the errors ---- */

static ag_var with_labels(ag_var logits, int64_t label) {
    const int64_t labels[2] = {0, label};
    return ag_cross_entropy(logits, labels);
}

static ag_var gathered(ag_var x, int axis, int64_t index) { return ag_gather(x, axis, &index, 1); }

static ag_var swept(ag_var y, const ag_var *seed) {
    ag_sweep(&y, seed, 1, AG_RESET);
    return y;
}

static ag_var stale(const fixture *f) {
    ag_mark mark = ag_tape_mark(f->t);
    ag_var y = ag_mul(f->x, f->x);
    ag_tape_rewind(f->t, mark);
    return y;
}

static ag_var outdated_mark(const fixture *f) {
    ag_mark outer = ag_tape_mark(f->t);
    (void)ag_input(f->t, 1);
    ag_mark inner = ag_tape_mark(f->t);
    ag_tape_rewind(f->t, outer);
    ag_tape_rewind(f->t, inner);
    return f->x;
}

static ag_var along(ag_var y, ag_var x, ag_var v) {
    ag_var out;
    ag_jvp(&y, 1, &x, &v, 1, &out);
    return out;
}

static ag_var weighed(ag_var y, ag_var x, ag_var w) {
    ag_var out;
    ag_vjp(&y, &w, 1, &x, 1, &out);
    return out;
}

static ag_var gradient_of(ag_var y, ag_var x) {
    ag_var out;
    ag_gradient(y, &x, 1, &out);
    return out;
}

static ag_var set_result(const fixture *f) {
    const double data[4] = {0};
    ag_set(ag_add(f->square, 1), data);
    return f->x;
}

static ag_var resumed(const fixture *f) {
    ag_resume(f->t);
    return f->x;
}

static ag_var value_of(ag_var x) {
    assert_true(isnan(ag_value(x)));
    return x;
}

static ag_var grad_of(ag_var x) {
    assert_true(isnan(ag_grad(x)));
    return x;
}

static ag_var own_failure(const fixture *f) {
    ag_fail(f->t, AG_ERR_VALUE, "my check: %d is not %s", 3, "even");
    return f->x;
}

/* X(name, call, status, parts of the sentence) */
#define ERRORS(X)                                                                                                      \
    X(add_shapes, ag_add(f->v3, f->v4), AG_ERR_SHAPE, "add", "(3)", "(4)")                                             \
    X(mul_shapes, ag_mul(f->m23, f->m34), AG_ERR_SHAPE, "mul", "(2, 3)", "(3, 4)")                                     \
    X(fma_shapes, ag_fma(f->v3, f->m23, f->v4), AG_ERR_SHAPE, "fma", "(3)", "(2, 3)", "(4)")                           \
    X(hypot_shapes, ag_hypot(f->m34, f->m23), AG_ERR_SHAPE, "hypot", "(3, 4)", "(2, 3)")                               \
    X(reshape_count, ag_reshape(f->m23, AG_SHAPE(4, 2)), AG_ERR_SHAPE, "reshape", "(2, 3)", "(4, 2)", "6")             \
    X(reshape_two_unknown, ag_reshape(f->m23, AG_SHAPE(-1, -1)), AG_ERR_SHAPE, "reshape", "(2, 3)", "(-1, -1)")        \
    X(reshape_unknown, ag_reshape(f->m23, AG_SHAPE(4, -1)), AG_ERR_SHAPE, "reshape", "(2, 3)", "(4, -1)")              \
    X(permute_few, ag_permute(f->m23, AG_AXES(0)), AG_ERR_SHAPE, "permute", "(2, 3)", "1")                             \
    X(permute_twice, ag_permute(f->m23, AG_AXES(0, 0)), AG_ERR_SHAPE, "permute", "(2, 3)")                             \
    X(permute_axis, ag_permute(f->m23, AG_AXES(0, 2)), AG_ERR_SHAPE, "permute", "(2, 3)", "2")                         \
    X(slice_step, ag_slice(f->m23, 0, 0, 1, 0), AG_ERR_VALUE, "slice", "(2, 3)", "0")                                  \
    X(slice_axis, ag_slice(f->m23, 2, 0, 1, 1), AG_ERR_SHAPE, "slice", "(2, 3)", "2")                                  \
    X(index_position, ag_index(f->m23, 1, 3), AG_ERR_VALUE, "index", "(2, 3)", "3", "1")                               \
    X(index_axis, ag_index(f->m23, -3, 0), AG_ERR_SHAPE, "index", "(2, 3)", "-3")                                      \
    X(at_end, ag_at(f->m23, 6), AG_ERR_VALUE, "at", "(2, 3)", "6")                                                     \
    X(at_negative, ag_at(f->m23, -1), AG_ERR_VALUE, "at", "(2, 3)", "-1")                                              \
    X(expand_inner, ag_expand(f->v3, AG_SHAPE(3, 4)), AG_ERR_SHAPE, "expand", "(3)", "(3, 4)")                         \
    X(expand_smaller, ag_expand(f->m23, AG_SHAPE(3)), AG_ERR_SHAPE, "expand", "(2, 3)", "(3)")                         \
    X(squeeze_axis, ag_squeeze(f->m23, 0), AG_ERR_SHAPE, "squeeze", "(2, 3)", "2")                                     \
    X(unsqueeze_axis, ag_unsqueeze(f->m23, 4), AG_ERR_SHAPE, "unsqueeze", "(2, 3)", "4")                               \
    X(flip_scalar, ag_flip(f->x, 0), AG_ERR_SHAPE, "flip", "0")                                                        \
    X(diagonal_vector, ag_diagonal(f->v3), AG_ERR_SHAPE, "diagonal", "(3)")                                            \
    X(sum_axis, ag_sum_over(f->m23, AG_AXES(2), false), AG_ERR_SHAPE, "sum", "(2, 3)", "2")                            \
    X(sum_twice, ag_sum_over(f->m23, AG_AXES(1, -1), false), AG_ERR_VALUE, "sum", "(2, 3)", "twice")                   \
    X(max_of_none, ag_max_over(ag_slice(f->v3, 0, 1, 1, 1), ag_all_(), false), AG_ERR_SHAPE, "max", "(0)")             \
    X(argmax_axis, ag_argmax(f->v3, 1), AG_ERR_SHAPE, "argmax", "(3)", "1")                                            \
    X(cumsum_axis, ag_cumsum(f->v3, 1), AG_ERR_SHAPE, "cumsum", "(3)", "1")                                            \
    X(matmul_shapes, ag_matmul(f->m34, f->m23), AG_ERR_SHAPE, "matmul", "(3, 4)", "(2, 3)")                            \
    X(matmul_vectors, ag_matmul(f->v3, f->v4), AG_ERR_SHAPE, "matmul", "(3)", "(4)")                                   \
    X(vdot_shapes, ag_vdot(f->v3, f->v4), AG_ERR_SHAPE, "vdot", "(3)", "(4)")                                          \
    X(outer_shapes, ag_outer(f->v3, f->m23), AG_ERR_SHAPE, "outer", "(3)", "(2, 3)")                                   \
    X(trace_vector, ag_trace(f->v3), AG_ERR_SHAPE, "trace", "(3)")                                                     \
    X(softmax_axis, ag_softmax(f->m23, 2), AG_ERR_SHAPE, "softmax", "(2, 3)", "2")                                     \
    X(label_large, with_labels(f->m23, 3), AG_ERR_VALUE, "cross_entropy", "label 3", "row 1", "3 classes")             \
    X(label_negative, with_labels(f->m23, -1), AG_ERR_VALUE, "cross_entropy", "label -1", "row 1")                     \
    X(soft_shapes, ag_cross_entropy_soft(f->m23, f->m34), AG_ERR_SHAPE, "cross_entropy", "(2, 3)", "(3, 4)")           \
    X(gather_index, gathered(f->m23, 1, 3), AG_ERR_VALUE, "gather", "3", "axis 1")                                     \
    X(gather_axis, gathered(f->m23, 2, 0), AG_ERR_SHAPE, "gather", "2")                                                \
    X(concat_shapes, ag_concat((ag_var[]){f->m23, f->m34}, 2, 0), AG_ERR_SHAPE, "concat", "(2, 3)", "(3, 4)")          \
    X(stack_shapes, ag_stack((ag_var[]){f->v3, f->v4}, 2, 0), AG_ERR_SHAPE, "stack", "(3)", "(4)")                     \
    X(pad_negative, ag_pad(f->v3, 0, -1, 0), AG_ERR_VALUE, "pad", "(3)", "-1")                                         \
    X(tile_negative, ag_tile(f->v3, 0, -2), AG_ERR_VALUE, "tile", "(3)", "-2")                                         \
    X(tril_vector, ag_tril(f->v3, 0), AG_ERR_SHAPE, "tril", "(3)")                                                     \
    X(solve_shape, ag_solve(f->m23, f->v3), AG_ERR_SHAPE, "solve", "(2, 3)")                                           \
    X(solve_right_side, ag_solve(f->square, f->v3), AG_ERR_SHAPE, "solve", "(2, 2)", "(3)")                            \
    X(solve_singular, ag_solve(ag_mul(f->square, 0), ag_index(f->square, 0, 0)), AG_ERR_SINGULAR, "solve", "(2, 2)")   \
    X(cholesky_negative, ag_cholesky(ag_neg(f->square)), AG_ERR_SINGULAR, "cholesky", "(2, 2)")                        \
    X(inverse_singular, ag_inverse(ag_zeros(f->t, AG_SHAPE(3, 3))), AG_ERR_SINGULAR, "inverse", "(3, 3)")              \
    X(one_hot_label, ag_one_hot(f->t, (int64_t[]){0, 7}, 2, 4), AG_ERR_VALUE, "one_hot", "7", "4")                     \
    X(tensor_negative, ag_tensor(f->t, NULL, AG_SHAPE(2, -3)), AG_ERR_SHAPE, "tensor", "(2, -3)")                      \
    X(zeros_rank, ag_zeros(f->t, ag_make_shape_(9, (int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1})), AG_ERR_SHAPE, "8")        \
    X(tapes_scalar, ag_add(f->x, f->foreign), AG_ERR_TAPE, "add", "different tapes")                                   \
    X(tapes_matmul, ag_matmul(f->v3, ag_expand(f->foreign, AG_SHAPE(3))), AG_ERR_TAPE, "different tapes")              \
    X(tapes_concat, ag_concat((ag_var[]){f->v3, ag_expand(f->foreign, AG_SHAPE(3))}, 2, 0), AG_ERR_TAPE,               \
      "different tapes")                                                                                               \
    X(tapes_gradient, gradient_of(f->x, f->foreign), AG_ERR_TAPE, "different tapes")                                   \
    X(stale_sin, ag_sin(stale(f)), AG_ERR_STALE, "sin", "rewound")                                                     \
    X(stale_mul, ag_mul(f->x, stale(f)), AG_ERR_STALE, "mul", "rewound")                                               \
    X(mark_outdated, outdated_mark(f), AG_ERR_STALE, "rewind", "mark")                                                 \
    X(sweep_unseeded, swept(f->m23, NULL), AG_ERR_SHAPE, "sweep", "(2, 3)", "seed")                                    \
    X(sweep_seed, swept(f->m23, &f->v3), AG_ERR_SHAPE, "sweep", "(2, 3)", "(3)")                                       \
    X(gradient_shape, gradient_of(f->m23, f->x), AG_ERR_SHAPE, "gradient", "(2, 3)")                                   \
    X(jvp_direction, along(f->m23, f->v3, f->v4), AG_ERR_SHAPE, "jvp", "(3)", "(4)")                                   \
    X(vjp_weight, weighed(f->v3, f->v3, f->v4), AG_ERR_SHAPE, "vjp", "(3)", "(4)")                                     \
    X(jacobian_rank, ag_jacobian(ag_zeros(f->t, AG_SHAPE(1, 1, 1, 1, 1)), ag_zeros(f->t, AG_SHAPE(1, 1, 1, 1))),       \
      AG_ERR_SHAPE, "jacobian", "(1, 1, 1, 1)", "8")                                                                   \
    X(set_of_result, set_result(f), AG_ERR_VALUE, "set", "(2, 2)")                                                     \
    X(resume_unpaused, resumed(f), AG_ERR_VALUE, "resume", "paused")                                                   \
    X(value_of_tensor, value_of(f->m23), AG_ERR_SHAPE, "value", "(2, 3)")                                              \
    X(grad_of_tensor, grad_of(f->m23), AG_ERR_SHAPE, "grad", "(2, 3)")                                                 \
    X(own, own_failure(f), AG_ERR_VALUE, "my check: 3 is not even")

typedef struct error_case {
    const char *name;
    ag_var (*provoke)(const fixture *f);
    ag_status status;
    const char *parts[5];
} error_case;

#define X(name, call, ...)                                                                                             \
    static ag_var provoke_##name(const fixture *f) { return call; }
ERRORS(X)
#undef X

static const error_case CASES[] = {
#define X(name, call, status, ...) {#name, provoke_##name, status, {__VA_ARGS__}},
    ERRORS(X)
#undef X
};
enum { CASE_COUNT = sizeof CASES / sizeof *CASES };

/* Whether the case did what it should, so far. */
static bool is_reported(const error_case *c, const fixture *f, ag_var result) {
    const char *message = ag_tape_message(f->t);
    bool good = ag_tape_status(f->t) == c->status && ag_is_inert(result);
    for (int i = 0; i < 5 && c->parts[i]; i++) good &= strstr(message, c->parts[i]) != NULL;
    size_t length = strlen(message);
    good &= length > 0 && length < 200 && strchr(message, '\n') == NULL && message[length - 1] != '.';
    if (!good)
        print_error("%s: status %d (%s), should be %d; \"%s\"\n", c->name, (int)ag_tape_status(f->t),
                    ag_status_text(ag_tape_status(f->t)), (int)c->status, message);
    return good;
}

static void each_error(void **unused) {
    (void)unused;
    int wrong = 0;
    for (int i = 0; i < CASE_COUNT; i++) {
        for (int type = AG_F64; type <= AG_F32; type++) {
            fixture f;
            fixture_open(&f, (ag_type)type);
            ag_var result = CASES[i].provoke(&f);
            if (!is_reported(&CASES[i], &f, result)) wrong++;
            else check_inert(&f);
            check_recovered(&f);
            fixture_close(&f);
        }
    }
    assert_int_equal(wrong, 0);
}

/* A tape that has recovered from all errors one after the other is still good. */
static void all_errors_on_one_tape(void **unused) {
    (void)unused;
    fixture f;
    fixture_open(&f, AG_F64);
    for (int i = 0; i < CASE_COUNT; i++) {
        (void)CASES[i].provoke(&f);
        ag_tape_recover(f.t);
        ag_tape_recover(f.other);
    }
    check_recovered(&f);
    ag_tape_clear(f.t);
    ag_var x = ag_input(f.t, 3);
    ag_backward(ag_mul(x, x));
    assert_true(ag_grad(x) == 6);
    fixture_close(&f);
}

/* ---- operands that are stale or failed, for every operation ---- */

enum { OPERAND_USES = 47 };

static ag_var use_operand(ag_var x, ag_var good, int which) {
    const int64_t labels[2] = {0, 1};
    ag_var out = x, one = ag_num(1), pair[2] = {good, x};
    switch (which) {
    case 0: return ag_add(good, x);
    case 1: return ag_mul(x, 2);
    case 2: return ag_exp(x);
    case 3: return ag_fma(good, x, good);
    case 4: return ag_select(x, good, 1);
    case 5: return ag_reshape(x, AG_SHAPE(4));
    case 6: return ag_transpose(x);
    case 7: return ag_permute(x, AG_AXES(1, 0));
    case 8: return ag_slice(x, 0, 0, 1, 1);
    case 9: return ag_index(x, 0, 0);
    case 10: return ag_at(x, 0);
    case 11: return ag_expand(x, AG_SHAPE(2, 2, 2));
    case 12: return ag_squeeze(x, 0);
    case 13: return ag_unsqueeze(x, 0);
    case 14: return ag_flip(x, 0);
    case 15: return ag_diagonal(x);
    case 16: return ag_contiguous(x);
    case 17: return ag_sum(x);
    case 18: return ag_mean(x);
    case 19: return ag_prod(x);
    case 20: return ag_max_over(x, AG_AXES(0), false);
    case 21: return ag_norm(x);
    case 22: return ag_logsumexp(x);
    case 23: return ag_argmax(x, 0);
    case 24: return ag_cumsum(x, 0);
    case 25: return ag_matmul(good, x);
    case 26: return ag_vdot(good, x);
    case 27: return ag_outer(x, good);
    case 28: return ag_trace(x);
    case 29: return ag_softmax(x, 1);
    case 30: return ag_log_softmax(x, 1);
    case 31: return ag_cross_entropy(x, labels);
    case 32: return ag_cross_entropy_soft(good, x);
    case 33: return ag_gather(x, 0, labels, 2);
    case 34: return ag_scatter_add(x, 0, labels, 2);
    case 35: return ag_concat(pair, 2, 0);
    case 36: return ag_stack(pair, 2, 0);
    case 37: return ag_pad(x, 0, 1, 1);
    case 38: return ag_tile(x, 0, 2);
    case 39: return ag_tril(x, 0);
    case 40: return ag_solve(good, x);
    case 41: return ag_solve_triangular(x, good, false);
    case 42: return ag_cholesky(x);
    case 43: return ag_logdet(x);
    case 44: return ag_detach(x);
    case 45: ag_gradient(x, &good, 1, &out); return out;
    default: ag_jvp(&good, 1, &x, &one, 1, &out); return out;
    }
}

static void bad_operands(void **unused) {
    (void)unused;
    int wrong = 0;
    for (int failed = 0; failed < 2; failed++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var good = ag_eye(t, 2);
        ag_mark mark = ag_tape_mark(t);
        ag_var bad = failed ? ag_add(good, ag_zeros(t, AG_SHAPE(3))) : ag_eye(t, 2);
        if (failed) ag_tape_recover(t);
        else ag_tape_rewind(t, mark);
        for (int i = 0; i < OPERAND_USES; i++) {
            ag_var r = use_operand(bad, good, i);
            bool told = ag_tape_status(t) == AG_ERR_STALE && ag_is_inert(r);
            if (!told) print_error("use %d of a %s var is no error\n", i, failed ? "failed" : "stale");
            wrong += !told;
            ag_tape_recover(t);
        }
        ag_tape_free(t);
    }
    assert_int_equal(wrong, 0);
}

/* ---- tapes that could not be made ---- */

static bool refuse(void *context, size_t bytes) {
    (void)context, (void)bytes;
    return false;
}

static void check_harmless(ag_tape *t) {
    fixture f = {.t = t, .other = t};
    const double data[12] = {0};
    f.x = ag_input(t, 2);
    f.v3 = ag_tensor(t, data, AG_SHAPE(3));
    f.v4 = f.m23 = f.m34 = f.square = f.v3;
    assert_int_equal(ag_tape_status(t), t ? AG_ERR_MEMORY : AG_ERR_TAPE);
    assert_true(strlen(ag_tape_message(t)) > 0);
    for (int i = 0; i < USES; i++) {
        ag_var r = use(&f, i);
        if (!ag_is_inert(r)) fail_msg("use %d is not inert on a tape without memory", i);
        assert_true(isnan(ag_value(r)) && isnan(ag_grad(r)));
        assert_int_equal(ag_count(r), 0);
        assert_int_equal(ag_shape_of(r).rank, 0);
        assert_null(ag_data(r));
        assert_true(ag_is_constant(r));
    }
    calls_without_result(&f);
    ag_tape_recover(t);
    ag_tape_clear(t);
    ag_tape_trim(t);
    assert_int_equal(ag_tape_stats(t).slots, 0);
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_false(ag_dot(t, out));
    ag_tape_summary(t, out);
    fclose(out);
    assert_int_equal(ag_tape_status(t), t ? AG_ERR_MEMORY : AG_ERR_TAPE);
    double one[1] = {7};
    ag_read(f.x, one);
    ag_read_grad(f.x, one);
    ag_report report = ag_check_gradient(NULL, NULL, &f.x, 1, 0);
    assert_false(report.holds);
    assert_int_not_equal(report.status, AG_OK);
    ag_tape_free(t);
}

static void tapes_without_memory(void **unused) {
    (void)unused;
    check_harmless(ag_tape_new_with(&(ag_options){.permit = refuse}));
    check_harmless(ag_tape_new_with(&(ag_options){.type = AG_F32, .permit = refuse, .no_reserve = true}));
    check_harmless(NULL);
}

/* ---- plain numbers ---- */

static void zero_initialised_vars_are_numbers(void **unused) {
    (void)unused;
    ag_var zero = {0}, many[3] = {{0}};
    assert_true(ag_is_zero(zero) && ag_value(zero) == 0 && ag_count(zero) == 1);
    assert_false(ag_is_inert(zero));
    assert_true(ag_is_constant(zero));
    assert_true(ag_value(ag_add(zero, 2)) == 2);
    assert_true(ag_value(ag_exp(many[1])) == 1);
    assert_true(ag_value(ag_max(3, ag_mul(2, 4))) == 8);
    assert_true(ag_value(ag_select(1, 5, 6)) == 5);
    assert_true(ag_grad(zero) == 0);
    double out = 7;
    ag_read(zero, &out);
    assert_true(out == 0);
    ag_backward(zero);
    ag_set(zero, &out);
    ag_step(zero, 1);
    ag_name(zero, "zero");
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 3), y = ag_add(ag_mul(x, x), zero), g[2], vs[2] = {ag_num(1), ag_num(1)};
    ag_gradient(y, (ag_var[]){x, zero}, 2, g);
    assert_true(ag_value(g[0]) == 6 && ag_value(g[1]) == 0);
    ag_gradient(zero, &x, 1, g);
    assert_true(ag_value(g[0]) == 0);
    ag_jvp((ag_var[]){y, zero}, 2, (ag_var[]){x, zero}, vs, 2, g);
    assert_true(ag_value(g[0]) == 6 && ag_value(g[1]) == 0);
    check_fine("numbers", t);
    ag_tape_free(t);
}

/* ---- sizes ---- */

static void huge_shapes(void **unused) {
    (void)unused;
    static const int64_t huge[][3] = {{(int64_t)1 << 40, 1, 1}, {(int64_t)1 << 33, 1, 1}, {(int64_t)1 << 31, 2, 1},
                                      {65536, 65536, 1},        {(int64_t)1 << 62, 1, 1}, {1 << 20, 1 << 20, 1 << 20}};
    bool told = true;
    for (int i = 0; i < 6 * 2; i++) {
        ag_tape *t = ag_tape_new(i % 2 ? AG_F32 : AG_F64);
        ag_shape shape = ag_make_shape_(3, huge[i / 2]);
        ag_var x = ag_input(t, 2);
        for (int k = 0; k < 3; k++) {
            ag_var y = k == 0 ? ag_zeros(t, shape) : k == 1 ? ag_tensor(t, NULL, shape) : ag_exp(ag_expand(x, shape));
            assert_true(ag_is_inert(y));
            assert_int_equal(ag_tape_status(t), AG_ERR_SLOTS);
            char count[24];
            snprintf(count, sizeof count, "%lld", (long long)huge[i / 2][0]);
            if (told && !strstr(ag_tape_message(t), count))
                print_error("\"%s\" does not tell the shape (%s, ...)\n", ag_tape_message(t), count);
            told &= strstr(ag_tape_message(t), count) != NULL;
            ag_tape_recover(t);
        }
        assert_true(ag_tape_stats(t).held_bytes < 1 << 20);
        ag_backward(ag_mul(x, x));
        assert_true(ag_grad(x) == 4);
        ag_tape_free(t);
    }
    assert_true(told);
}

/* Products of dims beyond 2^63, also where one of them is 0. */
static void overflowing_shapes(void **unused) {
    (void)unused;
    const int64_t big = (int64_t)1 << 62, most = INT64_MAX;
    const int64_t shapes[][3] = {{big, 2, 1},   {most, most, most}, {big, big, 0},
                                 {0, big, big}, {big, 0, big},      {most, 0, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_shape shape = ag_make_shape_(3, shapes[i]);
        ag_var x = ag_input(t, 2), v = ag_tensor(t, NULL, AG_SHAPE(0));
        for (int k = 0; k < 5; k++) {
            ag_var y = k == 0   ? ag_zeros(t, shape)
                       : k == 1 ? ag_expand(x, shape)
                       : k == 2 ? ag_reshape(v, shape)
                       : k == 3 ? ag_full(t, 1, shape)
                                : ag_exp(ag_expand(x, shape));
            if (ag_tape_status(t) == AG_OK) assert_int_equal(ag_count(y), 0);
            ag_tape_recover(t);
        }
        ag_tape_free(t);
    }
}

static void shapes_of_no_rank(void **unused) {
    (void)unused;
    for (int rank = -1; rank <= 9; rank += 10) {
        ag_tape *t = ag_tape_new(AG_F64);
        char want[100];
        snprintf(want, sizeof want, "expand: shape () cannot be broadcast to (rank %d)", rank);
        (void)ag_expand(ag_input(t, 1), (ag_shape){.rank = rank});
        assert_string_equal(ag_tape_message(t), want);
        ag_tape_recover(t);
        snprintf(want, sizeof want, "tensor: (rank %d) is not a shape: at most 8 dims, ", rank);
        (void)ag_tensor(t, NULL, (ag_shape){.rank = rank});
        if (strncmp(ag_tape_message(t), want, strlen(want)) != 0) fail_msg("%s", ag_tape_message(t));
        ag_tape_free(t);
    }
}

static void texts(void **unused) {
    (void)unused;
#define X(name, text) assert_string_equal(ag_status_text(name), text);
    AG_STATUSES(X)
#undef X
    assert_non_null(ag_status_text((ag_status)1000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_error),
        cmocka_unit_test(all_errors_on_one_tape),
        cmocka_unit_test(bad_operands),
        cmocka_unit_test(tapes_without_memory),
        cmocka_unit_test(zero_initialised_vars_are_numbers),
        cmocka_unit_test(huge_shapes),
        cmocka_unit_test(overflowing_shapes),
        cmocka_unit_test(shapes_of_no_rank),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
