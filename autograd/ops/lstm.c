/* A whole LSTM over steps as one operation, and its adjoint as another. Of each step, with acts (i, f, g, o), states h and
 * c and their adjoints dh and dc:
 *     dc += dh o (1 - tanh(c)^2)      dgates = (dc g i (1 - i), dc c_before f (1 - f), dc i (1 - g^2), dh tanh(c) o (1 - o))
 *     dh_before = dgates weight       dc_before = dc f
 * and for all steps together dweight = dgates^T h_before: one product. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "lstm_impl.h"
#include "matrix_impl.h"

/* Operands. Those of the adjoint have the result and its adjoint before the bias, which may be missing. */
enum { GATES, WEIGHT, H, C, BIAS, RESULT = BIAS, W, BACK_BIAS, MOST_OPERANDS };

static const ag_operation lstm, lstm_back;

/* ---- shapes ---- */

static ag_lstm_sizes sizes_of(const ag_shape *gates, const ag_shape *h) {
    return (ag_lstm_sizes){gates->dim[0], gates->dim[1], h->dim[1]};
}

static bool check_shape(ag_call *call, int k, const char *name, ag_shape want) {
    const ag_view *v = call->in[k].view;
    if (v->rank == want.rank && memcmp(v->dim, want.dim, (size_t)want.rank * sizeof *want.dim) == 0) return true;
    ag_fail(call->tape, AG_ERR_SHAPE, "lstm: %s of shape %s, not %s", name, ag_show_view(v).text,
            ag_show_shape(want).text);
    return false;
}

/* The operands that both have; `bias`: which one it is, if it is there. */
static bool check_operands(ag_call *call, int bias, ag_lstm_sizes *s) {
    ag_shape gates = ag_dims_of(call->in[GATES].view), h = ag_dims_of(call->in[H].view);
    if (gates.rank != 3 || h.rank != 2) {
        ag_fail(call->tape, AG_ERR_SHAPE, "lstm: gates of shape %s and a state of shape %s, not 3 and 2 axes",
                ag_show_shape(gates).text, ag_show_shape(h).text);
        return false;
    }
    *s = sizes_of(&gates, &h);
    int64_t rows;
    if (!ag_multiply_sizes(4, s->hidden, &rows)) rows = -1;
    return check_shape(call, GATES, "gates", AG_SHAPE(s->steps, s->batch, rows)) &&
           check_shape(call, WEIGHT, "weights", AG_SHAPE(rows, s->hidden)) &&
           check_shape(call, H, "a state h", AG_SHAPE(s->batch, s->hidden)) &&
           check_shape(call, C, "a state c", AG_SHAPE(s->batch, s->hidden)) &&
           (call->n <= bias || check_shape(call, bias, "a bias", AG_SHAPE(rows)));
}

static ag_shape result_shape(ag_lstm_sizes s) { return AG_SHAPE(2, s.steps, s.batch, s.hidden); }

static bool lstm_shape(ag_call *call) {
    ag_lstm_sizes s;
    int64_t count;
    if (!check_operands(call, BIAS, &s)) return false;
    call->shape = result_shape(s);
    if (!ag_checked_count(call->tape, "lstm", call->shape, &count) || !ag_multiply_sizes(count, 16, &count))
        return false;
    bool active = false; /* else there is no adjoint that would need what is saved */
    for (int k = 0; k < call->n; k++) active |= !call->in[k].view->constant;
    active &= ag_expects_sweep(call->tape);
    call->saved_size = active ? (size_t)call->in[GATES].view->count * ag_type_size(call->type) : 0;
    return true;
}

/* The adjoint's result is flat: what goes to the gates, to h and to c. */
static bool back_shape(ag_call *call) {
    ag_lstm_sizes s;
    int64_t states, gates;
    if (!check_operands(call, BACK_BIAS, &s) || !check_shape(call, RESULT, "states", result_shape(s)) ||
        !check_shape(call, W, "an adjoint", result_shape(s)))
        return false;
    if (!ag_multiply_sizes(s.batch, s.hidden, &states) || !ag_multiply_sizes(states, 4, &gates) ||
        !ag_multiply_sizes(gates, s.steps, &gates) || gates > INT64_MAX / 16 - 2 * states) {
        ag_fail(call->tape, AG_ERR_SLOTS, "lstm: gates of shape %s are too many",
                ag_show_view(call->in[GATES].view).text);
        return false;
    }
    call->shape = AG_SHAPE(gates + 2 * states);
    return true;
}

