/* A program as text, one instruction a line. */
#include "../support/locale_impl.h"
#include "program_impl.h"

static void put_ref(const ag_program *p, ag_ref r, FILE *out) {
    double number;
    if (ag_ref_number(p, r, &number)) {
        fprintf(out, "%.17g", number);
        return;
    }
    fprintf(out, "%%%u", r.value);
    if (r.where == ag_code_at(p, r.value)->view) return;
    if (r.where & WHERE_ELEMENT) {
        fprintf(out, "[%u]", r.where & ~WHERE_ELEMENT);
        return;
    }
    const ag_pview *w = ag_pview_at(p, r.where);
    fprintf(out, "{%s", ag_show_view(&w->view).text);
    if (!w->view.contiguous) {
        fprintf(out, " strides");
        for (int i = 0; i < w->view.rank; i++) fprintf(out, " %lld", (long long)w->view.stride[i]);
    }
    if (w->offset) fprintf(out, " at %lld", (long long)w->offset);
    fputc('}', out);
}

static void put_shape(const ag_program *p, uint32_t where, FILE *out) {
    if (!(where & WHERE_ELEMENT)) fprintf(out, " %s", ag_show_shape(ag_where_shape(p, where)).text);
}

static void put_code(const ag_program *p, uint32_t i, FILE *out) {
    const ag_code *c = ag_code_at(p, i);
    fprintf(out, "  %%%u", i);
    put_shape(p, c->view, out);
    fputs(" = ", out);
    if (c->op == CODE_INPUT) fprintf(out, "input %s", ag_name_at(p, ag_pinput_at(p, c->extra)->name));
    else if (c->op == CODE_CONSTANT) fprintf(out, "constant, %lld numbers", (long long)ag_value_count(p, i));
    else fputs(c->op == CODE_CALL ? ag_pcall_at(p, c->extra)->operation->name : ag_op_table[c->op].name, out);
    for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
        fputs(k ? ", " : " ", out);
        put_ref(p, *ag_ref_at(p, c->in + k), out);
    }
    fputc('\n', out);
}

static void list(const ag_program *p, FILE *out) {
    if (ag_program_status(p) != AG_OK) {
        fprintf(out, "program in error: %s\n", ag_program_message(p));
        return;
    }
    fprintf(out, "program of %s: %lld instructions\n", p->type == AG_F64 ? "f64" : "f32",
            (long long)ag_program_size(p));
    for (uint32_t i = 0; i < p->codes.count; i++) {
        const ag_code *c = ag_code_at(p, i);
        if (c->op != CODE_CONSTANT || !(c->view & WHERE_ELEMENT)) put_code(p, i, out);
    }
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        const ag_pport *o = ag_poutput_at(p, k);
        fprintf(out, "  output %s = ", ag_name_at(p, o->name));
        put_ref(p, o->ref, out);
        fputc('\n', out);
    }
}

void ag_program_list(const ag_program *p, FILE *out) {
    if (!out) return;
    ag_locale locale = ag_locale_enter();
    list(p, out);
    ag_locale_leave(locale);
}
