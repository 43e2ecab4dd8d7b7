/* The checks of a file, one after the other. */
#include "nn/check/check.h"

#include "nn/check/check_impl.h"
#include "nn/check/functions.h"
#include "nn/compare.h"
#include "nn/memory.h"

#include <math.h>

enum {
    KEPT_BYTES = 16 << 20,  /* names stay recorded while the tape holds less */
    MOST_ENTRIES = 1 << 26, /* of all draws of a claim */
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
    int validated;    /* statements whose names were recorded once */
} run;

static int64_t count_of(ag_shape shape) { return nn_shape_count(shape); }

/* ---- draws ------------------------------------------------------------------------------------------------------ */

bool ac_go_to_draw(ac_trial *t, int draw) {
    ac_start_draw(t->e, draw);
    return ac_prepare(t->e, t->statement->uses, t->statement->use_count, true);
}

static bool make_room(ac_room *room, size_t count) {
    if (room->values != NULL && count <= room->count) return true;
    nn_release(room->values);
    room->values = nn_allocate(count, sizeof *room->values);
    room->count = count;
    return room->values != NULL;
}

/* Room for `count` numbers at every draw that is kept. */
static double *take_draws(ac_trial *t, ac_room *room, ac_span span, int64_t count) {
    ac_evaluator *e = t->e;
    double all = (double)count * t->kept;
    if (all > MOST_ENTRIES)
        ac_fail(e->error, span, "%d draws of %lld numbers are more than the limit of %d", t->kept, (long long)count,
                MOST_ENTRIES);
    else if (all * sizeof(double) > (double)e->file->limits.bytes)
        ac_fail(e->error, span, "%d draws of %lld numbers need more memory than the limit of %zu MB", t->kept,
                (long long)count, e->file->limits.bytes >> 20);
    else if (make_room(room, (size_t)all)) return room->values;
    else ac_fail(e->error, span, "out of memory");
    return NULL;
}

/* The values of one side at a draw, in its place among those that are kept. Shapes are those of the first draw. */
static bool keep_side(ac_trial *t, ag_var x, ac_span span, int place, ag_shape *shape, double **values, ac_room *room) {
    ac_evaluator *e = t->e;
    ag_shape now = ag_shape_of(x);
    int64_t count = count_of(now);
    char first[80], here[80];
    if (*values == NULL) {
        *shape = now;
        *values = take_draws(t, room, span, count);
        if (*values == NULL) return false;
    }
    if (!nn_same_shape(now, *shape))
        return ac_fail(e->error, span, "the shape changes from draw to draw: %s, then %s",
                       ac_shape_words(*shape, first, sizeof first), ac_shape_words(now, here, sizeof here));
    ag_read(x, *values + place * count);
    return true;
}

/* Printed numbers, as they are. */
static bool keep_literal(ac_trial *t, const ac_node *node) {
    double sign = 1;
    for (; node->kind == AC_NEGATE; node = node->operands[0]) sign = -sign;
    t->claim.claimed_shape = node->shape;
    int64_t count = count_of(node->shape);
    t->claimed = take_draws(t, &t->rooms[1], node->span, count);
    if (t->claimed == NULL) return false;
    for (int64_t i = 0; i < count * t->kept; i++) t->claimed[i] = sign * node->values[i % count];
    t->claim.unit = node->units;
    return true;
}

static bool read_tolerance(ac_trial *t) {
    const ac_statement *s = t->statement;
    if (s->within == NULL) return true;
    ag_var x = ac_evaluate(t->e, s->within, s->frame_size);
    if (t->e->error->set) return false;
    double tolerance = ag_shape_of(x).rank == 0 ? ag_value(x) : NAN;
    if (!(tolerance >= 0)) return ac_fail(t->e->error, s->within->span, "the tolerance is not a number from 0 up");
    t->claim.tolerance = fmax(tolerance, 5e-324); /* within 0: nothing but the number itself */
    return true;
}

/* Room for some draws, which are none yet. */
static bool keep_draws(ac_trial *t, int kept) {
    t->right = t->claimed = NULL;
    t->kept = kept;
    return !t->literal || keep_literal(t, t->statement->right);
}

