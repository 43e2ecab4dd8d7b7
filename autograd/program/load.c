/* A program from a file. Nothing that the file says is believed: sizes are checked against what is left of it before
 * anything is allocated, operands against the values before them, shapes by the operations' own rules. */
#include "file_impl.h"
#include "../ops/reduce_impl.h"
#include "guard_impl.h"
#include "root_impl.h"
#include "scan_impl.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>

typedef struct ag_known {
    uint8_t kind;
    uint32_t op;                   /* KIND_ELEMENTWISE */
    const ag_operation *operation; /* of all other kinds */
    const ag_builtin *builtin;     /* NULL: the user's own */
} ag_known;

/* A program inside another one that has been read, and how many are inside each other there. */
typedef struct ag_inner {
    ag_program *p;
    int depth;
} ag_inner;

/* The bytes of a file. */
typedef struct ag_bytes {
    const uint8_t *start, *at, *end;
    const ag_operation *const *own;
    uint32_t version;
    int own_count, depth;
    ag_memory memory;
    ag_range inner; /* ag_inner */
    uint32_t inner_count;
} ag_bytes;

typedef struct ag_reading {
    ag_bytes *b;
    ag_program *p;
    ag_tape *tape; /* for the rules of operations */
    uint32_t *views;
    ag_known *known;
    uint32_t view_count, known_count;
    uint64_t elements; /* of all values */
    int depth;         /* of programs in it */
} ag_reading;

static void refuse(ag_reading *r, const char *format, ...) AG_FORMAT_(2, 3);
static void refuse(ag_reading *r, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ag_program_fail(r->p, AG_ERR_VALUE, "load: byte %lld: %s", (long long)(r->b->at - r->b->start), text);
}

static bool ok(const ag_reading *r) { return r->p->status == AG_OK; }

/* ---- numbers ---- */

static size_t left(const ag_reading *r) { return (size_t)(r->b->end - r->b->at); }

static uint64_t get(ag_reading *r, size_t size) {
    uint64_t number = 0;
    if (!ok(r)) return 0;
    if (left(r) < size) {
        refuse(r, "the file ends too early");
        return 0;
    }
    for (size_t i = 0; i < size; i++) number |= (uint64_t)*r->b->at++ << 8 * i;
    return number;
}
static uint32_t get_u32(ag_reading *r) { return (uint32_t)get(r, 4); }
static int64_t get_i64(ag_reading *r) { return (int64_t)get(r, 8); }

/* A number of things that take at least `least` bytes each. */
static uint32_t get_count(ag_reading *r, const char *what, size_t least) {
    uint32_t n = get_u32(r);
    if (ok(r) && n > left(r) / least) refuse(r, "%u %s in %zu bytes", n, what, left(r));
    return ok(r) ? n : 0;
}

enum { LONGEST_NAME = 65535 };

/* A string of the file, to be freed by free_string; NULL after an error. */
static char *get_string(ag_reading *r) {
    size_t n = (size_t)get(r, 2);
    if (ok(r) && n > left(r)) refuse(r, "a name of %zu bytes in %zu", n, left(r));
    if (ok(r) && memchr(r->b->at, 0, n)) refuse(r, "a name with a byte of 0");
    char *text = ok(r) ? ag_memory_resize(&r->p->memory, NULL, 0, n + 1) : NULL;
    if (ok(r) && !text) ag_program_fail(r->p, AG_ERR_MEMORY, "load: out of memory");
    if (!text) return NULL;
    memcpy(text, r->b->at, n);
    text[n] = '\0';
    r->b->at += n;
    return text;
}

static void free_string(ag_reading *r, char *text) {
    if (text) ag_memory_free(&r->p->memory, text, strlen(text) + 1);
}

/* ---- views ---- */

/* Whether neither the reach of the strides nor anything that is computed from them overflows. */
static bool is_sound(ag_shape shape, const int64_t *stride, int64_t offset) {
    int64_t count, lo = offset, hi = offset, reach, size;
    if (offset < 0 || !ag_shape_count(shape, &count) || count > (int64_t)MOST_SLOTS) return false;
    for (int i = 0; i < shape.rank && count; i++) {
        if (shape.dim[i] == 1) continue;
        if (stride[i] < -(int64_t)MOST_SLOTS || stride[i] > (int64_t)MOST_SLOTS ||
            __builtin_mul_overflow(shape.dim[i], stride[i], &size))
            return false;
        reach = size - stride[i];
        if (reach < 0 ? __builtin_add_overflow(lo, reach, &lo) : __builtin_add_overflow(hi, reach, &hi)) return false;
    }
    return lo >= 0;
}

