/* Instructions of AVX-512, in their EVEX encoding: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2. A
 * row is computed some vectors at a time, all of the code for these before the next ones: what is computed stays in registers
 * for what comes soon, and goes to memory only if somebody reads it there. */
#include "encode_impl.h"

#if defined(__x86_64__) && defined(__unix__)

enum {
    MOST_BYTES = 400, /* of an instruction of straight-line code */
    MOST_FRAME = 64,  /* and of what begins and ends a code */
    VECTOR = 64,
    MOST_VECTORS = 4, /* of a row at a time, */
    LANE_VECTORS = 2, /* and of lanes: code on these needs more registers */
    MOST_PLACES = 1 << 22,
    MOST_HELD = 15, /* parts of rows in registers */
    SCRATCH = 31,   /* registers that are no parts */
    MOST_SUMS = 6,  /* of a code that goes over rows part by part: two registers each, below these */
    OTHER = 30,
    LEAST_RUN = 3, /* for fewer instructions that stand together it is not worth to leave the kernels */
    FARTHEST = 64, /* how far ahead is looked for who reads a row */
    BROADCAST_F32 = 0x18,
    BROADCAST_F64 = 0x19,
    BLEND = 0x65
};
#define NONE UINT32_MAX

typedef struct translation {
    const unsigned char *block;
    unsigned char *at;
    bool wide;      /* f64 */
    uint32_t lanes; /* bytes of a place, if these follow one another from rbx on; 0: there are pointers to rows */
    const ag_straight *code;
    uint32_t count, results;  /* instructions; rows that are read afterwards, the first ones */
    uint32_t now;             /* the instruction that is translated */
    int vectors, most;        /* at a time; how many parts are held at most */
    bool loops;               /* there are more vectors: rcx is where the part begins, in bytes */
    int sum_count;            /* then: of the rows that are added up to, */
    uint32_t sums[MOST_SUMS]; /* which are in registers */
    uint32_t held[MOST_HELD]; /* the row of each part; NONE */
    bool newer[MOST_HELD];    /* than what is in memory */
    int next;                 /* the part that was taken last */
} translation;

/* What an instruction reads: a part of a row that is held; or what rax points at, a part of a row, all of a vector, or one
 * number for all; or a constant, or a register that is the same for all vectors. */
typedef enum source_kind { HELD, PART, WHOLE, NUMBER, CONSTANT, ONE_REGISTER } source_kind;
typedef struct source {
    source_kind kind;
    uint32_t at; /* which part is held; the row; the constant; the register */
} source;

/* ---- encoding --------------------------------------------------------------------------------------------------- */

static void put(translation *t, unsigned byte) { ag_put(&t->at, byte); }

/* mov rax, [rbx + 8 row] */
static void point_at(translation *t, uint32_t row) {
    if (t->lanes) return;
    ag_put_bytes(&t->at, 0x838b48, 3);
    ag_put_bytes(&t->at, (uint64_t)row * sizeof(void *), 4);
}

static int register_of(const translation *t, int held, int v) { return held * t->vectors + v; }

/* Of vector v of the part. */
static void put_source(translation *t, int reg, source s, int v) {
    unsigned low = (unsigned)(reg & 7) << 3;
    if (s.kind == HELD || s.kind == ONE_REGISTER) {
        put(t, 0xc0 | low | ((unsigned)(s.kind == HELD ? register_of(t, (int)s.at, v) : (int)s.at) & 7));
    } else if (s.kind == CONSTANT) {
        put(t, low | 5);
        int64_t distance = (int64_t)s.at * 16 - (t->at + 4 - t->block);
        ag_put_bytes(&t->at, (uint64_t)distance, 4);
    } else if (s.kind == PART && t->lanes) { /* [rbx + rcx + where the lanes are] */
        put(t, 0x80 | low | 4);
        put(t, 0x0b);
        ag_put_bytes(&t->at, (uint64_t)s.at * t->lanes + (uint64_t)v * VECTOR, 4);
    } else if (s.kind == PART) { /* [rax + rcx + 64 v], [rax + 64 v] */
        put(t, (v ? 0x40u : 0) | low | (t->loops ? 4 : 0));
        if (t->loops) put(t, 0x08);
        if (v) put(t, (unsigned)v);
    } else {
        put(t, low); /* [rax] */
    }
}

