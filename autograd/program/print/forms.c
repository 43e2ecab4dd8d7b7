/* What operations use to print themselves. */
#include "../../ops/c_form_impl.h"
#include "print_impl.h"

#include <stdarg.h>

void ag_c_line(const ag_c_form *f, const char *format, ...) {
    va_list args;
    va_start(args, format);
    ag_text_vline(&f->state->function->body, format, args);
    va_end(args);
}

void ag_c_use(const ag_c_form *f, ag_opcode op) {
    ag_c_file *file = f->state->function->file;
    ag_c_helper(&file->helpers, op, f->type, file->helped);
}

void ag_c_table(const ag_c_form *f, const int64_t *numbers, int64_t count) {
    ag_text *t = &f->state->function->body;
    ag_text_line(t, "static const long at[] = {");
    for (int64_t i = 0; i < count; i += 16) {
        for (int k = 0; k < t->depth * 4; k++) ag_text_add(t, " ");
        for (int64_t k = i; k < count && k < i + 16; k++)
            ag_text_add(t, "%lld%s", (long long)numbers[k], k + 1 == count ? "" : k + 1 < i + 16 ? ", " : ",");
        ag_text_add(t, "\n");
    }
    ag_text_line(t, "};");
}

int ag_c_check(const ag_c_form *f, const char *sentence) {
    return ag_c_add_check(f->state->function->file, sentence, "");
}

ag_c_text ag_c_work(const ag_c_form *f, int64_t count) {
    ag_c_function *function = f->state->function;
    ag_c_text t;
    snprintf(t.text, sizeof t.text, "(%s)", ag_c_room(function, count).text);
    function->taken += count;
    return t;
}
