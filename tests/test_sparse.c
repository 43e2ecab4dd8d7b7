/* Sparse Jacobians and Hessians: patterns against what is known of them and against dense derivatives, colourings against
 * their definitions, and the nonzeros. */
#include "../autograd/program/sparse_impl.h"
#include "random_programs.h"
#include "sparse.h"

#include <limits.h>

/* ---- allocations that fail ---- */

/* Takes the place of the C library's functions, and lets one allocation fail: after `fail_after` others. Where sanitizers
 * do that none fails. */
static int64_t fail_after = -1;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(SANITIZED)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
static bool fails(void) { return fail_after >= 0 && fail_after-- == 0; }

void *malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : __libc_calloc(n, size); }
void *realloc(void *block, size_t size) { return fails() ? NULL : __libc_realloc(block, size); }
#endif

/* ---- patterns that are known ---- */

static ag_var part(ag_var x, int64_t from, int64_t to) { return ag_slice(x, 0, from, to, 1); }

static void tridiagonal(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    int64_t n = ag_count(x[0]);
    ag_var padded = ag_pad(x[0], 0, 1, 1);
    y[0] = ag_sub(ag_mul(ag_exp(part(padded, 0, n)), x[0]), ag_sin(part(padded, 2, n + 2)));
    (void)t;
}

/* The same, written with scalars. */
static void tridiagonal_scalars(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int n = (int)ag_count(x[0]);
    ag_var *out = calloc((size_t)n, sizeof *out);
    (void)context;
    for (int i = 0; i < n; i++) {
        ag_var left = i ? ag_at(x[0], i - 1) : ag_num(0), right = i + 1 < n ? ag_at(x[0], i + 1) : ag_num(0);
        out[i] = ag_sub(ag_mul(ag_exp(left), ag_at(x[0], i)), ag_sin(right));
    }
    y[0] = ag_stack(out, n, 0);
    free(out);
    (void)t;
}

static void is_tridiagonal(const ag_sparsity *s, int64_t n) {
    assert_int_equal(s->rows, n);
    assert_int_equal(s->columns, n);
    assert_int_equal(s->nonzeros, 3 * n - 2);
    for (int64_t k = 0; k < s->nonzeros; k++) assert_in_range(s->row[k] - s->column[k] + 1, 0, 2);
    assert_int_equal(s->column_colours + s->row_colours, 3);
}

static void tridiagonal_jacobian(void **unused) {
    (void)unused;
    ag_model *f[] = {&(ag_model){tridiagonal}, &(ag_model){tridiagonal_scalars}};
    for (int i = 0; i < 2; i++) {
        ag_program *p = program_of(*f[i], NULL, AG_SHAPE(17));
        ag_sparsity *s = ag_program_jacobian_sparsity(p, 0, 0);
        check_pattern("tridiagonal", s);
        is_tridiagonal(s, 17);
        compare_at_points("tridiagonal", p, false);
        ag_sparsity_free(s);
        ag_program_free(p);
    }
}

static void rosenbrock(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int64_t n = ag_count(x[0]);
    ag_var head = part(x[0], 0, n - 1), tail = part(x[0], 1, n);
    y[0] = ag_sum(ag_add(ag_mul(100, ag_square(ag_sub(tail, ag_square(head)))), ag_square(ag_sub(1, head))));
    (void)t, (void)context;
}

/* A chain of scalar sums, as a loop in C makes them, from the first to the last or the other way round. */
static void rosenbrock_scalars(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int n = (int)ag_count(x[0]), back = *(int *)context;
    ag_var sum = ag_num(0);
    for (int k = 0; k + 1 < n; k++) {
        int i = back ? n - 2 - k : k;
        ag_var a = ag_at(x[0], i), b = ag_at(x[0], i + 1);
        sum = ag_add(sum, ag_add(ag_mul(100, ag_square(ag_sub(b, ag_square(a)))), ag_square(ag_sub(1, a))));
    }
    y[0] = sum;
    (void)t;
}

static void tridiagonal_hessian(void **unused) {
    (void)unused;
    for (int i = 0; i < 3; i++) {
        int back = i == 2;
        ag_program *p = program_of(i ? rosenbrock_scalars : rosenbrock, &back, AG_SHAPE(16));
        ag_sparsity *s = ag_program_hessian_sparsity(p, 0);
        check_pattern("Rosenbrock", s);
        is_tridiagonal(s, 16);
        compare_at_points("Rosenbrock", p, true);
        ag_sparsity_free(s);
        ag_program_free(p);
    }
}

/* u times the five-point Laplacian of u, with zeros around. */
static void laplacian(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_shape s = ag_shape_of(x[0]);
    ag_var u = ag_pad(ag_pad(x[0], 0, 1, 1), 1, 1, 1), sum = ag_mul(-4, x[0]);
    const int64_t at[4][2] = {{0, 1}, {2, 1}, {1, 0}, {1, 2}};
    for (int k = 0; k < 4; k++) {
        ag_var row = ag_slice(u, 0, at[k][0], at[k][0] + s.dim[0], 1);
        sum = ag_add(sum, ag_slice(row, 1, at[k][1], at[k][1] + s.dim[1], 1));
    }
    y[0] = ag_mul(x[0], sum);
    (void)t, (void)context;
}

