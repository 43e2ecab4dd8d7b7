/* Transformations: a program is recorded on a tape, the tape derives, and what it recorded is a program again. */
#include "program_impl.h"

/* What a transformation is about, and the ports of its result. */
typedef struct ag_deriving {
    const ag_program *p;
    int *wrt, n, nx, ny; /* inputs and outputs of p */
    int output;
    ag_memory memory;
    size_t size;
    ag_port *in, *out;
    char *text;
    int n_in, n_out;
} ag_deriving;

static void add_in(ag_deriving *d, ag_port port) { d->in[d->n_in++] = port; }
static void add_out(ag_deriving *d, ag_port port) { d->out[d->n_out++] = port; }

static ag_port prefixed(ag_deriving *d, const char *prefix, ag_port port) {
    char *name = d->text;
    d->text += sprintf(name, "%s%s", prefix, port.name) + 1;
    return (ag_port){.name = name, .shape = port.shape};
}

/* Inputs and outputs of p as ports of the result, room for as many again, and the numbers in wrt. False after an error,
 * which *result then is. */
static bool open_deriving(ag_deriving *d, const ag_program *p, const int *wrt, int n, ag_program **result) {
    *result = NULL;
    if (ag_program_status(p) != AG_OK) {
        *result = ag_program_failed(p, ag_program_status(p), "%s", ag_program_message(p));
        return false;
    }
    *d = (ag_deriving){.p = p, .n = n, .nx = ag_program_inputs(p), .ny = ag_program_outputs(p)};
    d->memory = (ag_memory){p->memory.permit, p->memory.context, true, 0};
    if (n < 0 || (n && !wrt)) {
        *result = ag_program_failed(p, AG_ERR_VALUE, "derivative: by %d inputs, or an array of them that is NULL", n);
        return false;
    }
    if (n == 0) d->n = d->nx;
    for (int i = 0; i < n; i++) {
        if (wrt[i] >= 0 && wrt[i] < d->nx) continue;
        *result =
            ag_program_failed(p, AG_ERR_VALUE, "derivative: there is no input %d: the program has %d", wrt[i], d->nx);
        return false;
    }
    size_t ports = 2 * ((size_t)d->nx + (size_t)d->ny + (size_t)d->n);
    d->size = 2 * ports * sizeof *d->in + (size_t)d->n * sizeof(int) + 2 * p->names.count + 8 * ports +
              (size_t)n * 2 * (p->names.count + 8) + 64;
    char *space = ag_memory_zeroed(&d->memory, d->size);
    if (!space) {
        *result = ag_program_failed(p, AG_ERR_MEMORY, "derivative: out of memory");
        return false;
    }
    d->in = (ag_port *)(void *)space;
    d->out = d->in + ports;
    d->wrt = (int *)(void *)(d->out + ports);
    d->text = (char *)(d->wrt + d->n);
    for (int i = 0; i < d->n; i++) d->wrt[i] = n ? wrt[i] : i;
    for (int k = 0; k < d->nx; k++) add_in(d, ag_program_input(p, k));
    for (int k = 0; k < d->ny; k++) add_out(d, ag_program_output(p, k));
    return true;
}

static ag_program *close_deriving(ag_deriving *d, ag_model f) {
    ag_program *q = ag_trace_like(d->p, f, d, d->in, d->n_in, d->out, d->n_out);
    ag_memory_free(&d->memory, d->in, d->size);
    return q;
}

/* The xs of wrt, as they are on the tape. NULL after an error. */
static ag_var *wanted(ag_tape *t, const ag_deriving *d, const ag_var *xs) {
    ag_var *v = ag_scratch(t, (size_t)d->n * sizeof *v + 1);
    for (int i = 0; v && i < d->n; i++) v[i] = xs[d->wrt[i]];
    return v;
}

/* ---- reverse ---- */

static void trace_vjp(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_deriving *d = context;
    ag_program_call(t, d->p, xs, ys);
    ag_var *v = wanted(t, d, xs);
    if (v) ag_vjp(ys, xs + d->nx, d->ny, v, d->n, ys + d->ny);
    ag_scratch_free(t, v);
}

ag_program *ag_program_vjp(const ag_program *p, const int *wrt, int n) {
    ag_deriving d;
    ag_program *q;
    if (!open_deriving(&d, p, wrt, n, &q)) return q;
    for (int k = 0; k < d.ny; k++) add_in(&d, prefixed(&d, "w_", ag_program_output(p, k)));
    for (int i = 0; i < d.n; i++) add_out(&d, prefixed(&d, "d_", ag_program_input(p, d.wrt[i])));
    return close_deriving(&d, trace_vjp);
}

static void trace_gradient(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_deriving *d = context;
    ag_program_call(t, d->p, xs, ys);
    ag_var *v = wanted(t, d, xs);
    if (v) ag_gradient(ys[0], v, d->n, ys + d->ny);
    ag_scratch_free(t, v);
}

static bool has_scalar(const ag_program *p, ag_program **result) {
    int64_t count;
    if (ag_program_status(p) != AG_OK) return true;
    if (ag_program_outputs(p) > 0 && ag_shape_count(ag_program_output(p, 0).shape, &count) && count == 1) return true;
    *result = ag_program_failed(p, AG_ERR_SHAPE,
                                "gradient: the first output is not a scalar, but of shape %s; see ag_program_vjp and "
                                "ag_program_jacobian",
                                ag_program_outputs(p) ? ag_show_shape(ag_program_output(p, 0).shape).text : "none");
    return false;
}

