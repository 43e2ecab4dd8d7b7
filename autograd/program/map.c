/* A program over rows, as an operation: its value runs the program for all rows, its derivatives are maps of the
 * program's. The results of all outputs lie one after the other in one flat tensor, and each is a view of it. */
#include "../ops/structural_impl.h"
#include "program_impl.h"

/* Parameters. */
typedef struct ag_mapping {
    const ag_program *p;
    int64_t rows;
    int32_t nx, ny;
    uint8_t along[]; /* of the inputs, then the outputs */
} ag_mapping;

static const ag_operation map_operation;

static ag_along in_along(const ag_mapping *m, int k) { return (ag_along)m->along[k]; }
static ag_along out_along(const ag_mapping *m, int k) { return (ag_along)m->along[m->nx + k]; }

static int64_t output_count(const ag_mapping *m, int k) {
    return ag_rows_count(ag_program_output(m->p, k), m->rows, out_along(m, k));
}

static bool map_shape(ag_call *call) {
    const ag_mapping *m = call->params;
    int64_t total = 0;
    for (int k = 0; k < m->nx; k++) {
        ag_port port = ag_program_input(m->p, k);
        ag_shape shape;
        if (!ag_rows_shape(port, m->rows, in_along(m, k), &shape)) shape.rank = -1;
        if (!ag_takes_shape(call, "map", k, port.name, shape)) return false;
    }
    for (int k = 0; k < m->ny; k++) total += output_count(m, k);
    call->shape = AG_SHAPE(total);
    call->saved_size = (size_t)(m->nx + m->ny) * sizeof(ag_column); /* work space, so that a run takes no memory */
    return true;
}

/* Runs p over the rows of a call: `xs` and `ys` are data for its inputs and outputs. */
static bool run_rows(const ag_call *call, const ag_program *p, int64_t rows, const ag_column *xs, const ag_column *ys) {
    ag_runner *r = ag_program_borrow(p);
    ag_status status = ag_run_rows(r, rows, xs, ys);
    if (status != AG_OK) ag_fail(call->tape, status, "map: %s", ag_runner_message(r));
    ag_program_give_back(p, r);
    return status == AG_OK;
}

static bool map_forward(const ag_call *call) {
    const ag_mapping *m = call->params;
    ag_column *xs = call->saved, *ys = xs + m->nx;
    int64_t at = 0;
    for (int k = 0; k < m->nx; k++) xs[k] = (ag_column){call->in[k].data, in_along(m, k), NULL};
    for (int k = 0; k < m->ny; k++) {
        ys[k] = (ag_column){ag_element(call->type, call->out.data, at), out_along(m, k), NULL};
        at += output_count(m, k);
    }
    return run_rows(call, m->p, m->rows, xs, ys);
}

static bool map_adjoint(const ag_call *call) {
    const ag_mapping *m = call->params;
    ag_program *adjoints = ag_program_adjoints(m->p);
    int64_t total = 0, at = 0;
    for (int k = 0; k < m->nx; k++) total += call->in_adjoint[k].data ? call->in[k].view->count : 0;
    ag_column *xs = ag_scratch(call->tape, (size_t)(2 * m->nx + m->ny) * sizeof *xs + 1);
    char *sums = ag_scratch(call->tape, (size_t)total * ag_type_size(call->type) + 1);
    if (xs && sums) {
        ag_column *ys = xs + m->nx + m->ny;
        for (int k = 0; k < m->nx; k++) {
            xs[k] = (ag_column){call->in[k].data, in_along(m, k), NULL};
            ys[k] =
                (ag_column){call->in_adjoint[k].data ? ag_element(call->type, sums, at) : NULL, in_along(m, k), NULL};
            if (ys[k].data) at += call->in[k].view->count;
        }
        at = 0;
        for (int k = 0; k < m->ny; k++) {
            xs[m->nx + k] = (ag_column){ag_element(call->type, call->out_adjoint.data, at), out_along(m, k), NULL};
            at += output_count(m, k);
        }
        if (run_rows(call, adjoints, m->rows, xs, ys))
            for (int k = 0; k < m->nx; k++)
                if (ys[k].data)
                    ag_kernels_for(call->type)
                        ->add_to((size_t)call->in[k].view->count, call->in_adjoint[k].data, ys[k].data);
    }
    ag_program_free(adjoints);
    ag_scratch_free(call->tape, xs);
    ag_scratch_free(call->tape, sums);
    return call->tape->status == AG_OK;
}

