/* Matrix products: values and adjoints against naive loops for many shapes, views and sizes; derivatives; errors. */
#include "derivatives.h"

static const ag_shape scalar; /* of rank 0 */

/* ---- operands that are views in every way ---- */

typedef enum view_kind {
    PLAIN,
    TRANSPOSED,
    WIDE_ROWS,    /* rows of a wider matrix */
    EVERY_SECOND, /* no axis contiguous */
    FLIPPED_ROWS,
    FLIPPED_COLUMNS,
    SAME_ROWS,    /* stride 0 down the rows */
    SAME_COLUMNS, /* stride 0 along the last axis */
    SAME_BATCHES, /* stride 0 along the first axis of three or more */
    LAST_FIRST,   /* the first axis innermost in memory */
    KINDS
} view_kind;

/* The shape of the leaf from which `as_view` makes a view of this shape. */
static ag_shape leaf_shape(view_kind kind, ag_shape s) {
    int r = s.rank;
    int64_t d;
    switch (kind) {
    case TRANSPOSED:
        if (r > 1) d = s.dim[r - 1], s.dim[r - 1] = s.dim[r - 2], s.dim[r - 2] = d;
        break;
    case WIDE_ROWS: s.dim[r - 1] += 3; break;
    case EVERY_SECOND:
        for (int i = r > 2 ? r - 2 : 0; i < r; i++) s.dim[i] *= 2;
        break;
    case SAME_ROWS:
        if (r > 1) s.dim[r - 2] = 1;
        break;
    case SAME_COLUMNS: s.dim[r - 1] = 1; break;
    case SAME_BATCHES:
        if (r > 2) s.dim[0] = 1;
        break;
    case LAST_FIRST:
        d = s.dim[0];
        for (int i = 0; i + 1 < r; i++) s.dim[i] = s.dim[i + 1];
        s.dim[r - 1] = d;
        break;
    default: break;
    }
    return s;
}

static ag_var as_view(view_kind kind, ag_shape s, ag_var leaf) {
    int r = s.rank;
    ag_axes order = {.count = r};
    switch (kind) {
    case TRANSPOSED: return r > 1 ? ag_transpose(leaf) : leaf;
    case WIDE_ROWS: return ag_slice(leaf, r - 1, 2, s.dim[r - 1] + 2, 1);
    case EVERY_SECOND:
        for (int i = r > 2 ? r - 2 : 0; i < r; i++) leaf = ag_slice(leaf, i, 1, AG_END, 2);
        return leaf;
    case FLIPPED_ROWS: return r > 1 ? ag_flip(leaf, r - 2) : leaf;
    case FLIPPED_COLUMNS: return ag_flip(leaf, r - 1);
    case SAME_ROWS:
    case SAME_COLUMNS:
    case SAME_BATCHES: return ag_expand(leaf, s);
    case LAST_FIRST:
        order.axis[0] = r - 1;
        for (int i = 1; i < r; i++) order.axis[i] = i - 1;
        return ag_permute(leaf, order);
    default: return leaf;
    }
}

/* An operand: its leaf, the view of it, the view's values, and which element of the leaf each of them is. */
typedef struct operand {
    ag_var leaf, view;
    ag_shape shape;
    int64_t count, leaf_count;
    double *value, *place, *want; /* want: the leaf's adjoint by naive loops */
} operand;

static operand operand_new(ag_tape *t, view_kind kind, ag_shape s) {
    ag_shape from = leaf_shape(kind, s);
    operand x = {.shape = s, .count = shape_count(s), .leaf_count = shape_count(from)};
    x.leaf = random_tensor(t, from, -1, 1);
    x.view = as_view(kind, s, x.leaf);
    x.value = new_numbers(x.count);
    x.place = new_numbers(x.count);
    x.want = new_numbers(x.leaf_count);
    ag_read(x.view, x.value);
    ag_read(as_view(kind, s, counting_tensor(t, from)), x.place);
    check_fine("operand", t);
    return x;
}