static bool is_valid(const ag_call *call) {
    const ag_lstm_params *p = call->params;
    return call->params_size == sizeof *p && (p->backward == 0 || p->backward == 1);
}

/* ---- values ---- */

static ag_lstm_sizes sizes_of_call(const ag_call *call) {
    ag_shape gates = ag_dims_of(call->in[GATES].view), h = ag_dims_of(call->in[H].view);
    return sizes_of(&gates, &h);
}

static ag_lstm_arrays arrays_of(const ag_call *call, int bias) {
    return (ag_lstm_arrays){.gates = call->in[GATES].data,
                            .weight = call->in[WEIGHT].data,
                            .h_first = call->in[H].data,
                            .c_first = call->in[C].data,
                            .bias = call->n > bias ? call->in[bias].data : NULL};
}

static bool lstm_forward(const ag_call *call) {
    ag_lstm_arrays a = arrays_of(call, BIAS);
    a.result = call->out.data;
    a.acts = call->saved_size ? call->saved : NULL;
    return ag_lstm_forth(call, call->params, sizes_of_call(call), &a);
}

static bool back_forward(const ag_call *call) {
    ag_lstm_sizes s = sizes_of_call(call);
    ag_lstm_arrays a = arrays_of(call, BACK_BIAS);
    int64_t states = s.batch * s.hidden;
    a.result = call->in[RESULT].data;
    a.w = call->in[W].data;
    a.to_gates = call->out.data;
    a.to_h = ag_element(call->type, a.to_gates, 4 * s.steps * states);
    a.to_c = ag_element(call->type, a.to_h, states);
    return ag_lstm_back(call, call->params, s, &a);
}

/* ---- numeric adjoint ---- */

/* The weights' adjoint, of all steps together but the first, which has another state before it. */
static bool weight_adjoint(const ag_call *call, ag_lstm_sizes s, const ag_lstm_arrays *a) {
    const ag_lstm_params *p = call->params;
    int64_t rows = 4 * s.hidden, many = (s.steps - 1) * s.batch, first = ag_lstm_place(p, s.steps, 0) * s.batch;
    int64_t gates = p->backward ? 0 : s.batch, states = p->backward ? s.batch : 0;
    ag_matrix to = ag_row_major_matrix(call->in_adjoint[WEIGHT].data, s.hidden);
    ag_matrix left = {ag_element(call->type, a->to_gates, gates * rows), 1, rows},
              right = ag_row_major_matrix(ag_element(call->type, a->result, states * s.hidden), s.hidden);
    if (!ag_product(call, rows, s.hidden, many, 1, left, right, to, call->fresh >> WEIGHT & 1)) return false;
    left.data = ag_element(call->type, a->to_gates, first * rows);
    right.data = (void *)(uintptr_t)a->h_first;
    return ag_product(call, rows, s.hidden, s.batch, 1, left, right, to, false);
}

/* Adds what was computed apart from an operand's adjoint, or stores it. */
static void pass_on(const ag_call *call, int k, const void *from) {
    void *to = call->in_adjoint[k].data;
    size_t count = (size_t)call->in[k].view->count;
    if (!to || to == from) return;
    if (call->fresh >> k & 1) memcpy(to, from, count * ag_type_size(call->type));
    else ag_kernels_for(call->type)->add_to(count, to, from);
}

static void bias_adjoint(const ag_call *call, ag_lstm_sizes s, const void *to_gates) {
    void *to = call->in_adjoint[BIAS].data;
    size_t rows = (size_t)(4 * s.hidden);
    if (call->fresh >> BIAS & 1) memset(to, 0, rows * ag_type_size(call->type));
    ag_kernels_for(call->type)->add_rows(rows, to, (size_t)(s.steps * s.batch), (int64_t)rows, to_gates);
}