typedef struct opcode {
    ag_opcode_map map;
    ag_prefix prefix;
    bool w;
    unsigned code, mask; /* the mask register; 0: none */
    bool others_zero;    /* where the mask is not set; else they stay */
} opcode;

static opcode masked(opcode o, unsigned mask, bool others_zero) {
    o.mask = mask;
    o.others_zero = others_zero;
    return o;
}

static void put_evex(translation *t, opcode o, int reg, int other, source s, int v) {
    int from = s.kind == HELD ? register_of(t, (int)s.at, v) : s.kind == ONE_REGISTER ? (int)s.at : 0;
    bool one = (s.kind == NUMBER || s.kind == CONSTANT) && o.code != BROADCAST_F32 && o.code != BROADCAST_F64;
    put(t, 0x62);
    put(t, (reg & 8 ? 0 : 0x80u) | (from & 16 ? 0 : 0x40u) | (from & 8 ? 0 : 0x20u) | (reg & 16 ? 0 : 0x10u) | o.map);
    put(t, (o.w ? 0x80u : 0) | (unsigned)(~other & 15) << 3 | 4 | o.prefix);
    put(t, (o.others_zero ? 0x80u : 0) | 0x40 | (one ? 0x10u : 0) | (other & 16 ? 0 : 8u) | o.mask);
    put(t, o.code);
    put_source(t, reg, s, v);
}

static opcode packed(const translation *t, unsigned code) {
    return (opcode){AG_MAP_0F, t->wide ? AG_PREFIX_66 : AG_NO_PREFIX, t->wide, code, 0, false};
}

static opcode fused(const translation *t, unsigned code) {
    return (opcode){AG_MAP_0F38, AG_PREFIX_66, t->wide, code, 0, false};
}

/* Part `to` = part x op s, by the operation on each vector. */
static void put_each(translation *t, opcode o, int to, int x, source s) {
    for (int v = 0; v < t->vectors; v++) put_evex(t, o, register_of(t, to, v), x < 0 ? 0 : register_of(t, x, v), s, v);
}

static source held(int part) { return (source){HELD, (uint32_t)part}; }
static source constant(uint32_t which) { return (source){CONSTANT, which}; }

/* mask = vector v of part x compares so with s, where `within` (0: everywhere) is set. */
static void put_compare(translation *t, unsigned how, int mask, unsigned within, int x, source s, int v) {
    put_evex(t, masked(packed(t, AG_X_COMPARE), within, false), mask, register_of(t, x, v), s, v);
    put(t, how);
}

/* ---- parts ------------------------------------------------------------------------------------------------------ */

/* Does anybody read a row that has its value now, from this instruction on? */
static bool is_read(const translation *t, uint32_t row, uint32_t from) {
    for (uint32_t i = from; i < t->count; i++) {
        const ag_straight *c = &t->code[i];
        if (i - from == FARTHEST || c->x == row || c->y == row || c->z == row) return true;
        if (c->to == row) return false;
    }
    return row < t->results;
}

static source find(const translation *t, uint32_t row) {
    for (int k = 0; k < t->most; k++)
        if (t->held[k] == row) return held(k);
    return (source){PART, row};
}

static void let_go(translation *t, int part, uint32_t from) {
    if (t->held[part] != NONE && t->newer[part] && is_read(t, t->held[part], from)) {
        point_at(t, t->held[part]);
        for (int v = 0; v < t->vectors; v++)
            put_evex(t, packed(t, AG_X_STORE), register_of(t, part, v), 0, (source){PART, t->held[part]}, v);
    }
    t->held[part] = NONE;
    t->newer[part] = false;
}

static bool is_in(source s, int part) { return s.kind == HELD && s.at == (uint32_t)part; }

/* A part for new numbers that is none of these; what it has is the oldest. rax is lost. */
static int take(translation *t, source a, source b, source c) {
    do t->next = (t->next + 1) % t->most;
    while (is_in(a, t->next) || is_in(b, t->next) || is_in(c, t->next));
    let_go(t, t->next, t->now + 1);
    return t->next;
}

