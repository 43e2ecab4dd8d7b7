/* A user's own operations, written with the public header alone: with all functions and without the optional ones; with
 * parameters, saved bytes, strides and errors of their own; and wrong ones, which ag_check_gradient has to catch. */
#include "derivatives.h"

/* ---- axpb: a x + b y elementwise, with parameters a and b; all functions ---- */

typedef struct weights {
    double a, b;
} weights;

static double get(const ag_call *c, const void *data, int64_t i) {
    return c->type == AG_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void put(const ag_call *c, void *data, int64_t i, double x) {
    if (c->type == AG_F64) ((double *)data)[i] = x;
    else ((float *)data)[i] = (float)x;
}

static void add(const ag_call *c, void *data, int64_t i, double x) { put(c, data, i, get(c, data, i) + x); }

static bool same_shapes(ag_call *c) {
    const ag_view *x = c->in[0].view;
    c->shape = ag_make_shape_(x->rank, x->dim);
    for (int k = 1; k < c->n; k++) {
        const ag_view *y = c->in[k].view;
        if (y->rank == x->rank && memcmp(y->dim, x->dim, (size_t)x->rank * sizeof *x->dim) == 0) continue;
        ag_fail(c->tape, AG_ERR_SHAPE, "axpb: operand %d has %lld elements, operand 0 has %lld", k, (long long)y->count,
                (long long)x->count);
        return false;
    }
    return true;
}

static bool axpb_forward(const ag_call *c) {
    const weights *w = c->params;
    assert_int_equal(c->params_size, sizeof *w);
    for (int64_t i = 0; i < c->out.view->count; i++)
        put(c, c->out.data, i, w->a * get(c, c->in[0].data, i) + w->b * get(c, c->in[1].data, i));
    return true;
}

static bool axpb_adjoint(const ag_call *c) {
    const weights *w = c->params;
    const double factor[2] = {w->a, w->b};
    for (int k = 0; k < 2; k++) {
        if (!c->in_adjoint[k].data) continue;
        for (int64_t i = 0; i < c->out.view->count; i++)
            add(c, c->in_adjoint[k].data, i, factor[k] * get(c, c->out_adjoint.data, i));
    }
    return true;
}

static ag_var axpb_tangent(const ag_rule *r, const ag_var *tangents) {
    const weights *w = r->params;
    for (int k = 0; k < 2; k++) assert_true(r->wanted[k] == !ag_is_zero(tangents[k]));
    return ag_add(ag_mul(tangents[0], w->a), ag_mul(tangents[1], w->b));
}

static void axpb_record(const ag_rule *r, ag_var w, ag_var *out) {
    const weights *p = r->params;
    if (r->wanted[0]) out[0] = ag_mul(w, p->a);
    if (r->wanted[1]) out[1] = ag_mul(w, p->b);
}

static const ag_operation AXPB = {.name = "axpb",
                                  .shape = same_shapes,
                                  .forward = axpb_forward,
                                  .adjoint = axpb_adjoint,
                                  .tangent = axpb_tangent,
                                  .record = axpb_record};

/* ---- power: x^p by a parameter, which saves its partials ---- */

static bool power_shape(ag_call *c) {
    if (!same_shapes(c)) return false;
    c->saved_size = (size_t)c->in[0].view->count * sizeof(double) + 1; /* an odd size */
    return true;
}

static bool power_forward(const ag_call *c) {
    double p = *(const double *)c->params, *saved = c->saved;
    for (int64_t i = 0; i < c->out.view->count; i++) {
        double x = get(c, c->in[0].data, i);
        saved[i] = p * pow(x, p - 1);
        put(c, c->out.data, i, pow(x, p));
    }
    ((char *)c->saved)[c->saved_size - 1] = 42;
    return true;
}

static bool power_adjoint(const ag_call *c) {
    const double *saved = c->saved;
    assert_int_equal(((const char *)c->saved)[c->saved_size - 1], 42);
    for (int64_t i = 0; i < c->out.view->count; i++)
        add(c, c->in_adjoint[0].data, i, saved[i] * get(c, c->out_adjoint.data, i));
    return true;
}

static void power_record(const ag_rule *r, ag_var w, ag_var *out) {
    double p = *(const double *)r->params;
    out[0] = ag_mul(w, ag_mul(ag_pow(r->in[0], p - 1), p));
}

static ag_var power_tangent(const ag_rule *r, const ag_var *tangents) {
    ag_var out;
    power_record(r, tangents[0], &out);
    return out;
}

static const ag_operation POWER = {.name = "power",
                                   .shape = power_shape,
                                   .forward = power_forward,
                                   .adjoint = power_adjoint,
                                   .tangent = power_tangent,
                                   .record = power_record};
static const ag_operation POWER_WITHOUT_TANGENT = {.name = "power_t",
                                                   .shape = power_shape,
                                                   .forward = power_forward,
                                                   .adjoint = power_adjoint,
                                                   .record = power_record};
static const ag_operation POWER_WITHOUT_RECORD = {.name = "power_r",
                                                  .shape = power_shape,
                                                  .forward = power_forward,
                                                  .adjoint = power_adjoint,
                                                  .tangent = power_tangent};
static const ag_operation POWER_ALONE = {
    .name = "power_alone", .shape = power_shape, .forward = power_forward, .adjoint = power_adjoint};

static const double EXPONENT = 2.5;

static ag_var power(const ag_operation *op, ag_var x) { return ag_apply(op, &x, 1, &EXPONENT, sizeof EXPONENT); }

/* ---- weigh: a weighted sum over the elements of any number of operands, read with their strides ---- */

static double strided(const ag_call *c, ag_array a, int64_t i) {
    int64_t offset = 0;
    for (int k = a.view->rank - 1; k >= 0; k--) {
        offset += i % a.view->dim[k] * a.view->stride[k];
        i /= a.view->dim[k];
    }
    return get(c, a.data, offset);
}

static bool weigh_shape(ag_call *c) {
    c->shape = (ag_shape){0};
    return true;
}

static bool weigh_forward(const ag_call *c) {
    double sum = 0;
    for (int k = 0; k < c->n; k++)
        for (int64_t i = 0; i < c->in[k].view->count; i++)
            sum += (double)(k + 1) * (double)(i + 1) * strided(c, c->in[k], i);
    put(c, c->out.data, 0, sum);
    return true;
}

static bool weigh_adjoint(const ag_call *c) {
    double w = get(c, c->out_adjoint.data, 0);
    for (int k = 0; k < c->n; k++) {
        const ag_view *v = c->in[k].view;
        if (!c->in_adjoint[k].data) continue;
        for (int64_t e = 0; e < v->count; e++) {
            int64_t offset = 0, i = e;
            for (int d = v->rank - 1; d >= 0; d--) {
                offset += i % v->dim[d] * v->stride[d];
                i /= v->dim[d];
            }
            add(c, c->in_adjoint[k].data, offset, w * (double)(k + 1) * (double)(e + 1));
        }
    }
    return true;
}

static void weigh_record(const ag_rule *r, ag_var w, ag_var *out) {
    for (int k = 0; k < r->n; k++) {
        if (!r->wanted[k]) continue;
        int64_t n = ag_count(r->in[k]);
        ag_var c = ag_arange(r->tape, k + 1, k + 1, n);
        out[k] = ag_mul(ag_reshape(c, ag_shape_of(r->in[k])), w);
    }
}

static const ag_operation WEIGH = {.name = "weigh",
                                   .shape = weigh_shape,
                                   .forward = weigh_forward,
                                   .adjoint = weigh_adjoint,
                                   .record = weigh_record,
                                   .strided = true};

/* ---- functions of them ---- */

static ag_var use_axpb(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    const weights w = {2, -0.5};
    ag_var both[2] = {x[0], ag_sin(x[1])};
    return ag_mul(ag_apply(&AXPB, both, 2, &w, sizeof w), ag_apply(&AXPB, (ag_var[]){x[1], x[1]}, 2, &w, sizeof w));
}

static ag_var use_power(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_mul(power(context, ag_mul(x[0], x[0])), power(context, ag_transpose(ag_transpose(x[0]))));
}

static ag_var use_weigh(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_var e = ag_exp(x[0]), all[6] = {ag_transpose(e),   ag_flip(e, 1), x[0],
                                       ag_index(e, 0, 1), ag_at(e, 2),   ag_expand(x[1], AG_SHAPE(2, 2))};
    return ag_mul(ag_apply(&WEIGH, all, 6, NULL, 0), ag_apply(&WEIGH, x, 2, NULL, 0));
}

static ag_var example(ag_tape *t, ag_shape shape) {
    const double data[6] = {0.5, 1.25, 0.75, 2, 1.5, 1};
    return ag_tensor(t, data, shape);
}

static void behave_like_built_in_ones(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = example(t, AG_SHAPE(2, 3)), y = example(t, AG_SHAPE(3, 2)), s = ag_input(t, 1.25);
    check_derivatives("axpb", use_axpb, NULL, (ag_var[]){x, ag_reshape(y, AG_SHAPE(2, 3))}, 2);
    check_derivatives("axpb of scalars", use_axpb, NULL, (ag_var[]){s, s}, 2);
    check_derivatives("power", use_power, (void *)(uintptr_t)&POWER, &x, 1);
    check_derivatives("power of a scalar", use_power, (void *)(uintptr_t)&POWER, &s, 1);
    check_derivatives("power without tangent", use_power, (void *)(uintptr_t)&POWER_WITHOUT_TANGENT, &x, 1);
    check_derivatives("weigh", use_weigh, NULL, (ag_var[]){x, s}, 2);
    const double want[6] = {2 * 0.5 - 0.25, 2 * 1.25 - 0.625, 2 * 0.75 - 0.375, 4 - 1, 3 - 0.75, 2 - 0.5};
    const weights w = {2, -0.5};
    check_values("axpb", ag_apply(&AXPB, (ag_var[]){x, x}, 2, &w, sizeof w), AG_SHAPE(2, 3), want, 1e-15);
    ag_tape_free(t);
}

/* Parameters are copied; constants record nothing; what is paused is constant. */
static void parameters_and_constants(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = example(t, AG_SHAPE(6)), c = ag_detach(x), g;
    double exponent = 3;
    ag_var y = ag_apply(&POWER, &x, 1, &exponent, sizeof exponent);
    exponent = 1000;
    ag_backward(ag_sum(y));
    double got[6];
    ag_read_grad(x, got);
    assert_true(got[3] == 12);
    ag_gradient(ag_sum(y), &x, 1, &g);
    ag_read(g, got);
    assert_true(got[3] == 12);
    uint64_t before = ag_tape_stats(t).tensor_instructions;
    assert_true(ag_is_constant(ag_apply(&POWER, &c, 1, &EXPONENT, sizeof EXPONENT)));
    ag_pause(t);
    assert_true(ag_is_constant(power(&POWER, x)));
    ag_resume(t);
    assert_int_equal(ag_tape_stats(t).tensor_instructions, before);
    const weights w = {1, 1};
    ag_var mixed = ag_sum(ag_apply(&AXPB, (ag_var[]){c, x}, 2, &w, sizeof w));
    ag_backward(mixed);
    ag_read_grad(x, got);
    assert_true(got[5] == 1 && ag_grad(ag_at(c, 0)) == 0);
    check_fine("parameters", t);
    ag_tape_free(t);
}

/* Without `record`: first order works in every mode that it can, second order is an error that names the operation. */
static void without_record(void **unused) {
    (void)unused;
    const ag_operation *ops[2] = {&POWER_WITHOUT_RECORD, &POWER_ALONE};
    for (int i = 0; i < 2; i++) {
        ag_tape *t = ag_tape_new(i ? AG_F32 : AG_F64);
        ag_var x = example(t, AG_SHAPE(2, 3)), one = ag_num(1), g, h;
        ag_var y = ag_sum(ag_mul(power(ops[i], ag_transpose(x)), 3));
        double sweep[6], recorded[6];
        ag_backward(y);
        ag_read_grad(x, sweep);
        assert_true(fabs(sweep[3] - 3 * EXPONENT * pow(2, 1.5)) < 1e-5);
        ag_gradient(y, &x, 1, &g);
        check_fine("gradient without record", t);
        ag_read(g, recorded);
        check_numbers("without record", "gradient", recorded, sweep, 6, 1e-6);
        ag_gradient(ag_sum(g), &x, 1, &h);
        assert_int_equal(ag_tape_status(t), AG_ERR_UNSUPPORTED);
        assert_non_null(strstr(ag_tape_message(t), ops[i]->name));
        assert_true(ag_is_inert(h));
        ag_tape_recover(t);
        ag_backward(ag_sum(g));
        assert_int_equal(ag_tape_status(t), AG_ERR_UNSUPPORTED);
        assert_non_null(strstr(ag_tape_message(t), ops[i]->name));
        ag_tape_recover(t);
        ag_jvp(&y, 1, &x, &one, 1, &h);
        if (i == 0) {
            double sum = 0, tangent = ag_value(h);
            for (int k = 0; k < 6; k++) sum += sweep[k];
            check_numbers("without record", "tangent", &tangent, &sum, 1, 1e-12);
        } else {
            assert_int_equal(ag_tape_status(t), AG_ERR_UNSUPPORTED);
            assert_non_null(strstr(ag_tape_message(t), "power_alone"));
            ag_tape_recover(t);
        }
        ag_jvp(&g, 1, &x, &one, 1, &h);
        assert_int_equal(ag_tape_status(t), AG_ERR_UNSUPPORTED);
        ag_tape_free(t);
    }
}

/* Forward mode without `tangent`, while the tape is paused: the same numbers, and a constant. */
static void tangent_while_paused(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = example(t, AG_SHAPE(2, 3)), y = ag_sum(power(&POWER_WITHOUT_TANGENT, x)), one = ag_num(1), d, paused;
    ag_jvp(&y, 1, &x, &one, 1, &d);
    ag_pause(t);
    ag_jvp(&y, 1, &x, &one, 1, &paused);
    ag_resume(t);
    check_fine("paused", t);
    assert_true(ag_value(d) == ag_value(paused));
    assert_true(ag_is_constant(paused));
    ag_tape_free(t);
}

/* ---- errors of their own ---- */

static bool fail_shape(ag_call *c) {
    ag_fail(c->tape, AG_ERR_VALUE, "mine: %d is too few", c->n);
    return false;
}
static bool silent_shape(ag_call *c) {
    (void)c;
    return false;
}
static bool huge_shape(ag_call *c) {
    c->shape = AG_SHAPE((int64_t)1 << 40);
    return true;
}
static bool negative_shape(ag_call *c) {
    c->shape = AG_SHAPE(3, -1);
    return true;
}
static bool failing(const ag_call *c) {
    ag_fail(c->tape, AG_ERR_SINGULAR, "mine: cannot be computed at %g", get(c, c->in[0].data, 0));
    return false;
}
static void failing_record(const ag_rule *r, ag_var w, ag_var *out) {
    (void)w, (void)out;
    ag_fail(r->tape, AG_ERR_UNSUPPORTED, "mine: no derivative");
}

static void errors_of_their_own(void **unused) {
    (void)unused;
    const ag_operation shape = {
        .name = "mine", .shape = fail_shape, .forward = power_forward, .adjoint = power_adjoint};
    const ag_operation huge = {.name = "mine", .shape = huge_shape, .forward = power_forward, .adjoint = power_adjoint};
    const ag_operation negative = {
        .name = "mine", .shape = negative_shape, .forward = power_forward, .adjoint = power_adjoint};
    const ag_operation forward = {.name = "mine", .shape = power_shape, .forward = failing, .adjoint = power_adjoint};
    const ag_operation adjoint = {
        .name = "mine", .shape = power_shape, .forward = power_forward, .adjoint = failing, .record = failing_record};
    const struct {
        const ag_operation *op;
        ag_status status;
        const char *part;
    } rows[] = {{&shape, AG_ERR_VALUE, "mine: 1 is too few"},
                {&huge, AG_ERR_SLOTS, "mine"},
                {&negative, AG_ERR_SHAPE, "(3, -1)"},
                {&forward, AG_ERR_SINGULAR, "mine: cannot be computed at 0.5"}};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = example(t, AG_SHAPE(6)), g;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ag_stats before = ag_tape_stats(t);
        assert_true(ag_is_inert(power(rows[i].op, x)));
        assert_int_equal(ag_tape_status(t), rows[i].status);
        assert_non_null(strstr(ag_tape_message(t), rows[i].part));
        ag_tape_recover(t);
        assert_int_equal(ag_tape_stats(t).slots, before.slots);
        assert_int_equal(ag_tape_stats(t).instruction_bytes, before.instruction_bytes);
    }
    ag_var y = ag_sum(power(&adjoint, x));
    check_fine("until its adjoint is asked for", t);
    ag_backward(y);
    assert_int_equal(ag_tape_status(t), AG_ERR_SINGULAR);
    ag_tape_recover(t);
    ag_gradient(y, &x, 1, &g);
    assert_int_equal(ag_tape_status(t), AG_ERR_UNSUPPORTED);
    assert_true(ag_is_inert(g));
    ag_tape_recover(t);
    ag_var wrong[2] = {x, ag_slice(x, 0, 0, 3, 1)};
    const weights w = {1, 1};
    assert_true(ag_is_inert(ag_apply(&AXPB, wrong, 2, &w, sizeof w)));
    assert_string_equal(ag_tape_message(t), "axpb: operand 1 has 3 elements, operand 0 has 6");
    ag_tape_recover(t);
    ag_backward(ag_sum(power(&POWER, x)));
    check_fine("after all that", t);
    ag_tape_free(t);
}

