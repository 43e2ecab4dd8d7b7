/* Both sides of a claim, at one draw after the other. */
#include "nn/check/check_impl.h"
#include "nn/check/functions.h"
#include "nn/memory.h"

#include <math.h>

enum { MOST_ENTRIES = 1 << 26 }; /* of all draws of a claim */

bool ac_go_to_draw(ac_trial *t, int draw) {
    ac_start_draw(t->e, draw);
    return ac_prepare(t->e, t->statement->uses, t->statement->use_count, true);
}

/* ---- where they are kept ---------------------------------------------------------------------------------------- */

static bool make_room(ac_room *room, size_t count) {
    if (room->values != NULL && count <= room->count) return true;
    nn_release(room->values);
    room->values = nn_allocate(count, sizeof *room->values);
    room->count = count;
    return room->values != NULL;
}

double *ac_take_draws(ac_trial *t, ac_room *room, ac_span span, int64_t count) {
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
    int64_t count = nn_shape_count(now);
    char first[80], here[80];
    if (*values == NULL) {
        *shape = now;
        *values = ac_take_draws(t, room, span, count);
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
    int64_t count = nn_shape_count(node->shape);
    t->claimed = ac_take_draws(t, &t->rooms[1], node->span, count);
    if (t->claimed == NULL) return false;
    for (int64_t i = 0; i < count * t->kept; i++) t->claimed[i] = sign * node->values[i % count];
    t->claim.unit = node->units;
    return true;
}

/* Room for some draws, which are none yet. */
static bool keep_draws(ac_trial *t, int kept) {
    t->right = t->claimed = NULL;
    t->kept = kept;
    return !t->literal || keep_literal(t, t->statement->right);
}

/* ---- draw by draw ----------------------------------------------------------------------------------------------- */

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

/* The left side (0) or the right one (1) at the draw that is recorded. */
static bool record_side(ac_trial *t, int which, int place, ag_var *x) {
    const ac_statement *s = t->statement;
    const ac_node *node = which == 0 ? s->left : s->right;
    *x = ac_evaluate(t->e, node, s->frame_size);
    ag_shape *shape = which == 0 ? &t->claim.right_shape : &t->claim.claimed_shape;
    if (t->e->error->set ||
        !keep_side(t, *x, node->span, place, shape, which == 0 ? &t->right : &t->claimed, &t->rooms[which]))
        return false;
    t->right_count = nn_shape_count(t->claim.right_shape);
    t->claimed_count = nn_shape_count(t->claim.claimed_shape);
    return true;
}

static bool start_draw(ac_trial *t, int draw) {
    return ac_go_to_draw(t, draw) && (t->claim.tolerance > 0 || read_tolerance(t));
}

static bool compute_draw(ac_trial *t, int draw, int place) {
    ag_mark before = ag_tape_mark(t->e->tape);
    bool fine = start_draw(t, draw);
    ag_mark mark = ag_tape_mark(t->e->tape);
    for (int which = 0; which < 2 - t->literal && fine; which++) {
        ag_var x;
        fine = record_side(t, which, place, &x);
        ag_tape_rewind(t->e->tape, mark);
    }
    ag_tape_rewind(t->e->tape, before);
    return fine;
}

nn_claim ac_claim_of(const ac_trial *t, const double *right, const double *claimed, int draws) {
    nn_claim claim = t->claim;
    claim.draws = draws;
    claim.right = right;
    claim.claimed = claimed;
    return claim;
}

static nn_comparison compare_place(const ac_trial *t, int place) {
    nn_claim claim = ac_claim_of(t, t->right + place * t->right_count, t->claimed + place * t->claimed_count, 1);
    return nn_claim_compare(&claim);
}

/* Limits are the same for all mistakes, whether draws have to be kept to see them or not. */
static bool may_keep_all(const ac_trial *t) {
    double count = (double)(t->right_count > t->claimed_count ? t->right_count : t->claimed_count) * t->claim.draws;
    return count <= MOST_ENTRIES && count * sizeof(double) <= (double)t->e->file->limits.bytes;
}

bool ac_record_first(ac_trial *t, ag_var sides[2]) {
    if (!keep_draws(t, 1) || !read_tolerance(t)) return false;
    for (int which = 0; which < 2 - t->literal; which++)
        if (!record_side(t, which, 0, &sides[which])) return false;
    nn_claim first = ac_claim_of(t, t->right, t->claimed, 1);
    t->worst = nn_claim_compare(&first);
    t->guess.kind = NN_IS_ANYTHING;
    if (!t->worst.holds && may_keep_all(t)) t->guess = nn_claim_guess(&first);
    return true;
}

bool ac_take_all_draws(ac_trial *t) {
    if (!keep_draws(t, t->claim.draws)) return false;
    t->right = ac_take_draws(t, &t->rooms[0], t->statement->left->span, t->right_count);
    if (t->right != NULL && !t->literal)
        t->claimed = ac_take_draws(t, &t->rooms[1], t->statement->right->span, t->claimed_count);
    return !t->e->error->set;
}

/* The first draw, of two that are kept. */
static bool compare_first(ac_trial *t, nn_comparison *worst) {
    if (!keep_draws(t, t->claim.draws > 1 ? 2 : 1) || !compute_draw(t, 0, 0)) return false;
    *worst = compare_place(t, 0);
    t->shown = 0;
    return true;
}

/* The others, up to one that is wrong; kept are this one, and the worst before it. */
static bool compare_each(ac_trial *t, nn_comparison *worst) {
    int place = 1;
    for (int draw = 1; draw < t->claim.draws && worst->holds; draw++) {
        if (!compute_draw(t, draw, place)) return false;
        nn_comparison c = compare_place(t, place);
        if (c.holds && c.ratio <= worst->ratio) continue;
        c.draw = draw;
        *worst = c;
        t->shown = place;
        place = 1 - place;
    }
    return true;
}

/* All draws side by side, as a diagnosis wants them. */
static bool compare_all(ac_trial *t, nn_comparison *worst) {
    if (!keep_draws(t, t->claim.draws)) return false;
    for (int draw = 0; draw < t->claim.draws; draw++)
        if (!compute_draw(t, draw, draw)) return false;
    nn_claim claim = ac_claim_of(t, t->right, t->claimed, t->claim.draws);
    *worst = nn_claim_compare(&claim);
    t->shown = worst->draw;
    return true;
}

/* A law that was looked at: only its sides at the worst draw are missing. */
static bool show_worst(ac_trial *t, nn_comparison *worst) {
    *worst = t->worst;
    t->shown = 0;
    return keep_draws(t, 1) && compute_draw(t, worst->draw, 0);
}

/* The first and the worst of those that are alike. */
static bool show_first(ac_trial *t, nn_comparison *worst) {
    int draw = t->worst.draw;
    t->shown = draw > 0;
    if (!keep_draws(t, 2) || !compute_draw(t, 0, 0) || (draw > 0 && !compute_draw(t, draw, 1))) return false;
    *worst = compare_place(t, t->shown);
    worst->draw = draw;
    t->claim.draws = 1;
    return true;
}

static bool compare_law(ac_trial *t, nn_comparison *worst) {
    switch (t->outlook) {
    case AC_UNKNOWN: return false;
    case AC_HOLDS: return show_worst(t, worst);
    case AC_WRONG: return ac_law_compare_all(t, worst);
    case AC_LIKE_FIRST: return show_first(t, worst);
    }
    return false;
}

static bool compare_steps(ac_trial *t, nn_comparison *worst) {
    if (!compare_first(t, worst) || !compare_each(t, worst)) return false;
    return worst->holds || t->claim.draws == 1 || compare_all(t, worst);
}

bool ac_compare(ac_trial *t, nn_comparison *worst) {
    bool done = compare_law(t, worst);
    if (!done && (t->e->error->set || !compare_steps(t, worst))) return false;
    t->claim.right = t->right;
    t->claim.claimed = t->claimed;
    return true;
}
