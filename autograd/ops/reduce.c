/* Reductions: axes, shapes, blocks, and the linear ones, sum and mean. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "reduce_impl.h"

/* ---- axes and shapes ---- */

bool ag_reduce_axes(ag_tape *tape, const char *what, ag_axes axes, ag_shape shape, uint32_t *mask) {
    *mask = axes.count == 0 ? (1u << shape.rank) - 1 : 0;
    if (axes.count < 0 || axes.count > AG_MAX_RANK) {
        ag_fail(tape, AG_ERR_VALUE, "%s: %d axes of shape %s", what, axes.count, ag_show_shape(shape).text);
        return false;
    }
    for (int i = 0; i < axes.count; i++) {
        int axis = ag_check_axis(tape, what, axes.axis[i], shape);
        if (axis < 0) return false;
        if (*mask & 1u << axis) {
            ag_fail(tape, AG_ERR_VALUE, "%s: axis %d of shape %s is given twice", what, axis,
                    ag_show_shape(shape).text);
            return false;
        }
        *mask |= 1u << axis;
    }
    return true;
}

static ag_shape reduced_shape(ag_shape shape, uint32_t mask, bool keep) {
    ag_shape result = {.rank = 0};
    for (int i = 0; i < shape.rank; i++) {
        if (!(mask & 1u << i)) result.dim[result.rank++] = shape.dim[i];
        else if (keep) result.dim[result.rank++] = 1;
    }
    return result;
}

bool ag_reduce_shape(ag_call *call) {
    const ag_reduction *p = call->params;
    const ag_view *view = call->in[0].view;
    call->shape.rank = 0;
    if (!p->keep && p->mask == (1u << view->rank) - 1) return true;
    call->shape = reduced_shape(ag_dims_of(view), p->mask, p->keep);
    return true;
}

bool ag_reduce_shape_nonempty(ag_call *call, const char *what) {
    const ag_reduction *p = call->params;
    const ag_view *view = call->in[0].view;
    for (int i = 0; i < view->rank; i++) {
        if (!(p->mask & 1u << i) || view->dim[i] > 0) continue;
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: nothing to reduce along axis %d of shape %s", what, i,
                ag_show_view(view).text);
        return false;
    }
    return ag_reduce_shape(call);
}

/* Whether the reduced axes stand side by side, axes of length 1 apart. */
static bool is_adjacent(ag_shape shape, uint32_t mask) {
    int last = -1;
    for (int i = 0; i < shape.rank; i++) {
        if (!(mask & 1u << i) || shape.dim[i] == 1) continue;
        for (int j = last + 1; last >= 0 && j < i; j++) {
            if (!(mask & 1u << j) && shape.dim[j] != 1) return false;
        }
        last = i;
    }
    return true;
}

bool ag_reduce_valid(const ag_call *call, int where) {
    const ag_reduction *p = call->params;
    ag_shape shape = ag_dims_of(call->in[0].view);
    if (call->params_size != sizeof *p || p->keep > 1 || p->mask >> shape.rank) return false;
    return where == AG_ANY_AXES || is_adjacent(shape, p->mask);
}
bool ag_reduce_valid_any(const ag_call *call) { return ag_reduce_valid(call, AG_ANY_AXES); }
bool ag_reduce_valid_adjacent(const ag_call *call) { return ag_reduce_valid(call, AG_ADJACENT_AXES); }

ag_extent ag_reduce_extent(const int64_t *dim, int rank, uint32_t mask) {
    ag_extent e = {1, 1, 1};
    for (int i = 0; i < rank; i++) {
        if (mask & 1u << i) {
            e.count *= dim[i];
        } else if (e.count == 1 && e.inner == 1) {
            e.outer *= dim[i];
        } else {
            e.inner *= dim[i];
        }
    }
    return e;
}

bool ag_reduces_short_rows(const ag_call *call, ag_extent *e) {
    const ag_reduction *p = call->params;
    *e = ag_reduce_extent(call->in[0].view->dim, call->in[0].view->rank, p->mask);
    return e->inner == 1 && e->count > 0 && e->count <= AG_SHORT_ROW && e->outer >= 4;
}