/* A function that fails without saying so must not leave a result. */
static void failing_silently(void **unused) {
    (void)unused;
    const ag_operation silent = {
        .name = "silent", .shape = silent_shape, .forward = power_forward, .adjoint = power_adjoint};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = example(t, AG_SHAPE(6)), y = power(&silent, x);
    assert_true(ag_is_inert(y));
    assert_int_equal(ag_count(y), 0);
    ag_tape_recover(t);
    ag_backward(ag_sum(power(&POWER, x)));
    check_fine("after that", t);
    ag_tape_free(t);
}

/* ---- wrong ones ---- */

static bool wrong_sign(const ag_call *c) {
    for (int64_t i = 0; i < c->out.view->count; i++)
        add(c, c->in_adjoint[0].data, i, -((const double *)c->saved)[i] * get(c, c->out_adjoint.data, i));
    return true;
}
static bool wrong_in_one(const ag_call *c) {
    bool ok = power_adjoint(c);
    add(c, c->in_adjoint[0].data, 4, 0.01);
    return ok;
}
static bool wrong_nan(const ag_call *c) {
    bool ok = power_adjoint(c);
    put(c, c->in_adjoint[0].data, 2, NAN);
    return ok;
}
static bool wrong_overwrites(const ag_call *c) { /* forgets that adjoints add up */
    for (int64_t i = 0; i < c->out.view->count; i++)
        put(c, c->in_adjoint[0].data, i, ((const double *)c->saved)[i] * get(c, c->out_adjoint.data, i));
    return true;
}
static ag_var wrong_tangent(const ag_rule *r, const ag_var *tangents) {
    return ag_mul(power_tangent(r, tangents), 1.001);
}