static void operand_free(operand *x) {
    free(x->value);
    free(x->place);
    free(x->want);
}

/* ---- naive products ---- */

static int64_t rows_of(ag_shape s) { return s.rank > 1 ? s.dim[s.rank - 2] : 1; }
static int64_t columns_of(ag_shape s) { return s.rank > 1 ? s.dim[s.rank - 1] : 1; }

/* The batch axes of a product, and where matrix number b of it begins in an operand. */
static int batch_shape(ag_shape x, ag_shape y, int64_t *dim) {
    int rx = x.rank > 2 ? x.rank - 2 : 0, ry = y.rank > 2 ? y.rank - 2 : 0, r = rx > ry ? rx : ry;
    for (int i = 0; i < r; i++) {
        int64_t in_x = i < r - rx ? 1 : x.dim[i - (r - rx)], in_y = i < r - ry ? 1 : y.dim[i - (r - ry)];
        dim[i] = in_x == 1 ? in_y : in_x;
    }
    return r;
}

static int64_t batch_start(ag_shape s, int rank, const int64_t *dim, int64_t b) {
    int own = s.rank > 2 ? s.rank - 2 : 0;
    int64_t step = s.rank > 1 ? s.dim[s.rank - 1] * s.dim[s.rank - 2] : 0, start = 0;
    for (int i = rank - 1; i >= 0; i--) {
        int k = i - (rank - own);
        if (k >= 0) {
            if (s.dim[k] != 1) start += b % dim[i] * step;
            step *= s.dim[k];
        }
        b /= dim[i];
    }
    return start;
}

static ag_shape product_shape(ag_shape x, ag_shape y) {
    ag_shape s = {0};
    s.rank = batch_shape(x, y, s.dim);
    if (x.rank > 1) s.dim[s.rank++] = rows_of(x);
    if (y.rank > 1) s.dim[s.rank++] = columns_of(y);
    return s;
}

/* out = x y, and the leaves' adjoints for adjoint w of it. */
static void naive(operand *x, operand *y, const double *w, double *out) {
    int64_t dim[AG_MAX_RANK], batch = 1, m = rows_of(x->shape), n = columns_of(y->shape),
                              k = x->shape.dim[x->shape.rank - 1];
    int rank = batch_shape(x->shape, y->shape, dim);
    for (int i = 0; i < rank; i++) batch *= dim[i];
    for (int64_t b = 0; b < batch; b++) {
        int64_t sx = batch_start(x->shape, rank, dim, b), sy = batch_start(y->shape, rank, dim, b);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double *r = &out[(b * m + i) * n + j], wr = w[(b * m + i) * n + j];
                for (int64_t p = 0; p < k; p++) {
                    int64_t ix = sx + i * k + p, iy = sy + p * n + j;
                    *r += x->value[ix] * y->value[iy];
                    x->want[(int64_t)x->place[ix]] += wr * y->value[iy];
                    y->want[(int64_t)y->place[iy]] += wr * x->value[ix];
                }
            }
    }
}

