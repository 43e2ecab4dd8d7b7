/* A file's computation as a graph. */
#include "nn/check/check_impl.h"

static bool is_same(const ac_source *s, const ac_node *a, const ac_node *b) {
    if (a->kind == AC_NAME && b->kind == AC_NAME) return a->symbol == b->symbol;
    uint32_t length = a->span.end - a->span.start;
    return a->kind == b->kind && b->span.end - b->span.start == length &&
           memcmp(s->text + a->span.start, s->text + b->span.start, length) == 0;
}

static bool is_found(const ac_file *file, const ac_drawn *found, int count, const ac_node *function) {
    for (int i = 0; i < count; i++)
        if (is_same(&file->source, found[i].function, function)) return true;
    return false;
}

/* The function whose derivative is claimed first, read into the arena; NULL if there is none, and nothing stays there. */
static const ac_node *read_function(const ac_file *file, ac_statement *s) {
    const ac_node *derivative[1];
    ac_error error = {0};
    ac_bookmark before = ac_bookmark_here(file);
    if (s->kind != AC_CHECK) return NULL;
    if (ac_read_sides(file, s, &error) && ac_find_derivatives(ac_inline(file->arena, s->left), derivative, 1) > 0)
        return derivative[0]->operands[0];
    ac_go_back(file, before, s);
    return NULL;
}

int ac_find_functions(const ac_file *file, ac_drawn *found, int most) {
    int count = 0;
    for (int i = 0; i < file->statement_count && count < most; i++) {
        ac_statement *s = file->statements[i];
        ac_bookmark before = ac_bookmark_here(file);
        const ac_node *function = read_function(file, s);
        if (function == NULL) continue;
        if (is_found(file, found, count, function)) ac_go_back(file, before, s);
        else found[count++] = (ac_drawn){function, s};
    }
    return count;
}

/* The function of the last derivative that is claimed, and what its expression needs. */
static const ac_node *find_function(const ac_file *file, const ac_statement **statement) {
    for (int i = file->statement_count - 1; i >= 0; i--) {
        const ac_node *function = read_function(file, file->statements[i]);
        *statement = file->statements[i];
        if (function != NULL) return function;
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

/* Adjoints of what leads to a function; whether there are any. */
static bool sweep(ac_evaluator *e, const ac_drawn *d) {
    ac_symbol *name = d->function->kind == AC_NAME ? d->function->symbol : NULL;
    bool global = name != NULL && name->kind != AC_LOCAL;
    if (!ac_prepare(e, global ? &name : d->statement->uses, global ? 1 : d->statement->use_count, true)) return false;
    ag_var f = ac_evaluate(e, d->function, d->statement->frame_size);
    if (e->error->set || ag_shape_of(f).rank > 0 || ag_is_constant(f)) return false;
    ag_backward(f);
    return true;
}

static bool draw_all(ac_evaluator *e, FILE *out) {
    ac_drawn d;
    d.function = find_function(e->file, &d.statement);
    e->named = true;
    if (!record_names(e)) return false;
    if (d.function != NULL) sweep(e, &d);
    return ag_dot(e->tape, out);
}

bool ac_draw(const ac_source *source, const ac_options *options, FILE *out) {
    ac_file *file = ac_parse(source, options->limits);
    ac_evaluator e;
    bool fine = false;
    if (file != NULL && !file->error.set) {
        fine = ac_evaluator_open(&e, file, &file->error, options->seed) && draw_all(&e, out);
        ac_evaluator_close(&e);
    }
    ac_file_free(file);
    return fine;
}

bool ac_draw_function(const ac_file *file, const ac_drawn *d, const ac_options *options, int most_steps, FILE *out,
                      int64_t *steps, bool *adjoints) {
    ac_evaluator e;
    ac_error error = {0};
    bool fine = ac_evaluator_open(&e, file, &error, options->seed);
    if (fine) {
        e.named = true;
        ac_start_draw(&e, 0);
        *adjoints = sweep(&e, d);
        ag_stats stats = ag_tape_stats(e.tape);
        *steps = (int64_t)(stats.scalar_instructions + stats.tensor_instructions);
        fine = !error.set && *steps <= most_steps && ag_dot(e.tape, out);
    }
    ac_evaluator_close(&e);
    return fine;
}
