/* Derivatives of scans are scans.
 *
 * Forward: of a step that takes the state with its tangent. Reverse: the states before all steps come from the scan of a
 * step that gives its state as an output too; a scan in the other direction then carries the state's adjoint and the sums
 * for shared inputs through the step's VJP. */
#include "scan_impl.h"
#include "../ops/builtin_impl.h"

typedef enum ag_scan_kind { WITH_STATES, REVERSE, FORWARD, RETURN } ag_scan_kind;

/* What a derived step is about. */
typedef struct ag_scan_key {
    int32_t kind, carries;
    uint8_t input[]; /* WANTED, if a derivative by it is asked for or given; EACH: it has a row for each step; FACTORS:
                        its adjoint is a product of matrices */
} ag_scan_key;
enum { WANTED = 1, EACH = 2, FACTORS = 4 };

typedef struct ag_stepping {
    const ag_program *p;
    const ag_scan_key *key;
    int nx, ny, nc;
} ag_stepping;

static bool is_wanted(const ag_stepping *s, int k) { return s->key->input[k] & WANTED; }
static bool is_each(const ag_stepping *s, int k) { return s->key->input[k] & EACH; }
static bool has_factors(const ag_stepping *s, int k) { return s->key->input[k] & FACTORS; }

/* ---- derived steps ---- */

/* Inputs and outputs of the step, and its states. */
static void trace_with_states(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_stepping *s = context;
    ag_program_call(t, s->p, xs, ys);
    for (int k = 0; k < s->nc; k++) ys[s->ny + k] = xs[k];
}

/* If d is a product of matrices a^T b, with few rows: those. Such an adjoint of a shared input, a weight's, is not added up
 * step by step: the rows of all steps make one product in the end. */
static bool find_factors(ag_tape *t, ag_var d, ag_var *a, ag_var *b) {
    ag_operand o;
    if (t->status != AG_OK || !ag_tape_of(d) || ag_shape_of(d).rank != 2 || ag_count(d) == 0 ||
        !ag_resolve(t, "scan", d, &o))
        return false;
    const ag_base *base = ag_base_of(t, o.slot);
    const ag_view *v = ag_view_at(t, o.view);
    bool turned = ag_is_column_major(d);
    if (!base || o.slot != base->start || v->count != base->count || (!v->contiguous && !turned)) return false;
    const ag_instruction_ *i = ag_instructions(t) + base->instruction;
    if (ag_op_of(i) != OP_NODE) return false;
    const ag_node *node = ag_node_at(t, i->a);
    if (node->operation != ag_builtin_matmul) return false;
    const ag_operand x = node->in[0], y = node->in[1];
    if (ag_view_at(t, x.view)->rank != 2 || ag_view_at(t, y.view)->rank != 2) return false;
    *a = ag_var_of(t, x.slot, x.view);
    *b = ag_var_of(t, y.slot, y.view);
    if (turned) { /* (x y)^T = y^T x^T */
        ag_var first = *a;
        *a = *b;
        *b = ag_transpose(first);
    } else {
        *a = ag_transpose(*a);
    }
    ag_shape s = ag_shape_of(d), rows = ag_shape_of(*a);
    return t->status == AG_OK && rows.dim[0] > 0 && rows.dim[0] <= s.dim[0] * s.dim[1] / (s.dim[0] + s.dim[1]);
}

/* Room for the vars of a step in reverse. */
typedef struct ag_step_back {
    ag_var *y, *w, *by, *d; /* outputs and their adjoints; inputs that have one, and it */
} ag_step_back;

/* The step on `in`, and adjoints of its states and of the other inputs that are wanted: d. */
static bool open_step_back(ag_tape *t, const ag_stepping *s, const ag_var *in, const ag_var *carried,
                           const ag_var *seeds, ag_step_back *b) {
    int n = 0;
    b->y = ag_scratch(t, (size_t)(2 * s->ny + 2 * s->nx) * sizeof *b->y + 1);
    if (!b->y) return false;
    b->w = b->y + s->ny, b->by = b->w + s->ny, b->d = b->by + s->nx;
    ag_program_call(t, s->p, in, b->y);
    for (int k = 0; k < s->ny; k++) b->w[k] = k < s->nc ? carried[k] : seeds[k - s->nc];
    for (int k = 0; k < s->nx; k++)
        if (k < s->nc || is_wanted(s, k)) b->by[n++] = in[k];
    ag_vjp(b->y, b->w, s->ny, b->by, n, b->d);
    return true;
}

