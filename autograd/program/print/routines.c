/* Functions that printed operations call, each printed once and behind those that it needs. */
#include "../../ops/c_form_impl.h"
#include "print_impl.h"

enum {
    NONE = -1,
#define AG_C_ROUTINE(NAME, name, needs, ...) NAME,
#include "routines.inc"
#undef AG_C_ROUTINE
    ROUTINES
};
_Static_assert(ROUTINES <= 32, "bits of ag_c_file.routines");

static const struct {
    const char *name, *text;
    int needs;
} routines[] = {
#define AG_C_ROUTINE(NAME, name, needs, ...) {#name, #__VA_ARGS__, needs},
#include "routines.inc"
#undef AG_C_ROUTINE
};

static void add_routine(ag_c_file *file, int k) {
    if (k == NONE || file->routines >> k & 1) return;
    add_routine(file, routines[k].needs);
    file->routines |= 1u << k;
    ag_text *t = &file->helpers;
    const char *suffix = file->type == AG_F64 ? "" : "f";
    ag_text_line(t, "#ifndef AD_HAS_ROUTINE_%s%s", routines[k].name, suffix);
    ag_text_line(t, "#define AD_HAS_ROUTINE_%s%s", routines[k].name, suffix);
    ag_c_code(t, routines[k].text, file->type);
    ag_text_line(t, "#endif");
}

void ag_c_need(const ag_c_form *f, const char *name) {
    for (int k = 0; k < ROUTINES; k++)
        if (strcmp(routines[k].name, name) == 0) add_routine(f->state->function->file, k);
}
