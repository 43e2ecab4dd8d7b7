/* What is simplified, that it is, and that it is exact: every value, bit by bit, is what the eager tape computes. */
#include "programs.h"

enum { PLACES = 3 };

/* ---- every operation, with numbers for any of its operands ---- */

typedef struct op_site {
    ag_opcode op;
    unsigned numbers; /* bit k: operand k is number[k] */
    double number[PLACES];
} op_site;

static void op_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const op_site *s = context;
    ag_var in[PLACES] = {ag_num(0), ag_num(0), ag_num(0)};
    for (int k = 0; k < ag_op_table[s->op].arity; k++) in[k] = s->numbers >> k & 1 ? ag_num(s->number[k]) : x[k];
    y[0] = apply_op(s->op, in);
    (void)t;
}

/* The eager tape's answer; a number is one there, too. */
static double eager_value(ag_type type, const op_site *s, const double *x) {
    ag_tape *t = fresh_tape(type);
    ag_var in[PLACES], y;
    for (int k = 0; k < PLACES; k++) in[k] = ag_input(t, x[k]);
    op_model(t, in, &y, (void *)(uintptr_t)s);
    return ag_value(ag_tape_of(y) ? y : ag_constant(t, ag_value(y)));
}

/* What may differ: an fma's rounding, the last bit of pow by a number that is a product, and the sign of chain's zero. */
static void check_op_value(ag_type type, const op_site *s, const double *x, double got) {
    double want = eager_value(type, s, x);
    if (same_bits(got, want) || (s->op == AG_CHAIN && got == want)) return;
    if (s->op == AG_FMA && is_product_sum(type, x[0], x[1], x[2], got)) return;
    if (s->op == AG_FNMA && is_product_sum(type, -x[0], x[1], x[2], got)) return;
    if (s->op == AG_POW && s->numbers & 2 && fabs(x[1]) == 2 && number_error(got, want) <= 2.3e-16) return;
    fail_msg("%s(%g, %g, %g), numbers %x, %s: %.17g, should be %.17g", ag_op_table[s->op].name, x[0], x[1], x[2],
             s->numbers, type == AG_F64 ? "f64" : "f32", got, want);
}

static double special(ag_type type, int i) { return type == AG_F64 ? SPECIAL[i] : (double)(float)SPECIAL[i]; }

/* Some operands fixed, all values for the others. */
static void check_site(ag_type type, op_site *s, int step) {
    int arity = ag_op_table[s->op].arity, at[PLACES], most[PLACES] = {1, 1, 1};
    scalar_program p = scalar_program_new(type, op_model, s, PLACES, 1);
    for (int k = 0; k < arity; k++) most[k] = s->numbers >> k & 1 ? 1 : SPECIALS;
    for (at[0] = 0; at[0] < most[0]; at[0] += step)
        for (at[1] = 0; at[1] < most[1]; at[1] += step)
            for (at[2] = 0; at[2] < most[2]; at[2] += step) {
                double x[8] = {0}, y[8];
                for (int k = 0; k < arity; k++) x[k] = s->numbers >> k & 1 ? s->number[k] : special(type, at[k]);
                run_scalars(&p, x, y);
                check_op_value(type, s, x, y[0]);
            }
    scalar_program_free(&p);
}

static void check_numbers_in(ag_type type, ag_opcode op) {
    int arity = ag_op_table[op].arity, step = arity == 3 ? 2 : 1;
    for (unsigned numbers = 0; numbers < 1u << arity; numbers++) {
        op_site s = {.op = op, .numbers = numbers};
        int most[PLACES] = {1, 1, 1}, at[PLACES];
        for (int k = 0; k < arity; k++) most[k] = numbers >> k & 1 ? SPECIALS : 1;
        for (at[0] = 0; at[0] < most[0]; at[0] += step)
            for (at[1] = 0; at[1] < most[1]; at[1] += step)
                for (at[2] = 0; at[2] < most[2]; at[2] += step) {
                    for (int k = 0; k < arity; k++) s.number[k] = special(type, at[k]);
                    check_site(type, &s, step);
                }
    }
}

static void every_operation_at_special_values(void **unused) {
    (void)unused;
    for (int op = 0; op < AG_OPCODES; op++) {
        check_numbers_in(AG_F64, (ag_opcode)op);
        check_numbers_in(AG_F32, (ag_opcode)op);
    }
}

/* ---- identities ---- */

enum { IDENTITIES = 46 };

