/* The affine map of a dense layer, one operation: y = x W' + b + r for rows x, a matrix W (outputs, inputs), a vector b and
 * what the layer's result is added to, r of the shape of y; the product adds b and r as it writes y.
 *     dx = dy W        dW = dy' x        db = the sum of dy over rows        dr = dy */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "matrix_impl.h"
#include "structural_impl.h"

enum { X, WEIGHT, HAS_BIAS = 1, HAS_RESIDUAL = 2 };

/* Which operands there are. */
typedef struct mapping {
    int64_t flags;
} mapping;

static int bias_of(const void *params) { return ((const mapping *)params)->flags & HAS_BIAS ? 2 : -1; }
static int residual_of(const void *params) {
    const mapping *p = params;
    return p->flags & HAS_RESIDUAL ? p->flags & HAS_BIAS ? 3 : 2 : -1;
}
static int operands_of(const mapping *p) {
    return 2 + (p->flags & HAS_BIAS ? 1 : 0) + (p->flags & HAS_RESIDUAL ? 1 : 0);
}

typedef struct sizes {
    int64_t rows, in, out;
} sizes;
static sizes sizes_of(const int64_t *x, int rank, const int64_t *weight) {
    return (sizes){ag_count_dims(x, 0, rank - 1), weight[1], weight[0]};
}
static sizes sizes_of_call(const ag_call *call) {
    return sizes_of(call->in[X].view->dim, call->in[X].view->rank, call->in[WEIGHT].view->dim);
}

/* ---- shape ---- */

static bool refuse(const ag_call *call, const char *what, int k) {
    ag_fail(call->tape, AG_ERR_SHAPE, "linear: %s of shape %s for x of shape %s and a weight of shape %s", what,
            ag_show_view(call->in[k].view).text, ag_show_view(call->in[X].view).text,
            ag_show_view(call->in[WEIGHT].view).text);
    return false;
}

static bool linear_shape(ag_call *call) {
    const ag_view *x = call->in[X].view, *w = call->in[WEIGHT].view;
    int bias = bias_of(call->params), residual = residual_of(call->params);
    if (w->rank != 2 || x->rank < 1 || x->dim[x->rank - 1] != w->dim[1]) return refuse(call, "rows", X);
    call->shape = ag_dims_of(x);
    call->shape.dim[x->rank - 1] = w->dim[0];
    if (bias >= 0 && (call->in[bias].view->rank != 1 || call->in[bias].view->dim[0] != w->dim[0]))
        return refuse(call, "a bias", bias);
    if (residual < 0) return true;
    const ag_view *r = call->in[residual].view;
    if (r->rank != x->rank || memcmp(r->dim, call->shape.dim, (size_t)r->rank * sizeof *r->dim) != 0)
        return refuse(call, "a residual", residual);
    return true;
}

/* ---- values ---- */

static bool linear_forward(const ag_call *call) {
    sizes s = sizes_of_call(call);
    int bias = bias_of(call->params), residual = residual_of(call->params);
    return ag_product_plus(call, s.rows, s.out, s.in, ag_row_major_matrix(call->in[X].data, s.in),
                           ag_transposed(ag_row_major_matrix(call->in[WEIGHT].data, s.in)), call->out.data,
                           bias >= 0 ? call->in[bias].data : NULL, residual >= 0 ? call->in[residual].data : NULL);
}

/* Bytes of the result's adjoint that are used for everything before the next ones are read: some of a second-level cache. */
enum { PART_BYTES = 3 << 18 };

/* Rows of a part, so that all parts are of about the same height. */
static int64_t part_rows(const ag_call *call, sizes s) {
    int64_t size = (int64_t)ag_type_size(call->type), most = PART_BYTES / size / (s.out > 0 ? s.out : 1);
    int64_t parts = most > 0 ? (s.rows + most - 1) / most : s.rows;
    return parts > 0 ? (s.rows + parts - 1) / parts : 0;
}

