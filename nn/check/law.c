/* The draws of laws as runs of a program, of both sides of all of them. What a draw needs beyond that (an equation's steps, a
 * position that changes) makes a law be computed step by step instead, as sides.c does. */
#include "nn/check/check_impl.h"
#include "nn/memory.h"

#include <math.h>

enum {
    MOST_INSTRUCTIONS = 1 << 16, /* of a program: */
    MOST_SLOTS = 1 << 24,        /* no run of one may take so long that it matters when time is looked at */
    MOST_TOGETHER = 1 << 20      /* slots of several laws: more would not stay near */
};

/* What a worker has seen. */
typedef struct seen {
    nn_comparison worst[AC_MOST_LAWS]; /* of each l, so far; its ratio is -1 before the first */
    int64_t greatest; /* 1 + where the greatest of all right numbers is, if draws are kept; 0 if there is none */
} seen;

typedef struct laws {
    ac_evaluator *e;
    ac_trial *trials[AC_MOST_LAWS];
    atomic_bool done[AC_MOST_LAWS]; /* it is known that it has to be computed by itself */
    int count;
    bool all; /* draws are kept, and none ends the work */
    ac_runs *runs;
    seen seen[AC_MOST_WORKERS];
    atomic_int open; /* laws that are not done */
} laws;

/* ---- the program ------------------------------------------------------------------------------------------------ */

/* How many sides a program has of a law: printed numbers are none. */
static int side_count(const ac_trial *t) { return 2 - t->literal; }

static bool is_small(ag_stats before, ag_stats after, uint64_t most_slots) {
    uint64_t instructions =
        after.scalar_instructions + after.tensor_instructions - before.scalar_instructions - before.tensor_instructions;
    return instructions <= MOST_INSTRUCTIONS && after.slots - before.slots <= most_slots;
}

/* Takes a law in at the draw that is recorded, unless it cannot be recorded or is too much beside the others. If it is wrong
 * here already, that is worth it only for what can be seen at one draw after the other. */
static bool take_in(laws *l, ac_trial *t, ag_stats start, ag_var *sides) {
    ac_evaluator *e = l->e;
    const ac_statement *s = t->statement;
    bool fine = ac_prepare(e, s->uses, s->use_count, true);
    ag_mark mark = ag_tape_mark(e->tape);
    fine = fine && ac_record_first(t, sides) &&
           is_small(start, ag_tape_stats(e->tape), l->count == 0 ? MOST_SLOTS : MOST_TOGETHER);
    bool by_itself = fine && !t->worst.holds && t->guess.kind == NN_IS_ANYTHING;
    if (by_itself) t->outlook = AC_WRONG;
    if (fine && (!by_itself || l->all)) return true;
    ac_forgive(e); /* step by step there may be memory for it */
    ag_tape_rewind(e->tape, mark);
    return false;
}

/* Records the first draw and freezes the sides of all. */
static void make_program(laws *l, ac_trial *const *trials, int count) {
    ac_evaluator *e = l->e;
    ag_mark mark = ag_tape_mark(e->tape);
    ag_stats start = ag_tape_stats(e->tape);
    ag_var sides[2 * AC_MOST_LAWS];
    int found = 0;
    ac_trace(e, true);
    ac_start_draw(e, 0);
    for (int i = 0; i < count && !e->error->set; i++) {
        bool taken = take_in(l, trials[i], start, sides + found);
        if (!taken && trials[i]->outlook == AC_UNKNOWN) break; /* it, and those behind it, when it is their turn */
        if (!taken) continue;
        l->trials[l->count++] = trials[i];
        found += side_count(trials[i]);
    }
    if (l->count > 0) l->runs = ac_runs_freeze(e, sides, found, trials[0]->claim.draws);
    ac_trace(e, false);
    ag_tape_rewind(e->tape, mark);
    ac_forgive(e);
    (void)ac_is_in_time(e->file, e->error, trials[0]->statement->left->span);
}

/* ---- draws ------------------------------------------------------------------------------------------------------ */

/* Is the number at a - 1 greater than that at b - 1, or as great and comes first? 0: there is none. */
static bool is_greater(const double *x, int64_t a, int64_t b) {
    if (a == 0 || b == 0) return a != 0;
    double more = fabs(x[a - 1]) - fabs(x[b - 1]);
    return more > 0 || (more == 0 && a < b);
}

/* Notes where the greatest right number is, while the draw is at hand. */
static void note_greatest(const ac_trial *t, seen *w, int draw, const nn_claim *claim) {
    int64_t here = nn_claim_greatest(claim) + 1;
    if (here > 0) here += draw * t->right_count;
    if (is_greater(t->right, here, w->greatest)) w->greatest = here;
}

