/* Building a program: emission, where an instruction that is there already is found again, and the end, where what no
 * output needs is left out, guards excepted. */
#include "guard_impl.h"

#define FREE UINT32_MAX

/* ---- the table of values by what computes them ---- */

/* Fibonacci hashing a word at a time; the table takes the upper bits. */
static uint64_t mix(uint64_t h, uint64_t word) { return (h ^ word) * 0x9E3779B97F4A7C15u ^ (h >> 29); }

static uint64_t mix_bytes(uint64_t h, const void *bytes, size_t n) {
    const char *at = bytes;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        h = mix(h, word);
    }
    uint64_t rest = n;
    memcpy(&rest, at, n);
    return mix(h, rest);
}

static uint64_t mix_refs(uint64_t h, const ag_ref *in, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) h = mix(h, (uint64_t)in[k].value << 32 | in[k].where);
    return h;
}

/* Where to look for an instruction: near the newest of its operands first, and where that is full at a place of its own.
 * What is recorded next mostly reads what was recorded last, so the table is filled from one end to the other, and what is
 * looked at is in the processor's caches; places by the hash alone would make each look a wait for memory. */
typedef struct ag_places {
    uint64_t near, own, mask;
} ag_places;
enum { NEAR = 8 }; /* a line of the cache */

static ag_places places_of(uint64_t size, const ag_ref *in, uint32_t n, uint32_t hash) {
    uint32_t newest = 0;
    for (uint32_t k = 0; k < n; k++)
        if (in[k].value > newest) newest = in[k].value;
    return (ag_places){n ? 2 * (uint64_t)newest : hash, hash, size - 1};
}

/* The k-th of them. */
static uint64_t place(const ag_places *s, uint64_t k) {
    return (k < NEAR ? s->near + k : s->own + (k - NEAR)) & s->mask;
}

static bool grow_table(ag_builder *b) {
    ag_program *p = b->p;
    uint64_t size = b->size ? 2 * b->size : 1024;
    uint32_t *table = ag_memory_resize(&p->memory, NULL, 0, size * 2 * sizeof *table);
    if (!table) {
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
        return false;
    }
    memset(table, 0xff, size * 2 * sizeof *table);
    for (uint64_t i = 0; i < b->size; i++) {
        if (b->table[2 * i] == FREE) continue;
        const ag_code *c = ag_code_at(p, b->table[2 * i]);
        uint32_t n = ag_operand_count(p, c);
        ag_places s = places_of(size, n ? ag_ref_at(p, c->in) : NULL, n, b->table[2 * i + 1]);
        uint64_t k = 0;
        while (table[2 * place(&s, k)] != FREE) k++;
        memcpy(&table[2 * place(&s, k)], &b->table[2 * i], 2 * sizeof *table);
    }
    ag_memory_free(&p->memory, b->table, b->size * 2 * sizeof *table);
    b->table = table;
    b->size = size;
    return true;
}

/* What is looked for: an instruction that is not part of the program yet. */
typedef struct ag_draft {
    ag_code code;
    const ag_ref *in;
    uint32_t n;
    const ag_pcall *call; /* CODE_CALL */
    const void *bytes;    /* parameters of a call, elements of a constant */
    size_t size;
} ag_draft;

static bool is_same(const ag_program *p, uint32_t value, const ag_draft *d) {
    const ag_code *c = ag_code_at(p, value);
    if (c->op != d->code.op || c->view != d->code.view) return false;
    if (d->n && memcmp(ag_ref_at(p, c->in), d->in, d->n * sizeof *d->in) != 0) return false;
    if (c->op == CODE_CONSTANT) return d->size == 0 || memcmp(ag_pconstant_at(p, c->extra), d->bytes, d->size) == 0;
    if (c->op != CODE_CALL) return true;
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    return call->operation == d->call->operation && call->n == d->n && call->params_size == d->size &&
           (d->size == 0 || memcmp(ag_pparams_at(p, call->params), d->bytes, d->size) == 0);
}

static uint32_t hash_of(const ag_draft *d) {
    uint64_t h = mix(mix(0x243F6A8885A308D3u, (uint64_t)d->code.op << 32 | d->code.view), d->n);
    h = mix_refs(h, d->in, d->n);
    if (d->call) h = mix_bytes(h, d->call->operation->name, strlen(d->call->operation->name));
    if (d->size) h = mix_bytes(h, d->bytes, d->size);
    return (uint32_t)(h >> 32);
}

