/* Scans: the operation, its value and its numeric adjoint.
 *
 * A scan on an ordinary tape keeps the states before all steps in its saved bytes, for a sweep. Elsewhere they are work
 * space for two states, which take turns. */
#include "../ops/matrix_impl.h"
#include "runner_impl.h"
#include "scan_impl.h"

/* ---- sizes ---- */

static size_t bytes_of(const ag_call *call, int64_t count) { return (size_t)count * ag_type_size(call->type); }

static int64_t input_count(const ag_scanning *m, int k) {
    return ag_rows_count(ag_program_input(m->p, k), 1, AG_SHARED);
}

static int64_t state_count(const ag_scanning *m) {
    int64_t n = 0;
    for (int k = 0; k < m->carries; k++) n += input_count(m, k);
    return n;
}

static int64_t kept_states(const ag_scanning *m) { return m->steps > 2 ? m->steps - 1 : 2; }

/* Where inputs and outputs of a step are, and how far the next step's are from there. */
typedef struct ag_track {
    char *at;
    int64_t move; /* bytes */
} ag_track;

static size_t tracks_size(const ag_scanning *m) {
    return (size_t)(m->nx + m->ny) * (sizeof(ag_track) + sizeof(void *) + sizeof(int64_t));
}

static bool scan_shape(ag_call *call) {
    const ag_scanning *m = call->params;
    int64_t total = 0, states, kept = 2;
    bool constant = true;
    for (int k = 0; k < m->nx; k++) {
        ag_port port = ag_program_input(m->p, k);
        ag_shape shape;
        if (!ag_rows_shape(port, m->steps, ag_scan_along(m, k), &shape)) shape.rank = -1;
        if (!ag_takes_shape(call, "scan", k, port.name, shape)) return false;
        constant &= call->in[k].view->constant;
    }
    for (int k = 0; k < m->ny; k++) total += ag_scan_output_count(m, k);
    if (!constant && ag_expects_sweep(call->tape)) kept = kept_states(m);
    if (!ag_multiply_sizes(kept, state_count(m), &states) || states > INT64_MAX / 16) {
        ag_fail(call->tape, AG_ERR_SLOTS, "scan: %lld states are too many", (long long)kept);
        return false;
    }
    call->shape = AG_SHAPE(total);
    call->saved_size = tracks_size(m) + bytes_of(call, states);
    return true;
}

/* ---- one run over the steps ---- */

typedef struct ag_pass {
    const ag_call *call;
    const ag_scanning *m;
    char *states;
    int64_t slots; /* how many states there is room for */
    size_t state_bytes;
} ag_pass;

static bool keeps_all(const ag_call *call) {
    const ag_scanning *m = call->params;
    return call->saved_size >= tracks_size(m) + bytes_of(call, kept_states(m) * state_count(m));
}

static ag_pass pass_of(const ag_call *call, void *memory, bool all) {
    const ag_scanning *m = call->params;
    return (ag_pass){call, m, (char *)memory, all ? kept_states(m) : 2, bytes_of(call, state_count(m))};
}

/* The place of a step, of which `done` were done before it. */
static int64_t place_of(const ag_scanning *m, int64_t done) { return m->backward ? m->steps - 1 - done : done; }

/* Where the state after `done` steps is: its parts are those of the operands, or lie one after the other. */
static void set_states(const ag_pass *s, int64_t done, const int64_t *count, void **at) {
    const ag_call *call = s->call;
    if (done == 0) {
        for (int k = 0; k < s->m->carries; k++) at[k] = call->in[k].data;
        return;
    }
    char *part = done == s->m->steps ? call->out.data : s->states + (size_t)((done - 1) % s->slots) * s->state_bytes;
    for (int k = 0; k < s->m->carries; k++) {
        at[k] = part;
        part += bytes_of(call, count[k]);
    }
}

