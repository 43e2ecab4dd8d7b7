/* Pooling over windows of the last two axes: the greatest of each, or the mean. The greatest have two linear companions,
 * which are each other's adjoint and the derivatives of it: values at the places of the greatest, and adjoints put there.
 * So has the mean: its adjoint, spread over each window. Derivatives by what decides on the places are 0. */

#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"
#include <math.h>

enum { CEIL = 1, EXCLUDE_PADDING = 2, ADAPTIVE = 4, ALL_FLAGS = 7 };

/* size: of planes; out: of results. Adaptive windows need nothing else. */
typedef struct pooling {
    int64_t kernel[2], stride[2], padding[2], dilation[2], size[2], out[2], flags;
} pooling;

/* Which operation: what it takes and gives. Of two operands the first decides on the places. */
typedef enum kind { MAX, MAX_AT, MAX_SPREAD, MEAN, MEAN_SPREAD } kind;
static const char *const name_of[] = {"max_pool", "max_pool_at", "max_pool_spread", "mean_pool", "mean_pool_spread"};
static bool spreads(kind k) { return k == MAX_SPREAD || k == MEAN_SPREAD; }
static const ag_operation *operation_of(kind k);

/* ---- windows ---- */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many windows there are; with CEIL one more may begin inside the plane or its padding before and end outside. */
static int64_t results_along(const pooling *p, int a) {
    int64_t room = p->size[a] + 2 * p->padding[a] - p->dilation[a] * (p->kernel[a] - 1) - 1;
    if (p->flags & CEIL) room += p->stride[a] - 1; /* so even the first window may */
    if (room < 0) return 0;
    int64_t out = room / p->stride[a] + 1;
    return p->flags & CEIL && (out - 1) * p->stride[a] >= p->size[a] + p->padding[a] ? out - 1 : out;
}

static ag_window window_of(const pooling *p, int a, int64_t o) {
    if (p->flags & ADAPTIVE) {
        int64_t first = o * p->size[a] / p->out[a], end = ((o + 1) * p->size[a] + p->out[a] - 1) / p->out[a];
        return (ag_window){first, end, end - first};
    }
    int64_t start = o * p->stride[a] - p->padding[a], covers = p->dilation[a] * (p->kernel[a] - 1) + 1;
    int64_t first = start < 0 ? start + (-start + p->dilation[a] - 1) / p->dilation[a] * p->dilation[a] : start;
    int64_t end = least(start + covers, p->size[a]), padded = least(start + covers, p->size[a] + p->padding[a]);
    return (ag_window){first, end, p->flags & EXCLUDE_PADDING ? end - first : padded - start};
}

static bool are_twos(const pooling *p) {
    bool twos = !(p->flags & (ADAPTIVE | CEIL));
    for (int a = 0; a < 2; a++)
        twos &= p->kernel[a] == 2 && p->stride[a] == 2 && p->padding[a] == 0 && p->dilation[a] == 1;
    return twos;
}

/* ---- shapes ---- */

static bool check_axis(ag_tape *tape, const char *what, const pooling *p, int a, ag_shape shape) {
    enum { MOST = 1 << 30 };
    static const char *const axis[2] = {"vertical", "horizontal"};
    const struct {
        const char *what;
        int64_t value, least, most;
    } all[] = {{"kernel", p->kernel[a], 1, MOST},
               {"stride", p->stride[a], 1, MOST},
               {"dilation", p->dilation[a], 1, MOST},
               {"padding", p->padding[a], 0, p->kernel[a] / 2}};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        if (all[k].value >= all[k].least && all[k].value <= all[k].most) continue;
        ag_fail(tape, AG_ERR_VALUE, "%s: a %s %s of %lld is outside %lld..%lld", what, axis[a], all[k].what,
                (long long)all[k].value, (long long)all[k].least, (long long)all[k].most);
        return false;
    }
    if (p->size[a] <= MOST && results_along(p, a) > 0) return true;
    ag_fail(tape, AG_ERR_SHAPE, "%s: a %s window of %lld does not fit into shape %s with a padding of %lld", what,
            axis[a], (long long)(p->dilation[a] * (p->kernel[a] - 1) + 1), ag_show_shape(shape).text,
            (long long)p->padding[a]);
    return false;
}