static bool lstm_adjoint(const ag_call *call) {
    ag_lstm_sizes s = sizes_of_call(call);
    ag_lstm_arrays a = arrays_of(call, BIAS);
    size_t size = ag_type_size(call->type), states = (size_t)(s.batch * s.hidden) * size;
    bool in_place = call->in_adjoint[GATES].data && call->fresh >> GATES & 1;
    char *memory = ag_scratch(call->tape, 2 * states + (in_place ? 0 : (size_t)call->in[GATES].view->count * size));
    if (!memory) return false;
    a.result = call->out.data;
    a.acts = call->saved_size ? call->saved : NULL;
    a.w = call->out_adjoint.data;
    a.to_h = memory;
    a.to_c = memory + states;
    a.to_gates = in_place ? call->in_adjoint[GATES].data : memory + 2 * states;
    bool ok = ag_lstm_back(call, call->params, s, &a);
    if (ok && call->in_adjoint[WEIGHT].data) ok = weight_adjoint(call, s, &a);
    if (ok) {
        pass_on(call, GATES, a.to_gates);
        pass_on(call, H, a.to_h);
        pass_on(call, C, a.to_c);
        if (call->n > BIAS && call->in_adjoint[BIAS].data) bias_adjoint(call, s, a.to_gates);
    }
    ag_scratch_free(call->tape, memory);
    return ok;
}

/* ---- recorded derivatives ---- */

static ag_lstm_sizes sizes_of_rule(const ag_rule *rule) {
    ag_shape gates = ag_shape_of(rule->in[GATES]), h = ag_shape_of(rule->in[H]);
    return sizes_of(&gates, &h);
}

/* The next elements of a flat var, as a shape. */
static ag_var next_part(ag_var flat, int64_t *at, ag_shape shape) {
    int64_t count = ag_count_dims(shape.dim, 0, shape.rank);
    ag_var part = ag_slice(flat, 0, *at, *at + count, 1);
    *at += count;
    return ag_reshape(part, shape);
}

static void lstm_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const ag_lstm_params *p = rule->params;
    ag_lstm_sizes s = sizes_of_rule(rule);
    ag_var in[MOST_OPERANDS] = {rule->in[GATES], rule->in[WEIGHT], rule->in[H], rule->in[C], rule->out, w};
    if (rule->n > BIAS) in[BACK_BIAS] = rule->in[BIAS];
    int64_t at = 0, rows = 4 * s.hidden;
    if (ag_count_dims(result_shape(s).dim, 0, 4) == 0) return;
    ag_var flat = ag_apply(&lstm_back, in, rule->n + 2, p, sizeof *p);
    ag_var gates = next_part(flat, &at, AG_SHAPE(s.steps, s.batch, rows));
    ag_var h = next_part(flat, &at, AG_SHAPE(s.batch, s.hidden)), c = next_part(flat, &at, AG_SHAPE(s.batch, s.hidden));
    if (rule->wanted[GATES]) contributions[GATES] = gates;
    if (rule->wanted[H]) contributions[H] = h;
    if (rule->wanted[C]) contributions[C] = c;
    if (rule->n > BIAS && rule->wanted[BIAS]) contributions[BIAS] = ag_sum_over(gates, AG_AXES(0, 1), false);
    if (!rule->wanted[WEIGHT]) return;
    ag_var states = ag_index(rule->out, 0, 0), first = ag_unsqueeze(rule->in[H], 0);
    ag_var rest = p->backward ? ag_slice(states, 0, 1, s.steps, 1) : ag_slice(states, 0, 0, s.steps - 1, 1);
    ag_var before = ag_concat((ag_var[]){p->backward ? rest : first, p->backward ? first : rest}, 2, 0);
    gates = ag_reshape(gates, AG_SHAPE(s.steps * s.batch, rows));
    contributions[WEIGHT] = ag_matmul(ag_transpose(gates), ag_reshape(before, AG_SHAPE(s.steps * s.batch, s.hidden)));
}

/* A step by ordinary operations: activations (i, f, g, o), the cell before it, and the tanh of that after it. */
typedef struct recorded_step {
    ag_var act[4], before, tanh;
} recorded_step;