static void leave_out(laws *l, int which) {
    if (!atomic_exchange(&l->done[which], true)) atomic_fetch_sub(&l->open, 1);
}

/* Of one l, at the draw at hand. */
static void compare(laws *l, seen *w, int which, double *const *sides, int draw) {
    const ac_trial *t = l->trials[which];
    nn_comparison *worst = &w->worst[which];
    nn_claim claim = ac_claim_of(t, sides[0], t->literal ? t->claimed : sides[1], 1);
    if (l->all) note_greatest(t, w, draw, &claim);
    else if (!t->worst.holds && !nn_guess_fits(&t->guess, &claim)) leave_out(l, which);
    if (worst->ratio >= 0 && !nn_claim_may_exceed(&claim, worst->ratio)) return;
    nn_comparison c = nn_claim_compare(&claim);
    if (!l->all && !c.holds && t->worst.holds) leave_out(l, which);
    if (worst->ratio >= 0 && c.ratio <= worst->ratio) return;
    *worst = c;
    worst->draw = draw;
}

/* For the draws of one l, which are kept. */
static void place(void *context, int draw, double **sides) {
    const ac_trial *t = ((laws *)context)->trials[0];
    sides[0] = t->right + draw * t->right_count;
    if (!t->literal) sides[1] = t->claimed + draw * t->claimed_count;
}

static bool visit(void *context, int worker, int draw, double *const *sides) {
    laws *l = context;
    for (int i = 0; i < l->count; sides += side_count(l->trials[i++]))
        if (!atomic_load(&l->done[i])) compare(l, &l->seen[worker], i, sides, draw);
    return atomic_load(&l->open) > 0;
}

static bool run(laws *l, int first) {
    ac_visitor visitor = {l, l->all ? place : NULL, visit};
    for (int i = 0; i < AC_MOST_WORKERS; i++)
        for (int j = 0; j < l->count; j++)
            l->seen[i].worst[j] = l->all ? (nn_comparison){.ratio = -1} : l->trials[j]->worst;
    atomic_store(&l->open, l->count);
    return ac_runs_visit(l->runs, first, l->trials[0]->statement->left->span, &visitor);
}

/* The first of those that are furthest off. */
static nn_comparison find_worst(const laws *l, int which) {
    nn_comparison worst = {.ratio = -1};
    for (int i = 0; i < AC_MOST_WORKERS; i++) {
        const nn_comparison *c = &l->seen[i].worst[which];
        if (c->ratio > worst.ratio || (c->ratio >= 0 && c->ratio == worst.ratio && c->draw < worst.draw)) worst = *c;
    }
    return worst;
}

static void tell_outlook(laws *l) {
    for (int i = 0; i < l->count; i++) {
        ac_trial *t = l->trials[i];
        t->outlook = atomic_load(&l->done[i]) ? AC_WRONG : t->worst.holds ? AC_HOLDS : AC_LIKE_FIRST;
        t->worst = find_worst(l, i);
    }
}

/* Of all draws of one l, which are kept. */
static void note_all(const laws *l, nn_comparison *worst) {
    ac_trial *t = l->trials[0];
    *worst = find_worst(l, 0);
    t->shown = worst->draw;
    for (int i = 0; i < AC_MOST_WORKERS; i++)
        if (is_greater(t->right, l->seen[i].greatest, t->claim.greatest)) t->claim.greatest = l->seen[i].greatest;
}

/* ---- laws ------------------------------------------------------------------------------------------------------- */

static void close_laws(laws *l) {
    if (l == NULL) return;
    ac_runs_close(l->runs);
    nn_release(l);
}

static laws *open_laws(ac_trial *const *trials, int count, bool all) {
    laws *l = nn_allocate(1, sizeof *l);
    if (l == NULL) return NULL;
    l->e = trials[0]->e;
    l->all = all;
    make_program(l, trials, count);
    if (ac_runs_open(l->runs)) return l;
    close_laws(l);
    return NULL;
}

int ac_laws_look(ac_trial *const *trials, int count) {
    laws *l = open_laws(trials, count, false);
    int together = l == NULL ? 0 : l->count;
    if (l != NULL && run(l, 1)) tell_outlook(l);
    close_laws(l);
    return together;
}

bool ac_law_compare_all(ac_trial *t, nn_comparison *worst) {
    laws *l = open_laws(&t, 1, true);
    bool done = l != NULL && ac_take_all_draws(t) && run(l, 0);
    if (done) note_all(l, worst);
    close_laws(l);
    return done;
}
