/* Matrix products with NumPy's meaning, and what comes down to them: dot and outer product, trace.
 *
 *     C[.., i, j] = sum_p A[.., i, p] B[.., p, j]         dA = dC B^T        dB = A^T dC
 *
 * A vector on the left is a row, on the right a column; the axis that it lacks has length 1 here. Batch axes are those
 * before the last two; where an operand lacks one or has it with length 1, its stride is 0 and its adjoint a sum. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "matrix_impl.h"
#include "structural_impl.h"
#include <limits.h>
#include <math.h>

/* ---- the product as loops ---- */

enum { ROWS, COLUMNS, INNER, LETTERS }; /* i, j, p */

/* C (+)= A B as nested loops: three for the matrices and one for each batch axis. step[x] is what operand x (0: A,
 * 1: B, 2: C) moves by along a loop. A has no step along COLUMNS, B none along ROWS, C none along INNER. */
typedef struct loop {
    int64_t size, step[3];
} loop;
typedef struct product {
    loop letter[LETTERS], batch[AG_MAX_RANK];
    int batches;
} product;

static const int absent_of[LETTERS] = {1, 0, 2};

static int batch_rank(const ag_view *v) { return v->rank > 2 ? v->rank - 2 : 0; }

/* Of batch axis t of the result, which has `rank` of them, in a view: its length and stride there. */
static int64_t batch_axis(const ag_view *v, int rank, int t, int64_t *stride) {
    int own = t - (rank - batch_rank(v));
    if (own < 0 || v->dim[own] == 1) {
        *stride = 0;
        return 1;
    }
    *stride = v->stride[own];
    return v->dim[own];
}

/* The loops for operands of shapes that fit (strides of C: those of a row-major result). */
static void plan(product *r, const ag_view *a, const ag_view *b) {
    int ra = a->rank, rb = b->rank;
    loop *l = r->letter;
    r->batches = batch_rank(a) > batch_rank(b) ? batch_rank(a) : batch_rank(b);
    l[ROWS] = (loop){ra > 1 ? a->dim[ra - 2] : 1, {ra > 1 ? a->stride[ra - 2] : 0, 0, 0}};
    l[COLUMNS] = (loop){rb > 1 ? b->dim[rb - 1] : 1, {0, rb > 1 ? b->stride[rb - 1] : 0, 1}};
    l[INNER] = (loop){a->dim[ra - 1], {a->stride[ra - 1], b->stride[rb > 1 ? rb - 2 : 0], 0}};
    l[ROWS].step[2] = l[COLUMNS].size;
    int64_t step = l[ROWS].size * l[COLUMNS].size;
    for (int t = r->batches - 1; t >= 0; t--) {
        loop *s = &r->batch[t];
        int64_t in_a = batch_axis(a, r->batches, t, &s->step[0]), in_b = batch_axis(b, r->batches, t, &s->step[1]);
        s->size = in_a == 1 ? in_b : in_a;
        s->step[2] = step;
        step *= s->size;
    }
}

/* The same loops for another product of the same three: operand x of the new one is order[x] of the old, and its
 * letters are letters[..] of the old. */
static void permute(product *r, const product *p, const int order[3], const int letters[LETTERS]) {
    r->batches = p->batches;
    for (int i = 0; i < LETTERS + p->batches; i++) {
        const loop *from = i < LETTERS ? &p->letter[letters[i]] : &p->batch[i - LETTERS];
        loop *to = i < LETTERS ? &r->letter[i] : &r->batch[i - LETTERS];
        to->size = from->size;
        for (int x = 0; x < 3; x++) to->step[x] = from->step[order[x]];
    }
}

/* Makes a batch loop part of a matrix loop, so that one larger product takes the place of many: rows of a batch of
 * matrices times one matrix, or the sum over a batch in an adjoint. */
static bool fold(loop *l, const loop *batch, int absent) {
    int64_t size;
    if (batch->step[absent] != 0 || !ag_multiply_sizes(l->size, batch->size, &size)) return false;
    for (int x = 0; x < 3; x++)
        if (l->size != 1 && batch->step[x] != l->size * l->step[x]) return false;
    if (l->size == 1) memcpy(l->step, batch->step, sizeof l->step);
    l->size = size;
    return true;
}

