/* The affine map of a dense layer, one operation: y = x W' + b + r for rows x, a matrix W (outputs, inputs), a vector b and
 * what the layer's result is added to, r of the shape of y; the product adds b and r as it writes y.
 *     dx = dy W        dW = dy' x        db = the sum of dy over rows        dr = dy
 * In place of r there may be a function: y = f(z), z = x W' + b. Rows are taken to it while the cache has them, and of z only
 * f'(z) is kept, or nothing if y tells what that is. dz = dy f'(z) then stands for dy. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "matrix_impl.h"
#include "structural_impl.h"
#include "../tape/tape_impl.h"

enum { X, WEIGHT, HAS_BIAS = 1, HAS_RESIDUAL = 2, FUNCTION = 4 };

/* Functions by number, which files of programs have: others only at the end. */
static const ag_opcode functions[] = {AG_RELU, AG_TANH, AG_SIGMOID, AG_SILU, AG_GELU, AG_GELU_TANH, AG_MISH};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* Which operands there are, and FUNCTION * (1 + the number of f) if there is one. */
typedef struct mapping {
    int64_t flags;
} mapping;

static bool has_function(const void *params) { return ((const mapping *)params)->flags >= FUNCTION; }
static ag_opcode function_of(const void *params) { return functions[((const mapping *)params)->flags / FUNCTION - 1]; }
/* Whether its derivative is an expression of the result alone, in which the operand may be the result, too. */
static bool is_told_by_result(ag_opcode f) { return f == AG_RELU || f == AG_TANH; }

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

/* A slope for each result, if there may be adjoints and the result does not tell. */
static bool size_of_saved(ag_call *call) {
    bool active = ag_expects_sweep(call->tape) && !is_told_by_result(function_of(call->params));
    bool varies = false;
    for (int k = 0; k < call->n; k++) varies |= !call->in[k].view->constant;
    int64_t count = 0;
    if (active && varies &&
        (!ag_checked_count(call->tape, "linear", call->shape, &count) || !ag_multiply_sizes(count, 8, &count)))
        return false;
    call->saved_size = (size_t)count / 8 * ag_type_size(call->type);
    return true;
}

static bool linear_shape(ag_call *call) {
    const ag_view *x = call->in[X].view, *w = call->in[WEIGHT].view;
    int bias = bias_of(call->params), residual = residual_of(call->params);
    if (w->rank != 2 || x->rank < 1 || x->dim[x->rank - 1] != w->dim[1]) return refuse(call, "rows", X);
    call->shape = ag_dims_of(x);
    call->shape.dim[x->rank - 1] = w->dim[0];
    if (bias >= 0 && (call->in[bias].view->rank != 1 || call->in[bias].view->dim[0] != w->dim[0]))
        return refuse(call, "a bias", bias);
    if (has_function(call->params)) return size_of_saved(call);
    if (residual < 0) return true;
    const ag_view *r = call->in[residual].view;
    if (r->rank != x->rank || memcmp(r->dim, call->shape.dim, (size_t)r->rank * sizeof *r->dim) != 0)
        return refuse(call, "a residual", residual);
    return true;
}

/* ---- values ---- */

/* Where rows of z become those of f(z), and perhaps f'(z). */
typedef struct activating {
    const ag_call *call;
    ag_opcode f;
    void *slopes; /* or NULL */
} activating;

static void activate(const void *context, void *c, int64_t rows, int64_t columns, int64_t row) {
    const activating *a = context;
    ag_type type = a->call->type;
    const ag_kernels *kernels = ag_kernels_for(type);
    int64_t at = ((char *)c - (char *)a->call->out.data) / (int64_t)ag_type_size(type);
    if (columns == row) columns *= rows, rows = 1;
    for (int64_t i = 0; i < rows; i++, at += row) {
        void *y = ag_element(type, a->call->out.data, at);
        if (a->slopes) kernels->with_slope[a->f]((size_t)columns, y, ag_element(type, a->slopes, at), y);
        else kernels->value[a->f]((size_t)columns, y, y, NULL, NULL);
    }
}

static bool linear_forward(const ag_call *call) {
    sizes s = sizes_of_call(call);
    int bias = bias_of(call->params), residual = residual_of(call->params);
    activating a = {.call = call, .slopes = call->saved_size ? call->saved : NULL};
    ag_then then = {activate, &a};
    bool activated = has_function(call->params);
    if (activated) a.f = function_of(call->params);
    return ag_product_plus(call, s.rows, s.out, s.in, ag_row_major_matrix(call->in[X].data, s.in),
                           ag_transposed(ag_row_major_matrix(call->in[WEIGHT].data, s.in)), call->out.data,
                           bias >= 0 ? call->in[bias].data : NULL, residual >= 0 ? call->in[residual].data : NULL,
                           activated ? &then : NULL);
}

/* Bytes of the result's adjoint that are used for everything before the next ones are read: some of a second-level cache. */
enum { PART_BYTES = 3 << 18 };

/* Rows of a part, so that all parts are of about the same height. */
static int64_t part_rows(const ag_call *call, sizes s) {
    int64_t size = (int64_t)ag_type_size(call->type), most = PART_BYTES / size / (s.out > 0 ? s.out : 1);
    int64_t parts = most > 0 ? (s.rows + most - 1) / most : s.rows;
    return parts > 0 ? (s.rows + parts - 1) / parts : 0;
}

