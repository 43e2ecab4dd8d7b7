/* Identities of elementwise operations that hold for every input in floating point, NaN, infinities and signed zeros
 * included; only a zero that `chain` gives may have another sign, which is nowhere specified. */
#include "program_impl.h"

#include <math.h>

/* An operation with operands that are numbers where `is[k]`. */
typedef struct ag_site {
    ag_builder *b;
    uint32_t op;
    const ag_ref *in;
    ag_shape shape;
    bool is[3];
    double c[3];
} ag_site;

static bool is_number(const ag_site *s, int k, double c) {
    return s->is[k] && s->c[k] == c && !signbit(s->c[k]) == !signbit(c);
}

static bool same(ag_ref x, ag_ref y) { return x.value == y.value && x.where == y.where; }

/* The operand of the instruction that computes a ref, if that is `op` and the ref sees all of its value, or if both are
 * scalars. */
static bool is_made_by(const ag_site *s, ag_ref r, uint32_t op, ag_ref *operand) {
    const ag_program *p = s->b->p;
    const ag_code *c = ag_code_at(p, r.value);
    if (c->op != op || c->view != r.where) return false;
    *operand = *ag_ref_at(p, c->in);
    return true;
}

static bool is_comparison(const ag_site *s, ag_ref r) {
    const ag_code *c = ag_code_at(s->b->p, r.value);
    return (c->op == AG_EQ || c->op == AG_NE || c->op == AG_LT || c->op == AG_LE || c->op == AG_GT || c->op == AG_GE);
}

/* An operand as the result: false if it has not its shape, or is no block, so that views of it might not be views. */
static bool give(const ag_site *s, ag_ref r, ag_ref *out) {
    const ag_program *p = s->b->p;
    ag_shape own = ag_where_shape(p, r.where);
    bool fits = own.rank == s->shape.rank && (ag_ref_is_block(p, r) || ag_ref_is_uniform(p, r));
    for (int i = 0; i < own.rank && fits; i++) fits = own.dim[i] == s->shape.dim[i];
    if (!fits) return false;
    *out = r;
    return true;
}

/* Whether operands broadcast to the shape: one that is dropped may have been who gave it a dim. */
static bool give_shape(const ag_site *s, const ag_ref *in, int n) {
    bool given[AG_MAX_RANK] = {false}, all = true;
    for (int k = 0; k < n; k++) {
        ag_shape own = ag_where_shape(s->b->p, in[k].where);
        int lead = s->shape.rank - own.rank;
        for (int i = 0; i < own.rank; i++) given[lead + i] |= own.dim[i] == s->shape.dim[lead + i];
    }
    for (int i = 0; i < s->shape.rank; i++) all &= given[i];
    return all;
}

/* Another operation instead. */
static bool emit(const ag_site *s, uint32_t op, const ag_ref *in, ag_ref *out) {
    if (!give_shape(s, in, ag_op_table[op].arity)) return false;
    *out = ag_emit(s->b, op, in, s->shape);
    return true;
}

static bool emit1(const ag_site *s, uint32_t op, ag_ref x, ag_ref *out) { return emit(s, op, &x, out); }

static bool emit2(const ag_site *s, uint32_t op, ag_ref x, ag_ref y, ag_ref *out) {
    return emit(s, op, (const ag_ref[]){x, y}, out);
}

static bool emit3(const ag_site *s, uint32_t op, ag_ref x, ag_ref y, ag_ref z, ag_ref *out) {
    return emit(s, op, (const ag_ref[]){x, y, z}, out);
}

static ag_ref scalar(const ag_site *s, double c) { return ag_emit_number(s->b, c, (ag_shape){.rank = 0}); }

static bool number(const ag_site *s, double c, ag_ref *out) {
    *out = ag_emit_number(s->b, c, s->shape);
    return true;
}

static bool fold(const ag_site *s, int arity, ag_ref *out) {
    for (int k = 0; k < arity; k++)
        if (!s->is[k]) return false;
    if (s->shape.rank) return false; /* ag_emit makes a scalar of what is uniform */
    const ag_op_info *info = &ag_op_table[s->op];
    double r = s->b->p->type == AG_F64 ? info->value(s->c[0], s->c[1], s->c[2])
                                       : (double)info->value_f32((float)s->c[0], (float)s->c[1], (float)s->c[2]);
    return number(s, r, out);
}

static bool add(const ag_site *s, ag_ref *out) {
    ag_ref x = s->in[0], y = s->in[1], n;
    for (int k = 0; k < 2; k++)
        if (is_number(s, k, -0.0)) return give(s, s->in[1 - k], out);
    if (is_made_by(s, y, AG_NEG, &n)) return emit2(s, AG_SUB, x, n, out);
    if (is_made_by(s, x, AG_NEG, &n)) return emit2(s, AG_SUB, y, n, out);
    return false;
}

static bool subtract(const ag_site *s, ag_ref *out) {
    ag_ref n;
    if (is_number(s, 1, 0)) return give(s, s->in[0], out);
    if (is_made_by(s, s->in[1], AG_NEG, &n)) return emit2(s, AG_ADD, s->in[0], n, out);
    return false;
}