static void fold_batches(product *p) {
    for (int t = p->batches - 1; t >= 0; t--) {
        bool folded = p->batch[t].size == 1;
        for (int i = 0; i < LETTERS && !folded; i++) folded = fold(&p->letter[i], &p->batch[t], absent_of[i]);
        if (!folded) continue;
        for (int u = t; u + 1 < p->batches; u++) p->batch[u] = p->batch[u + 1];
        p->batches--;
        t = p->batches; /* what could not be folded may now be */
    }
}

/* Several products go to one element of C. */
static bool is_sum(const product *p) {
    for (int t = 0; t < p->batches; t++)
        if (p->batch[t].step[2] == 0) return true;
    for (int i = 0; i < INNER; i++)
        if (p->letter[i].size > 1 && p->letter[i].step[2] == 0) return true;
    return false;
}

static bool is_empty(const product *p) {
    bool empty = p->letter[ROWS].size == 0 || p->letter[COLUMNS].size == 0;
    for (int t = 0; t < p->batches; t++) empty = empty || p->batch[t].size == 0;
    return empty;
}

static bool run(const ag_call *call, product *p, void *const data[3], bool store) {
    if (is_empty(p)) return true;
    fold_batches(p);
    const loop *l = p->letter;
    ag_matrix x[3] = {{data[0], l[ROWS].step[0], l[INNER].step[0]},
                      {data[1], l[INNER].step[1], l[COLUMNS].step[1]},
                      {data[2], l[ROWS].step[2], l[COLUMNS].step[2]}};
    int64_t index[AG_MAX_RANK];
    for (int t = 0; t < p->batches; t++) index[t] = 0;
    for (;;) {
        if (!ag_product(call, l[ROWS].size, l[COLUMNS].size, l[INNER].size, 1, x[0], x[1], x[2], store)) return false;
        int t = p->batches - 1;
        for (; t >= 0; t--) {
            const loop *s = &p->batch[t];
            bool wraps = ++index[t] == s->size;
            for (int i = 0; i < 3; i++)
                x[i].data = ag_element(call->type, x[i].data, wraps ? -(s->size - 1) * s->step[i] : s->step[i]);
            if (!wraps) break;
            index[t] = 0;
        }
        if (t < 0) return true;
    }
}

/* ---- the operation ---- */

static bool refuse(const ag_call *call, const char *why) {
    ag_fail(call->tape, AG_ERR_SHAPE, "matmul: shapes %s and %s do not fit: %s", ag_show_view(call->in[0].view).text,
            ag_show_view(call->in[1].view).text, why);
    return false;
}

static bool differ(const ag_call *call, int64_t n, int64_t m) {
    char why[64];
    snprintf(why, sizeof why, "%lld is not %lld", (long long)n, (long long)m);
    return refuse(call, why);
}

static bool matmul_shape(ag_call *call) {
    const ag_view *a = call->in[0].view, *b = call->in[1].view;
    if (a->rank == 0 || b->rank == 0) return refuse(call, "a scalar has no axis to sum over");
    int64_t k = a->dim[a->rank - 1], other = b->dim[b->rank > 1 ? b->rank - 2 : 0];
    if (k != other) return differ(call, k, other);
    ag_shape *shape = &call->shape;
    int rank = batch_rank(a) > batch_rank(b) ? batch_rank(a) : batch_rank(b);
    for (int t = 0; t < rank; t++) {
        int64_t stride, in_a = batch_axis(a, rank, t, &stride), in_b = batch_axis(b, rank, t, &stride);
        if (in_a != in_b && in_a != 1 && in_b != 1) return differ(call, in_a, in_b);
        shape->dim[t] = in_a == 1 ? in_b : in_a;
    }
    if (a->rank > 1) shape->dim[rank++] = a->dim[a->rank - 2];
    if (b->rank > 1) shape->dim[rank++] = b->dim[b->rank - 1];
    shape->rank = rank;
    int64_t count;
    return ag_checked_count(call->tape, "matmul", *shape, &count);
}