ag_program *ag_program_gradient(const ag_program *p, const int *wrt, int n) {
    ag_deriving d;
    ag_program *q;
    if (!has_scalar(p, &q) || !open_deriving(&d, p, wrt, n, &q)) return q;
    for (int i = 0; i < d.n; i++) add_out(&d, prefixed(&d, "d_", ag_program_input(p, d.wrt[i])));
    return close_deriving(&d, trace_gradient);
}

/* ---- forward ---- */

static void trace_jvp(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_deriving *d = context;
    ag_program_call(t, d->p, xs, ys);
    ag_var *v = wanted(t, d, xs);
    if (v) ag_jvp(ys, d->ny, v, xs + d->nx, d->n, ys + d->ny);
    ag_scratch_free(t, v);
}

ag_program *ag_program_jvp(const ag_program *p, const int *wrt, int n) {
    ag_deriving d;
    ag_program *q;
    if (!open_deriving(&d, p, wrt, n, &q)) return q;
    for (int i = 0; i < d.n; i++) add_in(&d, prefixed(&d, "v_", ag_program_input(p, d.wrt[i])));
    for (int k = 0; k < d.ny; k++) add_out(&d, prefixed(&d, "d_", ag_program_output(p, k)));
    return close_deriving(&d, trace_jvp);
}

/* ---- second order ---- */

static void trace_hvp(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_deriving *d = context;
    ag_var *v = wanted(t, d, xs), *y = ag_scratch(t, (size_t)d->ny * sizeof *y + 1);
    if (v && y) {
        ag_program_call(t, d->p, xs, y);
        ag_gradient(y[0], v, d->n, ys);
        ag_jvp(ys, d->n, v, xs + d->nx, d->n, ys + d->n);
    }
    ag_scratch_free(t, v);
    ag_scratch_free(t, y);
}

ag_program *ag_program_hvp(const ag_program *p, const int *wrt, int n) {
    ag_deriving d;
    ag_program *q;
    if (!has_scalar(p, &q) || !open_deriving(&d, p, wrt, n, &q)) return q;
    d.n_out = 0;
    for (int i = 0; i < d.n; i++) add_in(&d, prefixed(&d, "v_", ag_program_input(p, d.wrt[i])));
    for (int i = 0; i < d.n; i++) add_out(&d, prefixed(&d, "d_", ag_program_input(p, d.wrt[i])));
    for (int i = 0; i < d.n; i++) add_out(&d, prefixed(&d, "h_", ag_program_input(p, d.wrt[i])));
    return close_deriving(&d, trace_hvp);
}

static void trace_jacobian(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_deriving *d = context;
    ag_program_call(t, d->p, xs, ys);
    ys[d->ny] = ag_jacobian(ys[d->output], xs[d->wrt[0]]);
}

ag_program *ag_program_jacobian(const ag_program *p, int output, int input) {
    ag_deriving d;
    ag_program *q;
    if (!open_deriving(&d, p, &input, 1, &q)) return q;
    d.output = output;
    add_out(&d, prefixed(&d, "d_", ag_program_input(p, input)));
    if (output >= 0 && output < d.ny) return close_deriving(&d, trace_jacobian);
    ag_memory_free(&d.memory, d.in, d.size);
    return ag_program_failed(p, AG_ERR_VALUE, "jacobian: there is no output %d: the program has %d", output, d.ny);
}

static void trace_hessian(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_deriving *d = context;
    ag_program_call(t, d->p, xs, ys);
    ys[d->ny] = ag_hessian(ys[0], xs[d->wrt[0]]);
}

ag_program *ag_program_hessian(const ag_program *p, int input) {
    ag_deriving d;
    ag_program *q;
    if (!has_scalar(p, &q) || !open_deriving(&d, p, &input, 1, &q)) return q;
    add_out(&d, prefixed(&d, "h_", ag_program_input(p, input)));
    return close_deriving(&d, trace_hessian);
}

/* ---- outputs ---- */

static void trace_select(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_deriving *d = context;
    ag_var *all = ag_scratch(t, (size_t)d->ny * sizeof *all + 1);
    if (all) ag_program_call(t, d->p, xs, all);
    for (int i = 0; all && i < d->n; i++) ys[i] = all[d->wrt[i]];
    ag_scratch_free(t, all);
}

ag_program *ag_program_select(const ag_program *p, const int *outputs, int n) {
    ag_deriving d;
    ag_program *q;
    if (!open_deriving(&d, p, NULL, 0, &q)) return q;
    size_t size = (size_t)(n < 0 ? 0 : n) * (sizeof *d.out + sizeof *d.wrt) + 1;
    ag_port *ports = ag_memory_zeroed(&d.memory, size);
    int wrong = -1;
    for (int i = n; ports && outputs && i-- > 0;)
        if (outputs[i] < 0 || outputs[i] >= d.ny) wrong = i;
    if (ports && n >= 0 && (outputs || !n) && wrong < 0) {
        d.out = ports;
        d.wrt = (int *)(void *)(ports + n);
        d.n = n;
        d.n_out = 0;
        for (int i = 0; i < n; i++) {
            d.wrt[i] = outputs[i];
            add_out(&d, ag_program_output(p, outputs[i]));
        }
        q = close_deriving(&d, trace_select);
    } else {
        ag_memory_free(&d.memory, d.in, d.size);
        if (!ports) q = ag_program_failed(p, AG_ERR_MEMORY, "select: out of memory");
        else if (wrong < 0) q = ag_program_failed(p, AG_ERR_VALUE, "select: %d outputs, or their array is NULL", n);
        else
            q = ag_program_failed(p, AG_ERR_VALUE, "select: there is no output %d: the program has %d", outputs[wrong],
                                  d.ny);
    }
    ag_memory_free(&d.memory, ports, size);
    return q;
}