/* Parameters are those of a call that passed; only operands that come from a file may not fit. */
static bool set_shape(ag_call *call, kind k) {
    const pooling *p = call->params;
    int64_t count;
    call->shape = ag_dims_of(call->in[0].view);
    int rank = call->shape.rank;
    for (int a = 0; a < 2; a++) call->shape.dim[rank - 2 + a] = spreads(k) ? p->size[a] : p->out[a];
    return ag_checked_count(call->tape, name_of[k], call->shape, &count);
}

static bool has_size(const ag_view *v, const int64_t *size) {
    return v->rank >= 2 && v->dim[v->rank - 2] == size[0] && v->dim[v->rank - 1] == size[1];
}

static bool valid(const ag_call *call, kind k) {
    const pooling *p = call->params;
    enum { MOST = 1 << 30 };
    if (call->params_size != sizeof *p || p->flags < 0 || p->flags > ALL_FLAGS) return false;
    for (int a = 0; a < 2; a++) {
        if (p->size[a] < 0 || p->size[a] > MOST || p->out[a] < 1 || p->out[a] > 2 * (int64_t)MOST) return false;
        if (p->flags & ADAPTIVE) {
            if (p->size[a] < 1) return false;
            continue;
        }
        if (p->kernel[a] < 1 || p->kernel[a] > MOST || p->stride[a] < 1 || p->stride[a] > MOST || p->dilation[a] < 1 ||
            p->dilation[a] > MOST || p->padding[a] < 0 || p->padding[a] > p->kernel[a] / 2 ||
            p->out[a] != results_along(p, a) || (k >= MEAN && p->dilation[a] != 1))
            return false;
    }
    const ag_view *first = call->in[0].view, *second = call->n > 1 ? call->in[1].view : NULL;
    if (!has_size(first, k == MEAN_SPREAD ? p->out : p->size)) return false;
    if (!second) return true;
    if (!has_size(second, k == MAX_SPREAD ? p->out : p->size) || first->rank != second->rank) return false;
    return memcmp(first->dim, second->dim, (size_t)(first->rank - 2) * sizeof *first->dim) == 0;
}

/* ---- all planes ---- */

typedef struct plane_set {
    const ag_kernels *kernels;
    ag_pool_plane plane;
    kind kind;
    int threads;
    int64_t count, size, out;  /* planes; bytes of one, of its results */
    char *decides, *from, *to; /* what decides on places, what is pooled or spread */
    bool store;
} plane_set;

static void run_planes(void *context, int thread) {
    enum { SMALL = 1 << 14 }; /* bytes */
    const plane_set *s = context;
    int64_t from = spreads(s->kind) ? s->out : s->size, to = spreads(s->kind) ? s->size : s->out;
    for (int64_t i = thread * s->count / s->threads; i < (thread + 1) * s->count / s->threads; i++) {
        char *target = s->to + i * to;
        const char *source = s->from + i * from, *decides = s->decides + i * s->size;
        if (i + 1 < s->count && s->size <= SMALL) { /* over before the processor sees where this goes */
            ag_ask(decides + s->size, s->size, false);
            if (spreads(s->kind)) ag_ask(target + to, to, true);
        }
        if (spreads(s->kind) && s->store && !s->plane.fills) memset(target, 0, (size_t)to);
        if (s->kind == MEAN) s->kernels->mean_pool(&s->plane, target, source);
        else if (s->kind == MEAN_SPREAD) s->kernels->mean_spread(&s->plane, target, source);
        else if (s->kind == MAX_SPREAD) s->kernels->max_spread(&s->plane, target, decides, source);
        else s->kernels->max_pool(&s->plane, target, decides, source);
    }
}

