/* Convolution of images, its transpose, and the gradient of its weights: three operations, each of which has the other
 * two as derivatives (convolution_impl.h). */
#include "convolution_impl.h"
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"
#include <stdarg.h>

/* `size`: what operands do not tell; of the result of a transposed convolution, of the kernel for its gradient. */
typedef struct parameters {
    int64_t stride[2], padding[2], dilation[2], groups, size[2];
} parameters;

/* The roles of the operands; a third one is a bias. */
static const int operand_role[CONV_ROLES][2] = {
    [CONV_Y] = {CONV_X, CONV_W}, [CONV_X] = {CONV_Y, CONV_W}, [CONV_W] = {CONV_X, CONV_Y}};
static const char *const name_of[CONV_ROLES] = {
    [CONV_Y] = "conv2d", [CONV_X] = "conv_transpose2d", [CONV_W] = "conv2d_weights"};
static const ag_operation *operation_of(int role);

/* ---- shapes ---- */

/* How many results fit along an axis. */
static int64_t out_size(const parameters *p, int axis, int64_t size, int64_t kernel) {
    return (size + 2 * p->padding[axis] - p->dilation[axis] * (kernel - 1) - 1) / p->stride[axis] + 1;
}

/* What operands of these shapes are, without a look at whether they fit. */
static ag_convolution convolution_of(int role, const parameters *p, const int64_t *first, const int64_t *second) {
    ag_convolution c = {.groups = p->groups, .images = first[0]};
    const int64_t *x = role == CONV_X ? NULL : first, *w = role == CONV_W ? NULL : second;
    const int64_t *y = role == CONV_X ? first : role == CONV_W ? second : NULL;
    c.channels = w ? w[1] : x[1] / p->groups;
    c.filters = (w ? w[0] : y[1]) / p->groups;
    for (int a = 0; a < 2; a++) {
        c.stride[a] = p->stride[a], c.padding[a] = p->padding[a], c.dilation[a] = p->dilation[a];
        c.kernel[a] = w ? w[2 + a] : p->size[a];
        c.size[a] = x ? x[2 + a] : p->size[a];
        c.out[a] = y ? y[2 + a] : out_size(p, a, c.size[a], c.kernel[a]);
    }
    return c;
}

static bool refuse(const ag_call *call, int role, const char *format, ...) {
    char why[192];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    ag_fail(call->tape, AG_ERR_SHAPE, "%s: shapes %s and %s do not fit: %s", name_of[role],
            ag_show_view(call->in[0].view).text, ag_show_view(call->in[1].view).text, why);
    return false;
}

/* Bounds that keep sums of sizes from overflow. */
static bool check_parameters(const ag_call *call, int role, const parameters *p) {
    enum { MOST = 1 << 30 };
    static const char *const axis[2] = {"vertical", "horizontal"};
    for (int a = 0; a < 2; a++) {
        long long given[] = {p->stride[a], p->dilation[a], p->padding[a]};
        static const char *const what[] = {"stride", "dilation", "padding"};
        for (int k = 0; k < 3; k++) {
            int least = k < 2;
            if (given[k] >= least && given[k] <= MOST) continue;
            ag_fail(call->tape, AG_ERR_VALUE, "%s: a %s %s of %lld is outside %d..%d", name_of[role], axis[a], what[k],
                    given[k], least, MOST);
            return false;
        }
        if (call->in[0].view->dim[2 + a] <= MOST && call->in[1].view->dim[2 + a] <= MOST) continue;
        return refuse(call, role, "a side is longer than %d", MOST);
    }
    if (p->groups >= 1 && p->groups <= MOST) return true;
    ag_fail(call->tape, AG_ERR_VALUE, "%s: %lld groups are outside 1..%d", name_of[role], (long long)p->groups, MOST);
    return false;
}

static bool check_channels(const ag_call *call, int role, const parameters *p) {
    const int64_t *first = call->in[0].view->dim, *second = call->in[1].view->dim;
    long long groups = p->groups, a = first[1],
              b = role == CONV_Y ? second[1] * groups : second[role == CONV_X ? 0 : 1];
    if (role == CONV_W) {
        if (first[0] != second[0]) return refuse(call, role, "%lld images and %lld", first[0], second[0]);
        if (a % groups == 0 && b % groups == 0) return true;
        return refuse(call, role, "%lld and %lld channels do not make %lld groups", a, b, groups);
    }
    if (a != b) return refuse(call, role, "%lld channels, weights for %lld in %lld groups", a, b, groups);
    long long filters = second[0];
    if (filters % groups != 0) return refuse(call, role, "%lld filters do not make %lld groups", filters, groups);
    return true;
}

