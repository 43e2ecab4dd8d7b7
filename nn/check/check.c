/* The checks of a file, one after the other. */
#include "nn/check/check.h"

#include "nn/check/check_impl.h"
#include "nn/check/functions.h"
#include "nn/compare.h"
#include "nn/memory.h"

#include <math.h>

enum {
    KEPT_BYTES = 16 << 20, /* names stay recorded while they take less */
    MOST_SIZES = 64
};

/* A file being checked. */
typedef struct run {
    const ac_options *options;
    const ac_sink *const *sinks;
    int sink_count;
    ac_file *file;
    ac_evaluator e;
    ac_tally tally;
    ac_room rooms[3]; /* of the check under way: what is right, what is claimed, and what is in both */
    ac_ahead ahead;
    ac_agreed agreed;
    int validated; /* statements whose names were recorded once */
} run;

static int64_t count_of(ag_shape shape) { return nn_shape_count(shape); }

/* ---- what a diagnosis may use ----------------------------------------------------------------------------------- */

typedef struct sizes {
    nn_named_size list[MOST_SIZES];
    char names[MOST_SIZES][AC_MAX_NAME + 16];
    int count;
} sizes;

static void add_size(sizes *s, const char *format, const char *name, int64_t size) {
    for (int i = 0; i < s->count; i++)
        if (s->list[i].size == size) return;
    if (s->count == MOST_SIZES) return;
    snprintf(s->names[s->count], sizeof s->names[0], format, name);
    s->list[s->count] = (nn_named_size){s->names[s->count], size};
    s->count++;
}

/* Whole numbers that have a name, then lengths of named vectors and matrices. */
static void find_sizes(ac_trial *t, sizes *found) {
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < t->e->file->symbol_count; i++) {
            const ac_symbol *s = t->e->file->symbols[i];
            if (s->kind == AC_DEFINED || t->e->recorded[s->index] != (s->random ? t->e->passing : t->e->lasting))
                continue;
            ag_var x = t->e->values[s->index];
            ag_shape shape = ag_shape_of(x);
            double value = shape.rank == 0 ? ag_value(x) : 0;
            if (pass == 0 && value >= 2 && value <= 1e6 && value == floor(value))
                add_size(found, "%s", s->name, (int64_t)value);
            if (pass == 1 && shape.rank == 1) add_size(found, "len(%s)", s->name, shape.dim[0]);
            if (pass == 1 && shape.rank == 2) add_size(found, "rows(%s)", s->name, shape.dim[0]);
            if (pass == 1 && shape.rank == 2) add_size(found, "columns(%s)", s->name, shape.dim[1]);
        }
}

static bool has_derivative(const ac_node *node) {
    const ac_node *found[1];
    return ac_find_derivatives(node, found, 1) > 0;
}

/* What is added to the derivative on the left side, as W is in W - eta * G; NULL if it is not of that form. */
static const ac_node *base_of(const ac_node *left) {
    if (left->kind != AC_ADD && left->kind != AC_SUBTRACT) return NULL;
    const ac_node *a = left->operands[0], *b = left->operands[1];
    if (has_derivative(b) && !has_derivative(a)) return a;
    return left->kind == AC_ADD && has_derivative(a) && !has_derivative(b) ? b : NULL;
}

static bool compute_base(ac_trial *t) {
    ac_evaluator *e = t->e;
    const ac_node *base = base_of(t->left);
    if (base == NULL) return true;
    ag_mark mark = ag_tape_mark(e->tape);
    bool fits = true;
    t->base = ac_take_draws(t, &t->rooms[2], base->span, t->right_count);
    if (t->base == NULL) return false;
    for (int draw = 0; draw < t->claim.draws && fits; draw++) {
        if (!ac_go_to_draw(t, draw)) return false;
        ag_var x = ac_evaluate(e, base, t->statement->frame_size);
        if (e->error->set) return false;
        fits = nn_same_shape(ag_shape_of(x), t->claim.right_shape);
        if (fits) ag_read(x, t->base + draw * t->right_count);
        ag_tape_rewind(e->tape, mark);
    }
    if (!fits) return true;
    t->claim.base = t->base;
    t->claim.base_name = ac_text_of(&e->file->source, base->span, t->base_name, sizeof t->base_name);
    return true;
}

