/* A file's computation as a graph. */
#include "nn/check/check_impl.h"

/* The function of the last derivative that is claimed, and what its expression needs. */
static const ac_node *find_function(const ac_file *file, const ac_statement **statement) {
    for (int i = file->statement_count - 1; i >= 0; i--) {
        const ac_node *found[1];
        *statement = file->statements[i];
        if ((*statement)->kind == AC_CHECK &&
            ac_find_derivatives(ac_inline(file->arena, (*statement)->left), found, 1) > 0)
            return found[0]->operands[0];
    }
    return NULL;
}

static bool record_names(ac_evaluator *e) {
    ac_start_draw(e, 0);
    for (int i = 0; i < e->file->symbol_count; i++) {
        ac_symbol *s = e->file->symbols[i];
        if (s->kind != AC_DEFINED && s->nesting == 0 && !ac_prepare(e, &s, 1, true)) return false;
    }
    return true;
}

static void sweep(ac_evaluator *e) {
    const ac_statement *statement;
    const ac_node *function = find_function(e->file, &statement);
    if (function == NULL || !ac_prepare(e, statement->uses, statement->use_count, true)) return;
    ag_var f = ac_evaluate(e, function, statement->frame_size);
    if (!e->error->set && ag_shape_of(f).rank == 0 && !ag_is_constant(f)) ag_backward(f);
}

bool ac_draw(const char *name, const char *text, size_t size, const ac_options *options, FILE *out) {
    ac_file *file = ac_parse(name, text, size);
    ac_evaluator e;
    if (file == NULL) return false;
    bool fine = !file->error.set && ac_evaluator_open(&e, file, &file->error, options->seed, options->limits);
    if (fine) {
        e.named = true;
        fine = record_names(&e);
        if (fine) sweep(&e);
        fine = fine && ag_dot(e.tape, out);
        ac_evaluator_close(&e);
    }
    ac_file_free(file);
    return fine;
}
