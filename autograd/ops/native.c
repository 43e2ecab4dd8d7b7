/* Instructions of x86-64 with AVX and FMA, in their VEX encoding: Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 2. A result stays in a register for what comes soon, and goes to its place when that is taken for another, if
 * the place still is its own. */
#include "encode_impl.h"

#if defined(__x86_64__) && defined(__unix__)

enum {
    MOST_BYTES = 144, /* of an instruction of straight-line code, with what it needs behind the end, */
    MOST_FRAME = 48,  /* and of what begins and ends a code */
    REGISTERS = 15,   /* that keep numbers; the last is SCRATCH */
    SCRATCH = 15,
    MIDDLE = 128, /* what rbx points at, bytes into the work array: offsets of 1 byte reach both ways */
    RBX = 3,
    MOST_ROOM = 1 << 30 /* bytes: jumps reach that far */
};
#define NONE UINT32_MAX
enum { BLEND_F32 = 0x4a, BLEND_F64 = 0x4b };

/* A number that an instruction reads. */
typedef enum place_kind { REGISTER, WORK, CONSTANT, LISTED } place_kind;
typedef struct operand {
    place_kind kind;
    uint32_t at; /* the register, place or constant */
} operand;

/* A result that is not what it should be if it is NaN and a factor is 0, which is seen to behind the end of the code. Notes of
 * these are kept where the room ends. */
typedef struct doubt {
    unsigned char *jump; /* behind the jump, where its distance ends */
    operand x, y, z;     /* factors, and what is added, if `adds` */
    bool adds;
    int result;
} doubt;

typedef struct translation {
    const unsigned char *block;
    unsigned char *at;
    bool wide;                /* f64 */
    uint32_t held[REGISTERS]; /* of which place each register has the number; NONE */
    bool newer[REGISTERS];    /* than what is in memory */
    int next;                 /* the register that was taken last */
    doubt *doubts;            /* the latest first */
} translation;

/* ---- encoding --------------------------------------------------------------------------------------------------- */

static void put(translation *t, unsigned byte) { ag_put(&t->at, byte); }
static void put_bytes(translation *t, uint64_t value, int count) { ag_put_bytes(&t->at, value, count); }

static int64_t offset_of(const translation *t, uint32_t place) { return (int64_t)place * (t->wide ? 8 : 4) - MIDDLE; }

/* How `o` is found, and the other register; `behind` bytes of the instruction follow. */
static void put_operand(translation *t, int reg, operand o, int behind) {
    unsigned low = (unsigned)(reg & 7) << 3;
    if (o.kind == REGISTER) {
        put(t, 0xc0 | low | (o.at & 7));
    } else if (o.kind == LISTED) { /* [rax + what follows] */
        put(t, 0x80u | low);
    } else if (o.kind == CONSTANT) {
        put(t, low | 5);
        int64_t distance = (int64_t)o.at * 16 - (t->at + 4 + behind - t->block);
        put_bytes(t, (uint64_t)distance, 4);
    } else {
        int64_t offset = offset_of(t, o.at);
        bool near = offset >= -128 && offset < 128;
        put(t, (near ? 0x40u : 0x80u) | low | RBX);
        put_bytes(t, (uint64_t)offset, near ? 1 : 4);
    }
}

static void put_vex(translation *t, ag_opcode_map m, ag_prefix p, bool w, unsigned opcode, int reg, int other,
                    operand o, int behind) {
    unsigned r = reg > 7 ? 0 : 0x80, b = o.kind == REGISTER && o.at > 7 ? 0 : 0x20;
    unsigned rest = ((unsigned)(~other & 15) << 3) | p;
    if (m == AG_MAP_0F && !w && b) {
        put(t, 0xc5);
        put(t, r | rest);
    } else {
        put(t, 0xc4);
        put(t, r | 0x40 | b | m);
        put(t, (w ? 0x80u : 0) | rest);
    }
    put(t, opcode);
    put_operand(t, reg, o, behind);
}

static operand in_register(int reg) { return (operand){REGISTER, (uint32_t)reg}; }
static operand in_work(uint32_t place) { return (operand){WORK, place}; }
static operand constant(uint32_t which) { return (operand){CONSTANT, which}; }
static ag_prefix scalar(const translation *t) { return t->wide ? AG_PREFIX_F2 : AG_PREFIX_F3; }

/* reg = x op o, for single numbers. */
static void put_scalar(translation *t, unsigned opcode, int reg, int x, operand o) {
    put_vex(t, AG_MAP_0F, scalar(t), false, opcode, reg, x, o, 0);
}