/* `in`: operands as of the operation; a bias of the number 0 is none. */
static void record_steps(const ag_lstm_params *p, ag_lstm_sizes s, const ag_var *in, recorded_step *steps) {
    ag_var h = in[H], c = in[C], weight = ag_transpose(in[WEIGHT]);
    for (int64_t done = 0; done < s.steps; done++) {
        recorded_step *r = &steps[done];
        ag_var sum = ag_add(ag_index(in[GATES], 0, ag_lstm_place(p, s.steps, done)), ag_matmul(h, weight));
        if (!ag_is_zero(in[BIAS])) sum = ag_add(sum, in[BIAS]);
        for (int k = 0; k < 4; k++) {
            ag_var gate = ag_slice(sum, 1, k * s.hidden, (k + 1) * s.hidden, 1);
            r->act[k] = k == 2 ? ag_tanh(gate) : ag_sigmoid(gate);
        }
        r->before = c;
        c = ag_fma(r->act[0], r->act[2], ag_mul(r->act[1], c));
        r->tanh = ag_tanh(c);
        h = ag_mul(r->act[3], r->tanh);
    }
}

static ag_var slope(ag_var act) { return ag_mul(act, ag_sub(1.0, act)); }

/* What the adjoint gives: to the gates, to h and to c. `gates` is room for those of each step. */
static void record_back(const ag_lstm_params *p, ag_lstm_sizes s, const recorded_step *steps, ag_var weight, ag_var w,
                        ag_var *gates, ag_var out[3]) {
    ag_var by_states = ag_index(w, 0, 0), by_cells = ag_index(w, 0, 1), h = ag_num(0), c = h;
    for (int64_t done = s.steps; done-- > 0;) {
        const recorded_step *r = &steps[done];
        int64_t place = ag_lstm_place(p, s.steps, done);
        ag_var by_h = ag_index(by_states, 0, place), by_c = ag_index(by_cells, 0, place), d[4];
        if (!ag_is_zero(h)) by_h = ag_add(by_h, h), by_c = ag_add(by_c, c);
        by_c = ag_fma(ag_mul(by_h, r->act[3]), ag_sub(1.0, ag_square(r->tanh)), by_c);
        d[0] = ag_mul(ag_mul(by_c, r->act[2]), slope(r->act[0]));
        d[1] = ag_mul(ag_chain(by_c, r->before), slope(r->act[1]));
        d[2] = ag_mul(ag_mul(by_c, r->act[0]), ag_sub(1.0, ag_square(r->act[2])));
        d[3] = ag_mul(ag_mul(by_h, r->tanh), slope(r->act[3]));
        gates[place] = ag_concat(d, 4, 1);
        h = ag_matmul(gates[place], weight);
        c = ag_mul(by_c, r->act[1]);
    }
    out[0] = ag_stack(gates, (int)s.steps, 0);
    out[1] = h;
    out[2] = c;
}

/* Of the adjoint: by ordinary operations on copies of the operands, so that what one of them owes to another is not counted
 * here. The result among them is made of the others. */
static void back_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_tape *t = rule->tape;
    ag_lstm_sizes s = sizes_of_rule(rule);
    ag_var in[MOST_OPERANDS] = {{0}}, from[MOST_OPERANDS], to[MOST_OPERANDS], back[3], seeds[3];
    recorded_step *steps = ag_scratch(t, (size_t)s.steps * (sizeof *steps + sizeof(ag_var)));
    if (!steps) return;
    uint32_t paused = ag_suspend_pause(t);
    int n = 0;
    for (int k = 0; k < rule->n; k++)
        if (k != RESULT) in[k] = rule->wanted[k] ? ag_mul(rule->in[k], 1.0) : rule->in[k];
    for (int k = 0; k < rule->n; k++)
        if (k != RESULT && rule->wanted[k]) from[n++] = in[k];
    in[BIAS] = rule->n > BACK_BIAS ? in[BACK_BIAS] : ag_num(0);
    record_steps(rule->params, s, in, steps);
    record_back(rule->params, s, steps, in[WEIGHT], in[W], (ag_var *)(steps + s.steps), back);
    int64_t at = 0;
    for (int k = 0; k < 3; k++) seeds[k] = next_part(w, &at, ag_shape_of(rule->in[k == 0 ? GATES : k == 1 ? H : C]));
    ag_vjp(back, seeds, 3, from, n, to);
    for (int k = 0, i = 0; k < rule->n; k++)
        if (k != RESULT && rule->wanted[k]) contributions[k] = to[i++];
    ag_restore_pause(t, paused);
    ag_scratch_free(t, steps);
}

/* ---- scalars ---- */

typedef struct elements {
    const ag_elements *e;
    const ag_lstm_params *p;
    ag_lstm_sizes s;
    const ag_var *bias;
} elements;

