/* Recording a scan, with as many states as may be kept. With fewer than there are steps it is a scan over segments, each
 * of which is a program that scans the steps of a segment, and so on: what is kept of the outer scan are the states
 * between segments, and the derivative of a segment computes those within it again. Since that is nothing but scans in
 * scans, derivatives of any order keep to the bound.
 *
 * With k levels of b segments each, b^k steps need k b states: the recursive scheme of A. Griewank, "Achieving logarithmic
 * growth of temporal and spatial complexity in reverse automatic differentiation" (1992), with segments of equal length. */
#include "scan_impl.h"

/* A scan of `steps` steps that may keep `states`. */
typedef struct ag_scan_job {
    const ag_program *p;
    int64_t steps, states;
    int carries, nx, ny;
    bool backward;
    const uint8_t *along;
    ag_memory memory;
} ag_scan_job;

static void record(ag_tape *t, const ag_scan_job *j, const ag_var *xs, ag_var *ys);

/* ---- how many segments ---- */

/* The least b with b^levels >= steps. */
static int64_t root_of(int64_t steps, int levels) {
    int64_t lo = 1, hi = steps;
    while (lo < hi) {
        int64_t b = lo + (hi - lo) / 2, power = 1;
        for (int i = 0; i < levels && power < steps; i++)
            if (!ag_multiply_sizes(power, b, &power)) power = steps;
        if (power >= steps) hi = b;
        else lo = b + 1;
    }
    return lo;
}

/* Segments of the outermost level, with as few levels as fit into the states; if none do, with the fewest states. */
static int64_t segments_for(int64_t steps, int64_t states) {
    int64_t best = steps, least = steps;
    for (int levels = 1; levels < 64; levels++) {
        int64_t b = root_of(steps, levels), need = levels * b;
        if (need <= states) return b;
        if (need >= least) continue;
        least = need;
        best = b;
    }
    return best;
}

/* ---- segments ---- */

static bool is_each(const ag_scan_job *j, int k) { return k >= j->carries && j->along[k] == AG_EACH; }

static ag_shape rows_shape(ag_port port, int64_t rows) {
    ag_shape shape = port.shape;
    (void)ag_rows_shape(port, rows, AG_EACH, &shape);
    return shape;
}

/* The rows of a segment are flat, so that no level adds an axis. */
static void trace_segment(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_scan_job *j = context;
    ag_var *in = ag_scratch(t, (size_t)j->nx * sizeof *in + 1);
    if (!in) return;
    for (int k = 0; k < j->nx; k++)
        in[k] = is_each(j, k) ? ag_reshape(xs[k], rows_shape(ag_program_input(j->p, k), j->steps)) : xs[k];
    record(t, j, in, ys);
    for (int k = j->carries; k < j->ny && t->status == AG_OK; k++) ys[k] = ag_reshape(ys[k], AG_SHAPE(-1));
    ag_scratch_free(t, in);
}

static ag_program *segment_program(ag_scan_job *j) {
    size_t size = (size_t)j->nx * sizeof(ag_port) + 1;
    ag_port *in = ag_memory_zeroed(&j->memory, size);
    if (!in) {
        ag_program *q = ag_program_new(j->p->type, &j->memory);
        ag_program_fail(q, AG_ERR_MEMORY, "scan: out of memory");
        return q;
    }
    for (int k = 0; k < j->nx; k++) {
        in[k] = ag_program_input(j->p, k);
        if (is_each(j, k)) in[k].shape = AG_SHAPE(ag_rows_count(in[k], j->steps, AG_EACH));
    }
    ag_program *q = ag_trace_like(j->p, trace_segment, j, in, j->nx, NULL, j->ny);
    ag_memory_free(&j->memory, in, size);
    return q;
}

/* ---- a scan over segments, and the steps that are left over ---- */

/* Rows from..from + rows - 1 of an operand, as `segments` flat rows; 0: as one flat tensor. */
static ag_var rows_of(ag_var x, int64_t from, int64_t rows, int64_t segments) {
    int64_t row = rows ? ag_count(x) / ag_shape_of(x).dim[0] : 0;
    ag_var part = ag_slice(x, 0, from, from + rows, 1);
    return segments ? ag_reshape(part, AG_SHAPE(segments, rows / segments * row))
                    : ag_reshape(part, AG_SHAPE(rows * row));
}

typedef struct ag_segmenting {
    int64_t count, length, rest;
} ag_segmenting;