static void open_tracks(const ag_pass *s, ag_track *in, ag_track *out) {
    const ag_scanning *m = s->m;
    int64_t first = place_of(m, 0), at = state_count(m), sign = m->backward ? -1 : 1;
    for (int k = m->carries; k < m->nx; k++) {
        int64_t row = ag_scan_along(m, k) == AG_EACH ? (int64_t)bytes_of(s->call, input_count(m, k)) : 0;
        in[k] = (ag_track){(char *)s->call->in[k].data + first * row, sign * row};
    }
    for (int k = m->carries; k < m->ny; k++) {
        int64_t row = (int64_t)bytes_of(s->call, ag_rows_count(ag_program_output(m->p, k), 1, AG_SHARED));
        out[k] = (ag_track){(char *)ag_element(s->call->type, s->call->out.data, at) + first * row, sign * row};
        at += ag_scan_output_count(m, k);
    }
}

static bool run_steps(const ag_pass *s, ag_runner *r, ag_track *tracks, void **at, int64_t *count) {
    const ag_scanning *m = s->m;
    int nx = m->nx, nc = m->carries, n = m->nx + m->ny;
    open_tracks(s, tracks, tracks + nx);
    for (int k = 0; k < nc; k++) count[k] = input_count(m, k);
    set_states(s, 0, count, at + nx);
    for (int64_t done = 0; done < m->steps; done++) {
        for (int k = 0; k < nc; k++) at[k] = at[nx + k];
        set_states(s, done + 1, count, at + nx);
        for (int k = nc; k < nx; k++) at[k] = tracks[k].at, tracks[k].at += tracks[k].move;
        for (int k = nx + nc; k < n; k++) at[k] = tracks[k].at, tracks[k].at += tracks[k].move;
        ag_status status = ag_runner_run(r, s->call->type, (const void *const *)(const void *)at, at + nx);
        if (status == AG_OK) continue;
        ag_fail(s->call->tape, status, "scan: step %lld: %s", (long long)place_of(m, done), ag_runner_message(r));
        return false;
    }
    return true;
}

static bool run_pass(const ag_pass *s, void *tracks) {
    const ag_scanning *m = s->m;
    size_t offset = 0;
    for (int k = 0; k < m->carries && m->steps == 0; k++) {
        size_t bytes = bytes_of(s->call, input_count(m, k));
        if (bytes) memcpy((char *)s->call->out.data + offset, s->call->in[k].data, bytes);
        offset += bytes;
    }
    if (m->steps == 0) return true;
    ag_runner *r = ag_program_borrow(m->p);
    void **at = (void **)(void *)((ag_track *)tracks + m->nx + m->ny);
    bool ok = run_steps(s, r, tracks, at, (int64_t *)(void *)(at + m->nx + m->ny));
    ag_program_give_back(m->p, r);
    return ok;
}

static bool scan_forward(const ag_call *call) {
    ag_pass s = pass_of(call, (char *)call->saved + tracks_size(call->params), keeps_all(call));
    return run_pass(&s, call->saved);
}

/* ---- the numeric adjoint: the steps' adjoints, from the last step to the first ---- */

/* What goes to an input that is no state, from all steps. */
typedef struct ag_share {
    bool each, factors;
    char *part;           /* of one step; NULL: it is stored where it belongs */
    char *first, *second; /* factors of all steps */
    int64_t count[2];     /* numbers of both factors of one step */
} ag_share;

typedef struct ag_return {
    ag_pass pass;
    const ag_program *back;
    ag_runner *r;
    char *w;   /* adjoints of the state: before and after a step, which take turns */
    void **at; /* inputs, seeds, results */
    int64_t *in_count, *out_count;
    ag_share *share;
    bool *wanted, *factors;
    int64_t states;
} ag_return;

static char *row_of(const ag_return *b, int k, int64_t place) {
    const ag_call *call = b->pass.call;
    int64_t row = b->share[k].each ? place * b->in_count[k] : 0;
    return ag_element(call->type, call->in_adjoint[k].data, row);
}

/* Where a step's results go to. */
static void set_results(const ag_return *b, int64_t place, char *before, void **results) {
    const ag_call *call = b->pass.call;
    const ag_scanning *m = b->pass.m;
    int at = 0;
    for (; at < m->carries; at++) results[at] = before, before += bytes_of(call, b->in_count[at]);
    for (int k = m->carries; k < m->nx; k++) {
        const ag_share *s = &b->share[k];
        if (!b->wanted[k]) continue;
        if (!s->factors) results[at++] = s->part ? s->part : row_of(b, k, place);
        if (s->each) continue;
        if (s->factors) results[at++] = ag_element(call->type, s->first, place * s->count[0]);
        results[at++] = s->factors ? ag_element(call->type, s->second, place * s->count[1]) : NULL;
    }
}

