/* Guards: a branch on a value, recorded as a condition that every run of the program checks. */
#include "guard_impl.h"

#include "../ops/structural_impl.h"
#include "root_impl.h"
#include "scan_impl.h"

ag_guard_text ag_guard_sentence(const ag_guarding *g, const double *values) {
    ag_guard_text s;
    char name[GUARD_NAME + 4] = "", condition[96];
    if (g->name[0]) snprintf(name, sizeof name, " \"%s\"", g->name);
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    static const ag_opcode ops[] = {AG_EQ, AG_NE, AG_LT, AG_LE, AG_GT, AG_GE};
    snprintf(condition, sizeof condition, "%.9g", values[0]);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (g->compared == (int32_t)ops[i])
            snprintf(condition, sizeof condition, "%.9g %s %.9g", values[1], signs[i], values[2]);
    snprintf(s.text, sizeof s.text, "guard%s: %s is %s, and was %s when the program was recorded", name, condition,
             g->expected ? "false" : "true", g->expected ? "true" : "false");
    return s;
}

bool ag_can_refuse(const ag_program *p, const ag_code *c) {
    if (c->op != CODE_CALL) return false;
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    const void *params = ag_pparams_at(p, call->params);
    if (call->operation == &ag_guard_operation) return true;
    if (ag_is_map(call->operation)) return ag_map_program(params)->has_guards;
    if (call->operation == &ag_scan_operation) return ((const ag_scanning *)params)->p->has_guards;
    if (call->operation == &ag_root_operation) return ((const ag_rooting *)params)->step->has_guards;
    return false;
}

void ag_find_guards(ag_program *p) {
    for (uint32_t i = 0; i < p->codes.count && !p->has_guards; i++) p->has_guards = ag_can_refuse(p, ag_code_at(p, i));
}

static bool guard_shape(ag_call *call) {
    for (int k = 0; k < call->n; k++) {
        if (call->in[k].view->count == 1) continue;
        ag_fail(call->tape, AG_ERR_SHAPE, "guard: the condition has shape %s; it has to be a scalar",
                ag_show_view(call->in[k].view).text);
        return false;
    }
    call->shape = (ag_shape){.rank = 0};
    return true;
}

static bool guard_forward(const ag_call *call) {
    const ag_guarding *g = call->params;
    double values[3] = {0};
    for (int k = 0; k < call->n && k < 3; k++) values[k] = ag_load(call->type, call->in[k].data, 0);
    ag_store(call->type, call->out.data, 0, values[0]);
    if ((values[0] != 0) == (g->expected != 0)) return true;
    ag_fail(call->tape, AG_ERR_GUARD, "%s", ag_guard_sentence(g, values).text);
    return false;
}

static bool guard_adjoint(const ag_call *call) {
    (void)call;
    return true;
}

static ag_var guard_tangent(const ag_rule *rule, const ag_var *tangents) {
    (void)rule, (void)tangents;
    return ag_num(0);
}

static void guard_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    (void)rule, (void)w, (void)contributions;
}

/* A guard of scalars is a guard again. */
static void guard_scalars(const ag_elements *e) {
    ag_var in[3];
    for (int k = 0; k < e->n && k < 3; k++)
        in[k] = ag_tape_of(e->in[k][0]) ? e->in[k][0] : ag_constant(e->tape, e->in[k][0].value);
    e->out[0] = ag_apply(&ag_guard_operation, in, e->n, e->params, e->params_size);
}

static bool guard_valid(const ag_call *call) {
    const ag_guarding *g = call->params;
    return call->params_size == sizeof *g && (call->n == 1 || call->n == 3) && (call->n == 3) == (g->compared >= 0) &&
           g->compared < AG_OPCODES;
}

const ag_operation ag_guard_operation = {
    .name = "guard",
    .shape = guard_shape,
    .forward = guard_forward,
    .adjoint = guard_adjoint,
    .tangent = guard_tangent,
    .record = guard_record,
    .scalars = guard_scalars,
    .valid = guard_valid,
};

/* ---- recording ---- */

/* The operands of the comparison that computes a scalar, and which it is; -1 if none does. */
static int32_t compared_by(ag_tape *t, ag_var condition, ag_var *operands) {
    ag_operand c;
    uint32_t slot, in[3];
    double number;
    if (!ag_locate(condition, &c) || c.view > VIEW_CONSTANT || ag_base_of(t, c.slot)) return -1;
    const ag_instruction_ *i = ag_instructions(t) + ag_find_instruction(t, c.slot, &slot);
    uint32_t op = ag_op_of(i);
    if (slot != c.slot || op >= OP_NODE || !(ag_op_table[op].traits & AG_FLAT) || ag_op_table[op].arity != 2) return -1;
    (void)ag_scalar_operands(i, in, &number);
    for (int k = 0; k < 2; k++) {
        ag_operand o = {in[k], VIEW_SCALAR};
        operands[k] = in[k] == NOTHING ? ag_num(number) : ag_var_of(t, o.slot, o.view);
    }
    return (int32_t)op;
}

bool ag_guard(ag_var condition, const char *name) {
    ag_tape *t = ag_tape_of(condition);
    if (!t) return condition.value != 0;
    if (t->status != AG_OK || !ag_usable(condition, "guard")) return false;
    if (ag_count(condition) != 1) {
        ag_fail(t, AG_ERR_SHAPE, "guard: the condition has shape %s; it has to be a scalar",
                ag_show_shape(ag_shape_of(condition)).text);
        return false;
    }
    if (t->abstract && !ag_is_constant(condition)) {
        ag_fail(t, AG_ERR_VALUE, "guard%s%s: a branch on a value needs an example for every input of the program",
                name ? " " : "", name ? name : "");
        return false;
    }
    bool holds = ag_value(condition) != 0;
    if (!t->tracing || ag_is_constant(condition)) return holds;
    ag_guarding g = {.expected = holds};
    ag_var in[3] = {condition, condition, condition};
    g.compared = compared_by(t, condition, in + 1);
    if (name) snprintf(g.name, sizeof g.name, "%s", name);
    (void)ag_apply(&ag_guard_operation, in, g.compared < 0 ? 1 : 3, &g, sizeof g);
    return holds && t->status == AG_OK;
}