static bool compute_draw(ac_trial *t, int draw, int place) {
    ac_evaluator *e = t->e;
    const ac_statement *s = t->statement;
    if (!ac_go_to_draw(t, draw) || (draw == 0 && !read_tolerance(t))) return false;
    ag_mark mark = ag_tape_mark(e->tape);
    ag_var left = ac_evaluate(e, s->left, s->frame_size);
    if (e->error->set || !keep_side(t, left, s->left->span, place, &t->claim.right_shape, &t->right, &t->rooms[0]))
        return false;
    if (!t->literal) {
        ag_tape_rewind(e->tape, mark);
        ag_var right = ac_evaluate(e, s->right, s->frame_size);
        if (e->error->set ||
            !keep_side(t, right, s->right->span, place, &t->claim.claimed_shape, &t->claimed, &t->rooms[1]))
            return false;
    }
    t->right_count = count_of(t->claim.right_shape);
    t->claimed_count = count_of(t->claim.claimed_shape);
    return true;
}

/* Compares `draws` of those that are kept, from one on. */
static nn_comparison compare(ac_trial *t, int first, int draws) {
    nn_claim claim = t->claim;
    claim.draws = draws;
    claim.right = t->right + first * t->right_count;
    claim.claimed = t->claimed + first * t->claimed_count;
    return nn_claim_compare(&claim);
}

/* Draw by draw, up to one that is wrong. Two are kept: this one, and the worst before it. */
static bool compare_each(ac_trial *t, nn_comparison *worst) {
    ag_mark mark = ag_tape_mark(t->e->tape);
    int place = 0;
    for (int draw = 0; draw < t->claim.draws && (draw == 0 || worst->holds); draw++) {
        bool fine = compute_draw(t, draw, place);
        ag_tape_rewind(t->e->tape, mark);
        if (!fine) return false;
        nn_comparison c = compare(t, place, 1);
        if (draw > 0 && c.holds && c.ratio <= worst->ratio) continue;
        c.draw = draw;
        *worst = c;
        t->shown = place;
        place = t->kept - 1 - place;
    }
    return true;
}

/* All draws side by side, as a diagnosis wants them. */
static bool compare_all(ac_trial *t, nn_comparison *worst) {
    ag_mark mark = ag_tape_mark(t->e->tape);
    bool fine = true;
    for (int draw = 0; draw < t->claim.draws && fine; draw++) {
        fine = compute_draw(t, draw, draw);
        ag_tape_rewind(t->e->tape, mark);
    }
    if (!fine) return false;
    t->claim.right = t->right;
    t->claim.claimed = t->claimed;
    *worst = compare(t, 0, t->claim.draws);
    t->shown = worst->draw;
    return true;
}

static bool compare_draws(ac_trial *t, nn_comparison *worst) {
    if (!keep_draws(t, t->claim.draws > 1 ? 2 : 1) || !compare_each(t, worst)) return false;
    return worst->holds || (keep_draws(t, t->claim.draws) && compare_all(t, worst));
}

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
    t->base = take_draws(t, &t->rooms[2], base->span, t->right_count);
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
    t->claim.search = ac_search;
    t->claim.context = t;
    if (!e->error->set && compute_base(t)) t->finding->diagnosis = nn_claim_diagnose(&t->claim);
    nn_release(found);
    return !e->error->set;
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
    nn_comparison c = t->finding->comparison;
    ac_ask_witnesses(t, 0);
    if (c.draw > 0 && t->finding->witness.agrees) ac_ask_witnesses(t, c.draw);
    if (t->e->error->set || (!c.holds && !diagnose(t))) return false;
    r->tally.checks++;
    r->tally.hold += c.holds;
    r->tally.wrong += !c.holds;
    tell(r, t);
    return true;
}

static bool run_check(run *r, const ac_statement *s) {
    ac_finding finding;
    memset(&finding, 0, sizeof finding);
    ac_trial t = {
        .e = &r->e, .rooms = r->rooms, .statement = s, .finding = &finding, .literal = ac_is_literal(s->right)};
    t.left = ac_inline(r->file->arena, s->left);
    finding.statement = s;
    finding.law = s->random;
    finding.draws = t.claim.draws = s->random ? r->options->draws : 1;
    if (!ac_prepare(&r->e, s->uses, s->use_count, false)) return false;
    ag_mark mark = ag_tape_mark(r->e.tape);
    bool fine = compare_draws(&t, &finding.comparison) && judge(r, &t);
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
    if (ag_tape_stats(r->e.tape).held_bytes > KEPT_BYTES) ac_forget(&r->e);
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
        if (!validate(r, i) || !run_statement(r, s)) return false;
    }
    return validate(r, r->file->statement_count);
}

static void run_file(run *r) {
    for (int i = 0; i < r->sink_count; i++)
        if (r->sinks[i]->begin != NULL) r->sinks[i]->begin(r->sinks[i]->context, r->file);
    if (!r->file->error.set) {
        if (ac_evaluator_open(&r->e, r->file, &r->file->error, r->options->seed)) run_statements(r);
        ac_evaluator_close(&r->e);
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