ag_var ag_reduce_masked(const ag_operation *operation, int where, ag_var x, uint32_t mask, bool keep) {
    ag_reduction p = {mask, keep};
    ag_shape shape = ag_shape_of(x);
    if (where == AG_ANY_AXES || is_adjacent(shape, mask)) return ag_apply(operation, &x, 1, &p, sizeof p);
    ag_axes order = {.count = 0};
    for (int i = 0; i < shape.rank; i++) {
        if (!(mask & 1u << i)) order.axis[order.count++] = i;
    }
    p = (ag_reduction){((1u << shape.rank) - 1) & ~((1u << order.count) - 1), false};
    for (int i = 0; i < shape.rank; i++) {
        if (mask & 1u << i) order.axis[order.count++] = i;
    }
    ag_var moved = ag_permute(x, order);
    ag_var result = ag_apply(operation, &moved, 1, &p, sizeof p);
    return keep ? ag_reshape(result, reduced_shape(shape, mask, true)) : result;
}

ag_var ag_reduce(const ag_operation *operation, int where, ag_var x, ag_axes axes, bool keep) {
    if (axes.count == 0) { /* ag_apply looks at the operand: twice is what a small tensor's sum would notice */
        ag_reduction p = {(1u << ag_rank_unchecked(x)) - 1, keep};
        return ag_apply(operation, &x, 1, &p, sizeof p);
    }
    uint32_t mask;
    if (!ag_usable(x, operation->name)) return ag_inert(ag_tape_of(x));
    if (!ag_reduce_axes(ag_tape_of(x), operation->name, axes, ag_shape_of(x), &mask)) return ag_inert(ag_tape_of(x));
    return ag_reduce_masked(operation, where, x, mask, keep);
}

ag_var ag_reduce_align(ag_var w, ag_shape operand, const ag_reduction *p) {
    return p->keep ? w : ag_reshape(w, reduced_shape(operand, p->mask, true));
}

/* ---- elements ---- */

int64_t ag_reduce_target(const ag_elements *e, int64_t i) {
    const ag_reduction *p = e->params;
    const ag_shape *s = &e->shapes[0];
    int64_t target = 0, step = 1;
    for (int a = s->rank - 1; a >= 0; a--) {
        int64_t at = i % s->dim[a];
        i /= s->dim[a];
        if (p->mask & 1u << a) continue;
        target += at * step;
        step *= s->dim[a];
    }
    return target;
}

void ag_reduce_scalars(const ag_elements *e, ag_opcode op, double empty) {
    int64_t count = ag_count_dims(e->shapes[0].dim, 0, e->shapes[0].rank);
    int64_t results = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    for (int64_t j = 0; j < results; j++) e->out[j] = ag_inert(NULL); /* not begun */
    for (int64_t i = 0; i < count; i++) {
        ag_var *to = &e->out[ag_reduce_target(e, i)], x = e->in[0][i];
        *to = ag_tape_of(*to) == ag_tape_of(ag_inert(NULL)) ? x : ag_apply2_(op, *to, x);
    }
    for (int64_t j = 0; j < results && count == 0; j++) e->out[j] = ag_num(empty);
}

/* ---- blocks ---- */

static int64_t copies_of(const ag_block *b) {
    int64_t copies = b->width == b->stride && b->width > 0 ? AG_BLOCK / b->width : 1;
    return copies < b->count ? copies : b->count > 0 ? b->count : 1;
}

#define T double
#define ID(name) name##_f64
#include "short_rows.inc"
#undef T
#undef ID
#define T float
#define ID(name) name##_f32
#include "short_rows.inc"
#undef T
#undef ID

typedef enum direction { TO_COLUMNS, TO_ROWS, ADD_TO_ROWS } direction;

/* Between a block's buffer and rows first, first + 1, ... of an operand. */
static void move_rows(const ag_block *b, direction way, void *buffer, void *operand, int64_t first) {
    void *rows = ag_element(b->type, operand, first * b->count);
    if (b->type == AG_F64) {
        if (way == TO_COLUMNS) to_columns_f64(b->width, b->count, buffer, rows);
        else (way == TO_ROWS ? to_rows_f64 : add_to_rows_f64)(b->width, b->count, buffer, rows);
    } else {
        if (way == TO_COLUMNS) to_columns_f32(b->width, b->count, buffer, rows);
        else (way == TO_ROWS ? to_rows_f32 : add_to_rows_f32)(b->width, b->count, buffer, rows);
    }
}