/* Where the result for row `to` goes, which may be an operand: vector by vector, that is read before it is written. */
static int take_for(translation *t, uint32_t to, source a, source b) {
    source old = find(t, to);
    return old.kind == HELD ? (int)old.at : take(t, a, b, b);
}

/* The same if it is begun before all of these are read. */
static int take_apart(translation *t, uint32_t to, source a, source b, source c) {
    source old = find(t, to);
    bool apart = old.kind == HELD && !is_in(a, (int)old.at) && !is_in(b, (int)old.at) && !is_in(c, (int)old.at);
    return apart ? (int)old.at : take(t, a, b, c);
}

static void fetch(translation *t, int part, source s) {
    if (s.kind == PART) {
        point_at(t, s.at);
        put_each(t, packed(t, AG_X_LOAD), part, -1, s);
    } else {
        put_each(t, packed(t, AG_X_MOVE), part, -1, s);
    }
}

/* Sees to it that a row is held, beside two others. */
static int load(translation *t, source *s, source a, source b) {
    if (s->kind == HELD) return (int)s->at;
    int part = take(t, a, b, b);
    fetch(t, part, *s);
    t->held[part] = s->at;
    *s = held(part);
    return part;
}

static void finish(translation *t, uint32_t to, int part) {
    for (int k = 0; k < t->most; k++) {
        if (t->held[k] != to) continue;
        t->held[k] = NONE;
        t->newer[k] = false;
    }
    t->held[part] = to;
    t->newer[part] = true;
}

/* What is not held is read from memory. */
static void aim(translation *t, source s) {
    if (s.kind == PART) point_at(t, s.at);
}

static source number_at(translation *t, uint32_t row) {
    point_at(t, row);
    return (source){NUMBER, row};
}

static void swap(source *a, source *b) {
    source c = *a;
    *a = *b;
    *b = c;
}

/* ---- operations: each returns the part that has the result ------------------------------------------------------- */

static int compute_product(translation *t, uint32_t to_row, uint32_t x_row, uint32_t y_row, unsigned code) {
    source x = find(t, x_row), y = find(t, y_row);
    bool commutes = code == AG_X_ADD || code == AG_X_MULTIPLY;
    if (commutes && x.kind != HELD && y.kind == HELD) swap(&x, &y);
    int first = load(t, &x, y, y), to = take_for(t, to_row, x, y);
    aim(t, y);
    put_each(t, packed(t, code), to, first, y);
    return to;
}

static int compute_arithmetic(translation *t, const ag_straight *c, unsigned code) {
    return compute_product(t, c->to, c->x, c->y, code);
}

static int compute_square(translation *t, const ag_straight *c, unsigned code) {
    return compute_product(t, c->to, c->x, c->x, code);
}

static int compute_copy(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    source x = find(t, c->x);
    int to = take_apart(t, c->to, x, x, x);
    fetch(t, to, x);
    return to;
}

static int compute_root(translation *t, const ag_straight *c, unsigned code) {
    source x = find(t, c->x);
    int to = take_for(t, c->to, x, x);
    aim(t, x);
    put_each(t, packed(t, code), to, -1, x);
    return to;
}

static int compute_reciprocal(translation *t, const ag_straight *c, unsigned code) {
    source x = find(t, c->x);
    int to = take_apart(t, c->to, x, x, x);
    put_each(t, fused(t, t->wide ? BROADCAST_F64 : BROADCAST_F32), to, -1, constant(AG_BITS_ONE));
    aim(t, x);
    put_each(t, packed(t, code), to, to, x);
    return to;
}

/* The bits of x with those of a constant. */
static int compute_sign(translation *t, const ag_straight *c, unsigned which) {
    source x = find(t, c->x);
    int first = load(t, &x, x, x), to = take_for(t, c->to, x, x);
    put_each(t, packed(t, which == AG_BITS_SIGN ? AG_X_XOR : AG_X_AND), to, first, constant(which));
    return to;
}