static void record_parts(ag_tape *t, const ag_scan_job *j, ag_segmenting g, const ag_var *xs, ag_var *ys) {
    int64_t full = g.count * g.length, whole_from = j->backward ? g.rest : 0, rest_from = j->backward ? 0 : full;
    ag_scan_job inner = *j, left = *j;
    inner.steps = g.length;
    left.steps = g.rest;
    inner.states = left.states = j->states > g.count ? j->states - g.count : 1;
    ag_program *segment = segment_program(&inner), *rest = g.rest ? segment_program(&left) : NULL;
    ag_var *in = ag_scratch(t, (size_t)(j->nx + j->ny) * sizeof *in + 1);
    if (in && ag_program_fits(t, segment, "scan") && (!rest || ag_program_fits(t, rest, "scan"))) {
        ag_var *last = in + j->nx;
        for (int k = 0; k < j->nx; k++) in[k] = is_each(j, k) ? rows_of(xs[k], whole_from, full, g.count) : xs[k];
        ag_scanning like = {.steps = g.count, .backward = j->backward};
        ag_scan_apply(t, &like, segment, NULL, j->carries, in, j->along, ys);
        for (int k = 0; k < j->nx && rest; k++)
            in[k] = k < j->carries ? ys[k] : is_each(j, k) ? rows_of(xs[k], rest_from, g.rest, 0) : xs[k];
        if (rest) ag_program_apply(t, rest, in, last);
        for (int k = 0; k < j->ny && t->status == AG_OK; k++) {
            if (k < j->carries) {
                if (rest) ys[k] = last[k];
                continue;
            }
            ys[k] = ag_reshape(ys[k], AG_SHAPE(-1));
            ag_var parts[2] = {j->backward && rest ? last[k] : ys[k], j->backward ? ys[k] : rest ? last[k] : ys[k]};
            if (rest) ys[k] = ag_concat(parts, 2, 0);
            ys[k] = ag_reshape(ys[k], rows_shape(ag_program_output(j->p, k), j->steps));
        }
    }
    ag_scratch_free(t, in);
    ag_program_free(segment);
    ag_program_free(rest);
}

static void record(ag_tape *t, const ag_scan_job *j, const ag_var *xs, ag_var *ys) {
    int64_t segments = j->states > 0 && j->steps > 2 ? segments_for(j->steps, j->states) : j->steps;
    if (segments < j->steps && segments > 1) {
        ag_segmenting g = {.length = j->steps / segments};
        if (g.length > 1) {
            g.count = j->steps / g.length;
            g.rest = j->steps - g.count * g.length;
            record_parts(t, j, g, xs, ys);
            return;
        }
    }
    ag_scanning like = {.steps = j->steps, .backward = j->backward};
    ag_scan_apply(t, &like, j->p, NULL, j->carries, xs, j->along, ys);
}

/* ---- public ---- */

static bool check_step(ag_tape *t, const ag_program *p, int64_t steps, int carries, int64_t states) {
    if (!ag_program_fits(t, p, "scan")) return false;
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    if (steps < 0 || states < 0) {
        ag_fail(t, AG_ERR_VALUE, "scan: %lld steps, %lld states", (long long)steps, (long long)states);
        return false;
    }
    if (carries < 0 || carries > nx || carries > ny) {
        ag_fail(t, AG_ERR_VALUE, "scan: a state of %d inputs and outputs; the program has %d and %d", carries, nx, ny);
        return false;
    }
    for (int k = 0; k < carries; k++) {
        ag_port in = ag_program_input(p, k), out = ag_program_output(p, k);
        bool same = in.shape.rank == out.shape.rank;
        for (int i = 0; same && i < in.shape.rank; i++) same = in.shape.dim[i] == out.shape.dim[i];
        if (same) continue;
        ag_fail(t, AG_ERR_SHAPE, "scan: the state %s has shape %s before a step and %s after it", in.name,
                ag_show_shape(in.shape).text, ag_show_shape(out.shape).text);
        return false;
    }
    return true;
}

/* Whether the operands with rows have one for each step. */
static bool check_rows(ag_tape *t, const ag_scan_job *j, const ag_var *xs) {
    for (int k = 0; k < j->nx; k++) {
        if (!is_each(j, k)) continue;
        ag_port port = ag_program_input(j->p, k);
        ag_shape want, got = ag_shape_of(xs[k]);
        bool fits = ag_rows_shape(port, j->steps, AG_EACH, &want) && want.rank == got.rank;
        for (int i = 0; fits && i < got.rank; i++) fits = want.dim[i] == got.dim[i];
        if (fits || (ag_tape_of(xs[k]) && !ag_usable_on(t, xs[k], "scan"))) continue;
        ag_fail(t, AG_ERR_SHAPE, "scan: input %s has shape %s for a step, so %lld steps take another one than %s",
                port.name, ag_show_shape(port.shape).text, (long long)j->steps, ag_show_shape(got).text);
    }
    return t->status == AG_OK;
}

void ag_scan(ag_tape *t, const ag_program *p, int64_t steps, int carries, const ag_var *xs, const ag_along *in,
             const ag_scan_options *options, ag_var *ys) {
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    for (int k = 0; ys && k < ny; k++) ys[k] = ag_inert(t);
    if (!t || ag_tape_status(t) != AG_OK) return;
    ag_scan_options o = options ? *options : (ag_scan_options){0};
    if (!check_step(t, p, steps, carries, o.states) || !ag_program_given(t, p, "scan", xs, ys)) return;
    uint8_t *along = ag_scratch(t, (size_t)nx + 1);
    ag_var *own = ag_scratch(t, (size_t)nx * sizeof *own + 1);
    for (int k = 0; along && own && k < nx; k++) {
        along[k] = (uint8_t)(in ? in[k] : AG_EACH);
        own[k] = ag_tape_of(xs[k]) ? xs[k] : ag_constant(t, xs[k].value);
    }
    ag_scan_job j = {p, steps, o.states, carries, nx, ny, o.backward, along, {.no_reserve = true}};
    if (along && own && check_rows(t, &j, own)) record(t, &j, own, ys);
    for (int k = 0; k < ny && t->status != AG_OK; k++) ys[k] = ag_inert(t);
    ag_scratch_free(t, own);
    ag_scratch_free(t, along);
}