/* The adjoint of z from elements at..at+n-1 of the result's, into `to`. */
static void adjoint_before(const ag_call *call, int64_t at, int64_t n, void *to) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    ag_opcode f = function_of(call->params);
    const void *w = ag_element(call->type, call->out_adjoint.data, at);
    if (!is_told_by_result(f)) {
        kernels->value[AG_CHAIN]((size_t)n, to, w, ag_element(call->type, call->saved, at), NULL);
        return;
    }
    const void *y = ag_element(call->type, call->out.data, at);
    memset(to, 0, (size_t)n * ag_type_size(call->type));
    kernels->partial[f][0]((size_t)n, to, w, y, NULL, NULL, y);
}

/* What rows first..first+rows-1 contribute; `fresh`: bits of operands that are stored, not added to; `space` for the adjoint
 * before a function, if there is one. */
static bool part_adjoint(const ag_call *call, sizes s, int64_t first, int64_t rows, uint32_t fresh, void *space) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    int bias = bias_of(call->params), residual = residual_of(call->params);
    size_t size = ag_type_size(call->type);
    void *w = space ? space : ag_element(call->type, call->out_adjoint.data, first * s.out);
    if (space) adjoint_before(call, first * s.out, rows * s.out, space);
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
    void *space = has_function(call->params) ? ag_matrix_scratch(call, rows, s.out) : NULL;
    bool fine = space || !has_function(call->params);
    for (; fine && first >= 0; first -= rows) {
        fine = part_adjoint(call, s, first, s.rows - first < rows ? s.rows - first : rows, fresh, space);
        fresh = 0; /* of the weight and the bias, to which all parts add */
        if (rows == 0) break;
    }
    ag_scratch_free(call->tape, space);
    return fine;
}

/* ---- recorded derivatives ---- */

/* x as one matrix with its last axis as columns. */
static ag_var as_rows(ag_var x) {
    if (ag_is_inert(x)) return x;
    ag_shape s = ag_shape_of(x);
    return ag_reshape(x, AG_SHAPE(ag_count_dims(s.dim, 0, s.rank - 1), s.dim[s.rank - 1]));
}

/* An adjoint or tangent through the function, if there is one. */
static ag_var through_function(const ag_rule *rule, ag_var w) {
    if (!has_function(rule->params)) return w;
    ag_opcode f = function_of(rule->params);
    int bias = bias_of(rule->params);
    ag_var z = is_told_by_result(f)
                   ? rule->out
                   : ag_linear(rule->in[X], rule->in[WEIGHT], bias >= 0 ? rule->in[bias] : ag_num(0), ag_num(0));
    return ag_elementwise_rule(f, 0, w, &z, rule->out);
}

static void linear_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    int bias = bias_of(rule->params), residual = residual_of(rule->params);
    w = through_function(rule, w);
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
    return ag_is_zero(sum) ? sum : through_function(rule, ag_expand(sum, ag_shape_of(rule->out)));
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
            e->out[i * s.out + j] = has_function(e->params) ? ag_apply1_(function_of(e->params), sum) : sum;
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
    char function[32] = "";
    if (has_function(f->params)) {
        ag_opcode op = function_of(f->params);
        ag_c_use(f, op);
        snprintf(function, sizeof function, "ad_%s(", ag_op_table[op].name);
    }
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
        ag_c_line(f, "%s[%s] = %ssum + %s%s;", f->out, at, function, start, *function ? ")" : "");
    }
    ag_c_close(f, 2);
    if (blas)
        ag_c_line(
            f,
            "cblas_%cgemm(CblasRowMajor, CblasNoTrans, CblasTrans, %lld, %lld, %lld, 1, %s, %lld, %s, %lld, 1, %s, "
            "%lld);",
            f->type == AG_F64 ? 'd' : 's', (long long)s.rows, (long long)s.out, (long long)s.in, f->in[X],
            (long long)s.in, f->in[WEIGHT], (long long)s.in, f->out, (long long)s.out);
    if (blas && *function) {
        ag_c_open(f, 0, s.rows * s.out);
        ag_c_line(f, "%s[i] = %s%s[i]);", f->out, function, f->out);
        ag_c_close(f, 1);
    }
    return true;
}

/* ---- the operation ---- */

static bool linear_valid(const ag_call *call) {
    const mapping *p = call->params;
    return call->params_size == sizeof *p && p->flags >= 0 && p->flags / FUNCTION <= FUNCTIONS &&
           !(has_function(p) && p->flags & HAS_RESIDUAL) && call->n == operands_of(p);
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

ag_var ag_linear_activated(ag_var x, ag_var weight, ag_var bias, ag_opcode f) {
    const ag_var in[3] = {x, weight, bias};
    ag_tape *t = ag_find_tape(in, 3);
    mapping p = {ag_is_zero(bias) ? 0 : HAS_BIAS};
    int64_t number = 0;
    while (number < FUNCTIONS && functions[number] != f) number++;
    if (number == FUNCTIONS) {
        if (t)
            ag_fail(t, AG_ERR_VALUE, "linear: it has no form with %s after it",
                    (unsigned)f < AG_OPCODES ? ag_op_table[f].name : "an unknown operation");
        return ag_inert(t);
    }
    /* Programs share the work of value and derivative as they see fit. */
    if (t && ag_is_tracing(t)) return ag_apply1_(f, ag_linear(x, weight, bias, ag_num(0)));
    p.flags += FUNCTION * (1 + number);
    return ag_apply(&linear, in, operands_of(&p), &p, sizeof p);
}
