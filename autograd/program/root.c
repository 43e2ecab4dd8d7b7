/* Roots and fixed points as an operation, differentiated through the implicit function theorem.
 *
 * With f(x, theta) = 0 and J = df/dx: dx = -J^-1 (df/dtheta) dtheta, and an adjoint w of x gives theta the adjoint
 * (df/dtheta)' lambda with J' lambda = -w. Both are programs of x and theta, which are recorded where a derivative is
 * recorded, so that it can be derived again, x with it. */
#include "../ops/structural_impl.h"
#include "root_impl.h"
#include "runner_impl.h"

#include <math.h>

/* ---- programs made of f ---- */

typedef enum ag_root_kind { NEWTON, RESIDUAL, ADJOINT, TANGENT } ag_root_kind;
typedef struct ag_root_key {
    int32_t kind; /* with a tag, so that it is no key of a scan */
    int32_t root;
    uint8_t wanted[]; /* TANGENT: inputs that have one */
} ag_root_key;
enum { ROOT_TAG = 0x526f6f74 };

typedef struct ag_root_making {
    const ag_program *f;
    const ag_root_key *key;
    int nx;
} ag_root_making;

static int64_t unknowns(const ag_program *f) { return ag_rows_count(ag_program_input(f, 0), 1, AG_SHARED); }

/* df/dx as a square matrix, at outputs that were recorded. */
static ag_var jacobian_of(ag_var y, ag_var x) {
    int64_t n = ag_count(x);
    return ag_reshape(ag_jacobian(y, x), AG_SHAPE(n, n));
}

/* J^-1 v or J'^-1 v, in v's shape. A single unknown needs no factors. */
static ag_var solve(ag_var jacobian, bool transposed, ag_var v) {
    int64_t n = ag_count(v);
    if (n == 1) return ag_div(v, ag_reshape(jacobian, ag_shape_of(v)));
    ag_var flat = ag_reshape(v, AG_SHAPE(n));
    return ag_reshape(ag_solve(transposed ? ag_transpose(jacobian) : jacobian, flat), ag_shape_of(v));
}

static ag_var first_output(ag_tape *t, const ag_program *f, const ag_var *xs) {
    ag_var *y = ag_scratch(t, (size_t)ag_program_outputs(f) * sizeof *y + 1), first = ag_inert(t);
    if (!y) return first;
    ag_program_call(t, f, xs, y);
    first = y[0];
    ag_scratch_free(t, y);
    return first;
}

static void trace_newton(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_root_making *m = context;
    ag_var y = ag_reshape(first_output(t, m->f, xs), ag_shape_of(xs[0]));
    ys[0] = solve(jacobian_of(y, xs[0]), false, y);
    ys[1] = y;
}

static void trace_residual(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_root_making *m = context;
    ys[0] = ag_sub(ag_reshape(first_output(t, m->f, xs), ag_shape_of(xs[0])), xs[0]);
}

/* Inputs: x, theta, w; outputs: what goes to each theta. */
static void trace_adjoint(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_root_making *m = context;
    ag_var y = ag_reshape(first_output(t, m->f, xs), ag_shape_of(xs[0]));
    ag_var lambda = ag_neg(solve(jacobian_of(y, xs[0]), true, xs[m->nx]));
    ag_vjp(&y, &lambda, 1, xs + 1, m->nx - 1, ys);
}

/* Inputs: x, theta, tangents of some thetas; output: that of x. */
static void trace_tangent(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_root_making *m = context;
    ag_var y = ag_reshape(first_output(t, m->f, xs), ag_shape_of(xs[0])), dy;
    ag_var *by = ag_scratch(t, (size_t)m->nx * sizeof *by + 1);
    int n = 0;
    if (!by) return;
    for (int k = 1; k < m->nx; k++)
        if (m->key->wanted[k]) by[n++] = xs[k];
    ag_jvp(&y, 1, by, xs + m->nx, n, &dy);
    ys[0] = ag_neg(solve(jacobian_of(y, xs[0]), false, dy));
    ag_scratch_free(t, by);
}