static const char *label_of(ag_type type, ag_shape x, view_kind kx, ag_shape y, view_kind ky) {
    static char text[300];
    size_t n = (size_t)snprintf(text, sizeof text, "matmul, f%d,", type == AG_F64 ? 64 : 32);
    const ag_shape s[2] = {x, y};
    const view_kind kind[2] = {kx, ky};
    for (int k = 0; k < 2; k++) {
        n += (size_t)snprintf(text + n, sizeof text - n, " (");
        for (int i = 0; i < s[k].rank; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%lld ", (long long)s[k].dim[i]);
        n += (size_t)snprintf(text + n, sizeof text - n, ") kind %d", (int)kind[k]);
    }
    return text;
}

static void check_leaf(const char *label, const operand *x, double extra, double tolerance) {
    double *got = new_numbers(x->leaf_count), *want = new_numbers(x->leaf_count);
    ag_read_grad(x->leaf, got);
    for (int64_t i = 0; i < x->leaf_count; i++) want[i] = x->want[i];
    for (int64_t i = 0; i < x->count; i++) want[(int64_t)x->place[i]] += extra;
    check_numbers(label, "adjoint", got, want, x->leaf_count, tolerance);
    free(got);
    free(want);
}

/* Value; adjoints stored into fresh ones; adjoints added to others. */
static void check_product(ag_type type, ag_shape sx, view_kind kx, ag_shape sy, view_kind ky) {
    const char *label = label_of(type, sx, kx, sy, ky);
    ag_tape *t = ag_tape_new(type);
    operand x = operand_new(t, kx, sx), y = operand_new(t, ky, sy);
    ag_shape s = product_shape(sx, sy);
    int64_t count = shape_count(s);
    double *want = new_numbers(count), *w = new_numbers(count);
    uint64_t state = 5;
    for (int64_t i = 0; i < count; i++) w[i] = (double)(float)random_number(&state, -1, 1);
    naive(&x, &y, w, want);
    double longest = (double)sx.dim[sx.rank - 1] + (double)(x.count + y.count) / 10;
    double tolerance = (type == AG_F64 ? 1e-15 : 5e-7) * (10 + longest);

    ag_var r[3] = {ag_matmul(x.view, y.view)}, seeds[3] = {ag_constant_tensor(t, w, s), ag_num(1), ag_num(1)};
    check_values(label, r[0], s, want, tolerance);
    ag_sweep(r, seeds, 1, AG_RESET);
    check_fine(label, t);
    check_leaf(label, &x, 0, tolerance);
    check_leaf(label, &y, 0, tolerance);
    r[1] = ag_mul(x.view, 2.0);
    r[2] = ag_mul(y.view, 2.0);
    ag_sweep(r, seeds, 3, AG_RESET);
    check_fine(label, t);
    check_leaf(label, &x, 2, tolerance);
    check_leaf(label, &y, 2, tolerance);
    free(want);
    free(w);
    operand_free(&x);
    operand_free(&y);
    ag_tape_free(t);
}

static void check_both_types(ag_shape sx, view_kind kx, ag_shape sy, view_kind ky) {
    check_product(AG_F64, sx, kx, sy, ky);
    check_product(AG_F32, sx, kx, sy, ky);
}

/* ---- values and adjoints ---- */

static void test_shapes(void **state) {
    (void)state;
    const struct {
        ag_shape x, y;
    } all[] = {
        {AG_SHAPE(3), AG_SHAPE(3)},
        {AG_SHAPE(3), AG_SHAPE(3, 4)},
        {AG_SHAPE(4, 3), AG_SHAPE(3)},
        {AG_SHAPE(4, 3), AG_SHAPE(3, 5)},
        {AG_SHAPE(3), AG_SHAPE(2, 3, 4)},
        {AG_SHAPE(2, 4, 3), AG_SHAPE(3)},
        {AG_SHAPE(2, 4, 3), AG_SHAPE(3, 5)},
        {AG_SHAPE(4, 3), AG_SHAPE(2, 3, 5)},
        {AG_SHAPE(2, 4, 3), AG_SHAPE(2, 3, 5)},
        {AG_SHAPE(2, 4, 3), AG_SHAPE(1, 3, 5)},
        {AG_SHAPE(1, 4, 3), AG_SHAPE(2, 3, 5)},
        {AG_SHAPE(6, 1, 4, 3), AG_SHAPE(5, 3, 2)},
        {AG_SHAPE(6, 5, 4, 3), AG_SHAPE(5, 3, 2)},
        {AG_SHAPE(6, 5, 4, 3), AG_SHAPE(6, 1, 3, 2)},
        {AG_SHAPE(5, 4, 3), AG_SHAPE(6, 5, 3, 2)},
        {AG_SHAPE(2, 1, 3, 1, 2, 2), AG_SHAPE(4, 1, 2, 2, 3)},
        {AG_SHAPE(1, 1), AG_SHAPE(1, 1)},
        {AG_SHAPE(1, 9), AG_SHAPE(9, 1)},
        {AG_SHAPE(9, 1), AG_SHAPE(1, 9)},
        {AG_SHAPE(20, 30, 4), AG_SHAPE(4, 20)},
        {AG_SHAPE(20, 30, 40), AG_SHAPE(40)},
        {AG_SHAPE(3, 40, 20), AG_SHAPE(3, 20, 30)},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) check_both_types(all[i].x, PLAIN, all[i].y, PLAIN);
}

static void test_views(void **state) {
    (void)state;
    for (view_kind kx = 0; kx < KINDS; kx++)
        for (view_kind ky = 0; ky < KINDS; ky++) {
            check_both_types(AG_SHAPE(4, 3), kx, AG_SHAPE(3, 5), ky);
            check_both_types(AG_SHAPE(14, 12), kx, AG_SHAPE(12, 13), ky);
            check_both_types(AG_SHAPE(14, 12), kx, AG_SHAPE(12), ky);
            check_both_types(AG_SHAPE(12), kx, AG_SHAPE(12, 13), ky);
            check_both_types(AG_SHAPE(600), kx, AG_SHAPE(600), ky);
            check_both_types(AG_SHAPE(2, 3), kx, AG_SHAPE(3), ky);
            check_both_types(AG_SHAPE(12, 1), kx, AG_SHAPE(1, 10), ky);
            check_both_types(AG_SHAPE(3, 2, 3), kx, AG_SHAPE(3, 3, 4), ky);
            check_both_types(AG_SHAPE(3, 2, 11, 12), kx, AG_SHAPE(2, 12, 10), ky);
            check_both_types(AG_SHAPE(5, 7, 6), kx, AG_SHAPE(6, 11), ky);
            check_both_types(AG_SHAPE(7, 6), kx, AG_SHAPE(5, 6, 11), ky);
        }
}

static void test_sizes(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 16, 33};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    for (int i = 0; i < SIZES; i++)
        for (int j = 0; j < SIZES; j++)
            for (int k = 0; k < SIZES; k++) {
                int64_t m = sizes[i], n = sizes[j], p = sizes[k];
                check_both_types(AG_SHAPE(m, p), PLAIN, AG_SHAPE(p, n), PLAIN);
                check_both_types(AG_SHAPE(m, p), TRANSPOSED, AG_SHAPE(p, n), PLAIN);
                check_both_types(AG_SHAPE(m, p), PLAIN, AG_SHAPE(p, n), TRANSPOSED);
            }
    check_both_types(AG_SHAPE(0, 2, 3), PLAIN, AG_SHAPE(3, 2), PLAIN);
    check_both_types(AG_SHAPE(2, 3), PLAIN, AG_SHAPE(0, 3, 2), PLAIN);
    check_both_types(AG_SHAPE(2, 3, 0), PLAIN, AG_SHAPE(2, 0, 2), PLAIN);
    check_both_types(AG_SHAPE(0), PLAIN, AG_SHAPE(0), PLAIN);
    check_both_types(AG_SHAPE(0), PLAIN, AG_SHAPE(0, 3), PLAIN);
    check_both_types(AG_SHAPE(130, 70), PLAIN, AG_SHAPE(70, 110), TRANSPOSED);
    for (int64_t m = 7; m < 18; m++) { /* few rows and a matrix that is worth a panel's way */
        check_both_types(AG_SHAPE(m, 160), PLAIN, AG_SHAPE(160, 208), PLAIN);
        check_both_types(AG_SHAPE(m, 520), m % 2 ? WIDE_ROWS : PLAIN, AG_SHAPE(520, 64), WIDE_ROWS);
        check_both_types(AG_SHAPE(m, 241), PLAIN, AG_SHAPE(241, 144 + m % 2), FLIPPED_ROWS);
    }
}