/* Rows that are too short for kernels: columns of a transposed copy are not. */
static bool short_rows(const ag_call *call, ag_block b, int64_t outer, unsigned what, bool (*each)(const ag_block *b)) {
    double x[AG_SHORT_ROWS], out[AG_SHORT_ROWS], w[AG_SHORT_ROWS]; /* for numbers of either type */
    ag_array in[2], in_adjoint[2] = {{NULL, NULL}};
    ag_call columns = *call;
    bool adjoint = what & AG_ADJOINT, whole = what & AG_WHOLE;
    memcpy(in, call->in, (size_t)call->n * sizeof *in);
    columns.in = in;
    in[0].data = x;
    if (adjoint) {
        memcpy(in_adjoint, call->in_adjoint, (size_t)call->n * sizeof *in_adjoint);
        if (call->in_adjoint[0].data) in_adjoint[0].data = whole ? x : w;
        columns.in_adjoint = in_adjoint;
        columns.fresh = (call->fresh & ~1u) | whole;
    }
    if (whole) columns.out.data = out;
    if (whole && adjoint) columns.out_adjoint.data = w;
    b.call = &columns;
    direction back = call->fresh & 1 ? TO_ROWS : ADD_TO_ROWS;
    int64_t rows = AG_SHORT_ROWS / b.count / 16 * 16;
    if (rows > AG_BLOCK) rows = AG_BLOCK;
    for (b.y = 0; b.y < outer; b.y += rows) {
        b.width = b.stride = outer - b.y < rows ? outer - b.y : rows;
        b.copies = copies_of(&b);
        if (!(adjoint && whole)) move_rows(&b, TO_COLUMNS, x, call->in[0].data, b.y);
        if (adjoint && whole) {
            move_rows(&b, TO_COLUMNS, out, call->out.data, b.y);
            move_rows(&b, TO_COLUMNS, w, call->out_adjoint.data, b.y);
        }
        if (in_adjoint[0].data && !whole) memset(w, 0, (size_t)(b.width * b.count) * ag_type_size(b.type));
        if (!each(&b)) return false;
        if (!adjoint && whole) move_rows(&b, TO_ROWS, out, call->out.data, b.y);
        if (in_adjoint[0].data) move_rows(&b, back, in_adjoint[0].data, call->in_adjoint[0].data, b.y);
    }
    return true;
}

bool ag_reduce_blocks(const ag_call *call, unsigned what, bool (*each)(const ag_block *b)) {
    ag_extent e;
    bool is_short = ag_reduces_short_rows(call, &e);
    ag_block b = {
        .call = call, .kernels = ag_kernels_for(call->type), .type = call->type, .count = e.count, .stride = e.inner};
    if (is_short) return short_rows(call, b, e.outer, what, each);
    for (int64_t o = 0; o < e.outer; o++) {
        for (int64_t column = 0; column < e.inner; column += AG_BLOCK) {
            b.width = e.inner - column < AG_BLOCK ? e.inner - column : AG_BLOCK;
            b.copies = copies_of(&b);
            b.x = o * e.count * e.inner + column;
            b.y = o * e.inner + column;
            if (!each(&b)) return false;
        }
    }
    return true;
}

void ag_exps_of_rows(ag_type type, int64_t rows, int64_t count, const void *x, void *most, void *exps, void *sums) {
    const ag_kernels *kernels = ag_kernels_for(type);
    size_t n = (size_t)(rows * count);
    kernels->max_rows((size_t)rows, (size_t)count, most, x);
    kernels->spread((size_t)rows, (size_t)count, exps, most);
    kernels->value[AG_SUB](n, exps, x, exps, NULL);
    kernels->value[AG_EXP](n, exps, exps, NULL, NULL);
    kernels->sum_rows((size_t)rows, (size_t)count, sums, exps);
}

void ag_repeat(const ag_block *b, void *buffer) {
    size_t size = ag_type_size(b->type) * (size_t)b->width, total = size * (size_t)b->copies;
    for (size_t done = size; done < total; done *= 2) {
        memcpy((char *)buffer + done, buffer, done < total - done ? done : total - done);
    }
}

void ag_repeat_results(const ag_block *b, const void *results, void *buffer) {
    size_t size = ag_type_size(b->type);
    memcpy(buffer, (const char *)results + (size_t)b->y * size, (size_t)b->width * size);
    ag_repeat(b, buffer);
}