/* to = (or, of what spreads and without `store`, +=) what an operation gives. */
static bool run(const ag_call *call, kind k, const void *decides, const void *from, void *to, bool store) {
    enum { LEAST_WORK = 1 << 17 }; /* elements that are worth a thread */
    const pooling *p = call->params;
    int64_t size = (int64_t)ag_type_size(call->type), outs = p->out[0] + p->out[1];
    const ag_view *v = call->in[0].view;
    plane_set s = {.kernels = ag_kernels_for(call->type),
                   .plane = {.width = p->size[1],
                             .twos = are_twos(p),
                             .regular = !(p->flags & ADAPTIVE) && p->size[0] * p->size[1] <= INT32_MAX},
                   .kind = k,
                   .count = ag_count_dims(v->dim, 0, v->rank - 2),
                   .size = p->size[0] * p->size[1] * size,
                   .out = p->out[0] * p->out[1] * size,
                   .decides = (char *)(uintptr_t)decides,
                   .from = (char *)(uintptr_t)from,
                   .to = to,
                   .store = store};
    if (!s.decides) s.decides = s.from;
    s.plane.fills =
        k == MAX_SPREAD && store && s.plane.twos && 2 * p->out[0] == p->size[0] && 2 * p->out[1] == p->size[1];
    ag_window *windows = ag_scratch(call->tape, (size_t)outs * sizeof *windows);
    if (!windows) return false;
    for (int a = 0; a < 2; a++) {
        s.plane.out[a] = p->out[a];
        s.plane.step[a] = p->flags & ADAPTIVE ? 1 : p->dilation[a];
        s.plane.kernel[a] = p->kernel[a];
        s.plane.stride[a] = p->stride[a];
        s.plane.padding[a] = p->padding[a];
        s.plane.size[a] = p->size[a];
        s.plane.window[a] = windows + (a ? p->out[0] : 0);
        for (int64_t o = 0; o < p->out[a]; o++) windows[(a ? p->out[0] : 0) + o] = window_of(p, a, o);
    }
    int64_t most = s.count * p->size[0] * p->size[1] < LEAST_WORK ? 1 : ag_threads();
    s.threads = (int)least(most, s.count);
    if (s.threads > 0) ag_parallel(s.threads, run_planes, &s);
    ag_scratch_free(call->tape, windows);
    return true;
}

static bool forward(const ag_call *call, kind k) {
    const void *first = call->in[0].data, *last = call->in[call->n - 1].data;
    return run(call, k, k == MEAN || k == MEAN_SPREAD ? NULL : first, last, call->out.data, true);
}

/* The adjoint of what is linear; without a kernel that adds, through a copy. */
static bool adjoint(const ag_call *call, kind k) {
    int last = call->n - 1;
    void *to = call->in_adjoint[last].data;
    if (call->n > 1 && call->fresh & 1 && call->in_adjoint[0].data)
        memset(call->in_adjoint[0].data, 0, (size_t)call->in[0].view->count * ag_type_size(call->type));
    if (!to) return true;
    bool store = call->fresh >> last & 1;
    const void *decides = k == MEAN || k == MEAN_SPREAD ? NULL : call->in[0].data, *w = call->out_adjoint.data;
    if (k == MAX || k == MAX_AT) return run(call, MAX_SPREAD, decides, w, to, store);
    if (k == MEAN) return run(call, MEAN_SPREAD, NULL, w, to, store);
    kind back = k == MAX_SPREAD ? MAX_AT : MEAN;
    if (store) return run(call, back, decides, w, to, true);
    size_t count = (size_t)call->in[last].view->count;
    void *copy = ag_scratch(call->tape, count * ag_type_size(call->type) + 1);
    bool ok = copy && run(call, back, decides, w, copy, true);
    if (ok) ag_kernels_for(call->type)->add_to(count, to, copy);
    ag_scratch_free(call->tape, copy);
    return ok;
}

/* ---- recorded derivatives ---- */

static ag_var apply(kind k, const ag_rule *rule, ag_var v) {
    bool max = k <= MAX_SPREAD;
    return ag_apply(operation_of(k), max ? (ag_var[]){rule->in[0], v} : &v, max ? 2 : 1, rule->params,
                    rule->params_size);
}

static ag_var tangent(const ag_rule *rule, kind k, const ag_var *tangents) {
    ag_var v = tangents[rule->n - 1];
    if (ag_is_zero(v)) return ag_num(0);
    return apply(k == MAX ? MAX_AT : k, rule, v);
}

static void record(const ag_rule *rule, kind k, ag_var w, ag_var *contributions) {
    static const kind back[] = {MAX_SPREAD, MAX_SPREAD, MAX_AT, MEAN_SPREAD, MEAN};
    if (rule->n > 1) contributions[0] = ag_num(0);
    if (rule->wanted[rule->n - 1]) contributions[rule->n - 1] = apply(back[k], rule, w);
}

/* ---- scalars ---- */

/* One window, of a plane that begins at `plane`, with result r. */
typedef struct scalar_window {
    const ag_elements *e;
    const pooling *p;
    kind kind;
    ag_window rows, columns;
    int64_t plane, result;
} scalar_window;