/* What rows first..first+rows-1 contribute; `fresh`: bits of operands that are stored, not added to. */
static bool part_adjoint(const ag_call *call, sizes s, int64_t first, int64_t rows, uint32_t fresh) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    int bias = bias_of(call->params), residual = residual_of(call->params);
    size_t size = ag_type_size(call->type);
    void *w = ag_element(call->type, call->out_adjoint.data, first * s.out);
    if (bias >= 0 && call->in_adjoint[bias].data) {
        void *to = call->in_adjoint[bias].data;
        if (fresh >> bias & 1) memset(to, 0, (size_t)s.out * size);
        kernels->add_rows((size_t)s.out, to, (size_t)rows, s.out, w);
    }
    if (residual >= 0 && call->in_adjoint[residual].data) {
        void *to = ag_element(call->type, call->in_adjoint[residual].data, first * s.out);
        if (call->fresh >> residual & 1) memcpy(to, w, (size_t)(rows * s.out) * size);
        else kernels->add_to((size_t)(rows * s.out), to, w);
    }
    ag_matrix dy = ag_row_major_matrix(w, s.out), dx = ag_row_major_matrix(call->in_adjoint[X].data, s.in),
              dweight = ag_row_major_matrix(call->in_adjoint[WEIGHT].data, s.in);
    if (dweight.data) {
        ag_matrix x = ag_row_major_matrix(ag_element(call->type, call->in[X].data, first * s.in), s.in);
        if (!ag_product(call, s.out, s.in, rows, 1, ag_transposed(dy), x, dweight, fresh >> WEIGHT & 1)) return false;
    }
    if (!dx.data) return true;
    dx.data = ag_element(call->type, dx.data, first * s.in);
    return ag_product(call, rows, s.in, s.out, 1, dy, ag_row_major_matrix(call->in[WEIGHT].data, s.in), dx,
                      call->fresh >> X & 1);
}

/* Parts from the last one on, which was written last. */
static bool linear_adjoint(const ag_call *call) {
    sizes s = sizes_of_call(call);
    int64_t rows = part_rows(call, s), first = rows > 0 ? (s.rows - 1) / rows * rows : 0;
    uint32_t fresh = call->fresh;
    for (; first >= 0; first -= rows) {
        if (!part_adjoint(call, s, first, s.rows - first < rows ? s.rows - first : rows, fresh)) return false;
        fresh = 0; /* of the weight and the bias, to which all parts add */
        if (rows == 0) break;
    }
    return true;
}

/* ---- recorded derivatives ---- */

/* x as one matrix with its last axis as columns. */
static ag_var as_rows(ag_var x) {
    if (ag_is_inert(x)) return x;
    ag_shape s = ag_shape_of(x);
    return ag_reshape(x, AG_SHAPE(ag_count_dims(s.dim, 0, s.rank - 1), s.dim[s.rank - 1]));
}

static void linear_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    int bias = bias_of(rule->params), residual = residual_of(rule->params);
    if (rule->wanted[X]) contributions[X] = ag_matmul(w, rule->in[WEIGHT]);
    if (rule->wanted[WEIGHT]) contributions[WEIGHT] = ag_matmul(ag_transpose(as_rows(w)), as_rows(rule->in[X]));
    if (bias >= 0 && rule->wanted[bias]) contributions[bias] = ag_sum_over(as_rows(w), AG_AXES(0), false);
    if (residual >= 0 && rule->wanted[residual]) contributions[residual] = w;
}

static ag_var linear_tangent(const ag_rule *rule, const ag_var *v) {
    int bias = bias_of(rule->params), residual = residual_of(rule->params);
    ag_var sum = ag_num(0);
    if (!ag_is_zero(v[X])) sum = ag_matmul(v[X], ag_transpose(rule->in[WEIGHT]));
    if (!ag_is_zero(v[WEIGHT])) sum = ag_add(sum, ag_matmul(rule->in[X], ag_transpose(v[WEIGHT])));
    if (bias >= 0 && !ag_is_zero(v[bias])) sum = ag_add(sum, v[bias]);
    if (residual >= 0 && !ag_is_zero(v[residual])) sum = ag_add(sum, v[residual]);
    return ag_is_zero(sum) ? sum : ag_expand(sum, ag_shape_of(rule->out));
}