/* Takes: adjoints of the state, sums for shared inputs without factors; the state, the other inputs, adjoints of the other
 * outputs. Gives: adjoints of the state before, sums; what goes to inputs that have rows, and factors. */
static void trace_reverse(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_stepping *s = context;
    int sums = 0, at;
    for (int k = s->nc; k < s->nx; k++) sums += is_wanted(s, k) && !is_each(s, k) && !has_factors(s, k);
    const ag_var *in = xs + s->nc + sums;
    ag_step_back b;
    if (!open_step_back(t, s, in, xs, in + s->nx, &b)) return;
    for (at = 0; at < s->nc; at++) ys[at] = b.d[at];
    for (int k = s->nc, i = s->nc; k < s->nx; k++) {
        if (!is_wanted(s, k)) continue;
        if (!is_each(s, k) && !has_factors(s, k)) ys[at] = ag_add(xs[at], b.d[i]), at++;
        i++;
    }
    for (int k = s->nc, i = s->nc; k < s->nx; k++) {
        if (!is_wanted(s, k)) continue;
        if (is_each(s, k)) ys[at++] = b.d[i];
        if (has_factors(s, k)) {
            ys[at] = ys[at + 1] = ag_inert(t);
            (void)find_factors(t, b.d[i], &ys[at], &ys[at + 1]);
            at += 2;
        }
        i++;
    }
    ag_scratch_free(t, b.y);
}

/* Takes: inputs, adjoints of outputs. Gives: adjoints of the state before; of each other input that is wanted its adjoint,
 * and of those that are shared its second factor after the first, or nothing after the adjoint. */
static void trace_return(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_stepping *s = context;
    ag_step_back b;
    int at;
    if (!open_step_back(t, s, xs, xs + s->nx, xs + s->nx + s->nc, &b)) return;
    for (at = 0; at < s->nc; at++) ys[at] = b.d[at];
    for (int k = s->nc, i = s->nc; k < s->nx; k++) {
        if (!is_wanted(s, k)) continue;
        ys[at] = b.d[i];
        if (!is_each(s, k)) {
            ag_var first, second;
            bool factors = find_factors(t, b.d[i], &first, &second);
            if (factors) ys[at] = first;
            ys[++at] = factors ? second : ag_zeros(t, AG_SHAPE(0));
        }
        at++;
        i++;
    }
    ag_scratch_free(t, b.y);
}

/* Takes: state, its tangents; the other inputs, tangents of those that have one. Gives: state, its tangents; tangents of
 * the other outputs. */
static void trace_forward(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_stepping *s = context;
    int n = 0;
    ag_var *in = ag_scratch(t, (size_t)(3 * s->nx + 2 * s->ny) * sizeof *in + 1);
    if (!in) return;
    ag_var *by = in + s->nx, *v = by + s->nx, *y = v + s->nx, *dy = y + s->ny;
    for (int k = 0; k < s->nx; k++) in[k] = xs[k < s->nc ? k : s->nc + k];
    const ag_var *tangents = xs + s->nc + s->nx;
    for (int k = 0; k < s->nx; k++) {
        if (k >= s->nc && !is_wanted(s, k)) continue;
        by[n] = in[k];
        v[n++] = k < s->nc ? xs[s->nc + k] : *tangents++;
    }
    ag_program_call(t, s->p, in, y);
    ag_jvp(y, s->ny, by, v, n, dy);
    for (int k = 0; k < s->nc; k++) ys[k] = y[k];
    for (int k = 0; k < s->ny; k++) ys[s->nc + k] = dy[k];
    ag_scratch_free(t, in);
}

/* How many outputs a derived step has. */
static int count_outputs(const ag_stepping *s) {
    int n = s->nc, kind = s->key->kind;
    if (kind == WITH_STATES || kind == FORWARD) return s->ny + s->nc;
    for (int k = s->nc; k < s->nx; k++)
        if (is_wanted(s, k)) n += (kind == RETURN ? !is_each(s, k) : has_factors(s, k)) ? 2 : 1;
    return n;
}