static void is_laplacian(const ag_sparsity *s, int64_t n, int64_t m) {
    assert_int_equal(s->nonzeros, 5 * n * m - 2 * n - 2 * m);
    for (int64_t k = 0; k < s->nonzeros; k++) {
        int64_t down = s->row[k] / m - s->column[k] / m, right = s->row[k] % m - s->column[k] % m;
        assert_true(down * down + right * right <= 1);
    }
}

static void laplacian_jacobian(void **unused) {
    (void)unused;
    ag_program *p = program_of(laplacian, NULL, AG_SHAPE(6, 7));
    ag_sparsity *s = ag_program_jacobian_sparsity(p, 0, 0);
    check_pattern("Laplacian", s);
    is_laplacian(s, 6, 7);
    assert_in_range(s->column_colours + s->row_colours, 5, 8); /* 5 is the least */
    compare_at_points("Laplacian", p, false);
    ag_sparsity_free(s);
    ag_program_free(p);
}

/* y[0] = sum of squares, y[i] = x[i] (x[0] + 1): a full row, a full column and a diagonal. */
static void arrow(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var first = ag_at(x[0], 0), rest = part(x[0], 1, AG_END);
    ag_var all[2] = {ag_reshape(ag_sum(ag_square(x[0])), AG_SHAPE(1)), ag_mul(rest, ag_add(first, 1))};
    y[0] = ag_concat(all, 2, 0);
    (void)t, (void)context;
}

static void arrow_scalar(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var first = ag_at(x[0], 0);
    y[0] = ag_sum(ag_mul(ag_square(x[0]), first));
    (void)t, (void)context;
}

static void arrows(void **unused) {
    (void)unused;
    ag_program *p = program_of(arrow, NULL, AG_SHAPE(100)), *q = program_of(arrow_scalar, NULL, AG_SHAPE(100));
    ag_sparsity *s = ag_program_jacobian_sparsity(p, 0, 0), *h = ag_program_hessian_sparsity(q, 0);
    check_pattern("arrow", s);
    check_pattern("arrow", h);
    assert_int_equal(s->nonzeros, 298);
    assert_int_equal(s->column_colours + s->row_colours, 3);
    assert_true(s->column_colours > 0 && s->row_colours > 0);
    assert_int_equal(h->nonzeros, 298);
    assert_int_equal(h->column_colours, 2);
    compare_at_points("arrow", p, false);
    compare_at_points("arrow", q, true);
    ag_sparsity_free(s);
    ag_sparsity_free(h);
    ag_program_free(p);
    ag_program_free(q);
}

/* ---- operations, one at a time ---- */

typedef bool expected(int64_t i, int64_t j);
typedef struct ag_case {
    const char *name;
    ag_var (*f)(ag_tape *t, ag_var x); /* of x of shape (3, 4) */
    expected *entry;
} ag_case;

static const int64_t picked[4] = {2, 0, 2, 3};
static ag_var constant_of(ag_tape *t, ag_shape shape, const double *data) { return ag_constant_tensor(t, data, shape); }
static const double some_zeros[12] = {1, 0, 2, 0, 0, 0, 3, 0, 1, 1, 0, 0};

#define CASE(name, value, condition)                                                                                   \
    static ag_var f_##name(ag_tape *t, ag_var x) {                                                                     \
        (void)t, (void)x;                                                                                              \
        return value;                                                                                                  \
    }                                                                                                                  \
    static bool e_##name(int64_t i, int64_t j) {                                                                       \
        (void)i, (void)j;                                                                                              \
        return condition;                                                                                              \
    }
CASE(identity, x, i == j)
CASE(transpose, ag_transpose(x), i / 3 == j % 4 && i % 3 == j / 4)
CASE(flip, ag_flip(ag_exp(x), 1), i / 4 == j / 4 && i % 4 == 3 - j % 4)
CASE(sum_rows, ag_sum_over(x, AG_AXES(1), false), i == j / 4)
CASE(max_columns, ag_max_over(x, AG_AXES(0), false), i == j % 4)
CASE(norm, ag_norm_over(x, AG_AXES(1), true), i == j / 4)
CASE(softmax, ag_softmax(x, 1), i / 4 == j / 4)
CASE(cumsum, ag_cumsum(x, 0), i % 4 == j % 4 && j / 4 <= i / 4)
CASE(cumsum_flipped, ag_flip(ag_cumsum(ag_flip(x, 1), 1), 1), i / 4 == j / 4 && j % 4 >= i % 4)
CASE(gather, ag_gather(x, 1, picked, 4), i / 4 == j / 4 && j % 4 == picked[i % 4])
CASE(scatter, ag_scatter_add(x, 1, picked, 4), i / 4 == j / 4 && i % 4 == picked[j % 4])
CASE(tril, ag_tril(ag_square(x), 0), i == j && j % 4 <= j / 4)
CASE(concat, ag_concat((ag_var[]){x, ag_sin(x)}, 2, 0), i % 12 == j)
CASE(tile, ag_tile(x, 0, 2), i % 12 == j)
CASE(times_self, ag_matmul(x, ag_transpose(x)), i / 3 == j / 4 || i % 3 == j / 4)
CASE(times_constant, ag_matmul(x, constant_of(t, AG_SHAPE(4, 3), some_zeros)),
     i / 3 == j / 4 && some_zeros[j % 4 * 3 + i % 3] != 0)