/* x y + z, or z - x y. The sum takes the place of z if that is not kept, or else of a factor that is fetched, or copied. */
static int compute_fused(translation *t, const ag_straight *c, unsigned sign) {
    source x = find(t, c->x), y = find(t, c->y), z = find(t, c->z);
    if (x.kind != HELD && y.kind == HELD) swap(&x, &y);
    if (z.kind == HELD && c->to != c->z) {
        int to = take_apart(t, c->to, x, y, z);
        fetch(t, to, y);
        aim(t, x);
        put_each(t, fused(t, AG_X_FUSED_132 + sign), to, (int)z.at, x);
        return to;
    }
    int first = load(t, &x, y, z), to = z.kind == HELD ? (int)z.at : take_apart(t, c->to, x, y, y);
    if (z.kind != HELD) fetch(t, to, z);
    aim(t, y);
    put_each(t, fused(t, AG_X_FUSED_231 + sign), to, first, y);
    return to;
}

/* x + y and x y, where y is one number. */
static int compute_with_number(translation *t, const ag_straight *c, unsigned code) {
    source x = find(t, c->x);
    int first = load(t, &x, x, x), to = take_for(t, c->to, x, x);
    put_each(t, packed(t, code), to, first, number_at(t, c->y));
    return to;
}

/* x y + z, where y is one number. */
static int compute_fused_number(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    source x = find(t, c->x), z = find(t, c->z);
    if (z.kind == HELD && c->to != c->z) {
        int to = take_apart(t, c->to, x, z, z);
        fetch(t, to, x);
        put_each(t, fused(t, AG_X_FUSED_132), to, (int)z.at, number_at(t, c->y));
        return to;
    }
    int first = load(t, &x, z, z), to = z.kind == HELD ? (int)z.at : take_apart(t, c->to, x, x, x);
    if (z.kind != HELD) fetch(t, to, z);
    put_each(t, fused(t, AG_X_FUSED_231), to, first, number_at(t, c->y));
    return to;
}

/* x y + z, where z is one number. */
static int compute_fused_addend(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    source x = find(t, c->x), y = find(t, c->y);
    int first = load(t, &x, y, y), second = load(t, &y, x, x), to = first;
    if (c->to == c->y) {
        to = second;
        second = first;
    } else if (c->to != c->x) {
        to = take_apart(t, c->to, x, y, y);
        fetch(t, to, x);
    }
    put_each(t, fused(t, AG_X_FUSED_213), to, second, number_at(t, c->z));
    return to;
}

/* ---- operations with masks ---- */

enum { MASK = 6, OTHER_MASK = 7 };

static source zero(translation *t) {
    const source z = {ONE_REGISTER, OTHER};
    put_evex(t, packed(t, AG_X_XOR), OTHER, OTHER, z, 0);
    return z;
}

/* x y, x y + z, or z - x y, where a factor of 0 makes the product 0 whatever the other is. */
static int compute_chain(translation *t, const ag_straight *c, unsigned code) {
    bool adds = c->op == AG_STRAIGHT_CHAIN_FMA || c->op == AG_STRAIGHT_CHAIN_FNMA;
    source x = find(t, c->x), y = find(t, c->y), z = find(t, c->z);
    int a = load(t, &x, y, z), b = load(t, &y, x, z), to = take_apart(t, c->to, x, y, y);
    if (adds && !is_in(z, to)) fetch(t, to, z);
    source nothing = zero(t);
    for (int v = 0; v < t->vectors; v++) {
        put_compare(t, AG_X_NOT_EQUAL, MASK, 0, a, nothing, v);
        put_compare(t, AG_X_NOT_EQUAL, MASK, MASK, b, nothing, v);
        opcode o = adds ? fused(t, code) : packed(t, code);
        put_evex(t, masked(o, MASK, !adds), register_of(t, to, v), register_of(t, a, v), y, v);
    }
    return to;
}

/* 1 where it is true. */
static int compute_compare(translation *t, const ag_straight *c, unsigned how) {
    source x = find(t, c->x), y = find(t, c->y);
    int a = load(t, &x, y, y), to = take_for(t, c->to, x, y);
    aim(t, y);
    for (int v = 0; v < t->vectors; v++) {
        put_compare(t, how, MASK, 0, a, y, v);
        put_evex(t, masked(fused(t, t->wide ? BROADCAST_F64 : BROADCAST_F32), MASK, true), register_of(t, to, v), 0,
                 constant(AG_BITS_ONE), v);
    }
    return to;
}