/* Ports of a derived step; how many inputs it has. */
static int set_ports(const ag_stepping *s, ag_port *in) {
    int n = 0, kind = s->key->kind;
    for (int k = 0; kind == REVERSE && k < s->nx; k++)
        if (k < s->nc || (is_wanted(s, k) && !is_each(s, k) && !has_factors(s, k)))
            in[n++].shape = ag_program_input(s->p, k).shape;
    for (int k = 0; k < s->nx; k++) {
        in[n++] = ag_program_input(s->p, k);
        if (kind != FORWARD || k != s->nc - 1) continue;
        for (int j = 0; j < s->nc; j++) in[n++].shape = ag_program_input(s->p, j).shape;
    }
    for (int k = s->nc; kind == FORWARD && k < s->nx; k++)
        if (is_wanted(s, k)) in[n++].shape = ag_program_input(s->p, k).shape;
    for (int k = 0; (kind == REVERSE || kind == RETURN) && k < s->ny; k++)
        if (kind == RETURN || k >= s->nc) in[n++].shape = ag_program_output(s->p, k).shape;
    return n;
}

static ag_program *make_step(const ag_program *p, const void *data) {
    const ag_scan_key *key = data;
    ag_stepping s = {p, key, ag_program_inputs(p), ag_program_outputs(p), key->carries};
    ag_memory memory = {.no_reserve = true};
    size_t size = (size_t)(3 * s.nx + s.ny) * sizeof(ag_port) + 1;
    ag_port *in = ag_memory_zeroed(&memory, size);
    ag_program *q;
    if (in) {
        ag_model f[] = {trace_with_states, trace_reverse, trace_forward, trace_return};
        int n_in = set_ports(&s, in);
        q = ag_trace_like(p, f[key->kind], &s, in, n_in, NULL, count_outputs(&s));
    } else {
        q = ag_program_new(p->type, &memory);
        ag_program_fail(q, AG_ERR_MEMORY, "scan: out of memory");
    }
    ag_memory_free(&memory, in, size);
    return q;
}

/* A derived step, with wanted[k] and factors[k] as the key tells; NULL after an error. A reference for the caller. */
static ag_program *derived(ag_tape *t, const ag_scanning *m, ag_scan_kind kind, const bool *wanted,
                           const bool *factors) {
    size_t size = sizeof(ag_scan_key) + (size_t)m->nx;
    ag_scan_key *key = ag_scratch(t, size);
    if (!key) return NULL;
    *key = (ag_scan_key){(int32_t)kind, m->carries};
    for (int k = 0; k < m->nx; k++)
        key->input[k] = (uint8_t)((wanted && wanted[k] ? WANTED : 0) | (ag_scan_along(m, k) == AG_EACH ? EACH : 0) |
                                  (factors && factors[k] ? FACTORS : 0));
    ag_program *q = ag_program_derived(m->p, key, size, make_step);
    ag_scratch_free(t, key);
    if (ag_program_status(q) == AG_OK) return q;
    ag_fail(t, ag_program_status(q), "scan: %s", ag_program_message(q));
    ag_program_free(q);
    return NULL;
}

/* ---- reverse ---- */

ag_program *ag_scan_return(ag_tape *t, const ag_scanning *m, const bool *wanted, bool *factors) {
    ag_program *p = derived(t, m, RETURN, wanted, NULL);
    for (int k = 0, at = m->carries; p && k < m->nx; k++) {
        factors[k] = false;
        if (k < m->carries || !wanted[k]) continue;
        bool shared = ag_scan_along(m, k) == AG_SHARED;
        factors[k] = shared && ag_rows_count(ag_program_output(p, at + 1), 1, AG_SHARED) > 0;
        at += shared ? 2 : 1;
    }
    return p;
}

/* Operands of a derived scan, how they go along, and its results. */
typedef struct ag_scan_space {
    ag_var *xs, *ys;
    uint8_t *along;
    int n;
} ag_scan_space;

static bool open_space(ag_tape *t, const ag_scanning *m, ag_scan_space *s) {
    size_t n = 3 * (size_t)m->nx + 2 * (size_t)m->ny;
    *s = (ag_scan_space){.xs = ag_scratch(t, n * (2 * sizeof *s->xs + 1) + 1)};
    if (!s->xs) return false;
    s->ys = s->xs + n;
    s->along = (uint8_t *)(s->ys + n);
    return true;
}