/* Kernel and image along each axis, against what results there are. */
static bool check_sides(const ag_call *call, int role, const parameters *p, const ag_convolution *c) {
    for (int a = 0; a < 2; a++) {
        long long kernel = c->kernel[a], size = c->size[a], padding = p->padding[a], dilation = p->dilation[a];
        if (kernel < 1) return refuse(call, role, "a kernel of %lld x %lld", c->kernel[0], c->kernel[1]);
        if (kernel > (INT64_MAX >> 32) || size < 0 || size > (INT64_MAX >> 31))
            return refuse(call, role, "a result's side of %lld is not possible", size);
        long long covers = dilation * (kernel - 1) + 1, has = size + 2 * padding;
        if (covers > has)
            return refuse(call, role, "the kernel covers %lld, the padded image has %lld along axis %d", covers, has,
                          2 + a);
        long long fits = out_size(p, a, size, kernel), out = c->out[a];
        if (out != fits) return refuse(call, role, "%lld results along axis %d should be %lld", out, 2 + a, fits);
    }
    return true;
}

static bool check_bias(const ag_call *call, int role, const ag_convolution *c) {
    if (call->n < 3) return true;
    const ag_view *v = call->in[2].view;
    int64_t channels = c->groups * (role == CONV_X ? c->channels : c->filters);
    if (v->rank == 1 && v->dim[0] == channels) return true;
    ag_fail(call->tape, AG_ERR_SHAPE, "%s: a bias of shape %s for %lld channels", name_of[role], ag_show_view(v).text,
            (long long)channels);
    return false;
}

static bool set_shape(ag_call *call, int role) {
    const parameters *p = call->params;
    int64_t count;
    for (int k = 0; k < 2; k++)
        if (call->in[k].view->rank != 4)
            return refuse(call, role, "operand %lld has %lld axes, not 4", (long long)k,
                          (long long)call->in[k].view->rank);
    if (!check_parameters(call, role, p) || !check_channels(call, role, p)) return false;
    ag_convolution c = convolution_of(role, p, call->in[0].view->dim, call->in[1].view->dim);
    if (!check_sides(call, role, p, &c) || !check_bias(call, role, &c)) return false;
    const int64_t *area = role == CONV_X ? c.size : role == CONV_W ? c.kernel : c.out;
    call->shape = role == CONV_W
                      ? AG_SHAPE(c.groups * c.filters, c.channels, area[0], area[1])
                      : AG_SHAPE(c.images, c.groups * (role == CONV_X ? c.channels : c.filters), area[0], area[1]);
    return ag_checked_count(call->tape, name_of[role], call->shape, &count);
}

/* ---- values and adjoints ---- */

static bool forward(const ag_call *call, int role) {
    ag_convolution c = convolution_of(role, call->params, call->in[0].view->dim, call->in[1].view->dim);
    void *data[CONV_ROLES];
    data[role] = call->out.data;
    for (int k = 0; k < 2; k++) data[operand_role[role][k]] = call->in[k].data;
    return ag_convolve(call, &c, role, data, call->n > 2 ? call->in[2].data : NULL, true);
}

static void bias_adjoint(const ag_call *call) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    const int64_t *dim = call->out.view->dim;
    for (int64_t c = 0; c < dim[1]; c++) {
        double sum = call->fresh >> 2 & 1 ? 0 : ag_load(call->type, call->in_adjoint[2].data, c);
        for (int64_t n = 0; n < dim[0]; n++)
            sum += kernels->sum((size_t)(dim[2] * dim[3]),
                                ag_element(call->type, call->out_adjoint.data, (n * dim[1] + c) * dim[2] * dim[3]));
        ag_store(call->type, call->in_adjoint[2].data, c, sum);
    }
}

static bool adjoint(const ag_call *call, int role) {
    ag_convolution c = convolution_of(role, call->params, call->in[0].view->dim, call->in[1].view->dim);
    void *data[CONV_ROLES];
    for (int k = 0; k < 2; k++) {
        int wanted = operand_role[role][k], other = operand_role[role][1 - k];
        if (!call->in_adjoint[k].data) continue;
        data[role] = call->out_adjoint.data;
        data[other] = call->in[1 - k].data;
        data[wanted] = call->in_adjoint[k].data;
        if (!ag_convolve(call, &c, wanted, data, NULL, call->fresh >> k & 1)) return false;
    }
    if (call->n > 2 && call->in_adjoint[2].data) bias_adjoint(call);
    return true;
}