/* Of rows or columns that are one, two are computed: the same bits as those of a matrix that has them all in memory. */
static void test_same(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{100, 100, 100}, {37, 41, 300}, {3, 50, 70},
                                       {50, 3, 70},     {2, 90, 40},   {90, 2, 40}};
    for (int i = 0; i < 6 * 8; i++) {
        int64_t m = sizes[i / 8][0], n = sizes[i / 8][1], k = sizes[i / 8][2];
        view_kind kx = i & 1 ? TRANSPOSED : PLAIN, ky = i & 2 ? SAME_ROWS : SAME_COLUMNS;
        ag_tape *t = ag_tape_new(i & 4 ? AG_F32 : AG_F64);
        operand x = operand_new(t, kx, AG_SHAPE(m, k)), y = operand_new(t, ky, AG_SHAPE(k, n));
        ag_var whole = ag_tensor(t, y.value, AG_SHAPE(k, n));
        double *r = new_numbers(m * n), *expected = new_numbers(m * n);
        for (int turned = 0; turned < 2; turned++) {
            ag_var a = turned ? ag_transpose(y.view) : x.view, b = turned ? ag_transpose(x.view) : y.view;
            ag_read(ag_matmul(a, b), r);
            ag_read(turned ? ag_matmul(ag_transpose(whole), b) : ag_matmul(a, whole), expected);
            check_numbers("same", ky == SAME_ROWS ? "rows" : "columns", r, expected, m * n, 0);
        }
        check_fine("same", t);
        free(r);
        free(expected);
        operand_free(&x);
        operand_free(&y);
        ag_tape_free(t);
    }
}