static void get_views(ag_reading *r) {
    r->view_count = get_count(r, "views", 25);
    r->views = ok(r) ? ag_memory_zeroed(&r->p->memory, r->view_count * sizeof *r->views + 1) : NULL;
    if (ok(r) && !r->views) ag_program_fail(r->p, AG_ERR_MEMORY, "load: out of memory");
    for (uint32_t k = 0; k < r->view_count && ok(r); k++) {
        ag_shape shape = {.rank = (int)get(r, 1)};
        int64_t offset = get_i64(r), stride[AG_MAX_RANK] = {0};
        if (ok(r) && (shape.rank < 1 || shape.rank > AG_MAX_RANK)) refuse(r, "view %u has %d axes", k, shape.rank);
        for (int i = 0; ok(r) && i < shape.rank; i++) {
            shape.dim[i] = get_i64(r);
            stride[i] = get_i64(r);
        }
        if (ok(r) && !is_sound(shape, stride, offset))
            refuse(r, "view %u, of shape %s at %lld, is not possible", k, ag_show_shape(shape).text, (long long)offset);
        if (ok(r)) r->views[k] = ag_program_view(r->p, shape.rank, shape.dim, stride, offset);
    }
}

/* An operand's or a result's `where` in the program. */
static uint32_t get_where(ag_reading *r) {
    uint32_t where = get_u32(r);
    if (!ok(r) || where & WHERE_ELEMENT) return where;
    if (where >= r->view_count) {
        refuse(r, "view %u of %u", where, r->view_count);
        return WHERE_ELEMENT;
    }
    return r->views[where];
}

/* An operand of instruction `before`, or an output. */
static ag_ref get_ref(ag_reading *r, uint32_t before) {
    ag_ref x = {get_u32(r), 0};
    x.where = get_where(r);
    if (ok(r) && x.value >= before) refuse(r, "value %u is used before it is computed", x.value);
    if (!ok(r)) return (ag_ref){0, WHERE_ELEMENT};
    int64_t count = ag_value_count(r->p, x.value), offset = ag_where_offset(r->p, x.where), hi = offset;
    bool inside = offset < count;
    if (!(x.where & WHERE_ELEMENT)) {
        const ag_view *v = &ag_pview_at(r->p, x.where)->view;
        hi += v->hi;
        inside = v->count ? offset + v->lo >= 0 && hi < count : offset <= count;
    }
    if (!inside)
        refuse(r, "an operand looks at element %lld of value %u, which has %lld", (long long)hi, x.value,
               (long long)count);
    return x;
}

/* ---- operations ---- */

static const ag_operation *own_named(const ag_bytes *b, const char *name) {
    for (int k = 0; k < b->own_count; k++)
        if (strcmp(b->own[k]->name, name) == 0) return b->own[k];
    return NULL;
}

/* AG_OPCODES if there is none. */
static uint32_t opcode_named(const char *name) {
    uint32_t op = 0;
    while (op < AG_OPCODES && strcmp(ag_op_table[op].name, name) != 0) op++;
    return op;
}

static void find_known(ag_reading *r, ag_known *known, const char *name) {
    known->op = AG_OPCODES;
    if (known->kind == KIND_ELEMENTWISE) known->op = opcode_named(name);
    const ag_operation *nested = known->kind < KINDS ? ag_kind_operation(known->kind) : NULL;
    if (nested && strcmp(name, nested->name) == 0) known->operation = nested;
    if (known->kind == KIND_CALL) {
        known->operation = own_named(r->b, name);
        known->builtin = known->operation ? NULL : ag_builtin_named(name);
        if (known->builtin) known->operation = *known->builtin->operation;
    }
    if (known->op == AG_OPCODES && !known->operation) refuse(r, "there is no operation %.100s", name);
    else if (known->kind == KIND_CALL && !known->builtin && !known->operation->valid)
        refuse(r, "operation %.100s has no function `valid`, so it cannot be read", name);
}

