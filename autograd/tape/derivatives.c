/* Derivatives made of gradients and tangents: Hessian-vector products, Jacobians, Hessians. */
#include "tape_impl.h"

ag_var ag_hvp(ag_var y, ag_var x, ag_var v) {
    ag_var g = x, r = x;
    ag_gradient(y, &x, 1, &g);
    ag_jvp(&g, 1, &x, &v, 1, &r);
    return r;
}

/* A constant of x's shape that is 1 at one element, 0 elsewhere. */
static ag_var unit_like(ag_tape *t, ag_var x, int64_t at) {
    ag_var unit = ag_zeros(t, ag_shape_of(x));
    void *data = ag_data(unit);
    if (data) ag_store(t->type, data, at, 1);
    return unit;
}

/* One derivative an element of `along`: rows by reverse mode (along = y) or columns by forward mode (along = x). One alone
 * may have as many axes as there can be. */
static ag_var stack_derivatives(ag_tape *t, ag_var y, ag_var x, bool rows, int64_t n) {
    ag_var *parts = ag_scratch(t, (size_t)n * sizeof *parts);
    if (!parts) return ag_inert(t);
    for (int64_t i = 0; i < n && t->status == AG_OK; i++) {
        ag_var unit = unit_like(t, rows ? y : x, i);
        if (rows) ag_vjp(&y, &unit, 1, &x, 1, &parts[i]);
        else ag_jvp(&y, 1, &x, &unit, 1, &parts[i]);
    }
    ag_var all = t->status != AG_OK ? ag_inert(t) : n == 1 ? parts[0] : ag_stack(parts, (int)n, rows ? 0 : -1);
    ag_scratch_free(t, parts);
    return all;
}

ag_var ag_jacobian(ag_var y, ag_var x) {
    ag_tape *t = ag_tape_of(y) ? ag_tape_of(y) : ag_tape_of(x);
    if (!t || t->status != AG_OK) return ag_inert(t);
    ag_operand oy, ox;
    if (!ag_resolve(t, "jacobian", y, &oy) || !ag_resolve(t, "jacobian", x, &ox)) return ag_inert(t);
    ag_shape sy = ag_shape_of(y), sx = ag_shape_of(x), s = sy;
    int64_t m = ag_count(y), n = ag_count(x), mn;
    if (sy.rank + sx.rank > AG_MAX_RANK || m > INT32_MAX || n > INT32_MAX || !ag_multiply_sizes(m, n, &mn)) {
        ag_fail(t, AG_ERR_SHAPE, "jacobian: of shape %s by shape %s: more than %d dims", ag_show_shape(sy).text,
                ag_show_shape(sx).text, AG_MAX_RANK);
        return ag_inert(t);
    }
    for (int i = 0; i < sx.rank; i++) s.dim[s.rank++] = sx.dim[i];
    if (mn == 0) return ag_zeros(t, s);
    if ((uint64_t)mn > MOST_SLOTS - ag_top(t)) { /* before so many derivatives are recorded in vain */
        (void)ag_out_of_slots(t, "jacobian", s);
        return ag_inert(t);
    }
    return ag_reshape(stack_derivatives(t, y, x, m <= n, m <= n ? m : n), s);
}

ag_var ag_hessian(ag_var y, ag_var x) {
    ag_var g = x;
    ag_gradient(y, &x, 1, &g);
    return ag_jacobian(g, x);
}