/* Appends a draft; its operands, parameters and elements are copied. */
static bool append(ag_builder *b, ag_draft *d) {
    ag_program *p = b->p;
    d->code.in = (uint32_t)p->refs.count;
    ag_ref *refs = d->n ? ag_list_add(p, &p->refs, sizeof *refs, d->n) : NULL;
    if (d->n && !refs) return false;
    if (d->n) memcpy(refs, d->in, d->n * sizeof *refs);
    if (d->code.op == CODE_CONSTANT) {
        d->code.extra = (uint32_t)p->constants.count;
        double *to = ag_list_add(p, &p->constants, sizeof *to, d->size / sizeof *to);
        if (!to && d->size) return false;
        if (d->size) memcpy(to, d->bytes, d->size);
    } else if (d->code.op == CODE_CALL) {
        ag_pcall call = *d->call;
        call.params = p->params.count;
        call.params_size = (uint32_t)d->size;
        char *params = ag_list_add(p, &p->params, 1, ag_pad8(d->size));
        if (!params && d->size) return false;
        if (d->size) memset(params + d->size, 0, ag_pad8(d->size) - d->size);
        if (d->size) memcpy(params, d->bytes, d->size);
        d->code.extra = (uint32_t)p->calls.count;
        ag_pcall *to = ag_list_add(p, &p->calls, sizeof *to, 1);
        if (!to) return false;
        *to = call;
        if (call.operation->hold) call.operation->hold(params, 1);
    }
    ag_code *code = ag_list_add(p, &p->codes, sizeof *code, 1);
    if (!code) return false;
    *code = d->code;
    return true;
}

/* Where a draft is in the table, or would be. */
static uint64_t find(const ag_builder *b, const ag_draft *d, uint32_t hash) {
    ag_places s = places_of(b->size, d->in, d->n, hash);
    for (uint64_t k = 0;; k++) {
        uint64_t at = place(&s, k);
        if (b->table[2 * at] == FREE || (b->table[2 * at + 1] == hash && is_same(b->p, b->table[2 * at], d))) return at;
    }
}

/* A scan that gives what another gives that is there already, and more, takes its place: that one's results are the
 * first of its own. */
static bool replace_lesser(ag_builder *b, ag_draft *d, uint32_t *value) {
    ag_program *p = b->p;
    ag_draft lesser = *d;
    ag_shape shape;
    void *params = ag_memory_resize(&p->memory, NULL, 0, d->size + 1);
    if (!params) {
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
        return false;
    }
    lesser.bytes = params;
    bool found = ag_scan_lesser(d->bytes, d->size, params, &shape);
    if (found) {
        lesser.code.view = ag_program_shape(p, shape);
        uint64_t at = find(b, &lesser, hash_of(&lesser));
        *value = b->table[2 * at];
        found = *value != FREE;
    }
    ag_memory_free(&p->memory, params, d->size + 1);
    if (!found || !append(b, d)) return false;
    ag_code *c = ag_code_at(p, *value);
    c->view = d->code.view;
    c->extra = d->code.extra;
    p->codes.count--;
    p->refs.count -= d->n;
    return true;
}

/* The value of a draft, found or appended. After an error 0. */
static uint32_t intern(ag_builder *b, ag_draft *d) {
    ag_program *p = b->p;
    if (p->status != AG_OK || (2 * (b->used + 1) > b->size && !grow_table(b))) return 0;
    uint32_t hash = hash_of(d), value;
    uint64_t at = find(b, d, hash);
    if (b->table[2 * at] != FREE) return b->table[2 * at];
    bool is_scan = d->call && d->call->operation == &ag_scan_operation;
    if (!is_scan || !replace_lesser(b, d, &value)) {
        if (p->status != AG_OK || !append(b, d)) return 0;
        value = (uint32_t)p->codes.count - 1;
    }
    b->table[2 * at] = value;
    b->table[2 * at + 1] = hash;
    b->used++;
    return value;
}

/* ---- refs ---- */

bool ag_ref_is_uniform(const ag_program *p, ag_ref r) {
    if (r.where & WHERE_ELEMENT) return true;
    const ag_view *v = &ag_pview_at(p, r.where)->view;
    for (int i = 0; i < v->rank; i++)
        if (v->dim[i] != 1 && v->stride[i] != 0) return false;
    return v->count > 0;
}