static ag_program *make(const ag_program *f, const void *data) {
    const ag_root_key *key = data;
    ag_root_making m = {f, key, ag_program_inputs(f)};
    ag_memory memory = {.no_reserve = true};
    size_t size = (size_t)(2 * m.nx + 1) * sizeof(ag_port);
    ag_port *in = ag_memory_zeroed(&memory, size);
    int n = m.nx;
    if (!in) {
        ag_program *q = ag_program_new(f->type, &memory);
        ag_program_fail(q, AG_ERR_MEMORY, "root: out of memory");
        return q;
    }
    for (int k = 0; k < m.nx; k++) in[k] = ag_program_input(f, k);
    if (key->kind == ADJOINT) in[n++].shape = in[0].shape;
    for (int k = 1; key->kind == TANGENT && k < m.nx; k++)
        if (key->wanted[k]) in[n++].shape = in[k].shape;
    ag_model models[] = {trace_newton, trace_residual, trace_adjoint, trace_tangent};
    int outputs[] = {2, 1, m.nx - 1, 1};
    ag_program *q = ag_trace_like(f, models[key->kind], &m, in, n, NULL, outputs[key->kind]);
    ag_memory_free(&memory, in, size);
    return q;
}

/* A reference for the caller; NULL after an error. */
static ag_program *derived(ag_tape *t, const ag_program *f, ag_root_kind kind, const bool *wanted) {
    size_t n = (size_t)ag_program_inputs(f), size = sizeof(ag_root_key) + n;
    ag_root_key *key = ag_scratch(t, size);
    if (!key) return NULL;
    *key = (ag_root_key){(int32_t)kind, ROOT_TAG};
    for (size_t k = 0; k < n; k++) key->wanted[k] = wanted && wanted[k];
    ag_program *q = ag_program_derived(f, key, size, make);
    ag_scratch_free(t, key);
    if (ag_program_status(q) == AG_OK) return q;
    ag_fail(t, ag_program_status(q), "root: %s", ag_program_message(q));
    ag_program_free(q);
    return NULL;
}

/* ---- value ---- */

static const char *name_of(const ag_rooting *m) { return m->fixed ? "fixed_point" : "root"; }

/* Work space: pointers to the inputs and outputs of a step; x before a step, its step, f. */
static size_t pointers(const ag_rooting *m) {
    return (size_t)(ag_program_inputs(m->step) + ag_program_outputs(m->step)) * sizeof(void *);
}

static bool root_shape(ag_call *call) {
    const ag_rooting *m = call->params;
    for (int k = 0; k < call->n; k++) {
        ag_port port = ag_program_input(m->step, k);
        if (!ag_takes_shape(call, name_of(m), k, port.name, port.shape)) return false;
    }
    call->shape = ag_program_input(m->step, 0).shape;
    call->saved_size = pointers(m) + 3 * (size_t)unknowns(m->step) * ag_type_size(call->type);
    return true;
}

typedef struct ag_solving {
    const ag_call *call;
    const ag_rooting *m;
    ag_runner *r;
    void **at;
    int64_t n;
    void *old, *step, *f; /* x before the last step, the step, f at the end of it */
} ag_solving;

/* Euclidean. */
static double size_of(const ag_solving *s, const void *x) {
    double sum = 0;
    for (int64_t i = 0; i < s->n; i++) sum += ag_load(s->call->type, x, i) * ag_load(s->call->type, x, i);
    return sqrt(sum);
}

/* The greatest change from a to b, relative; NaN if one is. */
static double change(const ag_solving *s, const void *a, const void *b) {
    double most = 0;
    for (int64_t i = 0; i < s->n; i++) {
        double x = ag_load(s->call->type, b, i), d = fabs(x - ag_load(s->call->type, a, i)) / fmax(1, fabs(x));
        if (!(d <= most)) most = d;
    }
    return most;
}

static bool evaluate(const ag_solving *s, int i) {
    ag_status status = ag_runner_run(s->r, s->call->type, (const void *const *)(const void *)s->at,
                                     s->at + ag_program_inputs(s->m->step));
    if (status == AG_OK) return true;
    ag_fail(s->call->tape, status, "%s: step %d: %s", name_of(s->m), i, ag_runner_message(s->r));
    return false;
}