static bool return_step(const ag_return *b, int64_t done) {
    const ag_call *call = b->pass.call;
    const ag_scanning *m = b->pass.m;
    void **seeds = b->at + m->nx, **results = seeds + m->ny;
    int64_t place = place_of(m, done), at = b->states;
    char *w = b->w + (size_t)((done + 1) % 2) * b->pass.state_bytes;
    set_states(&b->pass, done, b->in_count, b->at);
    for (int k = 0; k < m->carries; k++) seeds[k] = w, w += bytes_of(call, b->in_count[k]);
    for (int k = m->carries; k < m->nx; k++)
        b->at[k] = ag_element(call->type, call->in[k].data, b->share[k].each ? place * b->in_count[k] : 0);
    for (int k = m->carries; k < m->ny; k++) {
        int64_t count = b->out_count[k];
        seeds[k] = ag_element(call->type, call->out_adjoint.data, at + place * count);
        at += count * m->steps;
    }
    set_results(b, place, b->w + (size_t)(done % 2) * b->pass.state_bytes, results);
    ag_status status = ag_runner_run(b->r, call->type, (const void *const *)(const void *)b->at, results);
    if (status != AG_OK) {
        ag_fail(call->tape, status, "scan: adjoint of step %lld: %s", (long long)place, ag_runner_message(b->r));
        return false;
    }
    for (int k = m->carries; k < m->nx; k++)
        if (b->wanted[k] && b->share[k].part)
            ag_kernels_for(call->type)->add_to((size_t)b->in_count[k], row_of(b, k, place), b->share[k].part);
    return true;
}

/* The product of all steps' factors. */
static bool add_products(const ag_return *b) {
    const ag_call *call = b->pass.call;
    const ag_scanning *m = b->pass.m;
    bool ok = true;
    for (int k = m->carries; k < m->nx && ok; k++) {
        const ag_share *s = &b->share[k];
        if (!b->wanted[k] || !s->factors) continue;
        ag_shape shape = ag_program_input(m->p, k).shape;
        ag_matrix left = {s->first, 1, shape.dim[0]}, right = ag_row_major_matrix(s->second, shape.dim[1]),
                  to = ag_row_major_matrix(call->in_adjoint[k].data, shape.dim[1]);
        ok = ag_product(call, shape.dim[0], shape.dim[1], m->steps * (s->count[0] / shape.dim[0]), 1, left, right, to,
                        call->fresh >> k & 1);
    }
    return ok;
}

static bool return_steps(ag_return *b) {
    const ag_call *call = b->pass.call;
    const ag_scanning *m = b->pass.m;
    size_t offset = 0;
    char *last = b->w + (size_t)(m->steps % 2) * b->pass.state_bytes;
    if (b->pass.state_bytes) memcpy(last, call->out_adjoint.data, b->pass.state_bytes);
    for (int k = 0; k < m->nx; k++) /* what is added up begins at 0 */
        if (b->wanted[k] && call->fresh >> k & 1 && (k < m->carries || b->share[k].part))
            memset(call->in_adjoint[k].data, 0, bytes_of(call, call->in[k].view->count));
    for (int64_t done = m->steps; done-- > 0;)
        if (!return_step(b, done)) return false;
    for (int k = 0; k < m->carries; k++) {
        if (b->wanted[k])
            ag_kernels_for(call->type)->add_to((size_t)b->in_count[k], call->in_adjoint[k].data, b->w + offset);
        offset += bytes_of(call, input_count(m, k));
    }
    return add_products(b);
}

/* The states, which are run for again if they were not kept. */
static bool find_states(ag_return *b, void **memory) {
    const ag_call *call = b->pass.call;
    const ag_scanning *m = b->pass.m;
    *memory = NULL;
    if (keeps_all(call)) return true;
    size_t tracks = tracks_size(m);
    char *again = *memory = ag_scratch(call->tape, tracks + (size_t)kept_states(m) * b->pass.state_bytes);
    b->pass.states = again ? again + tracks : NULL;
    return again && run_pass(&b->pass, again);
}