static void take(ag_scan_space *s, ag_var x, ag_along along) {
    s->xs[s->n] = x;
    s->along[s->n++] = (uint8_t)along;
}

/* The states before all steps, in the rows that belong to the steps: the first of `states`. */
static void find_states(const ag_rule *rule, const ag_scanning *m, ag_var *ys, const ag_var **states) {
    ag_program *p = derived(rule->tape, m, WITH_STATES, NULL, NULL);
    if (!p) return;
    ag_scan_apply(rule->tape, m, p, m->p, m->carries, rule->in, m->along, ys);
    *states = ys + m->ny;
    ag_program_free(p);
}

/* The product of all steps' factors: (steps, k, m) and (steps, k, n). */
static ag_var sum_of_products(ag_var a, ag_var b) {
    if (ag_is_inert(a) || ag_is_inert(b)) return ag_inert(ag_tape_of(a));
    ag_shape s = ag_shape_of(a), r = ag_shape_of(b);
    return ag_matmul(ag_transpose(ag_reshape(a, AG_SHAPE(s.dim[0] * s.dim[1], s.dim[2]))),
                     ag_reshape(b, AG_SHAPE(r.dim[0] * r.dim[1], r.dim[2])));
}

static void reverse_scan(const ag_rule *rule, const ag_scanning *m, const ag_program *p, const bool *factors, ag_var w,
                         ag_scan_space *s, ag_var *contributions) {
    ag_tape *t = rule->tape;
    int64_t at = 0;
    const ag_var *states = NULL;
    find_states(rule, m, s->ys, &states);
    if (!states || t->status != AG_OK) return;
    for (int k = 0; k < m->carries; k++) take(s, ag_next_part(w, &at, ag_program_input(m->p, k).shape), AG_SHARED);
    for (int k = m->carries; k < m->nx; k++)
        if (rule->wanted[k] && ag_scan_along(m, k) == AG_SHARED && !factors[k])
            take(s, ag_zeros(t, ag_shape_of(rule->in[k])), AG_SHARED);
    int carried = s->n;
    for (int k = 0; k < m->carries; k++) take(s, states[k], AG_EACH);
    for (int k = m->carries; k < m->nx; k++) take(s, rule->in[k], ag_scan_along(m, k));
    for (int k = m->carries; k < m->ny; k++) {
        ag_shape shape;
        if (!ag_rows_shape(ag_program_output(m->p, k), m->steps, AG_EACH, &shape)) return;
        take(s, ag_next_part(w, &at, shape), AG_EACH);
    }
    ag_scanning back = {.steps = m->steps, .backward = !m->backward};
    ag_scan_apply(t, &back, p, NULL, carried, s->xs, s->along, s->ys);
    int sum = m->carries, row = carried;
    for (int k = 0; k < m->nx && t->status == AG_OK; k++) {
        if (!rule->wanted[k]) continue;
        if (k < m->carries) contributions[k] = s->ys[k];
        else if (factors[k]) contributions[k] = sum_of_products(s->ys[row], s->ys[row + 1]), row += 2;
        else contributions[k] = ag_scan_along(m, k) == AG_SHARED ? s->ys[sum++] : s->ys[row++];
    }
}

void ag_scan_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const ag_scanning *m = rule->params;
    ag_tape *t = rule->tape;
    ag_scan_space s;
    bool *factors = ag_scratch(t, (size_t)m->nx + 1);
    ag_program *whole = factors ? ag_scan_return(t, m, rule->wanted, factors) : NULL;
    ag_program *p = whole ? derived(t, m, REVERSE, rule->wanted, factors) : NULL;
    if (p && open_space(t, m, &s)) {
        reverse_scan(rule, m, p, factors, ag_contiguous(w), &s, contributions);
        ag_scratch_free(t, s.xs);
    }
    ag_program_free(p);
    ag_program_free(whole);
    ag_scratch_free(t, factors);
}

/* ---- forward ---- */