/* ---- scalars, C ---- */

static void linear_scalars(const ag_elements *e) {
    sizes s = sizes_of(e->shapes[X].dim, e->shapes[X].rank, e->shapes[WEIGHT].dim);
    int bias = bias_of(e->params), residual = residual_of(e->params);
    for (int64_t i = 0; i < s.rows; i++)
        for (int64_t j = 0; j < s.out; j++) {
            ag_var sum = ag_num(0);
            for (int64_t k = 0; k < s.in; k++) {
                ag_var term = ag_mul(e->in[X][i * s.in + k], e->in[WEIGHT][j * s.in + k]);
                sum = k ? ag_add(sum, term) : term;
            }
            if (bias >= 0) sum = ag_add(sum, e->in[bias][j]);
            if (residual >= 0) sum = ag_add(sum, e->in[residual][i * s.out + j]);
            e->out[i * s.out + j] = sum;
        }
}

static bool linear_c_form(const ag_c_form *f) {
    sizes s = sizes_of(f->views[X]->dim, f->views[X]->rank, f->views[WEIGHT]->dim);
    int bias = bias_of(f->params), residual = residual_of(f->params);
    char at[64], start[192];
    snprintf(at, sizeof at, "i * %lld + i1", (long long)s.out);
    int n = snprintf(start, sizeof start, "%s%s",
                     bias >= 0      ? f->in[bias]
                     : residual < 0 ? "0"
                                    : "",
                     bias >= 0 ? "[i1]" : "");
    if (residual >= 0)
        snprintf(start + n, sizeof start - (size_t)n, "%s%s[%s]", bias >= 0 ? " + " : "", f->in[residual], at);
    ag_c_open(f, 0, s.rows);
    ag_c_open(f, 1, s.out);
    bool blas = ag_c_is_for_blas(f, s.rows, s.out, s.in);
    if (blas) {
        ag_c_line(f, "%s[%s] = %s;", f->out, at, start);
    } else {
        char x[64], w[64];
        snprintf(x, sizeof x, "i * %lld + i7", (long long)s.in);
        snprintf(w, sizeof w, "i1 * %lld + i7", (long long)s.in);
        ag_c_sum_of_products(f, x, w, s.in, true);
        ag_c_line(f, "%s[%s] = sum + %s;", f->out, at, start);
    }
    ag_c_close(f, 2);
    if (blas)
        ag_c_line(
            f,
            "cblas_%cgemm(CblasRowMajor, CblasNoTrans, CblasTrans, %lld, %lld, %lld, 1, %s, %lld, %s, %lld, 1, %s, "
            "%lld);",
            f->type == AG_F64 ? 'd' : 's', (long long)s.rows, (long long)s.out, (long long)s.in, f->in[X],
            (long long)s.in, f->in[WEIGHT], (long long)s.in, f->out, (long long)s.out);
    return true;
}

/* ---- the operation ---- */

static bool linear_valid(const ag_call *call) {
    const mapping *p = call->params;
    return call->params_size == sizeof *p && p->flags >= 0 && p->flags <= (HAS_BIAS | HAS_RESIDUAL) &&
           call->n == operands_of(p);
}

static const ag_operation linear = {
    .name = "linear",
    .shape = linear_shape,
    .forward = linear_forward,
    .adjoint = linear_adjoint,
    .tangent = linear_tangent,
    .record = linear_record,
    .scalars = linear_scalars,
    .stores = true,
    .c_form = linear_c_form,
    .valid = linear_valid,
};
const ag_operation *const ag_builtin_linear = &linear;

ag_var ag_linear(ag_var x, ag_var weight, ag_var bias, ag_var residual) {
    mapping p = {(ag_is_zero(bias) ? 0 : HAS_BIAS) | (ag_is_zero(residual) ? 0 : HAS_RESIDUAL)};
    ag_var in[4] = {x, weight};
    if (p.flags & HAS_BIAS) in[bias_of(&p)] = bias;
    if (p.flags & HAS_RESIDUAL) in[residual_of(&p)] = residual;
    return ag_apply(&linear, in, operands_of(&p), &p, sizeof p);
}