/* How each input's share is come by; the memory that all of them need, from `memory` on unless that is NULL. */
static size_t set_shares(ag_return *b, char *memory) {
    const ag_call *call = b->pass.call;
    const ag_scanning *m = b->pass.m;
    size_t used = 0;
    for (int k = m->carries, at = m->carries; k < m->nx; k++) {
        ag_share *s = &b->share[k];
        *s = (ag_share){.each = ag_scan_along(m, k) == AG_EACH, .factors = b->factors[k]};
        if (!b->wanted[k]) continue;
        if (s->factors) {
            for (int i = 0; i < 2; i++) {
                s->count[i] = ag_rows_count(ag_program_output(b->back, at + i), 1, AG_SHARED);
                *(i ? &s->second : &s->first) = memory ? memory + used : NULL;
                used += bytes_of(call, m->steps * s->count[i]);
            }
        } else if (!s->each || !(call->fresh >> k & 1)) {
            s->part = memory ? memory + used : NULL;
            used += bytes_of(call, b->in_count[k]);
        }
        at += s->each ? 1 : 2;
    }
    return used;
}

/* Runs with the step's adjoint, once all small arrays are there. */
static bool return_with(ag_return *b) {
    const ag_call *call = b->pass.call;
    const ag_scanning *m = b->pass.m;
    for (int k = 0; k < m->nx; k++) b->wanted[k] = call->in_adjoint[k].data != NULL;
    ag_program *back = ag_scan_return(call->tape, m, b->wanted, b->factors);
    if (!back) return false;
    b->back = back;
    b->states = state_count(m);
    for (int k = 0; k < m->nx; k++) b->in_count[k] = input_count(m, k);
    for (int k = 0; k < m->ny; k++) b->out_count[k] = ag_rows_count(ag_program_output(m->p, k), 1, AG_SHARED);
    b->w = ag_scratch(call->tape, 2 * b->pass.state_bytes + set_shares(b, NULL) + 1);
    void *again = NULL;
    bool ok = b->w && find_states(b, &again);
    if (ok) {
        (void)set_shares(b, b->w + 2 * b->pass.state_bytes);
        b->r = ag_program_borrow(back);
        ok = return_steps(b);
        ag_program_give_back(back, b->r);
    }
    ag_scratch_free(call->tape, again);
    ag_scratch_free(call->tape, b->w);
    ag_program_free(back);
    return ok;
}

static bool scan_adjoint(const ag_call *call) {
    const ag_scanning *m = call->params;
    ag_return b = {.pass = pass_of(call, (char *)call->saved + tracks_size(m), true)};
    size_t nx = (size_t)m->nx, ny = (size_t)m->ny;
    b.share = ag_scratch(call->tape, nx * sizeof *b.share + (3 * nx + ny) * sizeof(void *) +
                                         (nx + ny) * sizeof(int64_t) + 2 * nx * sizeof(bool) + 1);
    if (!b.share) return false;
    b.at = (void **)(void *)(b.share + nx);
    b.in_count = (int64_t *)(void *)(b.at + 3 * nx + ny);
    b.out_count = b.in_count + nx;
    b.wanted = (bool *)(void *)(b.out_count + ny);
    b.factors = b.wanted + nx;
    bool ok = return_with(&b);
    ag_scratch_free(call->tape, b.share);
    return ok;
}

/* ---- recording ---- */

static void scan_hold(const void *params, int by) {
    const ag_scanning *m = params;
    if (by > 0) {
        ag_program_keep(m->p);
        if (m->base) ag_program_keep(m->base);
    } else {
        ag_program_free((ag_program *)(uintptr_t)m->p);
        if (m->base) ag_program_free((ag_program *)(uintptr_t)m->base);
    }
}