static bool diagnose(ac_trial *t) {
    ac_evaluator *e = t->e;
    sizes *found = nn_allocate(1, sizeof *found);
    if (found == NULL) return ac_fail(e->error, t->statement->span, "out of memory");
    ag_mark mark = ag_tape_mark(e->tape);
    if (ac_go_to_draw(t, 0)) find_sizes(t, found);
    ag_tape_rewind(e->tape, mark);
    t->claim.sizes = found->list;
    t->claim.size_count = found->count;
    /* Of the first draw alone: what explains it for the greatest numbers that there may be. */
    t->claim.floor = t->outlook == AC_LIKE_FIRST ? NN_TOLERANCE : nn_claim_floor(&t->claim);
    t->claim.worst = &t->finding->comparison;
    t->claim.search = ac_search;
    t->claim.context = t;
    if (!e->error->set && compute_base(t)) t->finding->diagnosis = nn_claim_diagnose(&t->claim);
    nn_release(found);
    return !e->error->set;
}

/* Is what was found at the first draw what all would have given? */
static bool is_confirmed(const ac_trial *t) {
    return !t->open && nn_guess_confirms(&t->guess, &t->finding->diagnosis) &&
           (t->claim.base == NULL || nn_claim_guess(&t->claim).kind == NN_IS_NOTHING);
}

/* What is wrong with a claim. Most mistakes are as plain at one draw as at all. */
static bool explain(ac_trial *t) {
    if (!diagnose(t)) return false;
    if (t->outlook != AC_LIKE_FIRST || is_confirmed(t)) return true;
    t->outlook = AC_WRONG;
    t->claim.draws = t->finding->draws;
    t->claim.base = NULL;
    return ac_compare(t, &t->finding->comparison) && diagnose(t);
}

/* ---- statements ------------------------------------------------------------------------------------------------- */

static void tell(const run *r, const ac_trial *t) {
    ac_finding *f = t->finding;
    f->right_shape = t->claim.right_shape;
    f->claimed_shape = t->claim.claimed_shape;
    f->right = t->right + t->shown * t->right_count;
    f->claimed = t->claimed + t->shown * t->claimed_count;
    f->unit = t->claim.unit;
    for (int i = 0; i < r->sink_count; i++)
        if (r->sinks[i]->found != NULL) r->sinks[i]->found(r->sinks[i]->context, r->file, f);
}

static bool judge(run *r, ac_trial *t) {
    if (!t->finding->comparison.holds && !explain(t)) return false;
    nn_comparison c = t->finding->comparison;
    ac_ask_witnesses(t, 0);
    if (c.draw > 0 && t->finding->witness.agrees) ac_ask_witnesses(t, c.draw);
    if (t->e->error->set) return false;
    r->tally.checks++;
    r->tally.hold += c.holds;
    r->tally.wrong += !c.holds;
    tell(r, t);
    return true;
}

static bool run_check(run *r, const ac_statement *s) {
    ac_finding finding;
    memset(&finding, 0, sizeof finding);
    ac_trial t = {.e = &r->e,
                  .rooms = r->rooms,
                  .statement = s,
                  .finding = &finding,
                  .agreed = &r->agreed,
                  .literal = ac_is_literal(s->right)};
    t.left = ac_inline(r->file->arena, s->left);
    finding.statement = s;
    finding.law = s->random;
    finding.draws = t.claim.draws = s->random ? r->options->draws : 1;
    ac_tell_outlook(&r->ahead, &t);
    if (!ac_prepare(&r->e, s->uses, s->use_count, false)) return false;
    ag_mark mark = ag_tape_mark(r->e.tape);
    bool fine = ac_compare(&t, &finding.comparison) && judge(r, &t);
    ag_tape_rewind(r->e.tape, mark);
    return fine;
}

static bool run_show(run *r, const ac_statement *s) {
    ac_evaluator *e = &r->e;
    if (!ac_prepare(e, s->uses, s->use_count, false)) return false;
    ag_mark mark = ag_tape_mark(e->tape);
    ac_start_draw(e, 0);
    if (!ac_prepare(e, s->uses, s->use_count, true)) return false;
    ag_var x = ac_evaluate(e, s->left, s->frame_size);
    if (e->error->set) return false;
    ac_shown shown = {s, ag_shape_of(x), NULL};
    double *value = nn_allocate((size_t)count_of(shown.shape), sizeof *value);
    if (value == NULL) return ac_fail(e->error, s->span, "out of memory");
    ag_read(x, value);
    shown.value = value;
    for (int i = 0; i < r->sink_count; i++)
        if (r->sinks[i]->shown != NULL) r->sinks[i]->shown(r->sinks[i]->context, r->file, &shown);
    nn_release(value);
    ag_tape_rewind(e->tape, mark);
    return true;
}