static bool not_converged(const ag_solving *s, int steps, double moved, double f) {
    const ag_rooting *m = s->m;
    char residual[48] = "";
    if (!m->fixed) snprintf(residual, sizeof residual, " and |f| is %.9g", f);
    ag_fail(
        s->call->tape, AG_ERR_CONVERGENCE,
        "%s: no convergence in %d steps: the last one changed x by %.3g of it, which should be %.3g%s; x[0] is %.9g",
        name_of(m), steps, moved, m->tolerance, residual, ag_load(s->call->type, s->call->out.data, 0));
    return false;
}

/* Whether an element is NaN now, or has stayed infinite: from a single infinity x may come back. */
static bool diverges(const ag_solving *s, int i) {
    for (int64_t k = 0; k < s->n; k++) {
        double before = ag_load(s->call->type, s->call->out.data, k), now = ag_load(s->call->type, s->step, k);
        if (!isnan(now) && !(isinf(now) && isinf(before))) continue;
        ag_fail(s->call->tape, AG_ERR_CONVERGENCE, "%s: step %d: x[%lld] is %s, after %.9g", name_of(s->m), i,
                (long long)k,
                isnan(now) ? "nan"
                : now > 0  ? "inf"
                           : "-inf",
                before);
        return true;
    }
    return false;
}

static bool iterate(const ag_solving *s) {
    size_t bytes = (size_t)s->n * ag_type_size(s->call->type);
    void *x = s->call->out.data;
    double moved = NAN;
    s->at[ag_program_inputs(s->m->step)] = s->step;
    for (int i = 0; i < s->m->steps; i++) {
        if (!evaluate(s, i)) return false;
        moved = change(s, x, s->step);
        if (!isfinite(moved) && diverges(s, i)) return false;
        memcpy(x, s->step, bytes);
        if (moved <= s->m->tolerance) return true;
    }
    return not_converged(s, s->m->steps, moved, 0);
}

/* x = a old + b other. */
static void combine(const ag_solving *s, double a, double b, const void *other) {
    ag_type type = s->call->type;
    for (int64_t i = 0; i < s->n; i++)
        ag_store(type, s->call->out.data, i, a * ag_load(type, s->old, i) + b * ag_load(type, other, i));
}

static bool newton(const ag_solving *s) {
    size_t bytes = (size_t)s->n * ag_type_size(s->call->type);
    int nx = ag_program_inputs(s->m->step), i = 0;
    void *x = s->call->out.data;
    double moved = NAN;
    s->at[nx] = s->step;
    s->at[nx + 1] = s->f;
    if (!evaluate(s, 0)) return false;
    double f = size_of(s, s->f);
    while (i++ < s->m->steps) {
        memcpy(s->old, x, bytes);
        combine(s, 1, -1, s->step);
        moved = change(s, s->old, x);
        if (moved <= s->m->tolerance) return true;
        if (!isfinite(moved)) break;
        /* the step is overwritten, so x goes back half of the way to where it was */
        if (!evaluate(s, i)) return false;
        double next = size_of(s, s->f);
        for (int k = 0; k < MOST_HALVINGS && !(next <= f); k++) {
            combine(s, 0.5, 0.5, x);
            if (!evaluate(s, i)) return false;
            next = size_of(s, s->f);
        }
        f = next;
    }
    return not_converged(s, i <= s->m->steps ? i : s->m->steps, moved, f);
}

static bool root_forward(const ag_call *call) {
    const ag_rooting *m = call->params;
    ag_solving s = {.call = call, .m = m, .at = call->saved, .n = unknowns(m->step)};
    size_t bytes = (size_t)s.n * ag_type_size(call->type);
    s.old = (char *)call->saved + pointers(m);
    s.step = (char *)s.old + bytes;
    s.f = (char *)s.step + bytes;
    s.at[0] = call->out.data;
    for (int k = 1; k < call->n; k++) s.at[k] = call->in[k].data;
    for (int k = 0; k < ag_program_outputs(m->step); k++) s.at[call->n + k] = NULL;
    memcpy(call->out.data, call->in[0].data, bytes);
    s.r = ag_program_borrow(m->step);
    bool ok = m->fixed ? iterate(&s) : newton(&s);
    ag_program_give_back(m->step, s.r);
    return ok;
}