/* ---- recorded derivatives ---- */

/* The tensor of a role from those of the others. */
static ag_var by_role(int role, parameters p, const ag_var *roles, ag_shape like) {
    ag_var operands[2] = {roles[operand_role[role][0]], roles[operand_role[role][1]]};
    for (int a = 0; a < 2; a++) p.size[a] = role == CONV_Y ? 0 : like.dim[2 + a];
    return ag_apply(operation_of(role), operands, 2, &p, sizeof p);
}

static void record(const ag_rule *rule, int role, ag_var w, ag_var *contributions) {
    ag_var roles[CONV_ROLES];
    for (int k = 0; k < 2; k++) {
        int wanted = operand_role[role][k], other = operand_role[role][1 - k];
        if (!rule->wanted[k]) continue;
        roles[role] = w;
        roles[other] = rule->in[1 - k];
        contributions[k] = by_role(wanted, *(const parameters *)rule->params, roles, ag_shape_of(rule->in[k]));
    }
    if (rule->n > 2 && rule->wanted[2]) contributions[2] = ag_sum_over(w, AG_AXES(0, 2, 3), false);
}

static ag_var tangent(const ag_rule *rule, int role, const ag_var *tangents) {
    ag_var sum = ag_num(0), roles[CONV_ROLES];
    for (int k = 0; k < 2; k++) {
        if (ag_is_zero(tangents[k])) continue;
        roles[operand_role[role][k]] = tangents[k];
        roles[operand_role[role][1 - k]] = rule->in[1 - k];
        ag_var term = by_role(role, *(const parameters *)rule->params, roles, ag_shape_of(rule->out));
        sum = ag_is_zero(sum) ? term : ag_add(sum, term);
    }
    if (rule->n < 3 || ag_is_zero(tangents[2])) return sum;
    ag_shape shape = ag_shape_of(rule->out);
    ag_var bias = ag_expand(ag_reshape(tangents[2], AG_SHAPE(shape.dim[1], 1, 1)), shape);
    return ag_is_zero(sum) ? bias : ag_add(sum, bias);
}

/* ---- terms, as scalars and as C ---- */

/* One term of the sum: image, filter, channel, row and column of the kernel and of the results. */
enum { IMAGE, FILTER, CHANNEL, KERNEL_ROW, KERNEL_COLUMN, ROW, COLUMN, LOOPS };

typedef struct terms {
    ag_convolution c;
    int64_t size[LOOPS];
} terms;

static terms terms_of(int role, const parameters *p, const int64_t *first, const int64_t *second) {
    ag_convolution c = convolution_of(role, p, first, second);
    return (terms){c, {c.images, c.groups * c.filters, c.channels, c.kernel[0], c.kernel[1], c.out[0], c.out[1]}};
}

/* Where a term's numbers are in each tensor; false if it has a zero of the padding. */
static bool places_of(const ag_convolution *c, const int64_t *i, int64_t at[CONV_ROLES]) {
    int64_t y = i[ROW] * c->stride[0] - c->padding[0] + i[KERNEL_ROW] * c->dilation[0];
    int64_t x = i[COLUMN] * c->stride[1] - c->padding[1] + i[KERNEL_COLUMN] * c->dilation[1];
    if (y < 0 || y >= c->size[0] || x < 0 || x >= c->size[1]) return false;
    int64_t channel = i[FILTER] / c->filters * c->channels + i[CHANNEL];
    at[CONV_X] = ((i[IMAGE] * c->groups * c->channels + channel) * c->size[0] + y) * c->size[1] + x;
    at[CONV_W] =
        ((i[FILTER] * c->channels + i[CHANNEL]) * c->kernel[0] + i[KERNEL_ROW]) * c->kernel[1] + i[KERNEL_COLUMN];
    at[CONV_Y] = ((i[IMAGE] * c->groups * c->filters + i[FILTER]) * c->out[0] + i[ROW]) * c->out[1] + i[COLUMN];
    return true;
}

static void add_term(const ag_elements *e, int role, const int64_t at[CONV_ROLES]) {
    ag_var *to = &e->out[at[role]];
    ag_var term = ag_mul(e->in[0][at[operand_role[role][0]]], e->in[1][at[operand_role[role][1]]]);
    *to = ag_is_zero(*to) ? term : ag_add(*to, term);
}