CASE(constant_times, ag_matmul(constant_of(t, AG_SHAPE(4, 3), some_zeros), x),
     i % 4 == j % 4 && some_zeros[i / 4 * 3 + j / 4] != 0)
CASE(batched, ag_matmul(ag_reshape(x, AG_SHAPE(3, 1, 4)), ag_ones(t, AG_SHAPE(4))), i == j / 4)
CASE(outer, ag_outer(ag_index(x, 0, 0), ag_index(x, 0, 2)), i / 4 == j || i % 4 == j - 8)
CASE(dot, ag_vdot(ag_index(x, 0, 0), ag_index(x, 0, 2)), j < 4 || j >= 8)
CASE(mask, ag_mul(x, constant_of(t, AG_SHAPE(3, 4), some_zeros)), i == j && some_zeros[i] != 0)
CASE(flat, ag_add(ag_floor(x), ag_mul(ag_gt(x, 0.5), ag_detach(x))), false)
CASE(condition, ag_select(ag_gt(ag_index(x, 0, 0), 0.5), ag_index(x, 0, 1), ag_index(x, 0, 2)),
     j == 4 + i || j == 8 + i)
CASE(broadcast, ag_mul(ag_index(x, 0, 0), ag_at(x, 7)), j == i || j == 7)
CASE(solve, ag_solve(ag_add(ag_mul(9, ag_eye(t, 3)), ag_slice(x, 1, 0, 3, 1)), ag_ones(t, AG_SHAPE(3))), j % 4 < 3)
CASE(overlap, ag_add(ag_sum(x), ag_mul(0, ag_at(x, 3))), true)
CASE(nothing, ag_full(t, 3, AG_SHAPE(2)), false)
#undef CASE

#define CASE(name)                                                                                                     \
    { #name, f_##name, e_##name }
static const ag_case cases[] = {
    CASE(identity),       CASE(transpose), CASE(flip),   CASE(sum_rows),   CASE(max_columns), CASE(norm),
    CASE(softmax),        CASE(cumsum),    CASE(gather), CASE(scatter),    CASE(tril),        CASE(cumsum_flipped),
    CASE(concat),         CASE(tile),      CASE(outer),  CASE(times_self), CASE(dot),         CASE(times_constant),
    CASE(constant_times), CASE(batched),   CASE(mask),   CASE(flat),       CASE(condition),   CASE(broadcast),
    CASE(solve),          CASE(overlap),   CASE(nothing)};
#undef CASE

static void trace_case(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ((const ag_case *)context)->f(t, x[0]);
}

static void operations(void **unused) {
    (void)unused;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        ag_program *p = program_of(trace_case, (void *)(uintptr_t)&cases[c], AG_SHAPE(3, 4));
        ag_sparsity *s = ag_program_jacobian_sparsity(p, 0, 0);
        check_pattern(cases[c].name, s);
        assert_int_equal(s->columns, 12);
        for (int64_t i = 0; i < s->rows; i++)
            for (int64_t j = 0; j < 12; j++)
                if (has(s, i, j) != cases[c].entry(i, j))
                    fail_msg("%s: entry (%d, %d) is %s", cases[c].name, (int)i, (int)j,
                             has(s, i, j) ? "not there" : "missing");
        compare_at_points(cases[c].name, p, false);
        ag_sparsity_free(s);
        ag_program_free(p);
    }
}

/* A program mapped over rows: blocks. */
static void rows_of_a_map(void **unused) {
    (void)unused;
    ag_program *p = program_of(tridiagonal, NULL, AG_SHAPE(4)), *b = ag_program_batch(p, 5, NULL, NULL);
    ag_sparsity *s = ag_program_jacobian_sparsity(b, 0, 0);
    check_pattern("map", s);
    assert_int_equal(s->nonzeros, 5 * (3 * 4 - 2));
    for (int64_t k = 0; k < s->nonzeros; k++) assert_int_equal(s->row[k] / 4, s->column[k] / 4);
    compare_at_points("map", b, false);
    ag_sparsity_free(s);
    ag_program_free(b);
    ag_program_free(p);
}

/* Two inputs for each row, one for all; an output of each row, one summed over them. */
static void of_row(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ag_mul(x[0], ag_at(x[1], 1));
    y[1] = ag_mul(ag_at(x[0], 2), x[2]);
    (void)t, (void)context;
}