static void get_directory(ag_reading *r) {
    r->known_count = get_count(r, "operations", 3);
    r->known = ok(r) ? ag_memory_zeroed(&r->p->memory, r->known_count * sizeof *r->known + 1) : NULL;
    if (ok(r) && !r->known) ag_program_fail(r->p, AG_ERR_MEMORY, "load: out of memory");
    for (uint32_t k = 0; k < r->known_count && ok(r); k++) {
        r->known[k].kind = (uint8_t)get(r, 1);
        char *name = get_string(r);
        if (name) find_known(r, &r->known[k], name);
        free_string(r, name);
    }
}

/* ---- instructions ---- */

static void add_code(ag_reading *r, ag_code code) {
    ag_code *to = ag_list_add(r->p, &r->p->codes, sizeof *to, 1);
    if (to) *to = code;
}

/* The shape of a result: whole, row-major, from its beginning. */
static uint32_t get_shape(ag_reading *r) {
    uint32_t where = get_where(r);
    if (!ok(r)) return where;
    ag_shape shape = ag_where_shape(r->p, where);
    if (where != ag_program_shape(r->p, shape)) {
        refuse(r, "a result with strides");
        return where;
    }
    r->elements += (uint64_t)ag_where_count(r->p, where);
    if (r->elements > MOST_SLOTS) refuse(r, "the values have more than %llu elements", (unsigned long long)MOST_SLOTS);
    return where;
}

static void get_input(ag_reading *r, uint32_t where) {
    ag_program *p = r->p;
    char *name = get_string(r);
    ag_ref ref = {(uint32_t)p->codes.count, where};
    ag_code code = {.op = CODE_INPUT, .view = where, .extra = (uint32_t)p->inputs.count};
    if (name && ag_program_add_port(p, &p->inputs, name, "x", ref)) add_code(r, code);
    free_string(r, name);
}

static void get_constant(ag_reading *r, uint32_t where) {
    ag_program *p = r->p;
    uint64_t n = (uint64_t)ag_where_count(p, where);
    if (n > left(r) / 8) {
        refuse(r, "a constant of %llu numbers in %zu bytes", (unsigned long long)n, left(r));
        return;
    }
    ag_code code = {.op = CODE_CONSTANT, .view = where, .extra = (uint32_t)p->constants.count};
    double *to = n ? ag_list_add(p, &p->constants, sizeof *to, n) : NULL;
    for (uint64_t k = 0; to && k < n; k++) {
        int64_t bits = get_i64(r);
        memcpy(&to[k], &bits, sizeof bits);
        if (p->type == AG_F32 && !isnan(to[k]) &&
            (fabs(to[k]) > (double)FLT_MAX ? !isinf(to[k]) : (double)(float)to[k] != to[k]))
            refuse(r, "a constant that is no float");
    }
    if (ok(r)) add_code(r, code);
}

/* The operands of the instruction that comes next, appended. */
static uint32_t get_operands(ag_reading *r, uint32_t n) {
    ag_program *p = r->p;
    uint32_t first = (uint32_t)p->refs.count;
    for (uint32_t k = 0; k < n && ok(r); k++) {
        ag_ref x = get_ref(r, (uint32_t)p->codes.count);
        ag_ref *to = ag_list_add(p, &p->refs, sizeof *to, 1);
        if (to) *to = x;
    }
    return first;
}

static bool broadcasts(ag_shape from, ag_shape to) {
    if (from.rank > to.rank) return false;
    for (int i = 0; i < from.rank; i++)
        if (from.dim[i] != 1 && from.dim[i] != to.dim[to.rank - from.rank + i]) return false;
    return true;
}

static void get_elementwise(ag_reading *r, uint32_t op, uint32_t where) {
    uint32_t n = get_count(r, "operands", 8);
    if (ok(r) && n != (uint32_t)ag_op_table[op].arity) refuse(r, "%s has %u operands", ag_op_table[op].name, n);
    uint32_t in = get_operands(r, n);
    for (uint32_t k = 0; k < n && ok(r); k++) {
        ag_shape from = ag_where_shape(r->p, ag_ref_at(r->p, in + k)->where), to = ag_where_shape(r->p, where);
        if (!broadcasts(from, to))
            refuse(r, "%s: shape %s does not broadcast to %s", ag_op_table[op].name, ag_show_shape(from).text,
                   ag_show_shape(to).text);
    }
    if (ok(r)) add_code(r, (ag_code){.op = op, .view = where, .in = in});
}