static int64_t next_in(const scalar_window *s, int64_t *row, int64_t *column) {
    int64_t step[2];
    for (int a = 0; a < 2; a++) step[a] = s->p->flags & ADAPTIVE ? 1 : s->p->dilation[a];
    if ((*column += step[1]) >= s->columns.end) *column = s->columns.first, *row += step[0];
    return *row < s->rows.end && s->columns.first < s->columns.end ? s->plane + *row * s->p->size[1] + *column : -1;
}

static int64_t first_in(const scalar_window *s, int64_t *row, int64_t *column) {
    *row = s->rows.first, *column = s->columns.first;
    if (*row >= s->rows.end || *column >= s->columns.end) return -1;
    return s->plane + *row * s->p->size[1] + *column;
}

static void add_scalar(ag_var *to, ag_var term) { *to = ag_is_zero(*to) ? term : ag_add(*to, term); }

static void scalar_max(const scalar_window *s) {
    int64_t row, column, number = 0;
    const ag_var *x = s->e->in[0], *v = s->e->in[s->e->n - 1];
    ag_var most = ag_num(-HUGE_VAL), best = s->kind == MAX ? most : ag_num(0), place = ag_num(-1);
    for (int64_t i = first_in(s, &row, &column); i >= 0; i = next_in(s, &row, &column), number++) {
        ag_var more = number ? ag_add(ag_gt(x[i], most), ag_ne(x[i], x[i])) : ag_num(1);
        most = number ? ag_select(more, x[i], most) : x[i];
        if (s->kind == MAX_SPREAD) place = number ? ag_select(more, (double)number, place) : ag_num(0);
        else best = number ? ag_select(more, v[i], best) : v[i];
    }
    if (s->kind != MAX_SPREAD) {
        s->e->out[s->result] = best;
        return;
    }
    number = 0;
    for (int64_t i = first_in(s, &row, &column); i >= 0; i = next_in(s, &row, &column), number++)
        add_scalar(&s->e->out[i], ag_select(ag_eq(place, (double)number), v[s->result], 0.0));
}

static void scalar_mean(const scalar_window *s) {
    int64_t row, column;
    double count = (double)(s->rows.count * s->columns.count);
    ag_var sum = ag_num(0), share = s->kind == MEAN ? sum : ag_div(s->e->in[0][s->result], count);
    for (int64_t i = first_in(s, &row, &column); i >= 0; i = next_in(s, &row, &column)) {
        if (s->kind == MEAN) add_scalar(&sum, s->e->in[0][i]);
        else add_scalar(&s->e->out[i], share);
    }
    if (s->kind == MEAN) s->e->out[s->result] = ag_div(sum, count);
}

static void scalars(const ag_elements *e, kind k) {
    const pooling *p = e->params;
    int64_t planes = ag_count_dims(e->shape.dim, 0, e->shape.rank - 2), area = p->out[0] * p->out[1];
    for (int64_t i = 0; i < ag_count_dims(e->shape.dim, 0, e->shape.rank); i++) e->out[i] = ag_num(0);
    for (int64_t i = 0; i < planes * area; i++) {
        scalar_window s = {.e = e, .p = p, .kind = k, .result = i, .plane = i / area * p->size[0] * p->size[1]};
        s.rows = window_of(p, 0, i % area / p->out[1]);
        s.columns = window_of(p, 1, i % p->out[1]);
        if (k <= MAX_SPREAD) scalar_max(&s);
        else scalar_mean(&s);
    }
}

/* ---- as C ---- */

#define LL(n) ((long long)(n))

/* Opens a loop of `name` over a window along an axis; what is outside the padded plane goes on to the next one. */
static void open_window(const ag_c_form *f, const pooling *p, int a, const char *name) {
    const char *i = ag_c_loop(1 + a);
    if (p->flags & ADAPTIVE) {
        ag_c_line(f, "for (long %s = %s * %lld / %lld; %s < ((%s + 1) * %lld + %lld) / %lld; %s++) {", name, i,
                  LL(p->size[a]), LL(p->out[a]), name, i, LL(p->size[a]), LL(p->out[a] - 1), LL(p->out[a]), name);
        return;
    }
    int64_t covers = p->dilation[a] * (p->kernel[a] - 1) + 1, outside = p->flags & EXCLUDE_PADDING ? 0 : p->padding[a];
    ag_c_line(f, "for (long %s = %s * %lld - %lld; %s < %s * %lld + %lld; %s += %lld) {", name, i, LL(p->stride[a]),
              LL(p->padding[a]), name, i, LL(p->stride[a]), LL(covers - p->padding[a]), name, LL(p->dilation[a]));
    ag_c_line(f, "if (%s < %lld || %s >= %lld) continue;", name, LL(-outside), name, LL(p->size[a] + outside));
}