/* ---- recording ---- */

/* Part k of what a map gives. */
static ag_var part(ag_tape *t, const ag_mapping *m, ag_var flat, int k) {
    int64_t at = 0;
    ag_shape shape;
    for (int j = 0; j < k; j++) at += output_count(m, j);
    if (!ag_rows_shape(ag_program_output(m->p, k), m->rows, out_along(m, k), &shape)) return ag_inert(t);
    return ag_next_part(flat, &at, shape);
}

static void apply_map(ag_tape *t, const ag_mapping *like, const ag_program *p, const ag_var *xs, const ag_along *in,
                      const ag_along *out, ag_var *ys) {
    size_t nx = p->inputs.count, ny = p->outputs.count, size = sizeof(ag_mapping) + (nx + ny + 7) / 8 * 8;
    ag_mapping *m = ag_scratch(t, size);
    for (size_t k = 0; k < ny; k++) ys[k] = ag_inert(t);
    if (!m) return;
    memset(m, 0, size);
    m->p = p;
    m->rows = like->rows;
    m->nx = (int32_t)nx;
    m->ny = (int32_t)ny;
    bool fits = true;
    for (size_t k = 0; k < nx; k++) m->along[k] = in ? (uint8_t)in[k] : AG_EACH;
    for (size_t k = 0; k < ny; k++) {
        ag_shape shape;
        m->along[nx + k] = out ? (uint8_t)out[k] : AG_EACH;
        fits &= ag_rows_shape(ag_program_output(p, (int)k), m->rows, out_along(m, (int)k), &shape);
    }
    if (!fits)
        ag_fail(t, AG_ERR_SHAPE, "map: %lld rows of an output have more than %d dims or too many elements",
                (long long)m->rows, AG_MAX_RANK);
    ag_var flat = ag_apply(&map_operation, xs, (int)nx, m, size);
    for (size_t k = 0; k < ny && t->status == AG_OK; k++) ys[k] = part(t, m, flat, (int)k);
    ag_scratch_free(t, m);
}

/* ---- derivatives ---- */

static void map_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const ag_mapping *m = rule->params;
    ag_tape *t = rule->tape;
    size_t n = (size_t)(m->nx + m->ny);
    ag_var *xs = ag_scratch(t, n * (2 * sizeof *xs + 2 * sizeof(ag_along) + sizeof(int)) + 1);
    if (!xs) return;
    ag_var *ys = xs + n;
    ag_along *in = (ag_along *)(void *)(ys + n), *out = in + n;
    int *wanted = (int *)(void *)(out + n), count = 0;
    ag_var flat = ag_contiguous(w);
    for (int k = 0; k < m->nx; k++) {
        xs[k] = rule->in[k];
        in[k] = in_along(m, k);
        if (!rule->wanted[k]) continue;
        out[count] = in[k];
        wanted[count++] = k;
    }
    for (int k = 0; k < m->ny; k++) {
        xs[m->nx + k] = part(t, m, flat, k);
        in[m->nx + k] = out_along(m, k);
    }
    ag_program *all = ag_program_adjoints(m->p), *p = ag_program_select(all, wanted, count);
    if (ag_program_status(p) != AG_OK) ag_fail(t, ag_program_status(p), "map: %s", ag_program_message(p));
    else apply_map(t, m, p, xs, in, out, ys);
    for (int i = 0; i < count && t->status == AG_OK; i++) contributions[wanted[i]] = ys[i];
    ag_program_free(p);
    ag_program_free(all);
    ag_scratch_free(t, xs);
}

