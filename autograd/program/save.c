/* A program into a file. */
#include "file_impl.h"

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
    bool failed;
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
        put_integer(w, !operation ? KIND_ELEMENTWISE : ag_is_map(operation) ? KIND_MAP : KIND_CALL, 1);
        put_string(w, operation ? operation->name : ag_op_table[c->op].name);
        next++;
    }
}

static bool put_program(ag_writing *w, const ag_program *p);

static void put_params(ag_writing *w, const ag_program *p, const ag_pcall *call) {
    const void *params = ag_pparams_at(p, call->params);
    if (ag_is_map(call->operation)) {
        const ag_program *q = ag_map_program(params);
        put_i64(w, ag_map_rows(params));
        put_u32(w, (uint64_t)(ag_program_inputs(q) + ag_program_outputs(q)));
        for (int k = 0; k < ag_program_inputs(q) + ag_program_outputs(q); k++)
            put_integer(w, (uint64_t)ag_map_along(params, k), 1);
        w->failed |= !put_program(w, q);
        return;
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
    for (int64_t k = 0; c->op == CODE_CONSTANT && k < ag_value_count(p, i); k++) {
        int64_t bits;
        memcpy(&bits, ag_pconstant_at(p, c->extra + (uint64_t)k), sizeof bits);
        put_i64(w, bits);
    }
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

static bool put_program(ag_writing *w, const ag_program *p) {
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    uint32_t room = (uint32_t)p->calls.count;
    ag_directory d = {.room = room};
    d.calls = ag_memory_zeroed(&memory, room * sizeof *d.calls + 1);
    d.numbers = ag_memory_zeroed(&memory, room * sizeof *d.numbers + 1);
    bool fits = d.calls && d.numbers;
    if (fits) {
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
    return fits;
}

ag_status ag_program_save(const ag_program *p, FILE *out) {
    if (ag_program_status(p) != AG_OK) return ag_program_status(p);
    ag_writing w = {out, FILE_CHECKSUM_START, false};
    put(&w, FILE_MAGIC, FILE_MAGIC_SIZE);
    put_u32(&w, FILE_VERSION);
    bool fits = put_program(&w, p);
    put_i64(&w, (int64_t)w.hash);
    return !fits ? AG_ERR_MEMORY : w.failed ? AG_ERR_VALUE : AG_OK;
}