bool ag_ref_is_block(const ag_program *p, ag_ref r) {
    return r.where & WHERE_ELEMENT || ag_pview_at(p, r.where)->view.contiguous;
}

bool ag_ref_number(const ag_program *p, ag_ref r, double *number) {
    const ag_code *c = ag_code_at(p, r.value);
    if (p->status != AG_OK || c->op != CODE_CONSTANT || !ag_ref_is_uniform(p, r)) return false;
    *number = *ag_pconstant_at(p, c->extra + (uint64_t)ag_where_offset(p, r.where));
    return true;
}

/* The element that a uniform ref sees, as a scalar. */
static ag_ref element_of(const ag_program *p, ag_ref r) {
    return (ag_ref){r.value, WHERE_ELEMENT | (uint32_t)ag_where_offset(p, r.where)};
}

/* A scalar in every element of a shape. */
static ag_ref spread(ag_program *p, ag_ref r, ag_shape shape) {
    static const int64_t none[AG_MAX_RANK];
    if (shape.rank) r.where = ag_program_view(p, shape.rank, shape.dim, none, ag_where_offset(p, r.where));
    return r;
}

static bool has_shape(const ag_program *p, ag_ref r, ag_shape shape) {
    ag_shape own = ag_where_shape(p, r.where);
    bool same = own.rank == shape.rank;
    for (int i = 0; i < own.rank && same; i++) same = own.dim[i] == shape.dim[i];
    return same;
}

/* ---- emission ---- */

ag_ref ag_emit_input(ag_builder *b, const char *name, ag_shape shape) {
    ag_program *p = b->p;
    ag_ref r = {(uint32_t)p->codes.count, ag_program_shape(p, shape)};
    ag_draft d = {.code = {.op = CODE_INPUT, .view = r.where, .extra = (uint32_t)p->inputs.count}};
    if (append(b, &d)) ag_program_add_port(p, &p->inputs, name, "x", r);
    return r;
}

ag_ref ag_emit_number(ag_builder *b, double number, ag_shape shape) {
    if (b->p->type == AG_F32) number = (double)(float)number;
    ag_draft d = {.code = {.op = CODE_CONSTANT, .view = WHERE_ELEMENT}, .bytes = &number, .size = sizeof number};
    return spread(b->p, (ag_ref){intern(b, &d), WHERE_ELEMENT}, shape);
}

ag_ref ag_emit_constant(ag_builder *b, ag_shape shape, const void *data) {
    ag_program *p = b->p;
    uint32_t view = ag_program_shape(p, shape);
    if (p->status != AG_OK) return (ag_ref){0, view};
    int64_t n = ag_where_count(p, view), same = 0;
    size_t size = ag_type_size(p->type);
    while (same < n && memcmp((const char *)data + (size_t)same * size, data, size) == 0) same++;
    if (n > 0 && same == n) return ag_emit_number(b, ag_load(p->type, data, 0), shape);
    double *numbers = ag_memory_resize(&p->memory, NULL, 0, (size_t)n * sizeof *numbers + 1);
    if (!numbers) {
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
        return (ag_ref){0, view};
    }
    for (int64_t i = 0; i < n; i++) numbers[i] = ag_load(p->type, data, i);
    ag_draft d = {.code = {.op = CODE_CONSTANT, .view = view}, .bytes = numbers, .size = (size_t)n * sizeof *numbers};
    ag_ref r = {intern(b, &d), view};
    ag_memory_free(&p->memory, numbers, (size_t)n * sizeof *numbers + 1);
    return r;
}

static ag_ref emit_elementwise(ag_builder *b, uint32_t op, ag_ref *in, ag_shape shape) {
    ag_ref r = {0, WHERE_ELEMENT};
    if (ag_simplify(b, op, in, shape, &r)) return r;
    ag_draft d = {
        .code = {.op = op, .view = ag_program_shape(b->p, shape)}, .in = in, .n = (uint32_t)ag_op_table[op].arity};
    return (ag_ref){intern(b, &d), d.code.view};
}