/* ---- calls ---- */

static ag_program *get_program(ag_bytes *b, const ag_memory *memory, int *depth);

/* Keeps a program that has been read, with the reference that is given. */
static bool keep_inner(ag_reading *r, ag_program *q, int depth) {
    ag_bytes *b = r->b;
    size_t need = (b->inner_count + (size_t)1) * sizeof(ag_inner);
    if (need > b->inner.size && !ag_range_grow(&b->memory, &b->inner, need, SIZE_MAX)) {
        ag_program_fail(r->p, AG_ERR_MEMORY, "load: out of memory");
        ag_program_free(q);
        return false;
    }
    ((ag_inner *)(void *)b->inner.base)[b->inner_count++] = (ag_inner){q, depth};
    return true;
}

/* A program that an operation runs, which the file keeps; NULL after an error. */
static ag_program *get_inner(ag_reading *r) {
    ag_bytes *b = r->b;
    uint32_t k = b->version == 1 ? FILE_NEW_PROGRAM : get_u32(r);
    if (!ok(r)) return NULL;
    if (k == FILE_NEW_PROGRAM) {
        int depth = 0;
        ag_program *q = get_program(b, &r->p->memory, &depth);
        if (ag_program_status(q) != AG_OK) ag_program_fail(r->p, q->status, "%s", q->message);
        k = b->inner_count;
        if (!keep_inner(r, q, depth)) return NULL;
    } else if (k >= b->inner_count) {
        refuse(r, "inner program %u of %u", k, b->inner_count);
        return NULL;
    }
    const ag_inner *inner = (const ag_inner *)(void *)b->inner.base + k;
    if (r->depth < inner->depth + 1) r->depth = inner->depth + 1;
    if (r->depth >= DEEPEST_FILE) refuse(r, "programs inside programs, more than %d deep", DEEPEST_FILE);
    else if (ok(r) && inner->p->type != r->p->type) refuse(r, "an inner program of another precision");
    return ok(r) ? inner->p : NULL;
}

/* How inputs (and outputs) of an inner program go along; NULL after an error. */
static const uint8_t *get_along(ag_reading *r, uint32_t *n) {
    enum { MOST_PORTS = 1 << 16 };
    *n = get_u32(r);
    const uint8_t *along = r->b->at;
    if (ok(r) && (*n > left(r) || *n > MOST_PORTS)) refuse(r, "%u inputs and outputs", *n);
    for (uint32_t k = 0; ok(r) && k < *n; k++)
        if (along[k] > AG_SHARED) refuse(r, "an input or output goes along as %u", along[k]);
    if (!ok(r)) return NULL;
    r->b->at += *n;
    return along;
}

static void *new_params(ag_reading *r, size_t size) {
    void *params = ok(r) ? ag_memory_zeroed(&r->p->memory, size + 1) : NULL;
    if (ok(r) && !params) ag_program_fail(r->p, AG_ERR_MEMORY, "load: out of memory");
    return params;
}

static void *get_map(ag_reading *r, size_t *size) {
    int64_t rows = get_i64(r);
    uint32_t n;
    const uint8_t *along = get_along(r, &n);
    ag_program *q = along ? get_inner(r) : NULL;
    if (!q) return NULL;
    if (q->inputs.count + q->outputs.count != n)
        refuse(r, "a map of %u inputs and outputs, not those of its program", n);
    *size = ag_map_params_size(q);
    void *params = new_params(r, *size);
    if (params) ag_map_set_params(params, q, rows, along);
    return params;
}

static void *get_scan(ag_reading *r, size_t *size) {
    int64_t steps = get_i64(r);
    uint32_t carries = get_u32(r), n;
    bool backward = get(r, 1) != 0;
    const uint8_t *along = get_along(r, &n);
    ag_program *q = along ? get_inner(r) : NULL, *base = q && get(r, 1) ? get_inner(r) : NULL;
    if (!q || !ok(r)) return NULL;
    if (q->inputs.count != n || carries > n) refuse(r, "a scan of %u inputs, not those of its program", n);
    *size = ag_scanning_size((int)n);
    ag_scanning *m = new_params(r, *size);
    if (!m) return NULL;
    *m = (ag_scanning){q, base, steps, (int32_t)carries, (int32_t)n, ag_program_outputs(q), backward};
    for (uint32_t k = carries; k < n; k++) m->along[k] = along[k];
    return m;
}