static ag_var map_tangent(const ag_rule *rule, const ag_var *tangents) {
    const ag_mapping *m = rule->params;
    ag_tape *t = rule->tape;
    size_t n = 2 * (size_t)m->nx + 2 * (size_t)m->ny;
    ag_var *xs = ag_scratch(t, n * (2 * sizeof *xs + 2 * sizeof(ag_along) + sizeof(int)) + 1), result = ag_inert(t);
    if (!xs) return result;
    ag_var *ys = xs + n;
    ag_along *in = (ag_along *)(void *)(ys + n), *out = in + n;
    int *wrt = (int *)(void *)(out + n), count = 0;
    for (int k = 0; k < m->nx; k++) {
        xs[k] = rule->in[k];
        in[k] = in_along(m, k);
        if (ag_is_zero(tangents[k])) continue;
        xs[m->nx + count] = tangents[k];
        in[m->nx + count] = in[k];
        wrt[count++] = k;
    }
    for (int k = 0; k < m->ny; k++) out[k] = out_along(m, k);
    ag_program *all = ag_program_jvp(m->p, wrt, count);
    for (int k = 0; k < m->ny; k++) wrt[k] = m->ny + k;
    ag_program *p = ag_program_select(all, wrt, m->ny);
    if (ag_program_status(p) != AG_OK) ag_fail(t, ag_program_status(p), "map: %s", ag_program_message(p));
    else apply_map(t, m, p, xs, in, out, ys);
    for (int k = 0; k < m->ny && t->status == AG_OK; k++) ys[k] = ag_reshape(ys[k], AG_SHAPE(output_count(m, k)));
    if (t->status == AG_OK) result = ag_concat(ys, m->ny, 0);
    ag_program_free(p);
    ag_program_free(all);
    ag_scratch_free(t, xs);
    return result;
}

/* ---- elements ---- */

/* Row after row; sums are added up. */
static void map_scalars(const ag_elements *e) {
    const ag_mapping *m = e->params;
    int64_t row_count = 0;
    for (int k = 0; k < m->ny; k++) {
        int64_t count;
        if (ag_shape_count(ag_program_output(m->p, k).shape, &count)) row_count += count;
    }
    ag_var *y = ag_scratch(e->tape, (size_t)row_count * sizeof *y + 1);
    const ag_var **x = ag_scratch(e->tape, (size_t)m->nx * sizeof *x + 1);
    int64_t total = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    for (int64_t i = 0; i < total; i++) e->out[i] = ag_num(0);
    for (int64_t row = 0; x && y && row < m->rows && e->tape->status == AG_OK; row++) {
        int64_t count, from = 0, to = 0;
        for (int k = 0; k < m->nx; k++)
            x[k] = e->in[k] + (in_along(m, k) == AG_EACH && ag_shape_count(ag_program_input(m->p, k).shape, &count)
                                   ? row * count
                                   : 0);
        ag_program_unroll(e->tape, m->p, x, y);
        for (int k = 0; k < m->ny; k++) {
            if (!ag_shape_count(ag_program_output(m->p, k).shape, &count)) count = 0;
            ag_var *out = e->out + to + (out_along(m, k) == AG_EACH ? row * count : 0);
            for (int64_t i = 0; i < count; i++) out[i] = ag_is_zero(out[i]) ? y[from + i] : ag_add(out[i], y[from + i]);
            from += count;
            to += output_count(m, k);
        }
    }
    ag_scratch_free(e->tape, x);
    ag_scratch_free(e->tape, y);
}

static void map_hold(const void *params, int by) {
    const ag_mapping *m = params;
    if (by > 0) ag_program_keep(m->p);
    else ag_program_free((ag_program *)(uintptr_t)m->p);
}

/* The parameters of a call that was read from a file, which are made by ag_map_set_params. */
static bool map_valid(const ag_call *call) {
    const ag_mapping *m = call->params;
    ag_shape shape;
    int64_t total = 0, count;
    if (m->rows < 0 || call->n != m->nx) return false;
    for (int k = 0; k < m->nx + m->ny; k++)
        if (m->along[k] > AG_SHARED) return false;
    for (int k = 0; k < m->nx; k++)
        if (!ag_rows_shape(ag_program_input(m->p, k), m->rows, in_along(m, k), &shape)) return false;
    for (int k = 0; k < m->ny; k++) {
        if (!ag_rows_shape(ag_program_output(m->p, k), m->rows, out_along(m, k), &shape) ||
            !ag_shape_count(shape, &count) || __builtin_add_overflow(total, count, &total))
            return false;
    }
    return true;
}

static const ag_operation map_operation = {
    .name = "map",
    .shape = map_shape,
    .forward = map_forward,
    .adjoint = map_adjoint,
    .tangent = map_tangent,
    .record = map_record,
    .scalars = map_scalars,
    .hold = map_hold,
    .valid = map_valid,
};

const ag_program *ag_mapped_program(const ag_operation *operation, const void *params, int64_t *rows,
                                    const uint8_t **along) {
    const ag_mapping *m = params;
    if (operation != &map_operation) return NULL;
    *rows = m->rows;
    *along = m->along;
    return m->p;
}