static bool multiply(const ag_site *s, ag_ref *out) {
    ag_ref x = s->in[0], y = s->in[1], m, n;
    for (int k = 0; k < 2; k++) {
        if (is_number(s, k, 1)) return give(s, s->in[1 - k], out);
        if (is_number(s, k, -1)) return emit1(s, AG_NEG, s->in[1 - k], out);
    }
    if (same(x, y)) return emit1(s, AG_SQUARE, x, out);
    if (is_made_by(s, x, AG_NEG, &m) && is_made_by(s, y, AG_NEG, &n)) return emit2(s, s->op, m, n, out);
    return false;
}

/* A finite factor that is not 0 makes a product of it; a comparison, which is 1 or 0, a choice. */
static bool chain(const ag_site *s, ag_ref *out) {
    for (int k = 0; k < 2; k++) {
        ag_ref other = s->in[1 - k];
        if (s->is[k] && s->c[k] == 0) return number(s, -0.0, out); /* so that adding it is nothing */
        if (s->is[k] && isfinite(s->c[k])) return emit2(s, AG_MUL, other, s->in[k], out);
        if (is_comparison(s, s->in[k])) return emit3(s, AG_SELECT, s->in[k], other, scalar(s, 0), out);
    }
    return false;
}

/* c / sqrt(x), c a power of 2, where 1 / sqrt(x) is known: that is never subnormal, so c times it is exact. */
static bool share_reciprocal(const ag_site *s, ag_ref *out) {
    int exponent;
    ag_ref x, inverse;
    if (!s->is[0] || fabs(frexp(s->c[0], &exponent)) != 0.5 || exponent < -20 || exponent > 20) return false;
    if (!is_made_by(s, s->in[1], AG_SQRT, &x) || !ag_is_emitted(s->b, AG_RECIP, &s->in[1], &inverse)) return false;
    return emit2(s, AG_MUL, inverse, s->in[0], out);
}

static bool divide(const ag_site *s, ag_ref *out) {
    int exponent;
    if (is_number(s, 0, 1)) return emit1(s, AG_RECIP, s->in[1], out);
    if (is_number(s, 1, 1)) return give(s, s->in[0], out);
    if (s->is[1] && fabs(frexp(s->c[1], &exponent)) == 0.5 && exponent > -120 && exponent < 120)
        return emit2(s, AG_MUL, s->in[0], scalar(s, 1 / s->c[1]), out);
    return share_reciprocal(s, out);
}

static bool fused(const ag_site *s, ag_ref *out) {
    ag_ref n;
    uint32_t other = s->op == AG_FMA ? AG_FNMA : AG_FMA;
    for (int k = 0; k < 2; k++) {
        if (is_number(s, k, 1) && s->op == AG_FMA) return emit2(s, AG_ADD, s->in[1 - k], s->in[2], out);
        if (is_number(s, k, 1)) return emit2(s, AG_SUB, s->in[2], s->in[1 - k], out);
        if (is_made_by(s, s->in[k], AG_NEG, &n)) return emit3(s, other, n, s->in[1 - k], s->in[2], out);
    }
    return false;
}

static bool power(const ag_site *s, ag_ref *out) {
    if (!s->is[1]) return false;
    if (s->c[1] == 2) return emit1(s, AG_SQUARE, s->in[0], out);
    if (s->c[1] == 1) return give(s, s->in[0], out);
    if (s->c[1] == -1) return emit1(s, AG_RECIP, s->in[0], out);
    if (s->c[1] == 0) return number(s, 1, out);
    return false;
}

static bool choose(const ag_site *s, ag_ref *out) {
    if (s->is[0]) return give(s, s->in[s->c[0] != 0 ? 1 : 2], out);
    if (same(s->in[1], s->in[2])) return give(s, s->in[1], out);
    if (is_number(s, 1, 1) && is_number(s, 2, 0) && is_comparison(s, s->in[0])) return give(s, s->in[0], out);
    return false;
}

bool ag_simplify(ag_builder *b, uint32_t op, ag_ref *in, ag_shape shape, ag_ref *out) {
    const ag_op_info *info = &ag_op_table[op];
    ag_site s = {.b = b, .op = op, .in = in, .shape = shape};
    if (info->traits & AG_COMMUTES) {
        bool swap = in[0].value > in[1].value || (in[0].value == in[1].value && in[0].where > in[1].where);
        ag_ref x = in[0];
        if (swap) in[0] = in[1];
        if (swap) in[1] = x;
    }
    for (int k = 0; k < info->arity; k++) s.is[k] = ag_ref_number(b->p, in[k], &s.c[k]);
    if (fold(&s, info->arity, out)) return true;
    ag_ref x;
    switch (op) {
    case AG_ADD: return add(&s, out);
    case AG_SUB: return subtract(&s, out);
    case AG_MUL: return multiply(&s, out);
    case AG_DIV: return divide(&s, out);
    case AG_NEG: return is_made_by(&s, in[0], AG_NEG, &x) && give(&s, x, out);
    case AG_FMA:
    case AG_FNMA: return fused(&s, out);
    case AG_CHAIN: return chain(&s, out);
    case AG_POW: return power(&s, out);
    case AG_SELECT: return choose(&s, out);
    default: return false;
    }
}