static void *get_root(ag_reading *r, size_t *size) {
    bool fixed = get(r, 1) != 0;
    int64_t bits = get_i64(r);
    uint32_t steps = get_u32(r);
    ag_program *step = get_inner(r), *residual = step ? get_inner(r) : NULL;
    *size = sizeof(ag_rooting);
    ag_rooting *m = residual ? new_params(r, *size) : NULL;
    if (!m) return NULL;
    *m = (ag_rooting){
        .step = step, .residual = residual, .steps = steps > INT32_MAX ? -1 : (int32_t)steps, .fixed = fixed};
    memcpy(&m->tolerance, &bits, sizeof bits);
    return m;
}

static void *get_guard(ag_reading *r, size_t *size) {
    bool expected = get(r, 1) != 0;
    char *compared = get_string(r), *name = compared ? get_string(r) : NULL;
    *size = sizeof(ag_guarding);
    ag_guarding *g = name ? new_params(r, *size) : NULL;
    if (g) {
        *g = (ag_guarding){.expected = expected, .compared = -1};
        if (*compared) g->compared = (int32_t)opcode_named(compared);
        if (strlen(name) >= GUARD_NAME) refuse(r, "a guard's name has %zu bytes", strlen(name));
        else memcpy(g->name, name, strlen(name));
    }
    free_string(r, name);
    free_string(r, compared);
    return g;
}

static void *get_params(ag_reading *r, const ag_known *known, size_t *size) {
    switch (known->kind) {
    case KIND_MAP: return get_map(r, size);
    case KIND_SCAN: return get_scan(r, size);
    case KIND_ROOT: return get_root(r, size);
    case KIND_GUARD: return get_guard(r, size);
    default: break;
    }
    *size = get_count(r, "bytes of parameters", 1);
    void *params = new_params(r, *size);
    if (!params) return NULL;
    memcpy(params, r->b->at, *size);
    r->b->at += *size;
    ag_builtin_swap(known->builtin, params, *size, 0);
    return params;
}

static const ag_view one_element = {.rank = 0, .contiguous = true, .count = 1};

/* By the operation's own rules: parameters, operands, and the shape that it gives. */
static bool check_call(ag_reading *r, const ag_known *known, ag_call *call, uint32_t where) {
    const ag_operation *op = known->operation;
    const ag_builtin *b = known->builtin;
    bool counts = !b || ((uint32_t)call->n >= b->least && (uint32_t)call->n <= b->most);
    if (!counts || (op->valid ? !op->valid(call) : call->params_size != 0)) {
        refuse(r, "%s: these parameters and operands are not possible", op->name);
        return false;
    }
    if (!op->shape(call) || r->tape->status != AG_OK) {
        refuse(r, "%.300s", ag_tape_message(r->tape));
        return false;
    }
    ag_shape shape = ag_where_shape(r->p, where);
    bool same = ag_equal_shapes(shape, call->shape);
    if (!same)
        refuse(r, "%s: its result has shape %s, not %s", op->name, ag_show_shape(call->shape).text,
               ag_show_shape(shape).text);
    if (same && call->saved_size > MOST_SLOTS * 64) refuse(r, "%s: too large", op->name);
    return ok(r);
}

static void add_call(ag_reading *r, const ag_known *known, const ag_call *call, ag_code code) {
    ag_program *p = r->p;
    ag_pcall made = {.operation = known->operation,
                     .n = (uint32_t)call->n,
                     .params_size = (uint32_t)call->params_size,
                     .params = p->params.count,
                     .saved_size = call->saved_size};
    char *params = call->params_size ? ag_list_add(p, &p->params, 1, ag_pad8(call->params_size)) : NULL;
    if (params) memcpy(params, call->params, call->params_size);
    code.extra = (uint32_t)p->calls.count;
    ag_pcall *to = ag_list_add(p, &p->calls, sizeof *to, 1);
    if (!to) return;
    *to = made;
    if (made.operation->hold && params) made.operation->hold(params, 1);
    add_code(r, code);
}