static void test_constants(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 2)), c = ag_eye(t, 2);
    ag_backward(ag_sum(ag_add(ag_matmul(x, c), ag_matmul(c, x))));
    double g[4];
    ag_read_grad(x, g);
    check_numbers("constant", "adjoint", g, (const double[]){2, 2, 2, 2}, 4, 0);
    ag_read_grad(c, g);
    check_numbers("constant", "adjoint", g, (const double[]){0, 0, 0, 0}, 4, 0);
    assert_true(ag_is_constant(ag_matmul(c, c)));
    ag_tape_free(t);
}

/* Ordinary arithmetic: 0 * inf is NaN, whatever the size. */
static void test_not_finite(void **state) {
    (void)state;
    for (int64_t n = 2; n <= 40; n += 19) {
        ag_tape *t = ag_tape_new(AG_F64);
        double *x = new_numbers(n * n), *r = new_numbers(n * n);
        x[0] = INFINITY;
        x[n + 1] = NAN;
        ag_read(ag_matmul(ag_tensor(t, x, AG_SHAPE(n, n)), ag_ones(t, AG_SHAPE(n, n))), r);
        assert_true(isinf(r[0]) && isnan(r[n]) && (n == 2 || r[2 * n] == 0));
        ag_read(ag_matmul(ag_tensor(t, x, AG_SHAPE(n, n)), ag_zeros(t, AG_SHAPE(n, n))), r);
        assert_true(isnan(r[0]) && isnan(r[n]));
        ag_read(ag_matmul(ag_tensor(t, x, AG_SHAPE(n, n)), ag_zeros(t, AG_SHAPE(n))), r);
        assert_true(isnan(r[0]) && isnan(r[1]));
        check_fine("not finite", t);
        ag_tape_free(t);
        free(x);
        free(r);
    }
}

static void test_dot_outer_trace(void **state) {
    (void)state;
    for (ag_type type = AG_F64; type <= AG_F32; type++) {
        ag_tape *t = ag_tape_new(type);
        ag_var x = counting_tensor(t, AG_SHAPE(2, 3)), y = ag_transpose(counting_tensor(t, AG_SHAPE(3, 2)));
        check_values("vdot", ag_vdot(x, y), scalar, (const double[]){0 * 0 + 1 * 2 + 2 * 4 + 3 * 1 + 4 * 3 + 5 * 5}, 0);
        check_values("vdot", ag_vdot(ag_constant(t, 3), ag_num(2)), scalar, (const double[]){6}, 0);
        check_values("vdot", ag_vdot(ag_zeros(t, AG_SHAPE(0, 2)), ag_zeros(t, AG_SHAPE(0, 2))), scalar,
                     (const double[]){0}, 0);
        ag_var u = counting_tensor(t, AG_SHAPE(3)), v = ag_flip(counting_tensor(t, AG_SHAPE(2)), 0);
        check_values("outer", ag_outer(u, v), AG_SHAPE(3, 2), (const double[]){0, 0, 1, 0, 2, 0}, 0);
        check_values("trace", ag_trace(x), scalar, (const double[]){4}, 0);
        check_values("trace", ag_trace(counting_tensor(t, AG_SHAPE(2, 2, 2))), AG_SHAPE(2), (const double[]){3, 11}, 0);
        ag_tape_free(t);
    }
}

