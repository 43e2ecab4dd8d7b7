/* A program into a file. */
#include "file_impl.h"
#include "guard_impl.h"
#include "root_impl.h"
#include "scan_impl.h"

static const ag_builtin builtins[] = {
#define AG_BUILTIN(name, least, most, unit) {&ag_builtin_##name, least, most, unit},
#include "../ops/builtin.def"
#undef AG_BUILTIN
};
enum { BUILTINS = sizeof builtins / sizeof *builtins };

const ag_builtin *ag_builtin_named(const char *name) {
    for (int k = 0; k < BUILTINS; k++)
        if (strcmp((*builtins[k].operation)->name, name) == 0) return &builtins[k];
    return NULL;
}

const ag_builtin *ag_builtin_of(const ag_operation *operation) {
    for (int k = 0; k < BUILTINS; k++)
        if (*builtins[k].operation == operation) return &builtins[k];
    return NULL;
}

const ag_operation *ag_kind_operation(uint8_t kind) {
    switch (kind) {
    case KIND_MAP: return ag_builtin_map;
    case KIND_SCAN: return &ag_scan_operation;
    case KIND_ROOT: return &ag_root_operation;
    case KIND_GUARD: return &ag_guard_operation;
    default: return NULL;
    }
}

uint8_t ag_operation_kind(const ag_operation *operation) {
    for (uint8_t kind = KIND_MAP; kind < KINDS; kind++)
        if (ag_kind_operation(kind) == operation) return kind;
    return KIND_CALL;
}

static void reverse(char *bytes, size_t n) {
    for (size_t i = 0; i < n / 2; i++) {
        char byte = bytes[i];
        bytes[i] = bytes[n - 1 - i];
        bytes[n - 1 - i] = byte;
    }
}

void ag_builtin_swap(const ag_builtin *b, void *params, size_t size, size_t from) {
    const uint16_t one = 1;
    if (!b || *(const uint8_t *)&one == 1) return;
    bool shape_first = *b->operation == ag_builtin_assemble; /* an ag_shape: an int, a gap, then dims */
    for (size_t at = 0; at + b->unit <= size; at += b->unit)
        reverse((char *)params + at, shape_first && from + at == 0 ? sizeof(int) : b->unit);
}

uint64_t ag_file_checksum(uint64_t hash, const void *bytes, size_t n) {
    for (const uint8_t *at = bytes, *end = at + n; at < end; at++) hash = (hash ^ *at) * UINT64_C(0x100000001B3);
    return hash;
}

/* ---- writing ---- */

typedef struct ag_writing {
    FILE *out;
    uint64_t hash;
    bool failed, memory_failed;
    ag_memory memory;
    ag_range inner; /* programs that have been written: const ag_program * */
    uint32_t inner_count;
} ag_writing;

/* What the operations of a program are called in its file. */
typedef struct ag_directory {
    uint32_t elementwise[AG_OPCODES]; /* number, and 1; 0: not used */
    const ag_operation **calls;
    uint32_t *numbers;
    uint32_t count, call_count, room;
} ag_directory;

static void put(ag_writing *w, const void *bytes, size_t n) {
    if (n == 0) return;
    w->hash = ag_file_checksum(w->hash, bytes, n);
    w->failed |= fwrite(bytes, 1, n, w->out) != n;
}

static void put_integer(ag_writing *w, uint64_t number, size_t size) {
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(number >> 8 * i);
    put(w, bytes, size);
}
static void put_u32(ag_writing *w, uint64_t number) { put_integer(w, number, 4); }
static void put_i64(ag_writing *w, int64_t number) { put_integer(w, (uint64_t)number, 8); }

static void put_string(ag_writing *w, const char *text) {
    size_t n = strlen(text);
    w->failed |= n > UINT16_MAX;
    put_integer(w, n, 2);
    put(w, text, n);
}

static void put_ref(ag_writing *w, ag_ref r) {
    put_u32(w, r.value);
    put_u32(w, r.where);
}