static bool matmul_forward(const ag_call *call) {
    product p;
    plan(&p, call->in[0].view, call->in[1].view);
    return run(call, &p, (void *const[]){call->in[0].data, call->in[1].data, call->out.data}, true);
}

/* Sets an adjoint to 0 before a sum goes there, in its view's strides. */
static void clear(ag_type type, const ag_array *x) {
    const double zero = 0;
    int64_t dim[AG_MAX_RANK], none[AG_MAX_RANK] = {0};
    for (int i = 0; i < x->view->rank; i++)
        dim[i] = x->view->stride[i] == 0 && x->view->dim[i] > 1 ? 1 : x->view->dim[i];
    ag_strided_copy(type, x->view->rank, dim, x->data, x->view->stride, &zero, none);
}

static bool matmul_adjoint(const ag_call *call) {
    static const int order[2][3] = {{2, 1, 0}, {0, 2, 1}};
    static const int letters[2][LETTERS] = {{ROWS, INNER, COLUMNS}, {INNER, COLUMNS, ROWS}};
    product forward, p;
    plan(&forward, call->in[0].view, call->in[1].view);
    void *const data[3] = {call->in[0].data, call->in[1].data, call->out_adjoint.data};
    for (int k = 0; k < 2; k++) {
        const ag_array *adjoint = &call->in_adjoint[k];
        if (!adjoint->data) continue;
        permute(&p, &forward, order[k], letters[k]);
        bool store = (call->fresh >> k & 1) != 0;
        if (store) {
            fold_batches(&p);
            if (is_sum(&p) || is_empty(&p)) {
                clear(call->type, adjoint);
                store = false;
            }
        }
        if (!run(call, &p, (void *const[]){data[order[k][0]], data[order[k][1]], adjoint->data}, store)) return false;
    }
    return true;
}

/* ---- recorded derivatives ---- */

static int64_t last(ag_shape s) { return s.dim[s.rank - 1]; }

/* x with an axis of length 1 at position `axis`, or without it. */
static ag_var with_axis(ag_var x, int axis) {
    if (ag_is_inert(x)) return x;
    ag_shape s = ag_shape_of(x);
    for (int i = s.rank++; i > axis; i--) s.dim[i] = s.dim[i - 1];
    s.dim[axis] = 1;
    return ag_reshape(x, s);
}

/* x summed over the leading axes that `shape` lacks or has with length 1. */
static ag_var sum_batches(ag_var x, ag_shape shape) {
    ag_shape s = ag_shape_of(x);
    ag_axes axes = {0};
    for (int i = 0; i < s.rank - 2; i++) {
        int own = i - (s.rank - shape.rank);
        if (own < 0 || (shape.dim[own] == 1 && s.dim[i] != 1)) axes.axis[axes.count++] = i;
    }
    return ag_reshape(axes.count ? ag_sum_over(x, axes, false) : x, shape);
}

/* x as one matrix with its last axis as columns. */
static ag_var flat_rows(ag_var x) {
    if (ag_is_inert(x)) return x;
    ag_shape s = ag_shape_of(x), flat = {.rank = 2, .dim = {1, last(s)}};
    for (int i = 0; i + 1 < s.rank; i++) flat.dim[0] *= s.dim[i];
    return ag_reshape(x, flat);
}

/* x y, laid out as the operand that it is the adjoint of: so its base gets it as it is. */
static ag_var product_as(ag_var operand, ag_var x, ag_var y) {
    if (!ag_is_column_major(operand)) return ag_matmul(x, y);
    return ag_transpose(ag_matmul(ag_transpose(y), ag_transpose(x)));
}