/* ---- derivatives ---- */

typedef struct views {
    ag_shape shape[2];
    view_kind kind[2];
} views;

static ag_var product_of_views(ag_tape *t, const ag_var *x, int n, void *context) {
    const views *v = context;
    (void)t, (void)n;
    return ag_matmul(as_view(v->kind[0], v->shape[0], x[0]), as_view(v->kind[1], v->shape[1], x[1]));
}

static void check_product_derivatives(ag_shape sx, view_kind kx, ag_shape sy, view_kind ky) {
    views v = {{sx, sy}, {kx, ky}};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[2] = {random_tensor(t, leaf_shape(kx, sx), -1, 1), random_tensor(t, leaf_shape(ky, sy), -1, 1)};
    check_derivatives(label_of(AG_F64, sx, kx, sy, ky), product_of_views, &v, x, 2);
    ag_tape_free(t);
}

static void test_derivatives(void **state) {
    (void)state;
    const struct {
        ag_shape x, y;
    } all[] = {
        {AG_SHAPE(3), AG_SHAPE(3)},
        {AG_SHAPE(3), AG_SHAPE(3, 2)},
        {AG_SHAPE(2, 3), AG_SHAPE(3)},
        {AG_SHAPE(2, 3), AG_SHAPE(3, 4)},
        {AG_SHAPE(3), AG_SHAPE(2, 3, 2)},
        {AG_SHAPE(2, 2, 3), AG_SHAPE(3)},
        {AG_SHAPE(2, 2, 3), AG_SHAPE(3, 2)},
        {AG_SHAPE(2, 3), AG_SHAPE(2, 3, 2)},
        {AG_SHAPE(2, 2, 3), AG_SHAPE(2, 3, 2)},
        {AG_SHAPE(2, 2, 3), AG_SHAPE(1, 3, 2)},
        {AG_SHAPE(2, 1, 2, 3), AG_SHAPE(2, 3, 2)},
        {AG_SHAPE(1, 2, 3), AG_SHAPE(3, 1, 3, 2)},
        {AG_SHAPE(3, 1), AG_SHAPE(1, 2)},
        {AG_SHAPE(1, 3), AG_SHAPE(3, 1)},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) check_product_derivatives(all[i].x, PLAIN, all[i].y, PLAIN);
    for (view_kind k = 0; k < KINDS; k++) {
        check_product_derivatives(AG_SHAPE(2, 3), k, AG_SHAPE(3, 2), PLAIN);
        check_product_derivatives(AG_SHAPE(2, 3), PLAIN, AG_SHAPE(3, 2), k);
        check_product_derivatives(AG_SHAPE(2, 2, 3), k, AG_SHAPE(3, 2), TRANSPOSED);
        check_product_derivatives(AG_SHAPE(3), k, AG_SHAPE(2, 3, 2), k);
    }
}

static ag_var square(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_matmul(x[0], x[0]);
}
static ag_var gram(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_matmul(x[0], ag_transpose(x[0]));
}
static ag_var chain_of_products(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_matmul(ag_tanh(ag_matmul(x[0], x[1])), ag_matmul(ag_transpose(x[1]), x[0]));
}
static ag_var others(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_var trace = ag_trace(ag_matmul(ag_outer(x[0], x[1]), x[2]));
    return ag_add(ag_mul(trace, ag_vdot(x[0], x[1])), ag_vdot(ag_transpose(x[2]), ag_outer(x[1], x[0])));
}