static void scalars(const ag_elements *e, int role) {
    terms t = terms_of(role, e->params, e->shapes[0].dim, e->shapes[1].dim);
    int64_t i[LOOPS] = {0}, at[CONV_ROLES], area = e->shape.dim[2] * e->shape.dim[3], channels = e->shape.dim[1];
    for (int64_t n = 0; n < ag_count_dims(e->shape.dim, 0, 4); n++)
        e->out[n] = e->n > 2 ? e->in[2][n / area % channels] : ag_num(0);
    for (int k = 0; k < LOOPS; k++)
        if (t.size[k] == 0) return;
    for (;;) {
        if (places_of(&t.c, i, at)) add_term(e, role, at);
        int k = LOOPS - 1;
        for (; k >= 0 && ++i[k] == t.size[k]; k--) i[k] = 0;
        if (k < 0) return;
    }
}

static void start_c_form(const ag_c_form *f) {
    const int64_t *dim = f->shape.dim;
    long long area = dim[2] * dim[3], count = ag_count_dims(dim, 0, 4);
    if (f->n < 3) ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[i] = 0;", count, f->out);
    else
        ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[i] = %s[i / %lld %% %lld];", count, f->out, f->in[2], area,
                  (long long)dim[1]);
}

static bool c_form(const ag_c_form *f, int role) {
    terms t = terms_of(role, f->params, f->views[0]->dim, f->views[1]->dim);
    const ag_convolution *c = &t.c;
    char place[CONV_ROLES][256];
#define LL(n) ((long long)(n))
    snprintf(place[CONV_X], sizeof *place, "((i * %lld + i1 / %lld * %lld + i2) * %lld + row) * %lld + at",
             LL(c->groups * c->channels), LL(c->filters), LL(c->channels), LL(c->size[0]), LL(c->size[1]));
    snprintf(place[CONV_W], sizeof *place, "((i1 * %lld + i2) * %lld + i3) * %lld + i4", LL(c->channels),
             LL(c->kernel[0]), LL(c->kernel[1]));
    snprintf(place[CONV_Y], sizeof *place, "((i * %lld + i1) * %lld + i5) * %lld + i6", LL(c->groups * c->filters),
             LL(c->out[0]), LL(c->out[1]));
    start_c_form(f);
    for (int k = 0; k < LOOPS; k++) {
        ag_c_open(f, k, t.size[k]);
        if (k < ROW) continue;
        int a = k - ROW;
        ag_c_line(f, "const long %s = %s * %lld + %s * %lld - %lld;", a ? "at" : "row", ag_c_loop(k), LL(c->stride[a]),
                  ag_c_loop(KERNEL_ROW + a), LL(c->dilation[a]), LL(c->padding[a]));
        ag_c_line(f, "if (%s < 0 || %s >= %lld) continue;", a ? "at" : "row", a ? "at" : "row", LL(c->size[a]));
    }
#undef LL
    ag_c_line(f, "%s[%s] += %s[%s] * %s[%s];", f->out, place[role], f->in[0], place[operand_role[role][0]], f->in[1],
              place[operand_role[role][1]]);
    ag_c_close(f, LOOPS);
    return true;
}

/* ---- the operations ---- */

static bool valid(const ag_call *call, int role) {
    const parameters *p = call->params;
    if (call->params_size != sizeof *p || (role == CONV_W && call->n > 2)) return false;
    return role != CONV_Y || (p->size[0] == 0 && p->size[1] == 0);
}

AG_FAMILY_MEMBER(conv2d, CONV_Y)
AG_FAMILY_MEMBER(conv_transpose2d, CONV_X)
AG_FAMILY_MEMBER(conv2d_weights, CONV_W)

static const ag_operation *operation_of(int role) {
    return role == CONV_Y ? &conv2d : role == CONV_X ? &conv_transpose2d : &conv2d_weights;
}

/* ---- calls ---- */

static parameters parameters_of(const ag_conv_options *o) {
    parameters p = {.groups = o->groups ? o->groups : 1};
    for (int a = 0; a < 2; a++) {
        p.stride[a] = o->stride[a] ? o->stride[a] : 1;
        p.dilation[a] = o->dilation[a] ? o->dilation[a] : 1;
        p.padding[a] = o->padding[a];
    }
    return p;
}