static ag_var twice_used(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    ag_var e = ag_mul(x[0], 1);
    return ag_add(ag_sin(e), ag_add(power(context, e), ag_cos(e)));
}

static ag_var once_used(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return power(context, x[0]);
}

static void wrong_ones_are_caught(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = example(t, AG_SHAPE(6));
    for (int i = 0; i < 6; i++) {
        ag_operation op = POWER;
        if (i == 1) op.adjoint = wrong_sign;
        if (i == 2) op.adjoint = wrong_in_one;
        if (i == 3) op.adjoint = wrong_nan;
        if (i == 4) op.adjoint = wrong_overwrites;
        if (i == 5) op.tangent = wrong_tangent;
        ag_report r = ag_check_gradient(twice_used, &op, &x, 1, 0);
        assert_int_equal(r.status, AG_OK);
        assert_int_equal(r.checked, 36);
        if (r.holds != (i == 0)) fail_msg("wrong operation %d: %lld wrong", i, (long long)r.wrong);
        if (i == 1) {
            r = ag_check_gradient(once_used, &op, &x, 1, 0); /* of the same size, with the wrong sign */
            assert_true(r.worst.reverse == -r.worst.forward && r.reverse_forward == r.worst.error && r.wrong == 6);
        }
        if (i == 2) assert_int_equal(r.worst.element, 4);
        if (i == 3) assert_true(r.worst.element == 2 && isinf(r.worst.error));
        if (i == 5) assert_true(r.reverse_difference < 1e-6 && r.reverse_forward > 1e-4);
    }
    ag_tape_free(t);
}