static void test_compositions(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = random_tensor(t, AG_SHAPE(3, 3), -1, 1), xs[2] = {x, random_tensor(t, AG_SHAPE(3, 3), -1, 1)};
    ag_var three[3] = {random_tensor(t, AG_SHAPE(3), -1, 1), random_tensor(t, AG_SHAPE(3), -1, 1), x};
    check_derivatives("x x", square, NULL, &x, 1);
    check_derivatives("x x^T", gram, NULL, &x, 1);
    check_derivatives("tanh(x y) y^T x", chain_of_products, NULL, xs, 2);
    check_derivatives("dot, outer, trace", others, NULL, three, 3);
    ag_tape_free(t);
}

/* ---- errors ---- */

static void test_errors(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var a = ag_zeros(t, AG_SHAPE(2, 3)), b = ag_zeros(t, AG_SHAPE(4, 5)), s = ag_constant(t, 1);
    ag_var v = ag_zeros(t, AG_SHAPE(3));
    check_failure(t, ag_matmul(a, b), AG_ERR_SHAPE, "matmul: shapes (2, 3) and (4, 5) do not fit: 3 is not 4");
    check_failure(t, ag_matmul(a, ag_tape_of(v) ? ag_zeros(t, AG_SHAPE(2)) : v), AG_ERR_SHAPE,
                  "matmul: shapes (2, 3) and (2) do not fit: 3 is not 2");
    check_failure(t, ag_matmul(a, s), AG_ERR_SHAPE,
                  "matmul: shapes (2, 3) and () do not fit: a scalar has no axis to sum over");
    check_failure(t, ag_matmul(ag_zeros(t, AG_SHAPE(2, 4, 3)), ag_zeros(t, AG_SHAPE(3, 3, 5))), AG_ERR_SHAPE,
                  "matmul: shapes (2, 4, 3) and (3, 3, 5) do not fit: 2 is not 3");
    check_failure(t, ag_vdot(a, ag_transpose(a)), AG_ERR_SHAPE, "vdot: shapes (2, 3) and (3, 2) differ");
    check_failure(t, ag_outer(a, v), AG_ERR_SHAPE, "outer: shapes (2, 3) and (3) are not two vectors");
    check_failure(t, ag_trace(v), AG_ERR_SHAPE, "trace: shape (3) is not that of matrices");
    ag_tape_free(t);
}

/* ---- running out of memory ---- */

static bool permit_some(void *context, size_t bytes) {
    (void)bytes;
    return (*(int *)context)-- > 0;
}

static void test_memory(void **state) {
    (void)state;
    for (int permitted = 0; permitted < 200; permitted++) {
        int left = permitted;
        ag_options options = {.type = AG_F64, .permit = permit_some, .context = &left};
        ag_tape *t = ag_tape_new_with(&options);
        ag_var x = ag_tensor(t, NULL, AG_SHAPE(40, 40)), y = ag_slice(ag_slice(x, 0, 0, AG_END, 2), 1, 0, AG_END, 2);
        ag_var r = ag_matmul(ag_flip(y, 0), ag_matmul(y, ag_index(y, 1, 3)));
        ag_var z = ag_add(ag_sum(ag_matmul(y, y)), ag_sum(r));
        ag_backward(z);
        ag_var g;
        ag_gradient(z, &x, 1, &g);
        ag_status status = ag_tape_status(t);
        assert_true(status == AG_OK || status == AG_ERR_MEMORY);
        bool done = status == AG_OK;
        ag_tape_free(t);
        if (done) return;
    }
    fail_msg("out of memory with 200 allocations permitted");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),      cmocka_unit_test(test_views),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_constants),   cmocka_unit_test(test_not_finite),   cmocka_unit_test(test_dot_outer_trace),
        cmocka_unit_test(test_derivatives), cmocka_unit_test(test_compositions), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