static ag_var apply(int role, ag_var x, ag_var w, ag_conv_options o, parameters p) {
    return ag_apply(operation_of(role), (ag_var[]){x, w, o.bias}, ag_is_zero(o.bias) ? 2 : 3, &p, sizeof p);
}

ag_var ag_conv2d(ag_var x, ag_var weight, ag_conv_options options) {
    return apply(CONV_Y, x, weight, options, parameters_of(&options));
}

/* Whether padding leaves anything of a transposed convolution along an axis. Not a matter of the operation's shape: the
 * derivative of a convolution by images without rows is the same operation, and has no rows. */
static bool leaves_result(ag_var x, ag_var weight, const parameters *p, int axis) {
    ag_shape sx = ag_shape_of(x), sw = ag_shape_of(weight);
    if (p->size[axis] > 0 || sw.dim[2 + axis] < 1) return true;
    ag_fail(ag_tape_of(x), AG_ERR_SHAPE,
            "%s: shapes %s and %s do not fit: a kernel of %lld and a padding of %lld make a result of size %lld along "
            "axis %d",
            name_of[CONV_X], ag_show_shape(sx).text, ag_show_shape(sw).text, (long long)sw.dim[2 + axis],
            (long long)p->padding[axis], (long long)p->size[axis], 2 + axis);
    return false;
}

ag_var ag_conv_transpose2d(ag_var x, ag_var weight, ag_conv_options options) {
    static const char what[] = "conv_transpose2d";
    if (!ag_usable(x, what)) return ag_inert(ag_tape_of(x));
    if (!ag_usable_on(ag_tape_of(x), weight, what)) return ag_inert(ag_tape_of(x));
    parameters p = parameters_of(&options);
    ag_shape sx = ag_shape_of(x), sw = ag_shape_of(weight);
    for (int a = 0; a < 2 && sx.rank == 4 && sw.rank == 4; a++) {
        int64_t more = options.output_padding[a], reach, span;
        if (more < 0 || more >= p.stride[a]) {
            ag_fail(ag_tape_of(x), AG_ERR_VALUE,
                    "%s: an output padding of %lld is outside 0..%lld, less than the stride", what, (long long)more,
                    (long long)p.stride[a] - 1);
            return ag_inert(ag_tape_of(x));
        }
        bool fits = ag_multiply_sizes(sx.dim[2 + a] - 1, p.stride[a], &span) &&
                    ag_multiply_sizes(p.dilation[a], sw.dim[2 + a] - 1, &reach) && span < INT64_MAX / 4 &&
                    reach < INT64_MAX / 4 && p.padding[a] >= 0 && p.padding[a] < INT64_MAX / 8;
        p.size[a] = fits ? span - 2 * p.padding[a] + reach + more + 1 : -1;
        if (fits && !leaves_result(x, weight, &p, a)) return ag_inert(ag_tape_of(x));
    }
    return apply(CONV_X, x, weight, options, p);
}

/* Rows as images of one row. */
static ag_var of_rows(ag_var (*f)(ag_var, ag_var, ag_conv_options), const char *what, ag_var x, ag_var weight,
                      ag_conv_options o) {
    if (!ag_usable(x, what)) return ag_inert(ag_tape_of(x));
    if (!ag_usable_on(ag_tape_of(x), weight, what)) return ag_inert(ag_tape_of(x));
    ag_shape sx = ag_shape_of(x), sw = ag_shape_of(weight);
    if (sx.rank != 3 || sw.rank != 3) {
        ag_fail(ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(weight), AG_ERR_SHAPE,
                "%s: shapes %s and %s have not 3 axes each", what, ag_show_shape(sx).text, ag_show_shape(sw).text);
        return ag_inert(ag_tape_of(x));
    }
    ag_conv_options rows = {.stride = {1, o.stride[0]},
                            .padding = {0, o.padding[0]},
                            .dilation = {1, o.dilation[0]},
                            .output_padding = {0, o.output_padding[0]},
                            .groups = o.groups,
                            .bias = o.bias};
    ag_var r = f(ag_unsqueeze(x, 2), ag_unsqueeze(weight, 2), rows);
    return ag_is_inert(r) ? r : ag_squeeze(r, 2);
}

ag_var ag_conv1d(ag_var x, ag_var weight, ag_conv_options options) {
    return of_rows(ag_conv2d, "conv1d", x, weight, options);
}

ag_var ag_conv_transpose1d(ag_var x, ag_var weight, ag_conv_options options) {
    return of_rows(ag_conv_transpose2d, "conv_transpose1d", x, weight, options);
}