static ag_var scalar_gate(const elements *x, const ag_var *h, int64_t place, int64_t row, int64_t gate) {
    int64_t width = 4 * x->s.hidden;
    ag_var sum = x->e->in[GATES][(place * x->s.batch + row) * width + gate];
    if (x->bias) sum = ag_add(sum, x->bias[gate]);
    for (int64_t k = 0; k < x->s.hidden; k++)
        sum = ag_add(sum, ag_mul(x->e->in[WEIGHT][gate * x->s.hidden + k], h[row * x->s.hidden + k]));
    return sum;
}

/* Activations of element j of a row, as (i, f, g, o). */
static void scalar_acts(const elements *x, const ag_var *h, int64_t place, int64_t row, int64_t j, ag_var act[4]) {
    for (int k = 0; k < 4; k++) {
        ag_var gate = scalar_gate(x, h, place, row, k * x->s.hidden + j);
        act[k] = k == 2 ? ag_tanh(gate) : ag_sigmoid(gate);
    }
}

static elements elements_of(const ag_elements *e, int bias) {
    return (elements){e, e->params, sizes_of(&e->shapes[GATES], &e->shapes[H]), e->n > bias ? e->in[bias] : NULL};
}

static void lstm_scalars(const ag_elements *e) {
    elements x = elements_of(e, BIAS);
    int64_t states = x.s.batch * x.s.hidden, all = x.s.steps * states;
    for (int64_t done = 0; done < x.s.steps; done++) {
        int64_t place = ag_lstm_place(x.p, x.s.steps, done), last = ag_lstm_place(x.p, x.s.steps, done - 1);
        const ag_var *h = done ? e->out + last * states : e->in[H], *c = done ? e->out + all + last * states : e->in[C];
        for (int64_t i = 0; i < states; i++) {
            ag_var act[4], *cell = &e->out[all + place * states + i];
            scalar_acts(&x, h, place, i / x.s.hidden, i % x.s.hidden, act);
            *cell = ag_fma(act[0], act[2], ag_mul(act[1], c[i]));
            e->out[place * states + i] = ag_mul(act[3], ag_tanh(*cell));
        }
    }
}

/* The step after `done` others, in reverse: element i of a state. */
static void scalar_back(const elements *x, int64_t done, int64_t i, ag_var h_adjoint, ag_var *c_adjoint) {
    const ag_elements *e = x->e;
    int64_t states = x->s.batch * x->s.hidden, all = x->s.steps * states, width = 4 * x->s.hidden;
    int64_t place = ag_lstm_place(x->p, x->s.steps, done), last = ag_lstm_place(x->p, x->s.steps, done - 1);
    const ag_var *h = done ? e->in[RESULT] + last * states : e->in[H];
    const ag_var *c = done ? e->in[RESULT] + all + last * states : e->in[C];
    ag_var act[4], d[4];
    scalar_acts(x, h, place, i / x->s.hidden, i % x->s.hidden, act);
    ag_var tanh = ag_tanh(ag_fma(act[0], act[2], ag_mul(act[1], c[i])));
    ag_var by_h = ag_add(e->in[W][place * states + i], h_adjoint);
    ag_var by_c = ag_add(ag_add(e->in[W][all + place * states + i], *c_adjoint),
                         ag_mul(ag_mul(by_h, act[3]), ag_sub(1.0, ag_square(tanh))));
    d[0] = ag_mul(ag_mul(by_c, act[2]), ag_mul(act[0], ag_sub(1.0, act[0])));
    d[1] = ag_mul(ag_chain(by_c, c[i]), ag_mul(act[1], ag_sub(1.0, act[1])));
    d[2] = ag_mul(ag_mul(by_c, act[0]), ag_sub(1.0, ag_square(act[2])));
    d[3] = ag_mul(ag_mul(by_h, tanh), ag_mul(act[3], ag_sub(1.0, act[3])));
    for (int64_t k = 0; k < 4; k++)
        e->out[(place * x->s.batch + i / x->s.hidden) * width + k * x->s.hidden + i % x->s.hidden] = d[k];
    *c_adjoint = ag_mul(by_c, act[1]);
}