static int compute_relu(translation *t, const ag_straight *c, unsigned how) {
    source x = find(t, c->x), nothing = zero(t);
    int a = load(t, &x, x, x), to = take_for(t, c->to, x, x);
    for (int v = 0; v < t->vectors; v++) {
        put_compare(t, how, MASK, 0, a, nothing, v);
        put_evex(t, masked(packed(t, AG_X_MOVE), MASK, true), register_of(t, to, v), 0, x, v);
    }
    return to;
}

/* x != 0 ? y : z. */
static int compute_select(translation *t, const ag_straight *c, unsigned blend) {
    source x = find(t, c->x), y = find(t, c->y), z = find(t, c->z), nothing = zero(t);
    int a = load(t, &x, y, z), b = load(t, &z, x, y);
    (void)load(t, &y, x, z);
    int to = take_for(t, c->to, x, z);
    for (int v = 0; v < t->vectors; v++) {
        put_compare(t, AG_X_NOT_EQUAL, MASK, 0, a, nothing, v);
        put_evex(t, masked(fused(t, blend), MASK, false), register_of(t, to, v), register_of(t, b, v), y, v);
    }
    return to;
}

/* The lesser one, or the greater one; x if that is NaN. */
static int compute_extreme(translation *t, const ag_straight *c, unsigned how) {
    source x = find(t, c->x), y = find(t, c->y);
    int a = load(t, &x, y, y), b = load(t, &y, x, x), to = take_apart(t, c->to, x, y, y);
    for (int v = 0; v < t->vectors; v++) {
        int r = register_of(t, to, v);
        put_compare(t, how, MASK, 0, a, y, v);
        put_compare(t, AG_X_UNORDERED, OTHER_MASK, 0, a, x, v);
        put_evex(t, packed(t, AG_X_MOVE), r, 0, held(b), v);
        put_evex(t, masked(packed(t, AG_X_MOVE), MASK, false), r, 0, x, v);
        put_evex(t, masked(packed(t, AG_X_MOVE), OTHER_MASK, false), r, 0, x, v);
    }
    return to;
}

/* ---- sums ---- */

/* Masks 1, 2 ... of which numbers of each vector belong to a block that may be cut short: `length` is the row that it begins
 * with. */
static void put_masks(translation *t, uint32_t length) {
    int numbers = VECTOR / (t->wide ? 8 : 4);
    point_at(t, length);
    ag_put_bytes(&t->at, 0x108b48, 3); /* mov rdx, [rax] */
    if (t->loops) {
        ag_put_bytes(&t->at, 0xc88948, 3);                          /* mov rax, rcx */
        ag_put_bytes(&t->at, t->wide ? 0x03e8c148 : 0x02e8c148, 4); /* shr rax */
        ag_put_bytes(&t->at, 0xc22948, 3);                          /* sub rdx, rax */
    }
    for (int v = 0; v < t->vectors; v++) {
        ag_put_bytes(&t->at, 0x428d, 2); /* lea eax, [rdx - what was before] */
        put(t, (unsigned)(-v * numbers) & 0xff);
        ag_put_bytes(&t->at, 0xc085f631, 4);   /* xor esi, esi; test eax, eax */
        ag_put_bytes(&t->at, 0xc6480f, 3);     /* cmovs eax, esi */
        ag_put_bytes(&t->at, 0x20be, 5);       /* mov esi, 32 */
        ag_put_bytes(&t->at, 0x20f883, 3);     /* cmp eax, 32 */
        ag_put_bytes(&t->at, 0xc64f0f, 3);     /* cmovg eax, esi */
        ag_put_bytes(&t->at, 0xffffffffbf, 5); /* mov edi, -1 */
        ag_put_bytes(&t->at, 0xfff578e2c4, 5); /* bzhi edi, edi, eax */
        ag_put_bytes(&t->at, 0x92f8c5, 3);     /* kmovw */
        put(t, 0xc7 | (unsigned)(v + 1) << 3);
    }
}

/* Even vectors go to the first register of a sum, odd ones to the second, as in the kernels. */
static void put_sums(translation *t, int first, int second, int part) {
    for (int v = 0; v < t->vectors; v++) {
        int to = v % 2 ? second : first;
        put_evex(t, masked(packed(t, AG_X_ADD), (unsigned)v + 1, false), to, to, held(part), v);
    }
}