static void max_c_form(const ag_c_form *f, const pooling *p, kind k) {
    ag_c_line(f, "%s most = 0;", f->number);
    ag_c_line(f, "long pivot = -1;");
    open_window(f, p, 0, "row");
    open_window(f, p, 1, "at");
    ag_c_line(f, "const long i3 = (i * %lld + row) * %lld + at;", LL(p->size[0]), LL(p->size[1]));
    ag_c_line(f, "const %s best = %s[i3];", f->number, f->in[0]);
    ag_c_line(f, "if (pivot < 0 || best > most || isnan(best)) {");
    ag_c_line(f, "most = best;");
    ag_c_line(f, "pivot = i3;");
    ag_c_close(f, 3);
    char result[128];
    snprintf(result, sizeof result, "(i * %lld + i1) * %lld + i2", LL(p->out[0]), LL(p->out[1]));
    if (k == MAX_SPREAD) ag_c_line(f, "if (pivot >= 0) %s[pivot] += %s[%s];", f->out, f->in[1], result);
    else
        ag_c_line(f, "%s[%s] = pivot < 0 ? %s : %s[pivot];", f->out, result, k == MAX ? "-INFINITY" : "0",
                  f->in[f->n - 1]);
}

static void mean_c_form(const ag_c_form *f, const pooling *p, kind k) {
    int64_t plane = p->size[0];
    bool pads = !(p->flags & (ADAPTIVE | EXCLUDE_PADDING)) && (p->padding[0] || p->padding[1]);
    char inside[160] = "", result[128];
    if (pads)
        snprintf(inside, sizeof inside, "if (row >= 0 && row < %lld && at >= 0 && at < %lld) ", LL(p->size[0]),
                 LL(p->size[1]));
    snprintf(result, sizeof result, "(i * %lld + i1) * %lld + i2", LL(p->out[0]), LL(p->out[1]));
    ag_c_line(f, "%s sum = 0, scale = 0;", f->number);
    open_window(f, p, 0, "row");
    open_window(f, p, 1, "at");
    if (k == MEAN)
        ag_c_line(f, "%ssum += %s[(i * %lld + row) * %lld + at];", inside, f->in[0], LL(plane), LL(p->size[1]));
    ag_c_line(f, "scale += 1;");
    ag_c_close(f, 2);
    if (k == MEAN) {
        ag_c_line(f, "%s[%s] = sum / scale;", f->out, result);
        return;
    }
    ag_c_line(f, "sum = %s[%s] / scale;", f->in[0], result);
    open_window(f, p, 0, "row");
    open_window(f, p, 1, "at");
    ag_c_line(f, "%s%s[(i * %lld + row) * %lld + at] += sum;", inside, f->out, LL(plane), LL(p->size[1]));
    ag_c_close(f, 2);
}

static bool c_form(const ag_c_form *f, kind k) {
    pooling p = *(const pooling *)f->params;
    int rank = f->shape.rank;
    int64_t count = ag_count_dims(f->shape.dim, 0, rank), planes = ag_count_dims(f->shape.dim, 0, rank - 2);
    if (spreads(k)) ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[i] = 0;", LL(count), f->out);
    if (k <= MAX_SPREAD) p.flags |= EXCLUDE_PADDING;
    ag_c_open_all(f, (int64_t[]){planes, p.out[0], p.out[1]}, 3);
    if (k <= MAX_SPREAD) max_c_form(f, &p, k);
    else mean_c_form(f, &p, k);
    ag_c_close(f, 3);
    return true;
}

/* ---- the operations ---- */

AG_FAMILY_MEMBER(max_pool, MAX)
AG_FAMILY_MEMBER(max_pool_at, MAX_AT)
AG_FAMILY_MEMBER(max_pool_spread, MAX_SPREAD)
AG_FAMILY_MEMBER(mean_pool, MEAN)
AG_FAMILY_MEMBER(mean_pool_spread, MEAN_SPREAD)

static const ag_operation *operation_of(kind k) {
    static const ag_operation *const all[] = {&max_pool, &max_pool_at, &max_pool_spread, &mean_pool, &mean_pool_spread};
    return all[k];
}

/* ---- calls ---- */