static void shared_in_a_map(void **unused) {
    (void)unused;
    enum { ROWS = 6 };
    const ag_along in[] = {AG_EACH, AG_EACH, AG_SHARED}, out[] = {AG_EACH, AG_SHARED};
    const ag_port ports[] = {{"a", AG_SHAPE(3), NULL}, {"b", AG_SHAPE(2), NULL}, {"c", AG_SHAPE(4), NULL}};
    const int64_t nonzeros[2][3] = {{18, 18, 0}, {24, 0, 4}};
    double x[3 * ROWS], z[2 * ROWS], c[4] = {1, 2, 3, 4};
    for (int i = 0; i < 3 * ROWS; i++) x[i] = 1 + 0.1 * i;
    for (int i = 0; i < 2 * ROWS; i++) z[i] = 2 - 0.1 * i;
    ag_program *p = ag_program_trace(AG_F64, of_row, NULL, ports, 3, NULL, 2);
    ag_program *b = ag_program_batch(p, ROWS, in, out);
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < 3; j++) {
            ag_sparsity *s = ag_program_jacobian_sparsity(b, k, j);
            check_pattern("map", s);
            assert_int_equal(s->nonzeros, nonzeros[k][j]);
            ag_sparsity_free(s);
            compare_jacobian("map", b, k, j, (const double *[]){x, z, c});
        }
    ag_program_free(b);
    ag_program_free(p);
}

/* So many directions of so large a program that they are mapped: sin(A x) summed up with cos in scalars. */
static void dense_scalars(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int64_t n = ag_count(x[0]);
    ag_var out[60], sum = ag_num(0);
    for (int64_t i = 0; i < n; i++) sum = ag_add(sum, ag_sin(ag_at(x[0], i)));
    for (int64_t i = 0; i < n; i++) {
        out[i] = ag_mul(sum, ag_at(x[0], i));
        for (int k = 0; k < 120; k++) out[i] = ag_sin(ag_add(out[i], 0.25));
    }
    y[0] = ag_stack(out, (int)n, 0);
    if (context) y[0] = ag_sum(y[0]);
    (void)t;
}

static void many_directions(void **unused) {
    (void)unused;
    double x[60];
    for (int i = 0; i < 60; i++) x[i] = 0.01 * i;
    ag_program *p = program_of(dense_scalars, NULL, AG_SHAPE(60));
    assert_true(60 * ag_program_size(p) > 1 << 18);
    compare_jacobian("many directions", p, 0, 0, (const double *[]){x});
    ag_program_free(p);
    p = program_of(dense_scalars, x, AG_SHAPE(60));
    compare_hessian("many directions", p, 0, (const double *[]){x});
    ag_program_free(p);
}

/* ---- random programs ---- */

static void random_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    program p;
    y[0] = run_program(&p, *(int *)context, t, x);
    ag_var last[POOL];
    int n = 0;
    for (int i = p.count * 2 / 3; i < p.count; i++) last[n++] = ag_reshape(p.pool[i], AG_SHAPE(-1));
    y[1] = ag_concat(last, n, 0);
}

static void random_programs(void **unused) {
    (void)unused;
    enum { SEEDS = 120, POINTS = 2 };
    double x[PROGRAM_INPUTS][6];
    uint64_t state = 9;
    for (int seed = 0; seed < SEEDS; seed++) {
        char what[32];
        snprintf(what, sizeof what, "random program %d", seed);
        ag_port in[PROGRAM_INPUTS] = {{0}};
        for (int k = 0; k < PROGRAM_INPUTS; k++) in[k].shape = program_input_shape(k);
        ag_program *p = ag_program_trace(AG_F64, random_model, &seed, in, PROGRAM_INPUTS, NULL, 2);
        check_program(what, p);
        for (int point = 0; point < POINTS; point++) {
            const double *xs[PROGRAM_INPUTS];
            for (int k = 0; k < PROGRAM_INPUTS; k++) {
                for (int i = 0; i < 6; i++) x[k][i] = random_number(&state, -INPUT_BOUND, INPUT_BOUND);
                xs[k] = x[k];
            }
            int input = (seed + 2 * point) % PROGRAM_INPUTS;
            compare_jacobian(what, p, seed % 2, input, xs);
            compare_jacobian(what, p, 1, 3, xs);
            compare_hessian(what, p, 3 + seed % 2, xs);
        }
        ag_program_free(p);
    }
}

/* ---- sets and colourings, by their definitions ---- */

/* Unions of sets of 0..n-1 against bits; with a budget of 0 the large ones stay pairs. */
static void sets(void **unused) {
    (void)unused;
    enum { N = 300, MADE = 3000 };
    static uint8_t bits[MADE][N];
    uint64_t state = 3;
    for (int round = 0; round < 3; round++) {
        ag_memory memory = {.no_reserve = true};
        ag_sets s;
        uint32_t set[MADE];
        memset(bits, 0, sizeof bits);
        assert_true(ag_sets_open(&s, &memory, N, round == 0 ? 0 : round == 1 ? 2000 : 1 << 20));
        for (int i = 0; i < MADE; i++) {
            int a = i - 1 - (int)random_number(&state, 0, i < 20 ? i : 20), b = (int)random_number(&state, 0, i);
            if (i < N || i % 7 == 0) {
                set[i] = 1 + (uint32_t)(i % N);
                bits[i][i % N] = 1;
                continue;
            }
            if (i % 3) b = i - i % 7; /* one more number */
            set[i] = ag_sets_union(&s, set[a], set[b]);
            for (int k = 0; k < N; k++) bits[i][k] = bits[a][k] | bits[b][k];
        }
        for (int i = 0; i < MADE; i++) {
            ag_list list = {{0}, 0};
            uint64_t at = 0;
            assert_true(ag_sets_list(&s, set[i], &list));
            for (int k = 0; k < N; k++) {
                if (!bits[i][k]) continue;
                assert_true(at < list.count);
                assert_int_equal(((int32_t *)(void *)list.range.base)[at++], k);
            }
            assert_int_equal(at, list.count);
            ag_range_free(&memory, &list.range);
        }
        ag_sets_close(&s);
        assert_int_equal(memory.held, 0);
    }
}