static void put_register(translation *t, unsigned code, int to, int x, int y) {
    put_evex(t, packed(t, code), to, x, (source){ONE_REGISTER, (uint32_t)y}, 0);
}

static void open_sum(translation *t, uint32_t row, int first, int second) {
    point_at(t, row);
    put_evex(t, packed(t, AG_X_LOAD), first, 0, (source){WHOLE, row}, 0);
    put_register(t, AG_X_XOR, second, second, second);
}

static void close_sum(translation *t, uint32_t row, int first, int second) {
    point_at(t, row);
    put_register(t, AG_X_ADD, first, first, second);
    put_evex(t, packed(t, AG_X_STORE), first, 0, (source){WHOLE, row}, 0);
}

static int sum_register(int k) { return OTHER - 2 * (k + 1); }

static int find_sum(const translation *t, uint32_t row) {
    int k = 0;
    while (k < t->sum_count && t->sums[k] != row) k++;
    return k;
}

static void add_up(translation *t, uint32_t row, int part) {
    if (t->loops) {
        int first = sum_register(find_sum(t, row));
        put_sums(t, first, first + 1, part);
        return;
    }
    open_sum(t, row, SCRATCH, OTHER);
    put_sums(t, SCRATCH, OTHER, part);
    close_sum(t, row, SCRATCH, OTHER);
}

static int compute_sum(translation *t, const ag_straight *c, unsigned detail) {
    (void)detail;
    source x = find(t, c->x);
    add_up(t, c->to, load(t, &x, x, x));
    return -1;
}

/* The sum comes next, and is skipped. */
static int compute_product_sum(translation *t, const ag_straight *c, unsigned code) {
    int to = compute_product(t, c->to, c->x, c->y, code);
    add_up(t, c[1].to, to);
    t->now++;
    return to;
}

/* By operation; others have no translation. */
static const struct {
    int (*compute)(translation *t, const ag_straight *c, unsigned detail);
    unsigned detail;
} rules[] = {
    [AG_STRAIGHT_COPY] = {compute_copy, 0},
    [AG_STOP] = {compute_copy, 0},
    [AG_ADD] = {compute_arithmetic, AG_X_ADD},
    [AG_SUB] = {compute_arithmetic, AG_X_SUBTRACT},
    [AG_MUL] = {compute_arithmetic, AG_X_MULTIPLY},
    [AG_DIV] = {compute_arithmetic, AG_X_DIVIDE},
    [AG_SQUARE] = {compute_square, AG_X_MULTIPLY},
    [AG_RECIP] = {compute_reciprocal, AG_X_DIVIDE},
    [AG_SQRT] = {compute_root, AG_X_ROOT},
    [AG_NEG] = {compute_sign, AG_BITS_SIGN},
    [AG_ABS] = {compute_sign, AG_BITS_MAGNITUDE},
    [AG_STRAIGHT_FMA] = {compute_fused, 0},
    [AG_STRAIGHT_FNMA] = {compute_fused, AG_X_NEGATED},
    [AG_STRAIGHT_CHAIN] = {compute_chain, AG_X_MULTIPLY},
    [AG_STRAIGHT_CHAIN_FMA] = {compute_chain, AG_X_FUSED_231},
    [AG_STRAIGHT_CHAIN_FNMA] = {compute_chain, AG_X_FUSED_231 + AG_X_NEGATED},
    [AG_CHAIN] = {compute_chain, AG_X_MULTIPLY},
    [AG_EQ] = {compute_compare, AG_X_EQUAL},
    [AG_NE] = {compute_compare, AG_X_NOT_EQUAL},
    [AG_LT] = {compute_compare, AG_X_LESS},
    [AG_LE] = {compute_compare, AG_X_NO_MORE},
    [AG_GT] = {compute_compare, AG_X_MORE},
    [AG_GE] = {compute_compare, AG_X_AT_LEAST},
    [AG_MIN] = {compute_extreme, AG_X_LESS},
    [AG_MAX] = {compute_extreme, AG_X_MORE},
    [AG_RELU] = {compute_relu, AG_X_NOT_NO_MORE},
    [AG_SELECT] = {compute_select, BLEND},
    [AG_STRAIGHT_ADD_1] = {compute_with_number, AG_X_ADD},
    [AG_STRAIGHT_MUL_1] = {compute_with_number, AG_X_MULTIPLY},
    [AG_STRAIGHT_FMA_1] = {compute_fused_number, 0},
    [AG_STRAIGHT_MUL_ADD_1] = {compute_fused_addend, 0},
    [AG_STRAIGHT_SUM] = {compute_sum, 0},
    [AG_STRAIGHT_MUL_SUM] = {compute_product_sum, AG_X_MULTIPLY},
};