static ag_var forward_scan(const ag_rule *rule, const ag_scanning *m, const ag_program *p, const ag_var *tangents,
                           ag_scan_space *s) {
    ag_tape *t = rule->tape;
    for (int k = 0; k < m->carries; k++) take(s, rule->in[k], AG_SHARED);
    for (int k = 0; k < m->carries; k++)
        take(s, ag_is_zero(tangents[k]) ? ag_zeros(t, ag_shape_of(rule->in[k])) : tangents[k], AG_SHARED);
    int carried = s->n;
    for (int k = m->carries; k < m->nx; k++) take(s, rule->in[k], ag_scan_along(m, k));
    for (int k = m->carries; k < m->nx; k++)
        if (rule->wanted[k]) take(s, tangents[k], ag_scan_along(m, k));
    ag_scan_apply(t, m, p, NULL, carried, s->xs, s->along, s->ys);
    ag_var *parts = s->ys + m->carries;
    for (int k = 0; k < m->ny && t->status == AG_OK; k++)
        parts[k] = ag_reshape(parts[k], AG_SHAPE(ag_scan_output_count(m, k)));
    if (t->status != AG_OK) return ag_inert(t);
    return m->ny ? ag_concat(parts, m->ny, 0) : ag_zeros(t, AG_SHAPE(0));
}

ag_var ag_scan_tangent(const ag_rule *rule, const ag_var *tangents) {
    const ag_scanning *m = rule->params;
    ag_scan_space s;
    ag_var result = ag_inert(rule->tape);
    ag_program *p = derived(rule->tape, m, FORWARD, rule->wanted, NULL);
    if (!p) return result;
    if (open_space(rule->tape, m, &s)) {
        result = forward_scan(rule, m, p, tangents, &s);
        ag_scratch_free(rule->tape, s.xs);
    }
    ag_program_free(p);
    return result;
}

/* ---- elements: a short scan of a small step, step after step ---- */

enum { MOST_UNROLLED = 1 << 12 };

static int64_t count_of(ag_port port) { return ag_rows_count(port, 1, AG_SHARED); }

static void unroll_steps(const ag_elements *e, const ag_scanning *m, const ag_var **x, ag_var *y, int64_t states) {
    for (int k = 0; k < m->carries; k++) x[k] = e->in[k];
    for (int64_t done = 0; done < m->steps && e->tape->status == AG_OK; done++) {
        int64_t place = m->backward ? m->steps - 1 - done : done, from = states, to = states;
        for (int k = m->carries; k < m->nx; k++)
            x[k] = e->in[k] + (ag_scan_along(m, k) == AG_EACH ? place * count_of(ag_program_input(m->p, k)) : 0);
        ag_program_unroll(e->tape, m->p, x, y);
        for (int64_t i = 0; i < states; i++) e->out[i] = y[i];
        for (int k = 0, at = 0; k < m->carries; k++) {
            x[k] = e->out + at;
            at += (int)count_of(ag_program_input(m->p, k));
        }
        for (int k = m->carries; k < m->ny; k++) {
            int64_t count = count_of(ag_program_output(m->p, k));
            for (int64_t i = 0; i < count; i++) e->out[to + place * count + i] = y[from + i];
            from += count;
            to += count * m->steps;
        }
    }
}

void ag_scan_scalars(const ag_elements *e) {
    const ag_scanning *m = e->params;
    int64_t states = 0, results = 0, size = ag_program_size(m->p) + 1, work;
    if (!ag_multiply_sizes(size, m->steps, &work) || work > MOST_UNROLLED) {
        ag_fail(e->tape, AG_ERR_UNSUPPORTED, "scan: %lld steps of %lld instructions are not unrolled",
                (long long)m->steps, (long long)size);
        return;
    }
    for (int k = 0; k < m->carries; k++) states += count_of(ag_program_input(m->p, k));
    for (int k = 0; k < m->ny; k++) results += count_of(ag_program_output(m->p, k));
    ag_var *y = ag_scratch(e->tape, (size_t)results * sizeof *y + 1);
    const ag_var **x = ag_scratch(e->tape, (size_t)m->nx * sizeof *x + 1);
    for (int k = 0, at = 0; k < m->carries; k++)
        for (int64_t i = 0; i < count_of(ag_program_input(m->p, k)); i++) e->out[at++] = e->in[k][i];
    if (x && y) unroll_steps(e, m, x, y, states);
    ag_scratch_free(e->tape, x);
    ag_scratch_free(e->tape, y);
}
