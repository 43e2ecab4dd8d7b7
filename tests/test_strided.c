/* Strided copies and sums against a loop over every index, for random shapes, strides, broadcasts and permutations. */
#include "autograd/ops/ops_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <math.h>

static uint64_t state = 42;
static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static int64_t pick(int64_t lo, int64_t hi) { return lo + (int64_t)(next_random() % (uint64_t)(hi - lo + 1)); }

/* An operand: `data` has room for every element, and a margin that nothing may touch. */
enum { MARGIN = 8 };
typedef struct operand {
    int64_t stride[AG_MAX_RANK], start, size; /* element with index 0, 0, ...; elements with margins */
    void *data;
} operand;

typedef struct problem {
    ag_type type;
    int rank;
    int64_t dim[AG_MAX_RANK];
    operand to, from;
} problem;

/* Fills strides for the dims in random order, some of them 0 (one in `zero`; 0 for none), negative or with gaps. */
static void make_operand(const problem *p, operand *x, int zero, bool neat) {
    int order[AG_MAX_RANK];
    for (int i = 0; i < p->rank; i++) order[i] = i;
    for (int i = p->rank - 1; i > 0 && (!neat || pick(0, 2) == 0); i--) {
        int j = (int)pick(0, i), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    int64_t next = !neat && pick(0, 2) == 0 ? 2 : 1, lo = 0, hi = 0;
    for (int i = p->rank - 1; i >= 0; i--) {
        int d = order[i];
        int64_t reach = p->dim[d] > 0 ? p->dim[d] - 1 : 0;
        x->stride[d] = next;
        next *= reach + 1;
        if (!neat && pick(0, 3) == 0) next += pick(1, 3);
        if (pick(0, 5) == 0 && !neat) x->stride[d] = -x->stride[d];
        if (zero > 0 && pick(1, zero) == 1) x->stride[d] = 0;
        if (x->stride[d] < 0) lo += x->stride[d] * reach;
        else hi += x->stride[d] * reach;
    }
    x->start = MARGIN - lo;
    x->size = hi - lo + 1 + 2 * MARGIN;
    x->data = calloc((size_t)x->size, ag_type_size(p->type));
    assert_non_null(x->data);
    for (int64_t i = 0; i < x->size; i++)
        ag_store(p->type, x->data, i, (double)pick(-1000, 1000) / 64); /* sums of few are exact */
}

/* What the library should do, in long double; returns the result. */
static long double *expect(const problem *p, bool add) {
    long double *r = malloc((size_t)p->to.size * sizeof *r);
    assert_non_null(r);
    for (int64_t i = 0; i < p->to.size; i++) r[i] = ag_load(p->type, p->to.data, i);
    int64_t count = 1, index[AG_MAX_RANK] = {0};
    for (int i = 0; i < p->rank; i++) count *= p->dim[i];
    for (int64_t n = 0; n < count; n++) {
        int64_t to = p->to.start, from = p->from.start;
        for (int i = 0; i < p->rank; i++) {
            to += index[i] * p->to.stride[i];
            from += index[i] * p->from.stride[i];
        }
        long double x = ag_load(p->type, p->from.data, from);
        r[to] = add ? r[to] + x : x;
        for (int i = p->rank - 1; i >= 0 && ++index[i] == p->dim[i]; i--) index[i] = 0;
    }
    return r;
}

static void run(problem *p, bool add, double tolerance) {
    long double *right = expect(p, add);
    void *to = ag_element(p->type, p->to.data, p->to.start), *from = ag_element(p->type, p->from.data, p->from.start);
    (add ? ag_strided_add : ag_strided_copy)(p->type, p->rank, p->dim, to, p->to.stride, from, p->from.stride);
    for (int64_t i = 0; i < p->to.size; i++) {
        double got = ag_load(p->type, p->to.data, i), error = fabs(got - (double)right[i]);
        if (error <= tolerance * fmax(1, fabs((double)right[i]))) continue;
        ag_shape shape = {.rank = p->rank};
        memcpy(shape.dim, p->dim, sizeof p->dim);
        for (int d = 0; d < p->rank; d++)
            print_message("stride %d: to %lld from %lld\n", d, (long long)p->to.stride[d],
                          (long long)p->from.stride[d]);
        fail_msg("%s of shape %s, element %lld: %.17g, should be %.17g", add ? "add" : "copy",
                 ag_show_shape(shape).text, (long long)i, got, (double)right[i]);
    }
    free(right);
    free(p->to.data);
    free(p->from.data);
}

static void random_problem(problem *p, int64_t most, bool add, bool neat) {
    p->type = pick(0, 1) == 0 ? AG_F64 : AG_F32;
    p->rank = (int)pick(0, AG_MAX_RANK);
    int64_t count = 1;
    for (int i = 0; i < p->rank; i++) {
        int64_t left = most / count;
        int64_t range[] = {1, 3, 9, 40, 300};
        int64_t top = range[pick(0, 4)];
        p->dim[i] = pick(pick(0, 60) == 0 ? 0 : 1, top < left ? top : left > 0 ? left : 1);
        if (p->dim[i] > 0) count *= p->dim[i];
    }
    make_operand(p, &p->to, add ? 3 : 0, neat);
    make_operand(p, &p->from, 4, neat);
}

static void copies_agree_with_a_plain_loop(void **unused) {
    (void)unused;
    for (int i = 0; i < 4000; i++) {
        problem p;
        random_problem(&p, i % 10 == 0 ? 100000 : 2000, false, i % 2 == 0);
        run(&p, false, 0);
    }
}

static void sums_agree_with_a_plain_loop(void **unused) {
    (void)unused;
    for (int i = 0; i < 8000; i++) {
        problem p;
        random_problem(&p, i % 10 == 0 ? 100000 : 2000, true, i % 2 == 0);
        run(&p, true, p.type == AG_F64 ? 1e-12 : 2e-6);
    }
}

/* All elements 0.1f or 0.1: a sum one by one would be far off. */
static void sum_of_equals(ag_type type, int rank, const int64_t *dim, const int64_t *to_stride, int64_t results) {
    int64_t stride[AG_MAX_RANK], count = 1;
    ag_row_major(rank, dim, stride);
    for (int i = 0; i < rank; i++) count *= dim[i];
    void *x = malloc((size_t)count * ag_type_size(type)), *sum = calloc((size_t)results, ag_type_size(type));
    assert_non_null(x);
    assert_non_null(sum);
    for (int64_t i = 0; i < count; i++) ag_store(type, x, i, 0.1);
    ag_strided_add(type, rank, dim, sum, to_stride, x, stride);
    double right = ag_load(type, x, 0) * (double)(count / results), most = type == AG_F64 ? 4e-16 : 1e-6;
    for (int64_t i = 0; i < results; i++) {
        double error = fabs(ag_load(type, sum, i) / right - 1);
        if (!(error <= most * 8))
            fail_msg("sum %lld of %lld: relative error %g", (long long)i, (long long)count, error);
    }
    free(x);
    free(sum);
}

static void sums_of_many_keep_their_accuracy(void **unused) {
    (void)unused;
    for (int t = 0; t < 2; t++) {
        ag_type type = t == 0 ? AG_F64 : AG_F32;
        sum_of_equals(type, 1, (int64_t[]){3000001}, (int64_t[]){0}, 1);
        sum_of_equals(type, 2, (int64_t[]){1000003, 3}, (int64_t[]){0, 1}, 3);
        sum_of_equals(type, 2, (int64_t[]){30011, 100}, (int64_t[]){0, 1}, 100);
        sum_of_equals(type, 2, (int64_t[]){3001, 1001}, (int64_t[]){0, 1}, 1001);
        sum_of_equals(type, 2, (int64_t[]){3, 1000001}, (int64_t[]){1, 0}, 3);
        sum_of_equals(type, 3, (int64_t[]){100003, 2, 15}, (int64_t[]){0, 1, 0}, 2);
        sum_of_equals(type, 3, (int64_t[]){10007, 5, 60}, (int64_t[]){0, 0, 1}, 60);
        sum_of_equals(type, 4, (int64_t[]){1001, 5, 60, 7}, (int64_t[]){0, 1, 0, 5}, 35);
    }
}

static void infinities_pass(void **unused) {
    (void)unused;
    double x[6] = {1, INFINITY, 2, NAN, -INFINITY, 3}, sum[3] = {0}, all = 0;
    int64_t dim[] = {2, 3}, stride[] = {3, 1};
    ag_strided_add(AG_F64, 2, dim, sum, (int64_t[]){0, 1}, x, stride);
    assert_true(isnan(sum[0]));
    assert_true(isnan(sum[1]));
    assert_true(sum[2] == 5);
    x[3] = x[4] = 0;
    ag_strided_add(AG_F64, 2, dim, &all, (int64_t[]){0, 0}, x, stride);
    assert_true(all == INFINITY);
}

static void axes_are_checked(void **unused) {
    (void)unused;
    ag_shape shape = {.rank = 2, .dim = {4, 5}};
    ag_tape *t = ag_tape_new(AG_F64);
    assert_int_equal(ag_check_axis(t, "sum", 1, shape), 1);
    assert_int_equal(ag_check_axis(t, "sum", -2, shape), 0);
    assert_int_equal(ag_tape_status(t), AG_OK);
    assert_int_equal(ag_check_axis(t, "sum", 2, shape), -1);
    assert_int_equal(ag_tape_status(t), AG_ERR_SHAPE);
    assert_non_null(strstr(ag_tape_message(t), "sum"));
    assert_non_null(strstr(ag_tape_message(t), "(4, 5)"));
    ag_tape_free(t);
}

static void shape_helpers(void **unused) {
    (void)unused;
    int64_t stride[3], product;
    ag_row_major(3, (int64_t[]){INT64_MAX, 0, INT64_MAX}, stride); /* of nothing: no stride, no overflow */
    for (int i = 0; i < 3; i++) assert_int_equal(stride[i], 0);
    ag_row_major(3, (int64_t[]){2, 3, 5}, stride);
    assert_int_equal(stride[0], 15);
    assert_true(ag_multiply_sizes(INT64_MAX, 1, &product) && product == INT64_MAX);
    assert_true(ag_multiply_sizes(0, INT64_MAX, &product) && product == 0);
    assert_true(ag_multiply_sizes(INT64_MAX, 0, &product) && product == 0);
    assert_false(ag_multiply_sizes((int64_t)1 << 32, (int64_t)1 << 31, &product));
    assert_false(ag_multiply_sizes(-1, 2, &product));
    assert_false(ag_multiply_sizes(2, -1, &product));
    assert_string_equal(ag_show_shape((ag_shape){.rank = 0}).text, "()");
    assert_string_equal(ag_show_shape((ag_shape){.rank = 1, .dim = {7}}).text, "(7)");
    assert_string_equal(ag_show_shape((ag_shape){.rank = 2, .dim = {2, 3}}).text, "(2, 3)");
    ag_shape widest = {.rank = AG_MAX_RANK};
    for (int i = 0; i < AG_MAX_RANK; i++) widest.dim[i] = INT64_MIN;
    assert_int_equal(strlen(ag_show_shape(widest).text), AG_MAX_RANK * 20 + (AG_MAX_RANK - 1) * 2 + 2);
    ag_view view = {.rank = 2, .dim = {4, 1}};
    assert_string_equal(ag_show_view(&view).text, "(4, 1)");
}

/* A view of random shape, whose axes are short or long, shared, reversed or in another order, as operands of elementwise
 * operations read it, block by block. Each element is its index in memory. */

enum { MOST_ELEMENTS = 1 << 16 }; /* f32 has them all */

static ag_var random_view(ag_tape *t, double *plain) {
    enum { MOST = 4 };
    ag_shape shape = {.rank = (int)pick(1, MOST)};
    int64_t stride[MOST], at[MOST], memory = 1, count = 1, offset = 0;
    bool shared[MOST];
    int order[MOST];
    for (int i = 0; i < shape.rank; i++) {
        shape.dim[i] = pick(0, 2) ? pick(1, 6) : pick(1, 60);
        if (count * shape.dim[i] > MOST_ELEMENTS) shape.dim[i] = 1;
        order[i] = i;
        shared[i] = pick(0, 3) == 0;
        count *= shape.dim[i];
    }
    for (int i = shape.rank - 1; i > 0; i--) {
        int j = (int)pick(0, i), other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
    for (int k = 0; k < shape.rank; k++) {
        int i = order[k];
        stride[i] = shared[i] ? 0 : memory * (pick(0, 3) == 0 ? -1 : 1);
        if (stride[i] < 0) offset += memory * (shape.dim[i] - 1);
        if (!shared[i]) memory *= shape.dim[i];
    }
    double *data = malloc((size_t)memory * sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < memory; i++) data[i] = (double)i;
    ag_var x = ag_view_of(ag_tensor(t, data, AG_SHAPE(memory)), offset, shape, stride);
    free(data);
    for (int64_t e = 0, rest, from; e < count; e++) {
        rest = e, from = offset;
        for (int i = shape.rank - 1; i >= 0; i--) at[i] = rest % shape.dim[i], rest /= shape.dim[i];
        for (int i = 0; i < shape.rank; i++) from += at[i] * stride[i];
        plain[e] = (double)from;
    }
    return x;
}

static void views_are_read_in_order(void **unused) {
    static double plain[MOST_ELEMENTS], got[MOST_ELEMENTS];
    (void)unused;
    for (int i = 0; i < 600; i++) {
        ag_type type = i % 2 ? AG_F32 : AG_F64;
        ag_tape *t = ag_tape_new(type);
        ag_var x = random_view(t, plain);
        ag_read(ag_add(x, 0.0), got);
        assert_string_equal(ag_tape_message(t), "");
        for (int64_t k = 0; k < ag_count(x); k++)
            if (got[k] != plain[k]) fail_msg("view %d: element %lld is %g, not %g", i, (long long)k, got[k], plain[k]);
        ag_tape_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_agree_with_a_plain_loop),
        cmocka_unit_test(sums_agree_with_a_plain_loop),
        cmocka_unit_test(sums_of_many_keep_their_accuracy),
        cmocka_unit_test(infinities_pass),
        cmocka_unit_test(views_are_read_in_order),
        cmocka_unit_test(axes_are_checked),
        cmocka_unit_test(shape_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