static void matmul_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var a = rule->in[0], b = rule->in[1];
    ag_shape sa = ag_shape_of(a), sb = ag_shape_of(b);
    if (sa.rank == 1 && sb.rank == 1) {
        if (rule->wanted[0]) contributions[0] = ag_mul(w, b);
        if (rule->wanted[1]) contributions[1] = ag_mul(w, a);
        return;
    }
    if (sa.rank == 1) { /* w is [.., j] */
        a = with_axis(a, 0);
        w = with_axis(w, ag_shape_of(w).rank - 1);
    }
    if (sb.rank == 1) { /* w is [.., i] */
        b = with_axis(b, 1);
        w = with_axis(w, ag_shape_of(w).rank);
    }
    if (rule->wanted[0]) {
        ag_shape shape = ag_shape_of(a);
        contributions[0] = ag_reshape(sum_batches(product_as(a, w, ag_transpose(b)), shape), sa);
    }
    if (rule->wanted[1]) {
        ag_shape shape = ag_shape_of(b);
        if (shape.rank == 2) { /* the same b for the whole batch: one longer product instead of a sum */
            a = flat_rows(a);
            w = flat_rows(w);
        }
        contributions[1] = ag_reshape(sum_batches(product_as(b, ag_transpose(a), w), shape), sb);
    }
}

static ag_var matmul_tangent(const ag_rule *rule, const ag_var *tangents) {
    bool a = !ag_is_zero(tangents[0]), b = !ag_is_zero(tangents[1]);
    if (!a && !b) return ag_num(0);
    if (!b) return ag_matmul(tangents[0], rule->in[1]);
    ag_var r = ag_matmul(rule->in[0], tangents[1]);
    return a ? ag_add(ag_matmul(tangents[0], rule->in[1]), r) : r;
}

/* The loops of the plan over elements instead of numbers: every index along a loop moves each operand by its step. */
static void product_elements(const ag_elements *e, const product *p, int t, const int64_t at[3]) {
    const loop *l = p->letter;
    if (t < p->batches) {
        const loop *s = &p->batch[t];
        for (int64_t i = 0; i < s->size; i++)
            product_elements(e, p, t + 1,
                             (const int64_t[]){at[0] + i * s->step[0], at[1] + i * s->step[1], at[2] + i * s->step[2]});
        return;
    }
    for (int64_t i = 0; i < l[ROWS].size; i++) {
        for (int64_t j = 0; j < l[COLUMNS].size; j++) {
            const ag_var *a = e->in[0] + at[0] + i * l[ROWS].step[0], *b = e->in[1] + at[1] + j * l[COLUMNS].step[1];
            ag_var sum = ag_num(0);
            for (int64_t k = 0; k < l[INNER].size; k++) {
                ag_var term = ag_mul(a[k * l[INNER].step[0]], b[k * l[INNER].step[1]]);
                sum = k ? ag_add(sum, term) : term;
            }
            e->out[at[2] + i * l[ROWS].step[2] + j * l[COLUMNS].step[2]] = sum;
        }
    }
}

static void matmul_scalars(const ag_elements *e) {
    ag_view v[2] = {{0}};
    for (int k = 0; k < 2; k++) {
        v[k].rank = e->shapes[k].rank;
        memcpy(v[k].dim, e->shapes[k].dim, sizeof v[k].dim);
        ag_row_major(v[k].rank, v[k].dim, v[k].stride);
    }
    product p;
    plan(&p, &v[0], &v[1]);
    if (!is_empty(&p)) product_elements(e, &p, 0, (const int64_t[]){0, 0, 0});
}

enum { LARGE_PRODUCT = 4096 }; /* multiplications from which BLAS is worth its call */

/* Whether BLAS can take a matrix with these strides: its leading dimension, 0 if not, and whether it is transposed. */
static int64_t leading(const loop *rows, const loop *columns, int operand, bool *transposed) {
    int64_t row = rows->step[operand], column = columns->step[operand];
    *transposed = column != 1;
    int64_t step = *transposed ? column : row, along = *transposed ? row : column;
    int64_t least = *transposed ? rows->size : columns->size;
    return along == 1 && step >= least && step <= INT_MAX ? step : 0;
}

bool ag_c_is_for_blas(const ag_c_form *f, int64_t rows, int64_t columns, int64_t inner) {
    return f->blas && rows <= INT_MAX && columns <= INT_MAX && inner <= INT_MAX &&
           rows * columns >= LARGE_PRODUCT / (inner + 1);
}

