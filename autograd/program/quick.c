/* A second function of a compiled program, in which `chain` is a plain product.
 *
 * chain(x, y) is x * y, but where that is NaN because one factor is 0. So if no product is NaN, the plain ones are right
 * (a zero's sign is nowhere specified). And if one is, some output is NaN, provided that from every chain a way leads to
 * an output on which NaN stays NaN; then the function with the checks computes everything again. In a function of a
 * hundred instructions, half of them chains, the checks cost more than the rest. */
#include "quick_impl.h"

#include <stdlib.h>

enum { MOST_OUTPUTS = 64, LARGEST = 10000 };

static bool is_assembly(const ag_program *p, const ag_code *c) {
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    return ag_placements_of(call->operation, ag_pparams_at(p, call->params)) != NULL;
}

/* Marks what a NaN is seen from that is part of instruction i: a value is marked if all of it is seen. */
static void mark_operands(const ag_program *p, const ag_code *c, uint8_t *shown) {
    bool through = c->op == AG_CHAIN || c->op >= AG_OPCODES || ag_op_table[c->op].traits & AG_STRICT;
    for (uint32_t k = 0, n = ag_operand_count(p, c); through && k < n; k++) {
        ag_ref r = *ag_ref_at(p, c->in + k);
        if (r.where == ag_code_at(p, r.value)->view) shown[r.value] = 1;
    }
}

static bool all_chains_show(const ag_program *p, uint8_t *shown) {
    uint64_t chains = 0;
    int64_t outputs = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        ag_ref r = ag_poutput_at(p, k)->ref;
        outputs += ag_where_count(p, r.where);
        if (r.where == ag_code_at(p, r.value)->view) shown[r.value] = 1;
    }
    if (outputs > MOST_OUTPUTS) return false;
    for (uint64_t i = p->codes.count; i-- > 0;) {
        const ag_code *c = ag_code_at(p, i);
        if (c->op == CODE_CALL && !is_assembly(p, c)) return false;
        chains += c->op == AG_CHAIN;
        if (c->op == AG_CHAIN && !shown[i]) return false;
        if (shown[i]) mark_operands(p, c, shown);
    }
    return chains > 0;
}

bool ag_chains_show(const ag_program *p, ag_memory *m) {
    if (p->codes.count > LARGEST) return false;
    uint8_t *shown = ag_memory_zeroed(m, p->codes.count + 1);
    bool all = shown && all_chains_show(p, shown);
    ag_memory_free(m, shown, p->codes.count + 1);
    return all;
}

bool ag_add_quick(const ag_program *p, const char *name, ag_c_file *like, ag_text *t) {
    ag_c_file file = {.memory = like->memory, .enclosed = like->enclosed};
    const char *suffix = p->type == AG_F64 ? "" : "f";
    ag_text_line(t, "#define ad_chain%s(x, y) ((x) * (y))", suffix);
    bool ok = ag_c_print_file(&file, p, name, t);
    ag_text_line(t, "#undef ad_chain%s", suffix);
    if (!ok) ag_c_fail(like, file.status, "%s", file.message);
    ag_c_close_file(&file);
    return ok;
}

void ag_add_nan_test(const ag_program *p, ag_text *t) {
    ag_text_line(t, "%s sum = 0;", ag_c_number_type(p->type));
    for (uint64_t k = 0; k < p->outputs.count; k++)
        ag_text_line(t, "for (long i = 0; i < %lld; i++) sum += ys[%u][i];",
                     (long long)ag_where_count(p, ag_poutput_at(p, k)->ref.where), (unsigned)k);
    ag_text_line(t, "if (sum == sum) return 0;");
}