/* n numbers that are added one by one: all sums' sets together take memory for n, whichever the order. */
static void long_sums(void **unused) {
    (void)unused;
    enum { N = 200000 };
    for (int order = 0; order < 3; order++) {
        ag_memory memory = {.no_reserve = true};
        ag_sets s;
        assert_true(ag_sets_open(&s, &memory, N, N));
        uint32_t sum = 0;
        for (uint32_t i = 0; i < N; i++)
            sum = ag_sets_union(&s, sum, 1 + (order == 0 ? i : order == 1 ? N - 1 - i : (uint32_t)(i * 77773ull % N)));
        ag_list list = {{0}, 0};
        assert_true(ag_sets_list(&s, sum, &list));
        assert_int_equal(list.count, N);
        assert_true(memory.held < 128 * (size_t)N);
        ag_range_free(&memory, &list.range);
        ag_sets_close(&s);
    }
}

/* A matrix with about `density` of its entries, symmetric or not; with some long rows. */
static ag_entries random_entries(ag_memory *memory, int32_t rows, int32_t columns, double density, bool symmetric,
                                 uint64_t *state) {
    uint8_t *bit = calloc((size_t)rows * (size_t)columns, 1);
    int32_t count = 0;
    for (int32_t i = 0; i < rows; i++) {
        double d = random_number(state, 0, 1) < 0.05 ? 0.9 : density;
        for (int32_t j = 0; j < columns; j++) {
            if (random_number(state, 0, 1) >= d) continue;
            bit[i * columns + j] = 1;
            if (symmetric) bit[j * columns + i] = 1;
        }
    }
    for (int32_t k = 0; k < rows * columns; k++) count += bit[k];
    ag_entries e;
    assert_true(ag_entries_open(memory, &e, rows, columns, (uint64_t)count));
    count = 0;
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t j = 0; j < columns; j++)
            if (bit[i * columns + j]) e.index[count++] = j;
        e.start[i + 1] = count;
    }
    free(bit);
    return e;
}

/* Every entry of a Jacobian is the only one of its row with its column's colour, or the other way round. */
static void check_both(const ag_entries *e, const ag_colouring *c) {
    for (int32_t i = 0; i < e->rows; i++)
        for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) {
            int32_t j = e->index[k], same = 0;
            bool by_row = c->rows_first ? c->row[i] >= 0 : c->column[j] < 0;
            for (int32_t l = e->start[i]; !by_row && l < e->start[i + 1]; l++)
                same += c->column[e->index[l]] == c->column[j];
            for (int32_t v = 0; by_row && v < e->rows; v++)
                for (int32_t l = e->start[v]; l < e->start[v + 1]; l++)
                    same += e->index[l] == j && c->row[v] == c->row[i];
            assert_int_equal(same, 1);
            assert_true(by_row ? c->row[i] >= 0 && c->row[i] < c->rows
                               : c->column[j] >= 0 && c->column[j] < c->columns);
        }
}

/* How many entries of row i have a colour. */
static int of_colour(const ag_entries *e, int32_t i, const int32_t *colour, int32_t c) {
    int n = 0;
    for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) n += colour[e->index[k]] == c;
    return n;
}

/* Every entry of a Hessian, or its mirror image, is the only one of its row with its column's colour. */
static void check_hessian(const ag_entries *e, const int32_t *colour, int32_t colours) {
    for (int32_t i = 0; i < e->rows; i++) {
        assert_true(colour[i] < colours && (colour[i] >= 0) == (e->start[i] < e->start[i + 1]));
        for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) {
            int32_t j = e->index[k];
            assert_true(of_colour(e, i, colour, colour[j]) == 1 || of_colour(e, j, colour, colour[i]) == 1);
        }
    }
}

static void colourings(void **unused) {
    (void)unused;
    uint64_t state = 11;
    int both = 0;
    for (int i = 0; i < 200; i++) {
        ag_memory memory = {.no_reserve = true};
        int32_t rows = 1 + (int32_t)random_number(&state, 0, 30), columns = 1 + (int32_t)random_number(&state, 0, 30);
        int32_t of_row[32], of_column[32], colours;
        ag_entries e = random_entries(&memory, rows, columns, random_number(&state, 0, 0.25), false, &state);
        ag_colouring c = {of_row, of_column, 0, 0, false};
        assert_true(ag_colour_jacobian(&memory, &e, &c));
        check_both(&e, &c);
        assert_true(c.rows + c.columns <= (rows < columns ? rows : columns));
        both += c.rows > 0 && c.columns > 0;
        ag_entries_close(&memory, &e);
        e = random_entries(&memory, rows, rows, random_number(&state, 0, 0.25), true, &state);
        assert_true(ag_colour_hessian(&memory, &e, of_row, &colours));
        check_hessian(&e, of_row, colours);
        ag_entries_close(&memory, &e);
        assert_int_equal(memory.held, 0);
    }
    assert_true(both > 5);
}