static bool blas_c_form(const ag_c_form *f, const product *p) {
    const loop *l = p->letter;
    bool ta, tb, tc;
    int64_t la = leading(&l[ROWS], &l[INNER], 0, &ta), lb = leading(&l[INNER], &l[COLUMNS], 1, &tb);
    int64_t lc = leading(&l[ROWS], &l[COLUMNS], 2, &tc);
    if (p->batches || !la || !lb || !lc || tc || !ag_c_is_for_blas(f, l[ROWS].size, l[COLUMNS].size, l[INNER].size))
        return false;
    ag_c_line(f,
              "cblas_%cgemm(CblasRowMajor, Cblas%sTrans, Cblas%sTrans, %lld, %lld, %lld, 1, %s, %lld, %s, %lld, 0, %s, "
              "%lld);",
              f->type == AG_F64 ? 'd' : 's', ta ? "" : "No", tb ? "" : "No", (long long)l[ROWS].size,
              (long long)l[COLUMNS].size, (long long)l[INNER].size, f->in[0], (long long)la, f->in[1], (long long)lb,
              f->out, (long long)lc);
    return true;
}

/* The index of an operand in loops i, i1, ... over batches, then i5, i6, i7 over rows, columns and what is summed. */
static ag_c_text product_index(const product *p, int operand) {
    int64_t dim[AG_MAX_RANK], stride[AG_MAX_RANK] = {0};
    for (int k = 0; k < AG_MAX_RANK; k++) dim[k] = 2;
    for (int t = 0; t < p->batches; t++) stride[t] = p->batch[t].size == 1 ? 0 : p->batch[t].step[operand];
    stride[AG_MAX_RANK - 3] = p->letter[ROWS].size == 1 ? 0 : p->letter[ROWS].step[operand];
    stride[AG_MAX_RANK - 2] = p->letter[COLUMNS].size == 1 ? 0 : p->letter[COLUMNS].step[operand];
    stride[AG_MAX_RANK - 1] = p->letter[INNER].size == 1 ? 0 : p->letter[INNER].step[operand];
    return ag_c_index(AG_MAX_RANK, dim, stride, 0);
}

/* A loop over axis `axis`, unless there is nothing to go through; whether it was opened. */
static int open_loop(const ag_c_form *f, int axis, const loop *l) {
    if (l->size == 1) return 0;
    ag_c_open(f, axis, l->size);
    return 1;
}

void ag_c_sum_of_products(const ag_c_form *f, const char *a, const char *b, int64_t size, bool adjacent) {
    enum { PARTS = 16 }; /* as many floats as the widest registers hold */
    int64_t first = adjacent && size >= 2 * PARTS ? size / PARTS * PARTS : 0;
    ag_c_line(f, "%s sum = 0;", f->number);
    if (first > 0) {
        ag_c_line(f, "%s part[%d] = {0};", f->number, PARTS);
        ag_c_line(f, "for (long i7 = 0; i7 < %lld; i7 += %d) {", (long long)first, PARTS);
        ag_c_line(f, "for (long i8 = 0; i8 < %d; i8++) part[i8] += %s[%s + i8] * %s[%s + i8];", PARTS, f->in[0], a,
                  f->in[1], b);
        ag_c_line(f, "}");
        ag_c_line(f, "for (long i8 = 0; i8 < %d; i8++) sum += part[i8];", PARTS);
    }
    if (first < size)
        ag_c_line(f, "for (long i7 = %lld; i7 < %lld; i7++) sum += %s[%s] * %s[%s];", (long long)first, (long long)size,
                  f->in[0], a, f->in[1], b);
}