static bool has_rule(uint32_t op) { return op < sizeof rules / sizeof *rules && rules[op].compute; }

/* ---- codes ------------------------------------------------------------------------------------------------------ */

/* Instructions first..end-1, for one part of the rows after the other. */
static void translate_run(translation *t, uint32_t first, uint32_t end, uint32_t row_bytes) {
    memset(t->held, 0xff, sizeof t->held);
    memset(t->newer, 0, sizeof t->newer);
    t->most = (OTHER - 2 * t->sum_count) / t->vectors;
    if (t->most > MOST_HELD) t->most = MOST_HELD;
    for (int k = 0; k < t->sum_count; k++) open_sum(t, t->sums[k], sum_register(k), sum_register(k) + 1);
    ag_put_bytes(&t->at, 0xc931, 2); /* xor ecx, ecx */
    const unsigned char *head = t->at;
    for (uint32_t i = end; i-- > first;) {
        if (t->code[i].op != AG_STRAIGHT_SUM) continue;
        put_masks(t, t->code[i].z);
        break;
    }
    for (t->now = first; t->now < end; t->now++) {
        const ag_straight *c = &t->code[t->now];
        int part = rules[c->op].compute(t, c, rules[c->op].detail);
        if (part >= 0) finish(t, c->to, part);
    }
    for (int k = 0; k < t->most; k++) let_go(t, k, end);
    if (!t->loops) return;
    ag_put_bytes(&t->at, 0xc18148, 3); /* add rcx */
    ag_put_bytes(&t->at, (uint64_t)t->vectors * VECTOR, 4);
    ag_put_bytes(&t->at, 0xf98148, 3); /* cmp rcx */
    ag_put_bytes(&t->at, row_bytes, 4);
    ag_put_bytes(&t->at, 0x820f, 2); /* jb */
    int64_t distance = head - (t->at + 4);
    ag_put_bytes(&t->at, (uint64_t)distance, 4);
    for (int k = 0; k < t->sum_count; k++) close_sum(t, t->sums[k], sum_register(k), sum_register(k) + 1);
}

static void put_clear(translation *t) { ag_put_bytes(&t->at, 0x77f8c5, 3); } /* vzeroupper */

static void call_kernels(translation *t, const void *function, uint32_t first, uint32_t end) {
    if (first == end) return;
    put_clear(t);
    ag_put_bytes(&t->at, 0xda8948, 3); /* mov rdx, rbx */
    ag_put_kernel_call(&t->at, function, t->code + first, end - first);
}

/* Is there a register for what an instruction adds up to, if it does that? */
static bool fits_sum(translation *t, uint32_t i) {
    const ag_straight *c = &t->code[i];
    if (!t->loops || (c->op != AG_STRAIGHT_SUM && c->op != AG_STRAIGHT_MUL_SUM)) return true;
    uint32_t row = c->op == AG_STRAIGHT_SUM ? c->to : c[1].to;
    int k = find_sum(t, row);
    if (k == MOST_SUMS) return false;
    if (k == t->sum_count) t->sums[t->sum_count++] = row;
    return true;
}

/* Where instructions end that stand together from this one on and have rules. A product and its sum are not parted. */
static uint32_t find_run(translation *t, uint32_t first) {
    uint32_t end = first;
    t->sum_count = 0;
    while (end < t->count && has_rule(t->code[end].op) && fits_sum(t, end))
        end += t->code[end].op == AG_STRAIGHT_MUL_SUM ? 2 : 1;
    return end;
}