/* The same for the bits of whole registers. */
static void put_bits(translation *t, unsigned opcode, int reg, int x, operand o) {
    put_vex(t, AG_MAP_0F, AG_NO_PREFIX, false, opcode, reg, x, o, 0);
}

static void put_fused(translation *t, unsigned opcode, int reg, int x, operand o) {
    put_vex(t, AG_MAP_0F38, AG_PREFIX_66, t->wide, opcode, reg, x, o, 0);
}

/* reg = all bits if x compares so with o, else none. */
static void put_compare(translation *t, unsigned how, int reg, int x, operand o) {
    put_vex(t, AG_MAP_0F, scalar(t), false, AG_X_COMPARE, reg, x, o, 1);
    put(t, how);
}

/* Sets flags as x compares with o. */
static void put_test(translation *t, int x, operand o) {
    put_vex(t, AG_MAP_0F, t->wide ? AG_PREFIX_66 : AG_NO_PREFIX, false, AG_X_TEST, x, 0, o, 0);
}

static void put_move(translation *t, int reg, operand from) {
    if (from.kind == REGISTER) put_bits(t, AG_X_MOVE, reg, 0, from);
    else put_vex(t, AG_MAP_0F, scalar(t), false, AG_X_LOAD, reg, 0, from, 0);
}

/* A jump with a distance that is not known yet; returns what is behind it. */
static unsigned char *put_jump(translation *t, unsigned condition) {
    put(t, 0x0f);
    put(t, 0x80 | condition);
    put_bytes(t, 0, 4);
    return t->at;
}

static void set_distance(unsigned char *behind_jump, const unsigned char *to) {
    int32_t distance = (int32_t)(to - behind_jump);
    memcpy(behind_jump - sizeof distance, &distance, sizeof distance);
}

/* ---- registers -------------------------------------------------------------------------------------------------- */

static operand find(const translation *t, uint32_t place) {
    for (int r = 0; r < REGISTERS; r++)
        if (t->held[r] == place) return in_register(r);
    return in_work(place);
}

static void let_go(translation *t, int reg) {
    if (t->newer[reg]) put_vex(t, AG_MAP_0F, scalar(t), false, AG_X_STORE, reg, 0, in_work(t->held[reg]), 0);
    t->newer[reg] = false;
    t->held[reg] = NONE;
}

static void let_all_go(translation *t) {
    for (int r = 0; r < REGISTERS; r++) let_go(t, r);
}

static bool is_in(operand o, int reg) { return o.kind == REGISTER && o.at == (uint32_t)reg; }

/* A register for a new number that is none of these; what it has is the oldest. */
static int take(translation *t, operand a, operand b, operand c) {
    do t->next = (t->next + 1) % REGISTERS;
    while (is_in(a, t->next) || is_in(b, t->next) || is_in(c, t->next));
    let_go(t, t->next);
    return t->next;
}

/* Sees to it that an operand is in a register, beside two others. */
static int load(translation *t, operand *o, operand a, operand b) {
    if (o->kind == REGISTER) return (int)o->at;
    int reg = take(t, a, b, b);
    put_move(t, reg, *o);
    t->held[reg] = o->at;
    *o = in_register(reg);
    return reg;
}

/* The register has the number of place `to` now. */
static void finish(translation *t, uint32_t to, int reg) {
    for (int r = 0; r < REGISTERS; r++) {
        if (t->held[r] != to) continue;
        t->held[r] = NONE;
        t->newer[r] = false;
    }
    t->held[reg] = to;
    t->newer[reg] = true;
}

/* ---- operations ------------------------------------------------------------------------------------------------- */

/* Of two operands that may be exchanged, the first is to be in a register if one is. */
static void prefer_register(operand *x, operand *y) {
    if (x->kind == REGISTER || y->kind != REGISTER) return;
    operand other = *x;
    *x = *y;
    *y = other;
}

/* One of two operands stays in memory where it may. */
static void translate_arithmetic(translation *t, const ag_straight *c, unsigned opcode) {
    operand x = find(t, c->x), y = find(t, c->y);
    bool commutes = opcode == AG_X_ADD || opcode == AG_X_MULTIPLY;
    if (commutes) prefer_register(&x, &y);
    int first = load(t, &x, y, y), r = take(t, x, y, y);
    put_scalar(t, opcode, r, first, y);
    finish(t, c->to, r);
}

static void translate_square(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    translate_arithmetic(t, &(ag_straight){.to = c->to, .x = c->x, .y = c->x}, AG_X_MULTIPLY);
}

