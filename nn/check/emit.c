/* The gradient of a scalar of a file by a name, as C. */
#include "nn/check/check_impl.h"
#include "nn/memory.h"

typedef struct emission {
    ac_evaluator *e;
    ac_symbol *f, *x;
    bool *seen;        /* of each symbol */
    ac_symbol **given; /* x, then what else is an argument: numbers that stand in the file, and what is drawn */
    int count;
} emission;

static ac_symbol *symbol_named(const ac_file *file, const char *name) {
    for (int i = 0; i < file->symbol_count; i++) {
        ac_symbol *s = file->symbols[i];
        if ((s->kind == AC_VALUE || s->kind == AC_QUANTIFIED) && strcmp(s->name, name) == 0) return s;
    }
    return NULL;
}

/* Marks what s is computed from; x is not looked into. */
static void mark(emission *m, const ac_symbol *s) {
    if (m->seen[s->index]) return;
    m->seen[s->index] = true;
    for (int i = 0; s != m->x && i < s->use_count; i++) mark(m, s->uses[i]);
}

/* x, then the others in the order of the file. */
static void find_given(emission *m) {
    const ac_file *file = m->e->file;
    m->given[m->count++] = m->x;
    mark(m, m->f);
    for (int i = 0; i < file->symbol_count; i++) {
        ac_symbol *s = file->symbols[i];
        bool value = s->kind == AC_VALUE || s->kind == AC_QUANTIFIED;
        if (value && s != m->x && m->seen[s->index] && s->given) m->given[m->count++] = s;
    }
}

static bool print_gradient(emission *m, FILE *out) {
    ac_evaluator *e = m->e;
    size_t n = (size_t)m->count;
    ag_var *xs = nn_allocate(n, sizeof *xs);
    const char **names = nn_allocate(n, sizeof *names);
    bool fine = xs != NULL && names != NULL;
    if (!fine) ac_fail(e->error, m->f->span, "out of memory");
    for (size_t k = 0; k < n && fine; k++) {
        xs[k] = e->values[m->given[k]->index];
        names[k] = m->given[k]->name;
    }
    if (fine) {
        char name[2 * AC_MAX_NAME + 8];
        snprintf(name, sizeof name, "d%s_d%s", m->f->name, m->x->name);
        ag_program *p =
            ag_program_freeze(xs, names, m->count, &e->values[m->f->index], (const char *const[]){m->f->name}, 1);
        ag_program *g = ag_program_gradient(p, (const int[]){0}, 1);
        ag_printed printed = ag_program_print_c(g, name, NULL, out);
        if (printed.status != AG_OK) fine = ac_fail(e->error, m->f->span, "%s", printed.message);
        ag_program_free(g);
        ag_program_free(p);
    }
    nn_release(xs);
    nn_release(names);
    return fine;
}

static bool emit(ac_evaluator *e, const char *f, const char *x, FILE *out) {
    emission m = {.e = e, .f = symbol_named(e->file, f), .x = symbol_named(e->file, x)};
    if (m.f == NULL || m.x == NULL)
        return ac_fail(e->error, (ac_span){0, 0}, "there is no value '%s'", m.f == NULL ? f : x);
    if (!ac_prepare(e, &m.f, 1, true)) return false;
    if (ag_shape_of(e->values[m.f->index]).rank != 0) return ac_fail(e->error, m.f->span, "'%s' is not a number", f);
    m.seen = nn_allocate((size_t)e->file->symbol_count, sizeof *m.seen);
    m.given = nn_allocate((size_t)e->file->symbol_count + 1, sizeof(ac_symbol *));
    bool fine = m.seen != NULL && m.given != NULL;
    if (!fine) ac_fail(e->error, m.f->span, "out of memory");
    if (fine) {
        find_given(&m);
        fine = m.seen[m.x->index] || ac_fail(e->error, m.f->span, "'%s' does not depend on '%s'", f, x);
    }
    fine = fine && print_gradient(&m, out);
    nn_release(m.seen);
    nn_release(m.given);
    return fine;
}

bool ac_emit_c(const ac_source *source, const ac_options *options, const char *f, const char *x, FILE *out,
               char *message, size_t room) {
    ac_file *file = ac_parse(source, options->limits);
    ac_evaluator e;
    if (file == NULL) {
        snprintf(message, room, "out of memory");
        return false;
    }
    bool fine = !file->error.set;
    if (fine && (fine = ac_evaluator_open(&e, file, &file->error, options->seed))) {
        ac_start_draw(&e, 0);
        fine = emit(&e, f, x, out);
        ac_evaluator_close(&e);
    }
    snprintf(message, room, "%s", fine ? "" : file->error.message);
    ac_file_free(file);
    return fine;
}