/* ---- derivatives ---- */

static bool run_adjoint(const ag_call *call, const ag_program *p, void **at, char *part) {
    int n = call->n;
    at[0] = call->out.data;
    for (int k = 1; k < n; k++) at[k] = call->in[k].data;
    at[n] = call->out_adjoint.data;
    for (int k = 1; k < n; k++) {
        at[n + k] = call->in_adjoint[k].data ? part : NULL;
        part += (size_t)call->in[k].view->count * ag_type_size(call->type);
    }
    ag_runner *r = ag_program_borrow(p);
    ag_status status = ag_runner_run(r, call->type, (const void *const *)(const void *)at, at + n + 1);
    if (status != AG_OK) ag_fail(call->tape, status, "%s: adjoint: %s", name_of(call->params), ag_runner_message(r));
    for (int k = 1; k < n && status == AG_OK; k++)
        if (at[n + k])
            ag_kernels_for(call->type)->add_to((size_t)call->in[k].view->count, call->in_adjoint[k].data, at[n + k]);
    ag_program_give_back(p, r);
    return status == AG_OK;
}

static bool root_adjoint(const ag_call *call) {
    const ag_rooting *m = call->params;
    ag_program *p = derived(call->tape, m->residual, ADJOINT, NULL);
    if (!p) return false;
    size_t table = (size_t)(2 * call->n + 1) * sizeof(void *), parts = 0;
    for (int k = 1; k < call->n; k++) parts += (size_t)call->in[k].view->count * ag_type_size(call->type);
    char *memory = ag_scratch(call->tape, table + parts + 1);
    bool ok = memory && run_adjoint(call, p, (void **)(void *)memory, memory + table);
    ag_scratch_free(call->tape, memory);
    ag_program_free(p);
    return ok;
}

static void root_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const ag_rooting *m = rule->params;
    ag_tape *t = rule->tape;
    int n = rule->n;
    ag_program *p = derived(t, m->residual, ADJOINT, NULL);
    ag_var *xs = p ? ag_scratch(t, (size_t)(2 * n + 1) * sizeof *xs) : NULL;
    if (xs) {
        xs[0] = rule->out;
        for (int k = 1; k < n; k++) xs[k] = rule->in[k];
        xs[n] = w;
        ag_program_call(t, p, xs, xs + n + 1);
        for (int k = 1; k < n && t->status == AG_OK; k++)
            if (rule->wanted[k]) contributions[k] = xs[n + k];
    }
    ag_scratch_free(t, xs);
    ag_program_free(p);
}

static ag_var root_tangent(const ag_rule *rule, const ag_var *tangents) {
    const ag_rooting *m = rule->params;
    ag_tape *t = rule->tape;
    ag_var result = ag_num(0), *xs = ag_scratch(t, (size_t)(2 * rule->n) * sizeof *xs);
    int n = rule->n;
    if (!xs) return ag_inert(t);
    xs[0] = rule->out;
    for (int k = 1; k < rule->n; k++) xs[k] = rule->in[k];
    for (int k = 1; k < rule->n; k++)
        if (rule->wanted[k]) xs[n++] = tangents[k];
    ag_program *p = n > rule->n ? derived(t, m->residual, TANGENT, rule->wanted) : NULL;
    if (p) ag_program_call(t, p, xs, &result);
    ag_program_free(p);
    ag_scratch_free(t, xs);
    return result;
}

/* ---- recording ---- */

static void root_hold(const void *params, int by) {
    const ag_rooting *m = params;
    const ag_program *both[] = {m->step, m->residual};
    for (int i = 0; i < 2; i++) {
        if (by > 0) ag_program_keep(both[i]);
        else ag_program_free((ag_program *)(uintptr_t)both[i]);
    }
}

