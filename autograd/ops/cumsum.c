/* Cumulative sums along an axis, forwards or (the adjoint) backwards. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"

typedef struct cumulation {
    int32_t axis;
    int32_t backwards;
} cumulation;

static bool cumsum_shape(ag_call *call) {
    call->shape = ag_dims_of(call->in[0].view);
    return true;
}

/* out = (or, with `add`, +=) the running sums of `count` numbers, `step` apart, summed in double. */
static void run_sums(ag_type type, int64_t count, int64_t step, bool add, void *out, const void *x) {
    double sum = 0;
    if (type == AG_F64) {
        double *to = out;
        const double *from = x;
        for (int64_t i = 0; i < count; i++) {
            sum += from[i * step];
            to[i * step] = add ? to[i * step] + sum : sum;
        }
    } else {
        float *to = out;
        const float *from = x;
        for (int64_t i = 0; i < count; i++) {
            sum += (double)from[i * step];
            to[i * step] = add ? to[i * step] + (float)sum : (float)sum;
        }
    }
}

/* Running sums over axis `axis` of row-major x. Columns go in blocks whose sums so far stay in cache. */
static void cumulate(const ag_call *call, bool backwards, bool add, void *out, void *x) {
    enum { BLOCK = 512 };
    const cumulation *p = call->params;
    const ag_view *view = call->out.view;
    int64_t outer = ag_count_dims(view->dim, 0, p->axis), count = view->dim[p->axis];
    int64_t inner = ag_count_dims(view->dim, p->axis + 1, view->rank);
    int64_t first = backwards ? (count - 1) * inner : 0, step = backwards ? -inner : inner;
    const ag_kernels *kernels = ag_kernels_for(call->type);
    double sums[BLOCK];
    for (int64_t o = 0; o < outer && count > 0; o++) {
        int64_t start = o * count * inner + first;
        if (inner < 8) {
            for (int64_t j = 0; j < inner; j++) {
                run_sums(call->type, count, step, add, ag_element(call->type, out, start + j),
                         ag_element(call->type, x, start + j));
            }
            continue;
        }
        for (int64_t j = 0; j < inner; j += BLOCK) {
            size_t width = (size_t)(inner - j < BLOCK ? inner - j : BLOCK), bytes = width * ag_type_size(call->type);
            memset(sums, 0, bytes);
            for (int64_t i = 0; i < count; i++) {
                int64_t at = start + j + i * step;
                kernels->add_to(width, sums, ag_element(call->type, x, at));
                if (add) kernels->add_to(width, ag_element(call->type, out, at), sums);
                else memcpy(ag_element(call->type, out, at), sums, bytes);
            }
        }
    }
}

static bool cumsum_forward(const ag_call *call) {
    const cumulation *p = call->params;
    cumulate(call, p->backwards, false, call->out.data, call->in[0].data);
    return true;
}

static bool cumsum_adjoint(const ag_call *call) {
    const cumulation *p = call->params;
    cumulate(call, !p->backwards, !(call->fresh & 1), call->in_adjoint[0].data, call->out_adjoint.data);
    return true;
}

static ag_var cumsum_tangent(const ag_rule *rule, const ag_var *tangents);
static void cumsum_record(const ag_rule *rule, ag_var w, ag_var *contributions);

static void cumsum_scalars(const ag_elements *e) {
    const cumulation *p = e->params;
    const int64_t *dim = e->shape.dim;
    int64_t outer = ag_count_dims(dim, 0, p->axis), count = dim[p->axis];
    int64_t inner = ag_count_dims(dim, p->axis + 1, e->shape.rank);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t j = 0; j < inner; j++)
            for (int64_t i = 0; i < count; i++) {
                int64_t at = (o * count + (p->backwards ? count - 1 - i : i)) * inner + j;
                int64_t before = p->backwards ? at + inner : at - inner;
                e->out[at] = i ? ag_add(e->out[before], e->in[0][at]) : e->in[0][at];
            }
}

static bool cumsum_c_form(const ag_c_form *f) {
    const cumulation *p = f->params;
    const ag_view *v = f->views[0];
    const char *i = ag_c_loop(p->axis);
    ag_c_text x = ag_c_index_of(v);
    for (int k = 0; k < v->rank; k++)
        if (k != p->axis) ag_c_open(f, k, v->dim[k]);
    ag_c_line(f, "double sum = 0;");
    if (p->backwards) ag_c_line(f, "for (long %s = %lld; %s >= 0; %s--) {", i, (long long)v->dim[p->axis] - 1, i, i);
    else ag_c_open(f, p->axis, v->dim[p->axis]);
    bool single = f->type == AG_F32;
    ag_c_line(f, "sum += %s%s[%s];", single ? "(double)" : "", f->in[0], x.text);
    ag_c_line(f, "%s[%s] = %ssum;", f->out, x.text, single ? "(float)" : "");
    ag_c_close(f, v->rank);
    return true;
}

static bool cumsum_valid(const ag_call *call) {
    const cumulation *p = call->params;
    return call->params_size == sizeof *p && p->axis >= 0 && p->axis < call->in[0].view->rank &&
           (p->backwards == 0 || p->backwards == 1);
}

static const ag_operation cumsum_operation = {
    .name = "cumsum",
    .shape = cumsum_shape,
    .forward = cumsum_forward,
    .adjoint = cumsum_adjoint,
    .tangent = cumsum_tangent,
    .record = cumsum_record,
    .scalars = cumsum_scalars,
    .stores = true,
    .c_form = cumsum_c_form,
    .valid = cumsum_valid,
};
const ag_operation *const ag_builtin_cumsum = &cumsum_operation;

static ag_var cumsum_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_apply(&cumsum_operation, tangents, 1, rule->params, rule->params_size);
}

static void cumsum_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const cumulation *p = rule->params;
    cumulation reverse = {p->axis, !p->backwards};
    contributions[0] = ag_apply(&cumsum_operation, &w, 1, &reverse, sizeof reverse);
}

ag_var ag_cumsum(ag_var x, int axis) {
    if (ag_tape_of(x) == NULL) return ag_inert(NULL);
    if (!ag_usable(x, "cumsum")) return ag_inert(ag_tape_of(x));
    int32_t at = ag_check_axis(ag_tape_of(x), "cumsum", axis, ag_shape_of(x));
    if (at < 0) return ag_inert(ag_tape_of(x));
    cumulation p = {at, false};
    return ag_apply(&cumsum_operation, &x, 1, &p, sizeof p);
}