static uint32_t *number_of(ag_directory *d, const ag_program *p, const ag_code *c) {
    if (c->op < AG_OPCODES) return &d->elementwise[c->op];
    const ag_operation *operation = ag_pcall_at(p, c->extra)->operation;
    for (uint32_t k = 0; k < d->call_count; k++)
        if (d->calls[k] == operation) return &d->numbers[k];
    if (d->call_count == d->room) return NULL;
    d->calls[d->call_count] = operation;
    d->numbers[d->call_count] = 0;
    return &d->numbers[d->call_count++];
}

static bool is_operation(const ag_code *c) { return c->op < AG_OPCODES || c->op == CODE_CALL; }

/* Numbers the operations and writes their names. */
static void put_directory(ag_writing *w, const ag_program *p, ag_directory *d) {
    for (uint32_t i = 0; i < p->codes.count; i++) {
        const ag_code *c = ag_code_at(p, i);
        uint32_t *number = is_operation(c) ? number_of(d, p, c) : NULL;
        if (number && !*number) *number = ++d->count;
        w->failed |= is_operation(c) && !number;
    }
    put_u32(w, d->count);
    for (uint32_t i = 0, next = 1; i < p->codes.count && next <= d->count; i++) {
        const ag_code *c = ag_code_at(p, i);
        uint32_t *number = is_operation(c) ? number_of(d, p, c) : NULL;
        if (!number || *number != next) continue;
        const ag_operation *operation = c->op == CODE_CALL ? ag_pcall_at(p, c->extra)->operation : NULL;
        put_integer(w, operation ? ag_operation_kind(operation) : KIND_ELEMENTWISE, 1);
        put_string(w, operation ? operation->name : ag_op_table[c->op].name);
        next++;
    }
}

static void put_program(ag_writing *w, const ag_program *p);

/* A program inside another one, once in a file. */
static void put_inner(ag_writing *w, const ag_program *p) {
    const ag_program **inner = (const ag_program **)(void *)w->inner.base;
    for (uint32_t k = 0; k < w->inner_count; k++) {
        if (inner[k] != p) continue;
        put_u32(w, k);
        return;
    }
    put_u32(w, FILE_NEW_PROGRAM);
    put_program(w, p);
    size_t need = (w->inner_count + (size_t)1) * sizeof *inner;
    if (w->memory_failed || (need > w->inner.size && !ag_range_grow(&w->memory, &w->inner, need, SIZE_MAX))) {
        w->memory_failed = true;
        return;
    }
    ((const ag_program **)(void *)w->inner.base)[w->inner_count++] = p;
}

static void put_double(ag_writing *w, double number) {
    int64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_i64(w, bits);
}

static void put_map(ag_writing *w, const void *params) {
    const ag_program *q = ag_map_program(params);
    int n = ag_program_inputs(q) + ag_program_outputs(q);
    put_i64(w, ag_map_rows(params));
    put_u32(w, (uint64_t)n);
    for (int k = 0; k < n; k++) put_integer(w, (uint64_t)ag_map_along(params, k), 1);
    put_inner(w, q);
}

static void put_scan(ag_writing *w, const ag_scanning *m) {
    put_i64(w, m->steps);
    put_u32(w, (uint64_t)m->carries);
    put_integer(w, m->backward != 0, 1);
    put_u32(w, (uint64_t)m->nx);
    for (int k = 0; k < m->nx; k++) put_integer(w, m->along[k], 1);
    put_inner(w, m->p);
    put_integer(w, m->base != NULL, 1);
    if (m->base) put_inner(w, m->base);
}

static void put_root(ag_writing *w, const ag_rooting *m) {
    put_integer(w, m->fixed != 0, 1);
    put_double(w, m->tolerance);
    put_u32(w, (uint64_t)m->steps);
    put_inner(w, m->step);
    put_inner(w, m->residual);
}

static void put_guard(ag_writing *w, const ag_guarding *g) {
    put_integer(w, g->expected != 0, 1);
    put_string(w, g->compared < 0 ? "" : ag_op_table[g->compared].name);
    put_string(w, g->name);
}