/* Returns how many instructions the kernels do not do. */
static uint32_t translate(translation *t, const void *function, uint32_t row_bytes) {
    uint32_t waiting = 0, translated = 0;
    for (uint32_t i = 0; i < t->count;) {
        uint32_t end = find_run(t, i);
        if (end - i >= LEAST_RUN) {
            call_kernels(t, function, waiting, i);
            translate_run(t, i, end, row_bytes);
            translated += end - i;
            waiting = end;
        }
        while (end < t->count && !has_rule(t->code[end].op)) end++;
        i = end;
    }
    call_kernels(t, function, waiting, t->count);
    return translated;
}

size_t ag_native_rows_room(size_t count) { return ag_whole_16(MOST_FRAME + count * MOST_BYTES); }

static const void *kernel_for(const ag_kernels *k, int64_t lanes) {
    void (*function)(const ag_straight *, size_t, void *const *) = lanes == AG_FEW_LANES    ? k->straight_short_rows
                                                                   : lanes == AG_HALF_LANES ? k->straight_half_rows
                                                                   : lanes == AG_LANES      ? k->straight_rows
                                                                                            : k->straight_long_rows;
    const void *result;
    memcpy(&result, &function, sizeof result);
    return result;
}

static bool open_translation(translation *t, const ag_native *native, ag_type type, const ag_straight *code,
                             uint32_t count, uint32_t results) {
    const ag_kernels *k = ag_kernels_for(type);
    *t = (translation){.block = native->base, .at = native->at, .wide = type == AG_F64};
    t->code = code;
    t->count = count;
    t->results = results;
    return k->fuses && (size_t)k->lanes * ag_type_size(type) == VECTOR && count >= LEAST_RUN;
}

/* Where it begins, or NULL if the kernels would do all of it. */
static unsigned char *make(translation *t, ag_native *native, const void *kernel, uint32_t row_bytes) {
    unsigned char *begin = native->at;
    ag_put_begin(&t->at);
    ag_put_bytes(&t->at, 0xfb8948, 3); /* mov rbx, rdi */
    if (translate(t, kernel, row_bytes) == 0) return NULL;
    put_clear(t);
    ag_put_end(&t->at);
    native->at += ag_whole_16((size_t)(t->at - begin));
    return begin;
}

ag_native_rows *ag_native_add_rows(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                   int64_t lanes, uint32_t results) {
    translation t;
    ag_native_rows *f = NULL;
    if (!open_translation(&t, native, type, code, count, results)) return NULL;
    uint32_t row_bytes = (uint32_t)lanes * (uint32_t)ag_type_size(type), vectors = row_bytes / VECTOR;
    t.vectors = vectors < MOST_VECTORS ? (int)vectors : MOST_VECTORS;
    t.loops = vectors > MOST_VECTORS;
    unsigned char *begin = make(&t, native, kernel_for(ag_kernels_for(type), lanes), row_bytes);
    if (begin) memcpy(&f, &begin, sizeof f);
    return f;
}

ag_native_code *ag_native_add_lanes(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                    uint32_t results) {
    translation t;
    ag_native_code *f = NULL;
    const void *kernel;
    if (!open_translation(&t, native, type, code, count, results)) return NULL;
    t.lanes = (uint32_t)(AG_LANES * ag_type_size(type));
    t.vectors = LANE_VECTORS;
    t.loops = true;
    for (uint32_t i = 0; i < count; i++)
        if ((code[i].to | code[i].x | code[i].y | code[i].z) >= MOST_PLACES) return NULL;
    memcpy(&kernel, &ag_kernels_for(type)->straight_lanes, sizeof kernel);
    unsigned char *begin = make(&t, native, kernel, t.lanes);
    if (begin) memcpy(&f, &begin, sizeof f);
    return f;
}

#else

size_t ag_native_rows_room(size_t count) { return 0 * count; }

ag_native_rows *ag_native_add_rows(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                   int64_t lanes, uint32_t results) {
    (void)native, (void)type, (void)code, (void)count, (void)lanes, (void)results;
    return NULL;
}

ag_native_code *ag_native_add_lanes(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                    uint32_t results) {
    (void)native, (void)type, (void)code, (void)count, (void)results;
    return NULL;
}

#endif