/* Jumps if a chain may be wrong. */
static void put_doubt(translation *t, doubt d) {
    put_test(t, d.result, in_register(d.result));
    d.jump = put_jump(t, 0xa); /* jp */
    *--t->doubts = d;
}

static void translate_chain(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    operand x = find(t, c->x), y = find(t, c->y);
    int first = load(t, &x, y, y), r = take(t, x, y, y);
    put_scalar(t, AG_X_MULTIPLY, r, first, y);
    put_doubt(t, (doubt){.x = x, .y = y, .result = r});
    finish(t, c->to, r);
}

/* x y + z, or z - x y. The sum takes the place of z if that is not kept, or else of a factor that is fetched, or copied. */
static void translate_fused(translation *t, const ag_straight *c, unsigned sign) {
    operand x = find(t, c->x), y = find(t, c->y), z = find(t, c->z);
    bool chain = c->op == AG_STRAIGHT_CHAIN_FMA || c->op == AG_STRAIGHT_CHAIN_FNMA;
    int r;
    prefer_register(&x, &y);
    if (z.kind == REGISTER && (c->to != c->z || chain)) {
        bool both = x.kind == REGISTER;
        r = take(t, x, y, z);
        put_move(t, r, both ? y : x);
        put_fused(t, AG_X_FUSED_132 + AG_X_OF_ONE + sign, r, (int)z.at, both ? x : y);
    } else {
        int first = load(t, &x, y, z);
        r = z.kind == REGISTER ? (int)z.at : take(t, x, y, z);
        if (z.kind != REGISTER) put_move(t, r, z);
        put_fused(t, AG_X_FUSED_231 + AG_X_OF_ONE + sign, r, first, y);
    }
    if (chain) put_doubt(t, (doubt){.x = x, .y = y, .z = z, .adds = true, .result = r});
    finish(t, c->to, r);
}

static void translate_copy(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    operand x = find(t, c->x);
    int r = take(t, x, x, x);
    put_move(t, r, x);
    finish(t, c->to, r);
}

static void translate_root(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    operand x = find(t, c->x);
    int a = load(t, &x, x, x), r = take(t, x, x, x);
    put_scalar(t, AG_X_ROOT, r, a, x);
    finish(t, c->to, r);
}

static void translate_reciprocal(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    operand x = find(t, c->x);
    int r = take(t, x, x, x);
    put_move(t, r, constant(AG_BITS_ONE));
    put_scalar(t, AG_X_DIVIDE, r, r, x);
    finish(t, c->to, r);
}

/* The bits of x with those of a constant. */
static void translate_sign(translation *t, const ag_straight *c, unsigned which) {
    operand x = find(t, c->x);
    int a = load(t, &x, x, x), r = take(t, x, x, x);
    put_bits(t, which == AG_BITS_SIGN ? AG_X_XOR : AG_X_AND, r, a, constant(which));
    finish(t, c->to, r);
}

static void translate_compare(translation *t, const ag_straight *c, unsigned how) {
    operand x = find(t, c->x), y = find(t, c->y);
    int a = load(t, &x, y, y), r = take(t, x, y, y);
    put_compare(t, how, r, a, y);
    put_bits(t, AG_X_AND, r, r, constant(AG_BITS_ONE));
    finish(t, c->to, r);
}

static void translate_relu(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    operand x = find(t, c->x);
    int a = load(t, &x, x, x), r = take(t, x, x, x);
    put_bits(t, AG_X_XOR, SCRATCH, SCRATCH, in_register(SCRATCH));
    put_compare(t, AG_X_NOT_NO_MORE, SCRATCH, a, in_register(SCRATCH));
    put_bits(t, AG_X_AND, r, a, in_register(SCRATCH));
    finish(t, c->to, r);
}

/* x != 0 ? y : z. */
static void translate_select(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    operand x = find(t, c->x), y = find(t, c->y), z = find(t, c->z);
    put_bits(t, AG_X_XOR, SCRATCH, SCRATCH, in_register(SCRATCH));
    put_compare(t, AG_X_NOT_EQUAL, SCRATCH, SCRATCH, x);
    int b = load(t, &z, y, y);
    load(t, &y, z, z);
    int r = take(t, y, z, z);
    put_vex(t, AG_MAP_0F3A, AG_PREFIX_66, false, t->wide ? BLEND_F64 : BLEND_F32, r, b, y, 1);
    put(t, SCRATCH << 4);
    finish(t, c->to, r);
}