static void back_scalars(const ag_elements *e) {
    elements x = elements_of(e, BACK_BIAS);
    int64_t states = x.s.batch * x.s.hidden, width = 4 * x.s.hidden;
    ag_var *h = e->out + 4 * x.s.steps * states, *c = h + states;
    for (int64_t i = 0; i < 2 * states; i++) h[i] = ag_num(0);
    for (int64_t done = x.s.steps; done-- > 0;) {
        int64_t place = ag_lstm_place(x.p, x.s.steps, done);
        for (int64_t i = 0; i < states; i++) scalar_back(&x, done, i, h[i], &c[i]);
        for (int64_t i = 0; i < states; i++) {
            const ag_var *gates = e->out + (place * x.s.batch + i / x.s.hidden) * width;
            for (int64_t k = 0; k < width; k++) {
                ag_var term = ag_mul(gates[k], e->in[WEIGHT][k * x.s.hidden + i % x.s.hidden]);
                h[i] = k ? ag_add(h[i], term) : term;
            }
        }
    }
}

/* ---- as C ---- */

#define LL(n) ((long long)(n))

typedef struct c_sizes {
    int64_t steps, batch, hidden, states, all;
    bool backward;
    const char *bias;
} c_sizes;

static c_sizes c_sizes_of(const ag_c_form *f, int bias) {
    ag_shape gates = ag_dims_of(f->views[GATES]), h = ag_dims_of(f->views[H]);
    ag_lstm_sizes s = sizes_of(&gates, &h);
    int64_t states = s.batch * s.hidden;
    return (c_sizes){s.steps,
                     s.batch,
                     s.hidden,
                     states,
                     s.steps * states,
                     ((const ag_lstm_params *)f->params)->backward != 0,
                     f->n > bias ? f->in[bias] : NULL};
}

/* Opens loops over steps (i, in the order `forth`), batch (i1) and hidden numbers (i2); `row` is the step's number of a row
 * of the batch. */
static void c_open_steps(const ag_c_form *f, const c_sizes *s, bool forth) {
    if (forth != s->backward) ag_c_open(f, 0, s->steps);
    else ag_c_line(f, "for (long i = %lld; i >= 0; i--) {", LL(s->steps - 1));
    ag_c_open(f, 1, s->batch);
    ag_c_line(f, "const long row = i * %lld + i1;", LL(s->batch));
}

/* Declares `shift` and `most`: h and c before the step, of all rows of the batch; `result`: where those after steps are. */
static void c_states_before(const ag_c_form *f, const c_sizes *s, const char *result) {
    long long first = s->backward ? s->steps - 1 : 0;
    const char *next = s->backward ? "i + 1" : "i - 1";
    ag_c_line(f, "const %s *shift = i == %lld ? %s : %s + (%s) * %lld;", f->number, first, f->in[H], result, next,
              LL(s->states));
    ag_c_line(f, "const %s *most = i == %lld ? %s : %s + %lld + (%s) * %lld;", f->number, first, f->in[C], result,
              LL(s->all), next, LL(s->states));
}

/* Declares `best`, the activations of number i2. */
static void c_acts(const ag_c_form *f, const c_sizes *s) {
    ag_c_use(f, AG_SIGMOID);
    ag_c_line(f, "%s best[4];", f->number);
    ag_c_open(f, 3, 4);
    ag_c_line(f, "const long at = i3 * %lld + i2;", LL(s->hidden));
    ag_c_line(f, "%s sum = %s[row * %lld + at];", f->number, f->in[GATES], LL(4 * s->hidden));
    if (s->bias) ag_c_line(f, "sum += %s[at];", s->bias);
    ag_c_open(f, 4, s->hidden);
    ag_c_line(f, "sum += shift[i1 * %lld + i4] * %s[at * %lld + i4];", LL(s->hidden), f->in[WEIGHT], LL(s->hidden));
    ag_c_close(f, 1);
    ag_c_line(f, "best[i3] = i3 == 2 ? tanh%s(sum) : ad_sigmoid%s(sum);", f->suffix, f->suffix);
    ag_c_close(f, 1);
    ag_c_line(f, "const %s scale = best[0] * best[2] + best[1] * most[i1 * %lld + i2];", f->number, LL(s->hidden));
}