/* The matrix of a stencil on an n x n grid. */
static ag_entries stencil(ag_memory *memory, int n, const int (*offset)[2], int points) {
    ag_entries e;
    int32_t count = 0;
    for (int fill = 0; fill < 2; fill++) {
        if (fill) assert_true(ag_entries_open(memory, &e, n * n, n * n, (uint64_t)count));
        count = 0;
        for (int i = 0; i < n * n; i++) {
            for (int k = 0; k < points; k++) {
                int row = i / n + offset[k][0], column = i % n + offset[k][1];
                if (row < 0 || column < 0 || row >= n || column >= n) continue;
                if (fill) e.index[count] = row * n + column;
                count++;
            }
            if (fill) e.start[i + 1] = count;
        }
    }
    return e;
}

/* Colours of Hessians on grids. By columns no fewer than the points would do: the stencils of 5 and 9 points take that
 * many; a star colouring may take fewer. */
static void grids(void **unused) {
    (void)unused;
    static const int five[][2] = {{-1, 0}, {0, -1}, {0, 0}, {0, 1}, {1, 0}};
    static const int nine[][2] = {{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 0}, {0, 1}, {1, -1}, {1, 0}, {1, 1}};
    static const int long_one[][2] = {{0, -3}, {0, -2}, {0, -1}, {0, 0}, {0, 1}, {0, 2}, {0, 3}};
    const struct {
        const int (*offset)[2];
        int points, most;
    } of[] = {{five, 5, 5}, {nine, 9, 9}, {long_one, 7, 7}};
    int32_t colour[400], colours;
    for (int i = 0; i < 3; i++) {
        ag_memory memory = {.no_reserve = true};
        ag_entries e = stencil(&memory, 20, of[i].offset, of[i].points);
        assert_true(ag_colour_hessian(&memory, &e, colour, &colours));
        check_hessian(&e, colour, colours);
        assert_in_range(colours, 3, of[i].most);
        ag_entries_close(&memory, &e);
    }
}

/* ---- large ones ---- */

static void large_patterns(void **unused) {
    (void)unused;
    enum { N = 100000, SIDE = 300 };
    double start = seconds();
    ag_program *p = program_of(tridiagonal, NULL, AG_SHAPE(N)), *q = program_of(rosenbrock, NULL, AG_SHAPE(N)),
               *l = program_of(laplacian, NULL, AG_SHAPE(SIDE, SIDE)), *a = program_of(arrow, NULL, AG_SHAPE(N)),
               *b = program_of(arrow_scalar, NULL, AG_SHAPE(N));
    ag_sparsity *s = ag_program_jacobian_sparsity(p, 0, 0);
    check_pattern("tridiagonal", s);
    is_tridiagonal(s, N);
    ag_sparsity_free(s);
    s = ag_program_hessian_sparsity(q, 0);
    check_pattern("Rosenbrock", s);
    is_tridiagonal(s, N);
    ag_sparsity_free(s);
    s = ag_program_jacobian_sparsity(l, 0, 0);
    check_pattern("Laplacian", s);
    is_laplacian(s, SIDE, SIDE);
    ag_sparsity_free(s);
    s = ag_program_jacobian_sparsity(a, 0, 0);
    check_pattern("arrow", s);
    assert_int_equal(s->column_colours + s->row_colours, 3);
    ag_sparsity_free(s);
    s = ag_program_hessian_sparsity(b, 0);
    check_pattern("arrow", s);
    assert_int_equal(s->column_colours, 2);
    ag_sparsity_free(s);
    ag_program *row = program_of(tridiagonal, NULL, AG_SHAPE(5)), *map = ag_program_batch(row, N / 5, NULL, NULL);
    s = ag_program_jacobian_sparsity(map, 0, 0);
    check_pattern("map", s);
    assert_int_equal(s->nonzeros, N / 5 * (3 * 5 - 2));
    assert_int_equal(s->column_colours + s->row_colours, 3);
    ag_sparsity_free(s);
    ag_program_free(map);
    ag_program_free(row);
    print_message("large patterns: %.2f s\n", seconds() - start);
    ag_program *all[] = {p, q, l, a, b};
    for (int i = 0; i < 5; i++) ag_program_free(all[i]);
}

/* Counts the bytes that are taken; refuses request number `left`, or what goes beyond `most` bytes. */
typedef struct budget {
    int64_t left;
    size_t most, taken;
    bool refused;
} budget;

static bool permit(void *context, size_t bytes) {
    budget *b = context;
    if (b->left-- == 0 || (b->most && b->taken + bytes > b->most)) {
        b->refused = true;
        return false;
    }
    b->taken += bytes;
    return true;
}

/* A program whose memory, and that of its patterns, is within a budget. */
static ag_program *frozen(ag_model f, ag_shape shape, budget *b) {
    ag_tape *t = ag_tape_new_with(&(ag_options){.type = AG_F64, .permit = permit, .context = b, .no_reserve = true});
    ag_var x = ag_tensor(t, NULL, shape), y;
    f(t, &x, &y, NULL);
    ag_program *p = ag_program_freeze(&x, NULL, 1, &y, NULL, 1);
    check_program("freeze", p);
    ag_tape_free(t);
    return p;
}