size_t ag_map_params_size(const ag_program *p) {
    return sizeof(ag_mapping) + (p->inputs.count + p->outputs.count + 7) / 8 * 8;
}
void ag_map_set_params(void *params, const ag_program *p, int64_t rows, const uint8_t *along) {
    ag_mapping *m = params;
    size_t n = p->inputs.count + p->outputs.count;
    memset(m, 0, ag_map_params_size(p));
    m->p = p;
    m->rows = rows;
    m->nx = (int32_t)p->inputs.count;
    m->ny = (int32_t)p->outputs.count;
    memcpy(m->along, along, n);
}
bool ag_is_map(const ag_operation *operation) { return operation == &map_operation; }
const ag_program *ag_map_program(const void *params) { return ((const ag_mapping *)params)->p; }
int64_t ag_map_rows(const void *params) { return ((const ag_mapping *)params)->rows; }
ag_along ag_map_along(const void *params, int port) { return (ag_along)((const ag_mapping *)params)->along[port]; }

const ag_operation *const ag_builtin_map = &map_operation;

/* ---- public ---- */

void ag_map(ag_tape *t, const ag_program *p, int64_t rows, const ag_var *xs, const ag_along *in, const ag_along *out,
            ag_var *ys) {
    for (int k = 0; ys && k < ag_program_outputs(p); k++) ys[k] = ag_inert(t);
    if (!t || ag_tape_status(t) != AG_OK) return;
    if (!ag_program_fits(t, p, "map") || !ag_program_given(t, p, "map", xs, ys)) return;
    if (rows < 0) ag_fail(t, AG_ERR_VALUE, "map: the number of rows is %lld", (long long)rows);
    else apply_map(t, &(ag_mapping){.rows = rows}, p, xs, in, out, ys);
}

void ag_program_apply(ag_tape *t, const ag_program *p, const ag_var *xs, ag_var *ys) {
    size_t n = (size_t)ag_program_inputs(p) + (size_t)ag_program_outputs(p);
    for (int k = 0; ys && k < ag_program_outputs(p); k++) ys[k] = ag_inert(t);
    if (!t || ag_tape_status(t) != AG_OK || !ag_program_fits(t, p, "apply")) return;
    if (!ag_program_given(t, p, "apply", xs, ys)) return;
    ag_along *all = ag_scratch(t, n * sizeof *all + 1);
    for (size_t k = 0; all && k < n; k++) all[k] = AG_SHARED;
    if (all) apply_map(t, &(ag_mapping){.rows = 1}, p, xs, all, all, ys);
    ag_scratch_free(t, all);
}

typedef struct ag_batching {
    const ag_program *p;
    int64_t rows;
    const ag_along *in, *out;
} ag_batching;

static void trace_batch(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_batching *b = context;
    ag_map(t, b->p, b->rows, xs, b->in, b->out, ys);
}

ag_program *ag_program_batch(const ag_program *p, int64_t rows, const ag_along *in, const ag_along *out) {
    if (ag_program_status(p) != AG_OK) return ag_program_failed(p, ag_program_status(p), "%s", ag_program_message(p));
    if (rows < 0) return ag_program_failed(p, AG_ERR_VALUE, "batch: the number of rows is %lld", (long long)rows);
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    ag_batching b = {p, rows, in, out};
    size_t size = (size_t)(nx + ny) * sizeof(ag_port) + 1;
    ag_port *ports = ag_memory_zeroed(&memory, size);
    ag_program *q;
    bool fits = ports != NULL;
    for (int k = 0; fits && k < nx + ny; k++) {
        ports[k] = k < nx ? ag_program_input(p, k) : ag_program_output(p, k - nx);
        if (k < nx) fits = ag_rows_shape(ports[k], rows, in ? in[k] : AG_EACH, &ports[k].shape);
    }
    if (fits) q = ag_trace_like(p, trace_batch, &b, ports, nx, ports + nx, ny);
    else if (!ports) q = ag_program_failed(p, AG_ERR_MEMORY, "batch: out of memory");
    else
        q = ag_program_failed(p, AG_ERR_SHAPE,
                              "batch: %lld rows of an input have more than %d dims or too many elements",
                              (long long)rows, AG_MAX_RANK);
    ag_memory_free(&memory, ports, size);
    return q;
}