/* ---- as little as possible: a square with its adjoint alone, or without any derivative ---- */

static bool square_forward(const ag_call *c) {
    for (int64_t i = 0; i < c->out.view->count; i++) {
        double x = get(c, c->in[0].data, i);
        put(c, c->out.data, i, x * x);
    }
    return true;
}

static bool square_adjoint(const ag_call *c) {
    for (int64_t i = 0; i < c->out.view->count; i++)
        add(c, c->in_adjoint[0].data, i, 2 * get(c, c->in[0].data, i) * get(c, c->out_adjoint.data, i));
    return true;
}

static bool wrong_adjoint(const ag_call *c) {
    for (int64_t i = 0; i < c->out.view->count; i++)
        add(c, c->in_adjoint[0].data, i, get(c, c->in[0].data, i) * get(c, c->out_adjoint.data, i));
    return true;
}

static ag_var apply_it(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t;
    return ag_apply(context, x, n, NULL, 0);
}

static void checked_without_forward_mode(void **unused) {
    ag_operation right = {.name = "square", .shape = same_shapes, .forward = square_forward, .adjoint = square_adjoint};
    ag_operation wrong = right;
    wrong.adjoint = wrong_adjoint;
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, (double[]){1, -2, 3}, AG_SHAPE(3));
    ag_report r = ag_check_gradient(apply_it, &right, &x, 1, 0);
    assert_true(r.holds && r.status == AG_OK && r.no_forward && r.checked == 9 && isnan(r.worst.forward));
    check_written(&r, (const char *[]){"forward mode: an operation has neither", NULL});
    r = ag_check_gradient(apply_it, &wrong, &x, 1, 0);
    assert_true(!r.holds && r.status == AG_OK && r.wrong == 3);
    ag_tape_free(t);
}