static bool matmul_c_form(const ag_c_form *f) {
    enum { I = AG_MAX_RANK - 3, J, K };
    product p;
    plan(&p, f->views[0], f->views[1]);
    if (p.batches > I) return false;
    if (blas_c_form(f, &p)) return true;
    const loop *l = p.letter;
    int open = 0;
    ag_c_text a = product_index(&p, 0), b = product_index(&p, 1), c = product_index(&p, 2);
    for (int t = 0; t < p.batches; t++) open += open_loop(f, t, &p.batch[t]);
    open += open_loop(f, I, &l[ROWS]);
    if (l[COLUMNS].size > 1 && l[INNER].size > 1 && l[COLUMNS].step[1] == 1) {
        /* rows of the result, to which rows of b are added: adjacent elements in the innermost loop */
        long long columns = l[COLUMNS].size;
        ag_c_line(f, "for (long i6 = 0; i6 < %lld; i6++) %s[%s] = 0;", columns, f->out, c.text);
        open += open_loop(f, K, &l[INNER]);
        ag_c_line(f, "const %s at = %s[%s];", f->number, f->in[0], a.text);
        ag_c_line(f, "for (long i6 = 0; i6 < %lld; i6++) %s[%s] += at * %s[%s];", columns, f->out, c.text, f->in[1],
                  b.text);
        ag_c_close(f, open);
        return true;
    }
    open += open_loop(f, J, &l[COLUMNS]);
    if (l[INNER].size == 1) {
        ag_c_line(f, "%s[%s] = %s[%s] * %s[%s];", f->out, c.text, f->in[0], a.text, f->in[1], b.text);
    } else {
        ag_c_sum_of_products(f, a.text, b.text, l[INNER].size, l[INNER].step[0] == 1 && l[INNER].step[1] == 1);
        ag_c_line(f, "%s[%s] = sum;", f->out, c.text);
    }
    ag_c_close(f, open);
    return true;
}

static const ag_operation matmul = {
    .name = "matmul",
    .shape = matmul_shape,
    .forward = matmul_forward,
    .adjoint = matmul_adjoint,
    .tangent = matmul_tangent,
    .record = matmul_record,
    .scalars = matmul_scalars,
    .strided = true,
    .stores = true,
    .c_form = matmul_c_form,
};
const ag_operation *const ag_builtin_matmul = &matmul;

ag_var ag_matmul(ag_var x, ag_var y) { return ag_apply(&matmul, (const ag_var[]){x, y}, 2, NULL, 0); }

/* ---- what comes down to it ---- */

static bool same_shape(ag_shape x, ag_shape y) {
    if (x.rank != y.rank) return false;
    for (int i = 0; i < x.rank; i++)
        if (x.dim[i] != y.dim[i]) return false;
    return true;
}

ag_var ag_vdot(ag_var x, ag_var y) {
    if (!ag_usable(x, "vdot")) return ag_inert(ag_tape_of(x));
    if (!ag_usable(y, "vdot")) return ag_inert(ag_tape_of(y));
    ag_shape sx = ag_shape_of(x), sy = ag_shape_of(y);
    if (sx.rank == 0 && sy.rank == 0) return ag_mul(x, y);
    if (!same_shape(sx, sy)) {
        ag_tape *tape = ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(y);
        ag_fail(tape, AG_ERR_SHAPE, "vdot: shapes %s and %s differ", ag_show_shape(sx).text, ag_show_shape(sy).text);
        return ag_inert(tape);
    }
    ag_shape flat = AG_SHAPE(ag_count(x));
    return ag_matmul(ag_reshape(x, flat), ag_reshape(y, flat));
}

ag_var ag_outer(ag_var x, ag_var y) {
    if (!ag_usable(x, "outer")) return ag_inert(ag_tape_of(x));
    if (!ag_usable(y, "outer")) return ag_inert(ag_tape_of(y));
    ag_shape sx = ag_shape_of(x), sy = ag_shape_of(y);
    if (sx.rank != 1 || sy.rank != 1) {
        ag_tape *tape = ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(y);
        if (!tape) return ag_num(NAN); /* two numbers */
        ag_fail(tape, AG_ERR_SHAPE, "outer: shapes %s and %s are not two vectors", ag_show_shape(sx).text,
                ag_show_shape(sy).text);
        return ag_inert(tape);
    }
    return ag_matmul(with_axis(x, 1), with_axis(y, 0));
}

ag_var ag_trace(ag_var x) {
    if (!ag_usable(x, "trace")) return ag_inert(ag_tape_of(x));
    ag_shape s = ag_shape_of(x);
    if (s.rank < 2 && ag_tape_of(x))
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "trace: shape %s is not that of matrices", ag_show_shape(s).text);
    return ag_sum_over(ag_diagonal(x), AG_AXES(-1), false);
}