/* By operation; others have no translation. */
static const struct {
    void (*translate)(translation *t, const ag_straight *c, unsigned detail);
    unsigned detail;
} rules[] = {
    [AG_STRAIGHT_COPY] = {translate_copy, 0},
    [AG_STOP] = {translate_copy, 0},
    [AG_ADD] = {translate_arithmetic, AG_X_ADD},
    [AG_SUB] = {translate_arithmetic, AG_X_SUBTRACT},
    [AG_MUL] = {translate_arithmetic, AG_X_MULTIPLY},
    [AG_DIV] = {translate_arithmetic, AG_X_DIVIDE},
    [AG_SQUARE] = {translate_square, 0},
    [AG_RECIP] = {translate_reciprocal, 0},
    [AG_SQRT] = {translate_root, 0},
    [AG_NEG] = {translate_sign, AG_BITS_SIGN},
    [AG_ABS] = {translate_sign, AG_BITS_MAGNITUDE},
    [AG_RELU] = {translate_relu, 0},
    [AG_EQ] = {translate_compare, AG_X_EQUAL},
    [AG_NE] = {translate_compare, AG_X_NOT_EQUAL},
    [AG_LT] = {translate_compare, AG_X_LESS},
    [AG_LE] = {translate_compare, AG_X_NO_MORE},
    [AG_GT] = {translate_compare, AG_X_MORE},
    [AG_GE] = {translate_compare, AG_X_AT_LEAST},
    [AG_SELECT] = {translate_select, 0},
    [AG_STRAIGHT_FMA] = {translate_fused, 0},
    [AG_STRAIGHT_FNMA] = {translate_fused, AG_X_NEGATED},
    [AG_STRAIGHT_CHAIN] = {translate_chain, 0},
    [AG_STRAIGHT_CHAIN_FMA] = {translate_fused, 0},
    [AG_STRAIGHT_CHAIN_FNMA] = {translate_fused, AG_X_NEGATED},
};

static bool has_rule(uint32_t op) { return op < sizeof rules / sizeof *rules && rules[op].translate; }

/* ---- codes ------------------------------------------------------------------------------------------------------ */

/* kernels->straight(code, count, work). */
static void call_kernels(translation *t, ag_type type, const ag_straight *code, uint32_t count) {
    const void *function;
    memcpy(&function, &ag_kernels_for(type)->straight, sizeof function);
    let_all_go(t);
    put_bytes(t, 0x80538d48, 4); /* lea rdx, [rbx - MIDDLE] */
    ag_put_kernel_call(&t->at, function, code, count);
}

/* mov rax, [r12 + 8 space]; numbers that are in registers need not be fetched. */
static void put_list(translation *t, const ag_native_list *list) {
    ag_put_bytes(&t->at, 0x24848b49, 4);
    ag_put_bytes(&t->at, (uint64_t)list->space * sizeof(char *), 4);
    for (uint32_t k = 0; k < list->count; k++) {
        operand x = find(t, list->places[k]);
        int r = x.kind == REGISTER ? (int)x.at : SCRATCH;
        if (x.kind != REGISTER) put_move(t, r, x);
        put_vex(t, AG_MAP_0F, scalar(t), false, AG_X_STORE, r, 0, (operand){LISTED, k}, 0);
        put_bytes(t, (uint64_t)(list->offset + (int64_t)k * (t->wide ? 8 : 4)), 4);
    }
}

/* What has no rule waits, so that the kernels do all of it that stands together. */
static void translate(translation *t, ag_type type, const ag_straight *code, size_t count) {
    uint32_t waiting = 0;
    for (size_t i = 0; i <= count; i++) {
        bool other = i < count && !has_rule(code[i].op);
        if (!other && waiting > 0) call_kernels(t, type, code + i - waiting, waiting);
        waiting = other ? waiting + 1 : 0;
        if (i < count && !other) rules[code[i].op].translate(t, &code[i], rules[code[i].op].detail);
    }
}

/* NaN if both factors differ from 0, or else what is added to their product. */
static void settle(translation *t, const doubt *d) {
    int r = d->result;
    set_distance(d->jump, t->at);
    put_bits(t, AG_X_XOR, SCRATCH, SCRATCH, in_register(SCRATCH));
    put_compare(t, AG_X_NOT_EQUAL, SCRATCH, SCRATCH, d->x);
    put_bits(t, AG_X_XOR, r, r, in_register(r));
    put_compare(t, AG_X_NOT_EQUAL, r, r, d->y);
    put_bits(t, AG_X_AND, r, r, in_register(SCRATCH)); /* all bits set are NaN */
    if (d->adds) {
        put_move(t, SCRATCH, d->z);
        put_bits(t, AG_X_OR, r, r, in_register(SCRATCH));
    }
    put(t, 0xe9); /* jmp */
    put_bytes(t, 0, 4);
    set_distance(t->at, d->jump);
}