ag_ref ag_emit(ag_builder *b, uint32_t op, const ag_ref *in, ag_shape shape) {
    ag_program *p = b->p;
    ag_ref own[3] = {{0, WHERE_ELEMENT}}; /* after an error, too: no view that may not be there */
    if (p->status != AG_OK) return own[0];
    int n = ag_op_table[op].arity;
    int64_t count;
    bool uniform = ag_shape_count(shape, &count) && count > 0;
    for (int k = 0; k < n; k++) uniform &= ag_ref_is_uniform(p, in[k]);
    bool whole = uniform; /* the other operands give the result its shape */
    for (int k = 0; k < n && !uniform; k++) whole |= !ag_ref_is_uniform(p, in[k]) && has_shape(p, in[k], shape);
    for (int k = 0; k < n; k++) own[k] = whole && ag_ref_is_uniform(p, in[k]) ? element_of(p, in[k]) : in[k];
    if (!uniform) return emit_elementwise(b, op, own, shape);
    return spread(p, emit_elementwise(b, op, own, (ag_shape){.rank = 0}), shape);
}

bool ag_is_emitted(const ag_builder *b, uint32_t op, const ag_ref *in, ag_ref *out) {
    ag_draft d = {.code = {.op = op, .view = in[0].where}, .in = in, .n = (uint32_t)ag_op_table[op].arity};
    if (in[0].where & WHERE_ELEMENT) d.code.view = WHERE_ELEMENT;
    if (b->p->status != AG_OK || b->size == 0) return false;
    *out = (ag_ref){b->table[2 * find(b, &d, hash_of(&d))], d.code.view};
    return out->value != FREE;
}

ag_ref ag_emit_call(ag_builder *b, const ag_pcall *call, const void *params, const ag_ref *in, ag_shape shape) {
    ag_draft d = {.code = {.op = CODE_CALL, .view = ag_program_shape(b->p, shape)},
                  .in = in,
                  .n = call->n,
                  .call = call,
                  .bytes = params,
                  .size = call->params_size};
    return (ag_ref){intern(b, &d), d.code.view};
}

/* ---- beginning and end ---- */

bool ag_builder_open(ag_builder *b, ag_type type, const ag_memory *memory) {
    *b = (ag_builder){.p = ag_program_new(type, memory)};
    return b->p->status == AG_OK;
}

static void mark_needed(const ag_program *p, uint8_t *needed) {
    for (uint64_t i = 0; i < p->outputs.count; i++) needed[ag_poutput_at(p, i)->ref.value] = 1;
    for (uint64_t i = p->codes.count; i-- > 0;) {
        const ag_code *c = ag_code_at(p, i);
        needed[i] |= c->op == CODE_INPUT || ag_can_refuse(p, c);
        if (!needed[i]) continue;
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) needed[ag_ref_at(p, c->in + k)->value] = 1;
    }
}

/* Moves what is needed to the front of every list. Constants, calls and parameters stay where they are. */
static void compact(ag_program *p, const uint8_t *needed, uint32_t *number) {
    uint32_t values = 0, refs = 0;
    for (uint32_t i = 0; i < p->codes.count; i++) {
        if (!needed[i]) continue;
        ag_code c = *ag_code_at(p, i);
        uint32_t n = ag_operand_count(p, &c);
        for (uint32_t k = 0; k < n; k++) {
            ag_ref r = *ag_ref_at(p, c.in + k);
            *ag_ref_at(p, refs + k) = (ag_ref){number[r.value], r.where};
        }
        c.in = refs;
        refs += n;
        number[i] = values;
        *ag_code_at(p, values++) = c;
    }
    p->codes.count = values;
    p->refs.count = refs;
    for (uint64_t i = 0; i < p->inputs.count; i++)
        ag_pinput_at(p, i)->ref.value = number[ag_pinput_at(p, i)->ref.value];
    for (uint64_t i = 0; i < p->outputs.count; i++)
        ag_poutput_at(p, i)->ref.value = number[ag_poutput_at(p, i)->ref.value];
}

ag_program *ag_builder_close(ag_builder *b) {
    ag_program *p = b->p;
    ag_memory *memory = &p->memory;
    ag_memory_free(memory, b->table, b->size * 2 * sizeof *b->table);
    if (p->status != AG_OK) return p;
    size_t n = p->codes.count;
    uint8_t *needed = ag_memory_zeroed(memory, n + 1);
    uint32_t *number = ag_memory_zeroed(memory, n * sizeof *number + 1);
    if (needed && number) {
        mark_needed(p, needed);
        compact(p, needed, number);
        ag_find_guards(p);
#ifndef NDEBUG
        (void)ag_program_verify(p);
#endif
    } else {
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
    }
    ag_memory_free(memory, needed, n + 1);
    ag_memory_free(memory, number, n * sizeof *number + 1);
    return p;
}