static void get_call(ag_reading *r, const ag_known *known, uint32_t where) {
    ag_program *p = r->p;
    ag_memory *m = &p->memory;
    uint32_t n = get_count(r, "operands", 8), in = get_operands(r, n);
    size_t size = 0;
    ag_array *arrays = ok(r) ? ag_memory_zeroed(m, n * sizeof *arrays + 1) : NULL;
    const ag_view **views = ok(r) ? ag_memory_zeroed(m, n * sizeof *views + 1) : NULL;
    void *params = arrays && views ? get_params(r, known, &size) : NULL;
    if (ok(r) && !params) ag_program_fail(p, AG_ERR_MEMORY, "load: out of memory");
    for (uint32_t k = 0; ok(r) && k < n; k++) {
        uint32_t at = ag_ref_at(p, in + k)->where;
        views[k] = arrays[k].view = at & WHERE_ELEMENT ? &one_element : &ag_pview_at(p, at)->view;
    }
    ag_call call = {.tape = r->tape, .type = p->type, .n = (int)n, .in = arrays, .params = params, .params_size = size};
    if (ok(r) && check_call(r, known, &call, where)) {
        if (known->operation == ag_builtin_assemble) ag_assemble_distrust(params, views, (int)n);
        add_call(r, known, &call, (ag_code){.op = CODE_CALL, .view = where, .in = in});
    }
    ag_memory_free(m, params, params ? size + 1 : 0);
    ag_memory_free(m, views, views ? n * sizeof *views + 1 : 0);
    ag_memory_free(m, arrays, arrays ? n * sizeof *arrays + 1 : 0);
}

static void get_code(ag_reading *r) {
    uint32_t what = get_u32(r), where = get_shape(r);
    if (!ok(r)) return;
    if (what == WHAT_INPUT) get_input(r, where);
    else if (what == WHAT_CONSTANT) get_constant(r, where);
    else if (what - WHAT_OPERATION >= r->known_count)
        refuse(r, "operation %u of %u", what - WHAT_OPERATION, r->known_count);
    else {
        const ag_known *known = &r->known[what - WHAT_OPERATION];
        if (known->kind == KIND_ELEMENTWISE) get_elementwise(r, known->op, where);
        else get_call(r, known, where);
    }
}

/* ---- programs ---- */

static void get_outputs(ag_reading *r) {
    uint32_t n = get_count(r, "outputs", 10);
    for (uint32_t k = 0; k < n && ok(r); k++) {
        char *name = get_string(r);
        ag_ref x = get_ref(r, (uint32_t)r->p->codes.count);
        if (ok(r)) ag_program_add_port(r->p, &r->p->outputs, name, "y", x);
        free_string(r, name);
    }
}

static void get_body(ag_reading *r) {
    uint64_t type = get(r, 1);
    if (ok(r) && type > AG_F32) refuse(r, "number type %d", (int)type);
    r->p->type = type == AG_F32 ? AG_F32 : AG_F64;
    get_views(r);
    get_directory(r);
    uint32_t n = get_count(r, "instructions", 10);
    for (uint32_t i = 0; i < n && ok(r); i++) get_code(r);
    get_outputs(r);
    ag_program_settle_names(r->p, &r->p->inputs, NULL, NULL);
    ag_program_settle_names(r->p, &r->p->outputs, NULL, NULL);
}

static ag_program *get_program(ag_bytes *b, const ag_memory *memory, int *depth) {
    ag_reading r = {.b = b, .p = ag_program_new(AG_F64, memory)};
    if (r.p->status != AG_OK) return r.p;
    r.tape = ag_tape_new_with(&(ag_options){AG_F64, memory->permit, memory->context, true});
    if (++b->depth > DEEPEST_FILE) refuse(&r, "programs inside programs, more than %d deep", DEEPEST_FILE);
    else if (ag_tape_status(r.tape) != AG_OK) ag_program_fail(r.p, AG_ERR_MEMORY, "load: out of memory");
    else {
        r.tape->tracing = true; /* as where programs are recorded: nothing is kept for a sweep */
        get_body(&r);
        if (ok(&r)) ag_find_guards(r.p);
        if (ok(&r)) (void)ag_program_verify(r.p);
    }
    b->depth--;
    *depth = r.depth;
    ag_memory_free(&r.p->memory, r.views, r.views ? r.view_count * sizeof *r.views + 1 : 0);
    ag_memory_free(&r.p->memory, r.known, r.known ? r.known_count * sizeof *r.known + 1 : 0);
    ag_tape_free(r.tape);
    return r.p;
}