void ag_fold_copies(const ag_block *b, ag_opcode op, int64_t copies, void *buffer) {
    while (copies > 1) {
        int64_t half = copies / 2;
        b->kernels->value[op]((size_t)(half * b->width), buffer, buffer,
                              ag_element(b->type, buffer, (copies - half) * b->width), NULL);
        copies -= half;
    }
}

void ag_fold(const ag_block *b, ag_opcode op, void *buffer) {
    void *x = b->call->in[0].data;
    memcpy(buffer, ag_piece_of(b, x, 0), ag_piece(b, 0) * ag_type_size(b->type));
    for (int64_t i = b->copies; i < b->count; i += b->copies) {
        b->kernels->value[op](ag_piece(b, i), buffer, buffer, ag_piece_of(b, x, i), NULL);
    }
    ag_fold_copies(b, op, b->copies, buffer);
}

/* ---- sum and mean ---- */

/* Strides over the result, in the operand's axes: 0 along the reduced ones. */
static void result_strides(const ag_call *call, int64_t *stride) {
    const ag_reduction *p = call->params;
    const ag_view *result = call->out.view;
    for (int i = 0, j = 0; i < call->in[0].view->rank; i++) {
        bool reduced = p->mask & 1u << i;
        stride[i] = reduced ? 0 : result->stride[j];
        j += !reduced || p->keep;
    }
}

/* Whether all of a contiguous operand is summed: the kernels do it alone, which is what a small tensor's sum costs. */
static bool is_total(const ag_call *call, const ag_view *view) {
    return call->out.view->count == 1 && view->contiguous;
}

/* Sums of many short rows that lie one after the other. False if they are not that. */
static bool sum_short_rows(const ag_call *call) {
    ag_extent e;
    if (!call->in[0].view->contiguous || !ag_reduces_short_rows(call, &e)) return false;
    ag_kernels_for(call->type)->sum_rows((size_t)e.outer, (size_t)e.count, call->out.data, call->in[0].data);
    return true;
}

static bool sum_forward(const ag_call *call) {
    const ag_view *view = call->in[0].view;
    if (is_total(call, view)) {
        double sum = ag_kernels_for(call->type)->sum((size_t)view->count, call->in[0].data);
        ag_store(call->type, call->out.data, 0, sum);
        return true;
    }
    if (sum_short_rows(call)) return true;
    int64_t stride[AG_MAX_RANK];
    result_strides(call, stride);
    memset(call->out.data, 0, (size_t)call->out.view->count * ag_type_size(call->type));
    ag_strided_add(call->type, view->rank, view->dim, call->out.data, stride, call->in[0].data, view->stride);
    return true;
}

/* Whether the mask is of axes 0, 1, ... and no others. */
static bool leading_axes(uint32_t mask, int rank) { return (mask & (mask + 1)) == 0 && mask < (1u << rank) - 1; }

/* Fills `total` bytes with copies of `size` bytes, doubling what is there up to a size that stays in cache. */
static void repeat(void *to, const void *from, size_t size, size_t total) {
    if (total == 0) return;
    memcpy(to, from, size);
    for (size_t done = size, most = size > 16384 ? size : 16384 / size * size; done < total;) {
        size_t more = done < most ? done : most;
        if (more > total - done) more = total - done;
        memcpy((char *)to + done, to, more);
        done += more;
    }
}

static bool sum_adjoint(const ag_call *call) {
    const ag_view *view = call->in_adjoint[0].view;
    void *to = call->in_adjoint[0].data;
    if (is_total(call, view)) {
        const ag_kernels *kernels = ag_kernels_for(call->type);
        double w = ag_load(call->type, call->out_adjoint.data, 0);
        (call->fresh & 1 ? kernels->fill : kernels->add_value)((size_t)view->count, to, w);
        return true;
    }
    const ag_reduction *p = call->params;
    if (call->fresh & 1 && view->contiguous && leading_axes(p->mask, view->rank)) {
        repeat(to, call->out_adjoint.data, (size_t)call->out.view->count * ag_type_size(call->type),
               (size_t)view->count * ag_type_size(call->type));
        return true;
    }
    ag_extent e = ag_reduce_extent(view->dim, view->rank, p->mask);
    if (call->fresh & 1 && view->contiguous && e.inner == 1) {
        ag_kernels_for(call->type)->spread((size_t)e.outer, (size_t)e.count, to, call->out_adjoint.data);
        return true;
    }
    int64_t stride[AG_MAX_RANK];
    result_strides(call, stride);
    if (call->fresh & 1) {
        ag_strided_copy(call->type, view->rank, view->dim, to, view->stride, call->out_adjoint.data, stride);
    } else {
        ag_strided_add(call->type, view->rank, view->dim, to, view->stride, call->out_adjoint.data, stride);
    }
    return true;
}