/* x as planes: its size into p. False, and an error, if it has none. */
static bool planes_of(ag_var x, const char *what, int axes, pooling *p) {
    if (!ag_usable(x, what)) return false;
    ag_shape shape = ag_shape_of(x);
    if (shape.rank < axes) {
        if (ag_tape_of(x))
            ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "%s: shape %s has not %d axes to pool over", what,
                    ag_show_shape(shape).text, axes);
        return false;
    }
    for (int a = 0; a < 2; a++) p->size[a] = axes == 2 || a == 1 ? shape.dim[shape.rank - 2 + a] : 1;
    return true;
}

/* Over the last one or two axes. */
static ag_var pooled(kind k, ag_var x, int axes, const pooling *p) {
    ag_var planes = axes == 1 ? ag_unsqueeze(x, -2) : x, r = ag_apply(operation_of(k), &planes, 1, p, sizeof *p);
    return axes == 1 && !ag_is_inert(r) ? ag_squeeze(r, -2) : r;
}

static ag_var pool(kind k, ag_var x, const char *what, int axes, ag_pool_options o) {
    pooling p = {.flags = (o.ceil_mode ? CEIL : 0) | (k == MEAN && o.exclude_padding ? EXCLUDE_PADDING : 0)};
    if (!planes_of(x, what, axes, &p)) return ag_inert(ag_tape_of(x));
    for (int a = 0; a < 2; a++) {
        int from = axes == 2 ? a : 0;
        bool real = axes == 2 || a == 1;
        p.kernel[a] = real ? o.kernel[from] : 1;
        p.stride[a] = real && o.stride[from] ? o.stride[from] : p.kernel[a];
        p.padding[a] = real ? o.padding[from] : 0;
        p.dilation[a] = real && k == MAX && o.dilation[from] ? o.dilation[from] : 1;
        if (k == MEAN && o.dilation[from] > 1) {
            ag_fail(ag_tape_of(x), AG_ERR_VALUE, "%s: means have no dilation, not %lld", what,
                    (long long)o.dilation[from]);
            return ag_inert(ag_tape_of(x));
        }
        if (!check_axis(ag_tape_of(x), what, &p, a, ag_shape_of(x))) return ag_inert(ag_tape_of(x));
        p.out[a] = results_along(&p, a);
    }
    return pooled(k, x, axes, &p);
}

static ag_var adaptive(kind k, ag_var x, const char *what, int axes, int64_t rows, int64_t columns) {
    pooling p = {.flags = ADAPTIVE, .out = {rows, columns}};
    if (!planes_of(x, what, axes, &p)) return ag_inert(ag_tape_of(x));
    for (int a = 0; a < 2; a++) {
        if (p.out[a] >= 1 && p.out[a] <= 1 << 30 && p.size[a] >= 1 && p.size[a] <= 1 << 30) continue;
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "%s: %lld x %lld results of shape %s", what, (long long)rows,
                (long long)columns, ag_show_shape(ag_shape_of(x)).text);
        return ag_inert(ag_tape_of(x));
    }
    return pooled(k, x, axes, &p);
}

ag_var ag_max_pool2d(ag_var x, ag_pool_options options) { return pool(MAX, x, "max_pool2d", 2, options); }
ag_var ag_max_pool1d(ag_var x, ag_pool_options options) { return pool(MAX, x, "max_pool1d", 1, options); }
ag_var ag_avg_pool2d(ag_var x, ag_pool_options options) { return pool(MEAN, x, "avg_pool2d", 2, options); }
ag_var ag_avg_pool1d(ag_var x, ag_pool_options options) { return pool(MEAN, x, "avg_pool1d", 1, options); }
ag_var ag_adaptive_max_pool2d(ag_var x, int64_t rows, int64_t columns) {
    return adaptive(MAX, x, "adaptive_max_pool2d", 2, rows, columns);
}
ag_var ag_adaptive_max_pool1d(ag_var x, int64_t n) { return adaptive(MAX, x, "adaptive_max_pool1d", 1, 1, n); }
ag_var ag_adaptive_avg_pool2d(ag_var x, int64_t rows, int64_t columns) {
    return adaptive(MEAN, x, "adaptive_avg_pool2d", 2, rows, columns);
}
ag_var ag_adaptive_avg_pool1d(ag_var x, int64_t n) { return adaptive(MEAN, x, "adaptive_avg_pool1d", 1, 1, n); }