/* All that is asked for while a pattern is found, even what is given back at once, is linear in its nonzeros. */
static void memory_is_linear(void **unused) {
    (void)unused;
    double of_entry[2];
    for (int i = 0; i < 2; i++) {
        budget b = {.left = INT64_MAX};
        ag_program *p = frozen(tridiagonal, AG_SHAPE(i ? 100000 : 10000), &b);
        b.taken = 0;
        ag_sparsity *s = ag_program_jacobian_sparsity(p, 0, 0);
        check_pattern("tridiagonal", s);
        of_entry[i] = (double)b.taken / (double)s->nonzeros;
        ag_sparsity_free(s);
        ag_program_free(p);
    }
    print_message("bytes asked for, an entry: %.0f at n = 1e4, %.0f at n = 1e5\n", of_entry[0], of_entry[1]);
    assert_true(of_entry[1] < 1.5 * of_entry[0] && of_entry[1] < 400);
}

static void refusals(void **unused) {
    (void)unused;
    ag_model models[] = {tridiagonal, arrow, laplacian};
    for (int m = 0; m < 3; m++) {
        budget b = {.left = INT64_MAX};
        ag_program *p = frozen(models[m], m == 2 ? AG_SHAPE(4, 5) : AG_SHAPE(90), &b);
        ag_sparsity *want = ag_program_jacobian_sparsity(p, 0, 0);
        check_pattern("refusals", want);
        int64_t at = 0;
        for (b.refused = true; b.refused; at++) {
            b.refused = false;
            b.left = at;
            ag_sparsity *s;
            ag_program *q = ag_program_sparse_jacobian(p, 0, 0, &s);
            b.left = INT64_MAX;
            if (b.refused) {
                assert_int_equal(ag_program_status(q), AG_ERR_MEMORY); /* of the pattern, or of what is derived */
                if (s->status != AG_OK) assert_int_equal(s->status, AG_ERR_MEMORY);
                assert_non_null(strstr(s->status != AG_OK ? s->message : ag_program_message(q), "memory"));
            } else {
                check_pattern("no refusal", s);
                assert_int_equal(s->nonzeros, want->nonzeros);
            }
            ag_sparsity_free(s);
            ag_program_free(q);
        }
        assert_true(at > 20);
        ag_sparsity_free(want);
        ag_program_free(p);
    }
}

/* One allocation after the other fails, everywhere: the pattern, the derivatives, their recording. */
static void failed_allocations(void **unused) {
    (void)unused;
    double x[60] = {0}, *out = new_numbers(3600);
    ag_program *programs[] = {program_of(arrow, NULL, AG_SHAPE(30)), program_of(rosenbrock, NULL, AG_SHAPE(12)),
                              program_of(dense_scalars, NULL, AG_SHAPE(60))};
    for (int i = 0; i < 3; i++) {
        bool done = false;
        for (int64_t at = 0; !done; at += i == 2 ? 1 + at / 3 : 1) {
            ag_sparsity *s;
            fail_after = at;
            ag_program *q = i == 1 ? ag_program_sparse_hessian(programs[i], 0, &s)
                                   : ag_program_sparse_jacobian(programs[i], 0, 0, &s);
            done = fail_after >= 0; /* there were not so many; with sanitizers, none at all */
            fail_after = -1;
            if (ag_program_status(q) == AG_OK) {
                check_pattern("allocations", s);
                run_last(q, (const double *[]){x}, out);
            } else {
                if (ag_program_status(q) != AG_ERR_MEMORY) fail_msg("not for memory: %s", ag_program_message(q));
                assert_non_null(strstr(ag_program_message(q), "memory"));
            }
            ag_sparsity_free(s);
            ag_program_free(q);
        }
        ag_program_free(programs[i]);
    }
    free(out);
}

/* ---- errors and edges ---- */

static void expect(const ag_program *p, ag_sparsity *s, ag_status status, const char *word) {
    assert_int_equal(s->status, status);
    assert_int_equal(s->nonzeros, 0);
    assert_null(s->row);
    if (!strstr(s->message, word)) fail_msg("\"%s\" is not in \"%s\"", word, s->message);
    if (p) assert_int_equal(ag_program_status(p), status);
    if (p) assert_string_equal(ag_program_message(p), s->message);
    ag_program_free((ag_program *)(uintptr_t)p);
    ag_sparsity_free(s);
}