static ag_var sum_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_reduce_sum(tangents[0], rule->params);
}

static void sum_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_shape shape = ag_shape_of(rule->in[0]);
    contributions[0] = ag_expand(ag_reduce_align(w, shape, rule->params), shape);
}

static void sum_scalars(const ag_elements *e) { ag_reduce_scalars(e, AG_ADD, 0); }

/* Sums in double; a long row in pieces, so that errors stay small. */
static bool sum_c_form(const ag_c_form *f) {
    enum { PIECE = 128 };
    const ag_view *v = f->views[0];
    const ag_reduction *p = f->params;
    int last = v->rank - 1, kept = ag_c_kept(f), n = 0;
    ag_c_line(f, "double sum = 0;");
    bool pieces = last >= 0 && p->mask >> last & 1 && v->dim[last] > 4 * PIECE;
    for (int k = 0; k < v->rank - pieces; k++) {
        if (!(p->mask >> k & 1) || v->dim[k] == 1) continue;
        ag_c_open(f, k, v->dim[k]);
        n++;
    }
    const char *i = last >= 0 ? ag_c_loop(last) : "i";
    if (pieces) {
        ag_c_line(f, "for (long at = 0; at < %lld; at += %d) {", (long long)v->dim[last], PIECE);
        ag_c_line(f, "double scale = 0;");
        ag_c_line(f, "for (long %s = at; %s < at + %d && %s < %lld; %s++) {", i, i, PIECE, i, (long long)v->dim[last],
                  i);
    }
    ag_c_line(f, "%s += %s%s[%s];", pieces ? "scale" : "sum", f->type == AG_F32 ? "(double)" : "", f->in[0],
              ag_c_index_of(v).text);
    if (pieces) {
        ag_c_line(f, "}");
        ag_c_line(f, "sum += scale;");
        ag_c_line(f, "}");
    }
    ag_c_close(f, n);
    ag_c_line(f, "%s[%s] = %ssum;", f->out, ag_c_result_index(f).text, f->type == AG_F32 ? "(float)" : "");
    ag_c_close(f, kept);
    return true;
}

static const ag_operation sum_operation = {
    .name = "sum",
    .shape = ag_reduce_shape,
    .forward = sum_forward,
    .adjoint = sum_adjoint,
    .tangent = sum_tangent,
    .record = sum_record,
    .scalars = sum_scalars,
    .strided = true,
    .stores = true,
    .c_form = sum_c_form,
    .valid = ag_reduce_valid_any,
};
const ag_operation *const ag_builtin_sum = &sum_operation;

bool ag_is_total_sum(const ag_operation *operation, const void *params, int rank) {
    if (operation != &sum_operation) return false;
    const ag_reduction *p = params;
    return (p->mask & ((1u << rank) - 1)) == (1u << rank) - 1;
}

ag_var ag_reduce_sum(ag_var x, const ag_reduction *p) { return ag_apply(&sum_operation, &x, 1, p, sizeof *p); }

ag_var ag_sum_over(ag_var x, ag_axes axes, bool keep) { return ag_reduce(&sum_operation, AG_ANY_AXES, x, axes, keep); }

ag_var ag_mean_over(ag_var x, ag_axes axes, bool keep) {
    if (!ag_usable(x, "mean")) return ag_inert(ag_tape_of(x));
    ag_shape shape = ag_shape_of(x);
    uint32_t mask;
    if (!ag_reduce_axes(ag_tape_of(x), "mean", axes, shape, &mask)) return ag_inert(ag_tape_of(x));
    int64_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= mask & 1u << i ? shape.dim[i] : 1;
    if (count == 0) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "mean: no elements to take the mean of in shape %s",
                ag_show_shape(shape).text);
        return ag_inert(ag_tape_of(x));
    }
    return ag_div(ag_reduce_masked(&sum_operation, AG_ANY_AXES, x, mask, keep), (double)count);
}