static void put_params(ag_writing *w, const ag_program *p, const ag_pcall *call) {
    const void *params = ag_pparams_at(p, call->params);
    switch (ag_operation_kind(call->operation)) {
    case KIND_MAP: put_map(w, params); return;
    case KIND_SCAN: put_scan(w, params); return;
    case KIND_ROOT: put_root(w, params); return;
    case KIND_GUARD: put_guard(w, params); return;
    default: break;
    }
    put_u32(w, call->params_size);
    const ag_builtin *b = ag_builtin_of(call->operation);
    uint64_t piece; /* a few bytes at a time, so that nothing is to be allocated */
    for (size_t at = 0; at < call->params_size; at += sizeof piece) {
        size_t n = call->params_size - at < sizeof piece ? call->params_size - at : sizeof piece;
        memcpy(&piece, (const char *)params + at, n);
        ag_builtin_swap(b, &piece, n, at);
        put(w, &piece, n);
    }
}

static void put_code(ag_writing *w, const ag_program *p, ag_directory *d, uint32_t i) {
    const ag_code *c = ag_code_at(p, i);
    uint32_t n = ag_operand_count(p, c);
    put_u32(w, c->op == CODE_INPUT      ? WHAT_INPUT
               : c->op == CODE_CONSTANT ? WHAT_CONSTANT
                                        : WHAT_OPERATION + *number_of(d, p, c) - 1);
    put_u32(w, c->view);
    if (c->op == CODE_INPUT) put_string(w, ag_name_at(p, ag_pinput_at(p, c->extra)->name));
    for (int64_t k = 0; c->op == CODE_CONSTANT && k < ag_value_count(p, i); k++)
        put_double(w, *ag_pconstant_at(p, c->extra + (uint64_t)k));
    if (!is_operation(c)) return;
    put_u32(w, n);
    for (uint32_t k = 0; k < n; k++) put_ref(w, *ag_ref_at(p, c->in + k));
    if (c->op == CODE_CALL) put_params(w, p, ag_pcall_at(p, c->extra));
}

static void put_views(ag_writing *w, const ag_program *p) {
    put_u32(w, p->views.count);
    for (uint32_t k = 0; k < p->views.count; k++) {
        const ag_pview *v = ag_pview_at(p, k);
        put_integer(w, (uint64_t)v->view.rank, 1);
        put_i64(w, v->offset);
        for (int i = 0; i < v->view.rank; i++) {
            put_i64(w, v->view.dim[i]);
            put_i64(w, v->view.stride[i]);
        }
    }
}

static void put_program(ag_writing *w, const ag_program *p) {
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    uint32_t room = (uint32_t)p->calls.count;
    ag_directory d = {.room = room};
    d.calls = ag_memory_zeroed(&memory, room * sizeof *d.calls + 1);
    d.numbers = ag_memory_zeroed(&memory, room * sizeof *d.numbers + 1);
    w->memory_failed |= !d.calls || !d.numbers;
    if (!w->memory_failed) {
        put_integer(w, p->type, 1);
        put_views(w, p);
        put_directory(w, p, &d);
        put_u32(w, p->codes.count);
        for (uint32_t i = 0; i < p->codes.count; i++) put_code(w, p, &d, i);
        put_u32(w, p->outputs.count);
        for (uint64_t k = 0; k < p->outputs.count; k++) {
            put_string(w, ag_name_at(p, ag_poutput_at(p, k)->name));
            put_ref(w, ag_poutput_at(p, k)->ref);
        }
    }
    ag_memory_free(&memory, d.calls, room * sizeof *d.calls + 1);
    ag_memory_free(&memory, d.numbers, room * sizeof *d.numbers + 1);
}

ag_status ag_program_save(const ag_program *p, FILE *out) {
    if (ag_program_status(p) != AG_OK) return ag_program_status(p);
    if (!out) return AG_ERR_VALUE;
    ag_writing w = {.out = out, .hash = FILE_CHECKSUM_START};
    w.memory = (ag_memory){p->memory.permit, p->memory.context, true, 0};
    put(&w, FILE_MAGIC, FILE_MAGIC_SIZE);
    put_u32(&w, FILE_VERSION);
    put_program(&w, p);
    put_i64(&w, (int64_t)w.hash);
    w.failed |= fflush(out) != 0;
    ag_range_free(&w.memory, &w.inner);
    return w.memory_failed ? AG_ERR_MEMORY : w.failed ? AG_ERR_FILE : AG_OK;
}