static void errors(void **unused) {
    (void)unused;
    ag_program *p = program_of(tridiagonal, NULL, AG_SHAPE(4)), *bad = ag_program_hessian(p, 0), *q;
    ag_sparsity *s;
    const int wrong[] = {-1, 1, INT_MAX, INT_MIN};
    for (int i = 0; i < 4; i++) {
        q = ag_program_sparse_jacobian(p, wrong[i], 0, &s);
        expect(q, s, AG_ERR_VALUE, "no output");
        q = ag_program_sparse_jacobian(p, 0, wrong[i], &s);
        expect(q, s, AG_ERR_VALUE, "no input");
        expect(NULL, ag_program_jacobian_sparsity(p, wrong[i], 0), AG_ERR_VALUE, "no output");
        expect(NULL, ag_program_hessian_sparsity(p, wrong[i]), AG_ERR_SHAPE, "scalar");
    }
    q = ag_program_sparse_hessian(p, 0, &s);
    expect(q, s, AG_ERR_SHAPE, "scalar");
    q = ag_program_sparse_hessian(bad, 0, &s);
    expect(q, s, AG_ERR_SHAPE, "scalar");
    q = ag_program_sparse_jacobian(bad, 0, 0, NULL);
    assert_int_equal(ag_program_status(q), AG_ERR_SHAPE);
    ag_program_free(q);
    q = ag_program_sparse_jacobian(NULL, 0, 0, &s);
    expect(q, s, AG_ERR_VALUE, "NULL");
    q = ag_program_sparse_hessian(NULL, 0, &s);
    expect(q, s, AG_ERR_VALUE, "NULL");
    expect(NULL, ag_program_jacobian_sparsity(NULL, 0, 0), AG_ERR_VALUE, "NULL");
    ag_sparsity_free(NULL);
    ag_program_free(bad);
    ag_program_free(p);
}

static void everything(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ag_mul(x[0], ag_sum(x[0]));
    (void)t, (void)context;
}

/* 1e10 nonzeros: refused before they are listed. */
static void too_many(void **unused) {
    (void)unused;
    ag_program *p = program_of(everything, NULL, AG_SHAPE(100000)), *q;
    ag_sparsity *s;
    q = ag_program_sparse_jacobian(p, 0, 0, &s);
    expect(q, s, AG_ERR_SLOTS, "nonzeros");
    ag_program_free(p);
}

/* A program in f32, composed further: the sparse Hessian of a gradient program, whose outputs stay. */
static void composes(void **unused) {
    (void)unused;
    enum { N = 8 };
    ag_program *p = ag_program_trace(AG_F32, rosenbrock, NULL, &(ag_port){"x", AG_SHAPE(N), NULL}, 1, NULL, 1);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    ag_sparsity *s;
    ag_program *h = ag_program_sparse_hessian(g, 0, &s), *d = ag_program_jacobian(h, 2, 0);
    check_program("sparse Hessian", h);
    check_program("its derivative", d);
    assert_int_equal(ag_program_outputs(h), 3);
    assert_string_equal(ag_program_output(h, 2).name, "h_x");
    assert_int_equal(ag_program_output(h, 2).shape.rank, 1);
    assert_int_equal(ag_program_output(h, 2).shape.dim[0], s->nonzeros);
    float x[N], y, gradient[N], entries[3 * N];
    for (int i = 0; i < N; i++) x[i] = 0.5f;
    ag_runner *r = ag_runner_new(h);
    assert_int_equal(ag_run_f32(r, (const float *[]){x}, (float *[]){&y, gradient, entries}), AG_OK);
    assert_float_equal(entries[0], 1200 * 0.25 - 400 * 0.5 + 2, 1e-3);
    assert_float_equal(entries[1], -400 * 0.5, 1e-3);
    assert_float_equal(gradient[N - 1], 200 * 0.25, 1e-3);
    ag_runner_free(r);
    ag_program *all[] = {p, g, h, d};
    for (int i = 0; i < 4; i++) ag_program_free(all[i]);
    ag_sparsity_free(s);
}

static void scalar_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    y[0] = ag_reshape(ag_mul(ag_sum(x[0]), ag_sum(x[0])), (ag_shape){0});
    (void)t, (void)context;
}

/* Scalars, and tensors without elements. */
static void edges(void **unused) {
    (void)unused;
    double x = 3, found = 0;
    ag_program *p = program_of(scalar_model, NULL, (ag_shape){0}), *q;
    ag_sparsity *s;
    compare_jacobian("a scalar", p, 0, 0, (const double *[]){&x});
    q = ag_program_sparse_hessian(p, 0, &s);
    run_last(q, (const double *[]){&x}, &found);
    assert_true(s->nonzeros == 1 && found == 2);
    ag_sparsity_free(s);
    ag_program_free(q);
    ag_program_free(p);
    p = program_of(scalar_model, NULL, AG_SHAPE(0));
    q = ag_program_sparse_hessian(p, 0, &s);
    check_program("no elements", q);
    check_pattern("no elements", s);
    assert_true(s->rows == 0 && s->nonzeros == 0);
    run_last(q, (const double *[]){&x}, &found);
    ag_sparsity_free(s);
    ag_program_free(q);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets),
        cmocka_unit_test(long_sums),
        cmocka_unit_test(colourings),
        cmocka_unit_test(grids),
        cmocka_unit_test(tridiagonal_jacobian),
        cmocka_unit_test(tridiagonal_hessian),
        cmocka_unit_test(laplacian_jacobian),
        cmocka_unit_test(arrows),
        cmocka_unit_test(operations),
        cmocka_unit_test(rows_of_a_map),
        cmocka_unit_test(shared_in_a_map),
        cmocka_unit_test(many_directions),
        cmocka_unit_test(random_programs),
        cmocka_unit_test(large_patterns),
        cmocka_unit_test(memory_is_linear),
        cmocka_unit_test(refusals),
        cmocka_unit_test(failed_allocations),
        cmocka_unit_test(errors),
        cmocka_unit_test(too_many),
        cmocka_unit_test(composes),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