/* Identity i, and how many instructions are left of it. */
static ag_var identity(int i, ag_var x, ag_var y, ag_var z, int *size) {
    ag_var below = ag_lt(x, y), root = ag_sqrt(x), inverse = ag_recip(root);
    switch (i) {
    case 0: *size = 0; return ag_add(x, -0.0);
    case 1: *size = 0; return ag_add(-0.0, x);
    case 2: *size = 1; return ag_add(x, 0.0);
    case 3: *size = 1; return ag_add(x, ag_neg(y));
    case 4: *size = 1; return ag_add(ag_neg(x), y);
    case 5: *size = 0; return ag_sub(x, 0.0);
    case 6: *size = 1; return ag_sub(x, -0.0);
    case 7: *size = 1; return ag_sub(x, ag_neg(y));
    case 8: *size = 1; return ag_sub(x, x);
    case 9: *size = 0; return ag_mul(x, 1);
    case 10: *size = 0; return ag_mul(1, x);
    case 11: *size = 1; return ag_mul(x, -1);
    case 12: *size = 1; return ag_mul(x, x);
    case 13: *size = 1; return ag_mul(ag_neg(x), ag_neg(y));
    case 14: *size = 1; return ag_mul(x, 0.0);
    case 15: *size = 0; return ag_div(x, 1);
    case 16: *size = 1; return ag_div(1, x);
    case 17: *size = 1; return ag_div(x, 8);
    case 18: *size = 1; return ag_div(x, -0.25);
    case 19: *size = 1; return ag_div(x, 3);
    case 20: *size = 1; return ag_div(x, x);
    case 21: *size = 0; return ag_neg(ag_neg(x));
    case 22: *size = 1; return ag_fma(x, 1, y);
    case 23: *size = 1; return ag_fnma(1, x, y);
    case 24: *size = 1; return ag_fma(ag_neg(x), y, z);
    case 25: *size = 1; return ag_fnma(x, ag_neg(y), z);
    case 26: *size = 0; return ag_chain(x, 0.0);
    case 27: *size = 1; return ag_chain(x, 0.5);
    case 28: *size = 1; return ag_chain(INFINITY, x);
    case 29: *size = 2; return ag_chain(x, below);
    case 30: *size = 1; return ag_pow(x, 2);
    case 31: *size = 0; return ag_pow(x, 1);
    case 32: *size = 1; return ag_pow(x, -1);
    case 33: *size = 0; return ag_pow(x, 0);
    case 34: *size = 0; return ag_select(NAN, x, y);
    case 35: *size = 0; return ag_select(-0.0, x, y);
    case 36: *size = 0; return ag_select(z, x, x);
    case 37: *size = 1; return ag_select(below, 1, 0);
    case 38: *size = 2; return ag_select(below, 0, 1);
    case 39: *size = 1; return ag_select(x, 1, 0);
    case 40: *size = 2; return ag_add(ag_min(x, y), ag_min(x, y));
    case 41: *size = 5; return ag_sub(ag_recip(ag_min(x, y)), ag_recip(ag_min(y, x)));
    case 42: *size = 4; return ag_max(ag_mul(inverse, 0.5), ag_div(0.5, root));
    case 43: *size = 4; return ag_max(inverse, ag_div(-4, root));
    case 44: *size = 4; return ag_mul(inverse, ag_div(3, root)); /* not a power of 2: rounded otherwise */
    default: *size = 2; return ag_div(ag_max(x, y), 0.0);
    }
}

static void identity_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int size;
    (void)t;
    y[0] = identity(*(int *)context, x[0], x[1], x[2], &size);
}

/* Value and gradient on the eager tape. */
static void eager_identity(ag_type type, int i, const double *x, double *out) {
    ag_tape *t = fresh_tape(type);
    ag_var in[PLACES], g[PLACES];
    int size;
    for (int k = 0; k < PLACES; k++) in[k] = ag_input(t, x[k]);
    ag_var y = identity(i, in[0], in[1], in[2], &size);
    out[0] = ag_value(y);
    ag_gradient(y, in, PLACES, g);
    for (int k = 0; k < PLACES; k++) out[1 + k] = ag_value(g[k]);
    check_fine("identity", t);
}

static void check_identity(ag_type type, int i) {
    scalar_program p = scalar_program_new(type, identity_model, &i, PLACES, 1),
                   g = {.p = ag_program_gradient(p.p, NULL, 0)};
    int size;
    g.r = ag_runner_new(g.p);
    (void)identity(i, ag_num(0), ag_num(0), ag_num(0), &size);
    if (ag_program_size(p.p) != size) {
        ag_program_list(p.p, stderr);
        fail_msg("identity %d: %d instructions, should be %d", i, (int)ag_program_size(p.p), size);
    }
    for (int a = 0; a < SPECIALS; a++)
        for (int b = 0; b < SPECIALS; b++)
            for (int c = 0; c < SPECIALS; c += 3) {
                double x[8] = {special(type, a), special(type, b), special(type, c)}, y[8], want[8];
                run_scalars(&p, x, y);
                eager_identity(type, i, x, want);
                bool same = same_bits(y[0], want[0]) || (i >= 26 && i <= 29 && y[0] == want[0]);
                if (i == 24 || i == 25) same |= is_product_sum(type, i == 24 ? -x[0] : x[0], x[1], x[2], y[0]);
                if (!same)
                    fail_msg("identity %d of (%g, %g, %g): %.17g, should be %.17g", i, x[0], x[1], x[2], y[0], want[0]);
                run_scalars(&g, x, y);
                for (int k = 1; k < 4; k++)
                    if (number_error(y[k], want[k]) > (type == AG_F64 ? 1e-15 : 5e-7))
                        fail_msg("identity %d of (%g, %g, %g): derivative %d is %.17g, should be %.17g", i, x[0], x[1],
                                 x[2], k, y[k], want[k]);
            }
    scalar_program_free(&p);
    scalar_program_free(&g);
}

static void identities(void **unused) {
    (void)unused;
    for (int i = 0; i < IDENTITIES; i++) {
        check_identity(AG_F64, i);
        check_identity(AG_F32, i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_at_special_values),
        cmocka_unit_test(identities),
    };
    return cmocka_run_group_tests(tests, NULL, free_tapes);
}