/* Parameters that were read from a file, with programs of the right type. */
static bool root_valid(const ag_call *call) {
    const ag_rooting *m = call->params;
    int nx = ag_program_inputs(m->step), ny = ag_program_outputs(m->step);
    if (nx < 1 || call->n != nx || ag_program_inputs(m->residual) != nx || m->steps < 1 || !(m->tolerance > 0))
        return false;
    for (int k = 0; k < nx; k++)
        if (!ag_equal_shapes(ag_program_input(m->step, k).shape, ag_program_input(m->residual, k).shape)) return false;
    if (m->fixed ? ny < 1 : ny != 2) return false;
    for (int k = 0; k < (m->fixed ? 1 : 2); k++)
        if (ag_rows_count(ag_program_output(m->step, k), 1, AG_SHARED) != unknowns(m->step)) return false;
    return ag_program_outputs(m->residual) > 0 &&
           ag_rows_count(ag_program_output(m->residual, 0), 1, AG_SHARED) == unknowns(m->step);
}

const ag_operation ag_root_operation = {
    .name = "root",
    .shape = root_shape,
    .forward = root_forward,
    .adjoint = root_adjoint,
    .tangent = root_tangent,
    .record = root_record,
    .hold = root_hold,
    .valid = root_valid,
};

static bool check_program(ag_tape *t, const ag_program *f, const char *what, const ag_root_options *o) {
    if (!ag_program_fits(t, f, what)) return false;
    if (o->steps < 0 || !(o->tolerance >= 0)) {
        ag_fail(t, AG_ERR_VALUE, "%s: %d steps, tolerance %g", what, o->steps, o->tolerance);
        return false;
    }
    if (ag_program_inputs(f) < 1 || ag_program_outputs(f) < 1) {
        ag_fail(t, AG_ERR_VALUE, "%s: the program has %d inputs and %d outputs", what, ag_program_inputs(f),
                ag_program_outputs(f));
        return false;
    }
    ag_port x = ag_program_input(f, 0), y = ag_program_output(f, 0);
    if (ag_rows_count(x, 1, AG_SHARED) == ag_rows_count(y, 1, AG_SHARED)) return true;
    ag_fail(t, AG_ERR_SHAPE, "%s: %s has shape %s, but %s has shape %s", what, x.name, ag_show_shape(x.shape).text,
            y.name, ag_show_shape(y.shape).text);
    return false;
}

static ag_var solve_for(ag_tape *t, const ag_program *p, bool fixed, const ag_var *xs, const ag_root_options *options) {
    ag_root_options o = options ? *options : (ag_root_options){0};
    if (!t || ag_tape_status(t) != AG_OK || !check_program(t, p, fixed ? "fixed_point" : "root", &o))
        return ag_inert(t);
    if (!ag_given(t, fixed ? "fixed_point" : "root", "the array of inputs", xs)) return ag_inert(t);
    ag_rooting m;
    memset(&m, 0, sizeof m);
    m.fixed = fixed;
    m.steps = o.steps ? o.steps : fixed ? 10000 : 100;
    m.tolerance = o.tolerance > 0 ? o.tolerance : t->type == AG_F64 ? 1e-12 : 1e-5;
    ag_program *made = derived(t, p, fixed ? RESIDUAL : NEWTON, NULL);
    int n = ag_program_inputs(p);
    ag_var x = ag_inert(t), *own = made ? ag_scratch(t, (size_t)n * sizeof *own) : NULL;
    if (own) {
        m.step = fixed ? p : made;
        m.residual = fixed ? made : p;
        for (int k = 0; k < n; k++) own[k] = ag_tape_of(xs[k]) ? xs[k] : ag_constant(t, xs[k].value);
        x = ag_apply(&ag_root_operation, own, n, &m, sizeof m);
    }
    ag_scratch_free(t, own);
    ag_program_free(made);
    return x;
}

ag_var ag_root(ag_tape *t, const ag_program *f, const ag_var *xs, const ag_root_options *options) {
    return solve_for(t, f, false, xs, options);
}

ag_var ag_fixed_point(ag_tape *t, const ag_program *g, const ag_var *xs, const ag_root_options *options) {
    return solve_for(t, g, true, xs, options);
}