size_t ag_native_room(size_t count) { return ag_whole_16(MOST_FRAME + count * MOST_BYTES); }

static void put_constants(unsigned char *at, ag_type type) {
    static const double f64[][2] = {[AG_BITS_SIGN] = {-0.0, -0.0}, [AG_BITS_ONE] = {1, 0}};
    static const float f32[][4] = {[AG_BITS_SIGN] = {-0.0f, -0.0f, -0.0f, -0.0f}, [AG_BITS_ONE] = {1, 0, 0, 0}};
    if (type == AG_F64) memcpy(at, f64, sizeof f64);
    else memcpy(at, f32, sizeof f32);
    for (int i = 0; i < 16; i++) at[AG_BITS_MAGNITUDE * 16 + i] = (unsigned char)~at[AG_BITS_SIGN * 16 + i];
}

bool ag_native_open(ag_memory *memory, ag_native *native, ag_type type, size_t room) {
    *native = (ag_native){0};
    if (!ag_kernels_for(type)->fuses || room > MOST_ROOM) return false;
    native->size = AG_BITS_END * 16 + room;
    native->base = ag_memory_code(memory, native->size);
    if (!native->base) return false;
    put_constants(native->base, type);
    native->at = native->base + AG_BITS_END * (size_t)16;
    return true;
}

static bool is_in_reach(const translation *t, const ag_straight *c) {
    uint32_t a = c->x > c->y ? c->x : c->y, b = c->z > c->to ? c->z : c->to;
    return offset_of(t, a > b ? a : b) <= INT32_MAX;
}

ag_native_code *ag_native_add(ag_native *native, ag_type type, const ag_straight *code, size_t count,
                              const ag_native_list *list) {
    translation t = {.block = native->base, .at = native->at, .wide = type == AG_F64};
    doubt *last = (doubt *)(void *)(native->at + ag_native_room(count + (list ? list->count : 0)));
    t.doubts = last;
    for (size_t i = 0; i < count; i++)
        if (!is_in_reach(&t, &code[i])) return NULL;
    for (uint32_t k = 0; list && k < list->count; k++)
        if (offset_of(&t, list->places[k]) > INT32_MAX || list->offset + (int64_t)k * 8 > INT32_MAX) return NULL;
    memset(t.held, 0xff, sizeof t.held);
    ag_put_begin(&t.at);
    put_bytes(&t, 0x5441, 2);   /* push r12 */
    put(&t, 0x50);              /* push rax, for calls to find the stack aligned */
    put_bytes(&t, 0xf48949, 3); /* mov r12, rsi */
    put_bytes(&t, 0x9f8d48, 3); /* lea rbx, [rdi + MIDDLE] */
    put_bytes(&t, MIDDLE, 4);
    translate(&t, type, code, count);
    if (list) put_list(&t, list);
    let_all_go(&t);
    put_bytes(&t, 0x5c4158, 3); /* pop rax, pop r12 */
    ag_put_end(&t.at);
    for (const doubt *d = t.doubts; d < last; d++) settle(&t, d);
    ag_native_code *result;
    memcpy(&result, &native->at, sizeof result);
    native->at += ag_whole_16((size_t)(t.at - native->at));
    return result;
}

bool ag_native_seal(ag_memory *memory, ag_native *native) {
    size_t size = ag_memory_seal_code(memory, native->base, native->size, (size_t)(native->at - native->base));
    if (size > 0) native->size = size;
    return size > 0;
}

#else

size_t ag_native_room(size_t count) { return 0 * count; }

bool ag_native_open(ag_memory *memory, ag_native *native, ag_type type, size_t room) {
    (void)memory, (void)type, (void)room;
    *native = (ag_native){0};
    return false;
}

ag_native_code *ag_native_add(ag_native *native, ag_type type, const ag_straight *code, size_t count,
                              const ag_native_list *list) {
    (void)native, (void)type, (void)code, (void)count, (void)list;
    return NULL;
}

bool ag_native_seal(ag_memory *memory, ag_native *native) {
    (void)memory;
    return native->base != NULL;
}

#endif

void ag_native_close(ag_memory *memory, ag_native *native) {
    ag_memory_code_free(memory, native->base, native->size);
    *native = (ag_native){0};
}