static bool lstm_c_form(const ag_c_form *f) {
    c_sizes s = c_sizes_of(f, BIAS);
    c_open_steps(f, &s, true);
    c_states_before(f, &s, f->out);
    ag_c_open(f, 2, s.hidden);
    c_acts(f, &s);
    ag_c_line(f, "%s[%lld + row * %lld + i2] = scale;", f->out, LL(s.all), LL(s.hidden));
    ag_c_line(f, "%s[row * %lld + i2] = best[3] * tanh%s(scale);", f->out, LL(s.hidden), f->suffix);
    ag_c_close(f, 3);
    return true;
}

/* The adjoints of h and c before the step that is at hand stand where the first ones' will be. */
static bool back_c_form(const ag_c_form *f) {
    c_sizes s = c_sizes_of(f, BACK_BIAS);
    char h[128], c[128], to[128];
    ag_c_use(f, AG_CHAIN);
    snprintf(h, sizeof h, "%s[%lld + i1 * %lld + i2]", f->out, LL(4 * s.all), LL(s.hidden));
    snprintf(c, sizeof c, "%s[%lld + i1 * %lld + i2]", f->out, LL(4 * s.all + s.states), LL(s.hidden));
    snprintf(to, sizeof to, "%s[row * %lld + i2", f->out, LL(4 * s.hidden));
    ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[%lld + i] = 0;", LL(2 * s.states), f->out, LL(4 * s.all));
    c_open_steps(f, &s, false);
    c_states_before(f, &s, f->in[RESULT]);
    ag_c_open(f, 2, s.hidden);
    c_acts(f, &s);
    ag_c_line(f, "const %s pivot = tanh%s(scale);", f->number, f->suffix);
    ag_c_line(f, "%s += %s[row * %lld + i2];", h, f->in[W], LL(s.hidden));
    ag_c_line(f, "%s += %s[%lld + row * %lld + i2] + %s * best[3] * (1 - pivot * pivot);", c, f->in[W], LL(s.all),
              LL(s.hidden), h);
    ag_c_line(f, "%s] = %s * best[2] * (best[0] * (1 - best[0]));", to, c);
    ag_c_line(f, "%s + %lld] = ad_chain%s(%s, most[i1 * %lld + i2]) * (best[1] * (1 - best[1]));", to, LL(s.hidden),
              f->suffix, c, LL(s.hidden));
    ag_c_line(f, "%s + %lld] = %s * best[0] * (1 - best[2] * best[2]);", to, LL(2 * s.hidden), c);
    ag_c_line(f, "%s + %lld] = %s * pivot * (best[3] * (1 - best[3]));", to, LL(3 * s.hidden), h);
    ag_c_line(f, "%s *= best[1];", c);
    ag_c_close(f, 1);
    ag_c_open(f, 2, s.hidden);
    ag_c_line(f, "%s = 0;", h);
    ag_c_open(f, 3, 4 * s.hidden);
    ag_c_line(f, "%s += %s[row * %lld + i3] * %s[i3 * %lld + i2];", h, f->out, LL(4 * s.hidden), f->in[WEIGHT],
              LL(s.hidden));
    ag_c_close(f, 4);
    return true;
}

/* ---- the operations ---- */

static const ag_operation lstm = {
    .name = "lstm",
    .shape = lstm_shape,
    .forward = lstm_forward,
    .adjoint = lstm_adjoint,
    .record = lstm_record,
    .scalars = lstm_scalars,
    .stores = true,
    .c_form = lstm_c_form,
    .valid = is_valid,
};
const ag_operation *const ag_builtin_lstm = &lstm;

static const ag_operation lstm_back = {
    .name = "lstm_back",
    .shape = back_shape,
    .forward = back_forward,
    .record = back_record,
    .scalars = back_scalars,
    .c_form = back_c_form,
    .valid = is_valid,
};
const ag_operation *const ag_builtin_lstm_back = &lstm_back;

ag_var ag_lstm(ag_var gates, ag_var weight, ag_var h, ag_var c, ag_var bias, bool backward) {
    const ag_var in[] = {gates, weight, h, c, bias};
    ag_tape *t = ag_find_tape(in, 5);
    int n = ag_is_zero(bias) ? 4 : 5;
    for (int k = 0; k < n; k++)
        if (!ag_usable_on(t, in[k], "lstm")) return ag_inert(t);
    return ag_apply(&lstm, in, n, &(ag_lstm_params){backward}, sizeof(ag_lstm_params));
}