/* Parameters that were read from a file, with programs of the right type and as many inputs as there are bytes in along. */
static bool scan_valid(const ag_call *call) {
    const ag_scanning *m = call->params;
    ag_shape shape;
    int64_t total = 0, count;
    if (m->steps < 0 || call->n != m->nx || m->carries < 0 || m->carries > m->nx || m->carries > m->ny) return false;
    for (int k = 0; k < m->carries; k++)
        if (!ag_equal_shapes(ag_program_input(m->p, k).shape, ag_program_output(m->p, k).shape)) return false;
    for (int k = 0; k < m->nx; k++)
        if (!ag_rows_shape(ag_program_input(m->p, k), m->steps, ag_scan_along(m, k), &shape)) return false;
    for (int k = 0; k < m->ny; k++) {
        if (!ag_rows_shape(ag_program_output(m->p, k), m->steps, k < m->carries ? AG_SHARED : AG_EACH, &shape) ||
            !ag_shape_count(shape, &count) || count > INT64_MAX / 16 - total)
            return false;
        total += count;
    }
    if (!m->base) return true;
    if (ag_program_inputs(m->base) != m->nx || ag_program_outputs(m->base) + m->carries != m->ny) return false;
    for (int k = 0; k < m->nx; k++)
        if (!ag_equal_shapes(ag_program_input(m->base, k).shape, ag_program_input(m->p, k).shape)) return false;
    for (int k = 0; k < m->ny - m->carries; k++)
        if (!ag_equal_shapes(ag_program_output(m->base, k).shape, ag_program_output(m->p, k).shape)) return false;
    return m->carries <= m->ny - m->carries;
}

const ag_operation ag_scan_operation = {
    .name = "scan",
    .shape = scan_shape,
    .forward = scan_forward,
    .adjoint = scan_adjoint,
    .tangent = ag_scan_tangent,
    .record = ag_scan_record,
    .scalars = ag_scan_scalars,
    .hold = scan_hold,
    .valid = scan_valid,
    .stores = true,
};

bool ag_scan_lesser(const void *params, size_t size, void *lesser, ag_shape *shape) {
    const ag_scanning *m = params;
    if (!m->base) return false;
    memcpy(lesser, params, size);
    ag_scanning *l = lesser;
    l->p = m->base;
    l->base = NULL;
    l->ny = ag_program_outputs(l->p);
    *shape = AG_SHAPE(0);
    for (int k = 0; k < l->ny; k++) shape->dim[0] += ag_scan_output_count(l, k);
    return true;
}

static ag_var next_result(const ag_scanning *m, ag_var flat, int k, int64_t *at) {
    ag_shape shape;
    if (!ag_rows_shape(ag_program_output(m->p, k), m->steps, k < m->carries ? AG_SHARED : AG_EACH, &shape))
        return ag_inert(ag_tape_of(flat));
    return ag_next_part(flat, at, shape);
}

static bool results_fit(ag_tape *t, const ag_scanning *m) {
    int64_t total = 0;
    for (int k = 0; k < m->ny; k++) {
        ag_shape shape;
        int64_t count = 0;
        bool fits = ag_rows_shape(ag_program_output(m->p, k), m->steps, k < m->carries ? AG_SHARED : AG_EACH, &shape) &&
                    ag_shape_count(shape, &count) && count <= INT64_MAX / 16 - total;
        total += count;
        if (fits) continue;
        ag_fail(t, AG_ERR_SHAPE, "scan: %lld steps of output %s have more than %d dims or too many elements",
                (long long)m->steps, ag_program_output(m->p, k).name, AG_MAX_RANK);
        return false;
    }
    return true;
}

void ag_scan_apply(ag_tape *t, const ag_scanning *like, const ag_program *p, const ag_program *base, int carries,
                   const ag_var *xs, const uint8_t *along, ag_var *ys) {
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    for (int k = 0; k < ny; k++) ys[k] = ag_inert(t);
    if (!ag_program_fits(t, p, "scan")) return;
    size_t size = ag_scanning_size(nx);
    ag_scanning *m = ag_scratch(t, size);
    if (!m) return;
    memset(m, 0, size);
    *m = (ag_scanning){p, base, like->steps, carries, nx, ny, like->backward};
    for (int k = carries; k < nx; k++) m->along[k] = along[k];
    if (results_fit(t, m)) {
        ag_var flat = ag_apply(&ag_scan_operation, xs, nx, m, size);
        int64_t at = 0;
        for (int k = 0; k < ny && t->status == AG_OK; k++) ys[k] = next_result(m, flat, k, &at);
    }
    ag_scratch_free(t, m);
}