static void forget_if_full(run *r) {
    ag_stats now = ag_tape_stats(r->e.tape);
    if (now.value_bytes + now.instruction_bytes > KEPT_BYTES) ac_forget(&r->e);
}

/* Records every name defined up to a statement once, used or not: errors come in the order of the file. */
static bool validate(run *r, int statement) {
    ac_bookmark before = ac_bookmark_here(r->file);
    for (int i = r->validated; i < statement; i++) {
        ac_symbol *s = r->file->statements[i]->symbol;
        if (s == NULL || s->kind == AC_DEFINED || s->random) continue;
        forget_if_full(r);
        if (!ac_prepare(&r->e, &s, 1, false)) return false;
    }
    for (int i = r->validated; i < statement; i++) {
        ac_symbol *s = r->file->statements[i]->symbol;
        if (s == NULL || s->kind == AC_DEFINED || !s->random) continue;
        if (!ac_prepare(&r->e, s->uses, s->use_count, false)) return false;
    }
    ag_mark mark = ag_tape_mark(r->e.tape);
    ac_start_draw(&r->e, 0);
    for (int i = r->validated; i < statement; i++) {
        ac_symbol *s = r->file->statements[i]->symbol;
        if (s != NULL && s->kind != AC_DEFINED && s->random && !ac_prepare(&r->e, &s, 1, true)) return false;
    }
    ag_tape_rewind(r->e.tape, mark);
    ac_start_draw(&r->e, 0);
    ac_go_back(r->file, before, NULL);
    r->validated = statement;
    return true;
}

/* Its expressions, and what is made of them, go with it: memory does not grow with the number of claims. */
static bool run_statement(run *r, ac_statement *s) {
    ac_bookmark before = ac_bookmark_here(r->file);
    bool fine = ac_read_sides(r->file, s, &r->file->error) && (s->kind == AC_CHECK ? run_check(r, s) : run_show(r, s));
    ac_go_back(r->file, before, s);
    return fine;
}

static bool run_statements(run *r) {
    for (int i = 0; i < r->file->statement_count; i++) {
        ac_statement *s = r->file->statements[i];
        if (s->kind == AC_DEFINE) continue;
        forget_if_full(r);
        bool fine = validate(r, i) && ac_look_ahead(&r->ahead, &r->e, r->options->draws, i) && run_statement(r, s);
        if (!fine) return false;
    }
    return validate(r, r->file->statement_count);
}

static void run_file(run *r) {
    for (int i = 0; i < r->sink_count; i++)
        if (r->sinks[i]->begin != NULL) r->sinks[i]->begin(r->sinks[i]->context, r->file);
    if (!r->file->error.set) {
        if (ac_evaluator_open(&r->e, r->file, &r->file->error, r->options->seed)) run_statements(r);
        ac_evaluator_close(&r->e);
        ac_ahead_close(&r->ahead);
        for (int i = 0; i < 3; i++) nn_release(r->rooms[i].values);
    }
    for (int i = 0; i < r->sink_count; i++)
        if (r->sinks[i]->end != NULL) r->sinks[i]->end(r->sinks[i]->context, r->file, &r->tally);
}

int ac_check_unreadable(const char *name, const char *why, const ac_sink *const *sinks, int sink_count) {
    ac_file none = {.source = {.name = name, .text = ""}};
    ac_options options = {0};
    run r = {.options = &options, .sinks = sinks, .sink_count = sink_count, .file = &none};
    ac_fail(&none.error, (ac_span){0, 0}, "%s", why);
    run_file(&r);
    return 2;
}

int ac_check_text(const ac_source *source, const ac_options *options, const ac_sink *const *sinks, int sink_count) {
    ac_options o = *options;
    if (o.draws <= 0) o.draws = AC_DRAWS;
    run r = {.options = &o, .sinks = sinks, .sink_count = sink_count, .file = ac_parse(source, o.limits)};
    if (r.file == NULL) return ac_check_unreadable(source->name, "out of memory", sinks, sink_count);
    run_file(&r);
    int status = r.file->error.set ? 2 : r.tally.wrong > 0 ? 1 : 0;
    ac_file_free(r.file);
    return status;
}
