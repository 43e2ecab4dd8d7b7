/* A program drawn for Graphviz: inputs and outputs in boxes, instructions by their formulas, and what they read. */
#include "../support/locale_impl.h"
#include "program_impl.h"

/* Text in a label. */
static void put_text(const char *text, FILE *out) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        if (*text == '\n') fputs("\\n", out);
        else fputc(*text, out);
    }
}

static bool is_drawn(const ag_program *p, uint32_t v) {
    const ag_code *c = ag_code_at(p, v);
    return c->op != CODE_CONSTANT || !(c->view & WHERE_ELEMENT);
}

static void put_value(const ag_program *p, uint32_t v, FILE *out) {
    const ag_code *c = ag_code_at(p, v);
    if (c->op == CODE_INPUT) put_text(ag_name_at(p, ag_pinput_at(p, c->extra)->name), out);
    else fprintf(out, "v%u", v);
}

/* What an operand sees: a number, a value, an element of it, a view. */
static void put_operand(const ag_program *p, ag_ref r, FILE *out) {
    double number;
    if (ag_ref_number(p, r, &number)) {
        fprintf(out, "%.6g", number);
        return;
    }
    put_value(p, r.value, out);
    if (r.where == ag_code_at(p, r.value)->view) return;
    if (r.where & WHERE_ELEMENT) fprintf(out, "[%u]", r.where & ~WHERE_ELEMENT);
    else fprintf(out, " as %s", ag_show_shape(ag_where_shape(p, r.where)).text);
}

static void put_formula(const ag_program *p, const ag_code *c, FILE *out) {
    const char *at = ag_op_table[c->op].form;
    for (; *at; at++) {
        if (*at == '$') put_operand(p, *ag_ref_at(p, c->in + (uint32_t)(*++at - 'x')), out);
        else fputc(*at, out);
    }
}

static void put_call(const ag_program *p, const ag_code *c, FILE *out) {
    enum { SHOWN = 6 };
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    put_text(call->operation->name, out);
    for (uint32_t k = 0; k < call->n && k < SHOWN; k++) {
        fputs(k ? ", " : "(", out);
        put_operand(p, *ag_ref_at(p, c->in + k), out);
    }
    fputs(call->n > SHOWN ? ", ...)" : call->n ? ")" : "()", out);
}

static void put_shape(const ag_program *p, uint32_t where, FILE *out) {
    if (!(where & WHERE_ELEMENT)) fprintf(out, "\\n%s", ag_show_shape(ag_where_shape(p, where)).text);
}

static void put_node(const ag_program *p, uint32_t v, FILE *out) {
    const ag_code *c = ag_code_at(p, v);
    fprintf(out, "  v%u [label=\"", v);
    if (c->op == CODE_INPUT) put_value(p, v, out);
    else {
        fprintf(out, "v%u = ", v);
        if (c->op == CODE_CONSTANT) fputs("constant", out);
        else if (c->op == CODE_CALL) put_call(p, c, out);
        else put_formula(p, c, out);
    }
    put_shape(p, c->view, out);
    fprintf(out, "\"%s];\n", c->op == CODE_INPUT ? ", shape=box, style=filled, fillcolor=lightblue" : "");
    for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
        uint32_t from = ag_ref_at(p, c->in + k)->value;
        bool again = false;
        for (uint32_t j = 0; j < k && j < 64 && !again; j++) again = ag_ref_at(p, c->in + j)->value == from;
        if (!again && is_drawn(p, from)) fprintf(out, "  v%u -> v%u;\n", from, v);
    }
}

static void draw(const ag_program *p, FILE *out) {
    fputs("digraph program {\n  rankdir=TB;\n  node [fontname=\"sans-serif\", fontsize=11];\n", out);
    if (ag_program_status(p) != AG_OK) {
        fputs("  error [shape=box, label=\"", out);
        put_text(ag_program_message(p), out);
        fputs("\"];\n", out);
    } else {
        for (uint32_t v = 0; v < p->codes.count; v++)
            if (is_drawn(p, v)) put_node(p, v, out);
        for (uint64_t k = 0; k < p->outputs.count; k++) {
            const ag_pport *o = ag_poutput_at(p, k);
            fprintf(out, "  y%u [label=\"", (unsigned)k);
            put_text(ag_name_at(p, o->name), out);
            fputs(" = ", out);
            put_operand(p, o->ref, out);
            put_shape(p, o->ref.where, out);
            fputs("\", shape=box, style=filled, fillcolor=lightgray];\n", out);
            if (is_drawn(p, o->ref.value)) fprintf(out, "  v%u -> y%u;\n", o->ref.value, (unsigned)k);
        }
    }
    fputs("}\n", out);
}

void ag_program_dot(const ag_program *p, FILE *out) {
    if (!out) return;
    ag_locale locale = ag_locale_enter();
    draw(p, out);
    ag_locale_leave(locale);
}