static ag_program *refused_as(ag_status status, const ag_memory *memory, const char *why) {
    ag_program *p = ag_program_new(AG_F64, memory);
    ag_program_fail(p, status, "load: %s", why);
    return p;
}

static ag_program *refused(const ag_memory *memory, const char *why) { return refused_as(AG_ERR_VALUE, memory, why); }

ag_program *ag_file_load(const void *bytes, size_t size, const ag_operation *const *own, int n,
                         const ag_memory *memory) {
    enum { HEAD = FILE_MAGIC_SIZE + 4, CHECKSUM = 8 };
    ag_bytes b = {.start = bytes, .at = bytes, .own = own, .own_count = n};
    if (size < HEAD + CHECKSUM || memcmp(bytes, FILE_MAGIC, FILE_MAGIC_SIZE) != 0)
        return refused(memory, "this is not a program");
    uint64_t sum = 0;
    uint32_t version = 0;
    for (int i = 0; i < 4; i++) version |= (uint32_t)b.start[FILE_MAGIC_SIZE + i] << 8 * i;
    for (int i = 0; i < CHECKSUM; i++) sum |= (uint64_t)b.start[size - CHECKSUM + (size_t)i] << 8 * i;
    if (version == 0 || version > FILE_VERSION) return refused(memory, "the file is of another version than 1 or 2");
    if (sum != ag_file_checksum(FILE_CHECKSUM_START, bytes, size - CHECKSUM))
        return refused(memory, "the file is damaged: its checksum is wrong");
    b.at += HEAD;
    b.end = b.start + size - CHECKSUM;
    b.version = version;
    b.memory = *memory;
    int depth;
    ag_program *p = get_program(&b, memory, &depth);
    for (uint32_t k = 0; k < b.inner_count; k++) ag_program_free(((ag_inner *)(void *)b.inner.base)[k].p);
    ag_range_free(&b.memory, &b.inner);
    if (p->status == AG_OK && b.at != b.end)
        ag_program_fail(p, AG_ERR_VALUE, "load: byte %lld: there is more than a program", (long long)(b.at - b.start));
    return p;
}

/* What is wrong with what a caller gives; NULL: nothing. */
static const char *find_fault(const ag_operation *const *own, int n) {
    if (n > 0 && !own) return "the array of operations is NULL";
    for (int k = 0; k < n; k++) {
        if (!own[k]) return "an operation is NULL";
        if (!own[k]->name || !own[k]->shape || !own[k]->forward) return "an operation has no name, shape or forward";
    }
    return NULL;
}

static ag_program *load_bytes(const void *bytes, size_t size, const ag_operation *const *own, int n,
                              const ag_memory *memory) {
    const char *fault = !bytes && size ? "the bytes are at NULL" : find_fault(own, n);
    return fault ? refused(memory, fault) : ag_file_load(bytes, size, own, n, memory);
}

ag_program *ag_program_load_bytes(const void *bytes, size_t size, const ag_operation *const *own, int n) {
    return load_bytes(bytes, size, own, n, &(ag_memory){.no_reserve = true});
}

ag_program *ag_program_load(FILE *in, const ag_operation *const *own, int n) {
    return ag_program_load_with(NULL, in, own, n);
}

ag_program *ag_program_load_with(const ag_options *options, FILE *in, const ag_operation *const *own, int n) {
    ag_memory memory = {.no_reserve = true};
    if (options) memory = (ag_memory){options->permit, options->context, true, 0};
    ag_range bytes = {0};
    size_t count = 0;
    if (!in) return refused(&memory, "the file is NULL");
    for (;;) {
        if (count + 4096 > bytes.size && !ag_range_grow(&memory, &bytes, count + 65536, SIZE_MAX)) {
            ag_range_free(&memory, &bytes);
            return refused_as(AG_ERR_MEMORY, &memory, "out of memory for the file");
        }
        size_t got = fread(bytes.base + count, 1, bytes.size - count, in);
        if (got == 0) break;
        count += got;
    }
    ag_program *p = ferror(in) ? refused_as(AG_ERR_FILE, &memory, "the file cannot be read")
                               : load_bytes(bytes.base, count, own, n, &memory);
    ag_range_free(&memory, &bytes);
    return p;
}