static void without_any_derivative(void **unused) {
    static const ag_operation none = {.name = "square", .shape = same_shapes, .forward = square_forward};
    (void)unused;
    for (int use = 0; use < 4; use++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = ag_tensor(t, (double[]){1, -2, 3}, AG_SHAPE(3)), v = ag_ones(t, AG_SHAPE(3)), d;
        ag_var y = ag_sum(ag_apply(&none, &x, 1, NULL, 0)), z = ag_sum(ag_square(x));
        assert_true(ag_value(y) == 14);
        ag_jvp(&z, 1, &x, &v, 1, &d); /* which does not need it */
        assert_true(ag_value(d) == 4);
        if (use == 0) ag_backward(y);
        if (use == 1) ag_gradient(y, &x, 1, &d);
        if (use == 2) ag_jvp(&y, 1, &x, &v, 1, &d);
        if (use == 3) ag_gradient(z, &x, 1, &d);
        assert_int_equal(ag_tape_status(t), use < 3 ? AG_ERR_UNSUPPORTED : AG_OK);
        if (use < 3) assert_non_null(strstr(ag_tape_message(t), "square: "));
        ag_tape_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behave_like_built_in_ones),
        cmocka_unit_test(parameters_and_constants),
        cmocka_unit_test(without_record),
        cmocka_unit_test(tangent_while_paused),
        cmocka_unit_test(errors_of_their_own),
        cmocka_unit_test(failing_silently),
        cmocka_unit_test(wrong_ones_are_caught),
        cmocka_unit_test(checked_without_forward_mode),
        cmocka_unit_test(without_any_derivative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
