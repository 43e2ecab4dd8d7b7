/* The draws of laws as runs of a program: the sides of all are recorded once and frozen, so that what they have in common
 * is computed once, numbers of a draw stay near, and nothing is recorded again; runs for several draws go on at a time.
 * What a draw needs beyond that (an equation's steps, a position that changes) makes a law be computed step by step
 * instead, as sides.c does. */
#include "nn/check/check_impl.h"
#include "nn/memory.h"

#include <math.h>

enum {
    MOST_WORKERS = 64,
    MOST_INSTRUCTIONS = 1 << 16, /* of a program: */
    MOST_SLOTS = 1 << 24,        /* no run of one may take so long that it matters when time is looked at */
    MOST_TOGETHER = 1 << 20      /* slots of several laws: more would not stay near */
};

/* Seconds of work that are worth threads, and those of what is done before that is asked. */
static const double worth_threads = 1e-3, alone = 0.5e-3;

/* What a thread has for itself. */
typedef struct worker {
    ag_runner *runner;
    double *memory;
    const double **inputs; /* of the draw at hand */
    double *own;           /* numbers of names of which there is no room to keep all draws */
    double **sides;        /* two a law: where those of the draw at hand go */
    nn_comparison *worst;  /* of each l, so far; its ratio is -1 before the first */
    int64_t greatest;      /* 1 + where the greatest of all right numbers is, if draws are kept; 0 if there is none */
} worker;

typedef struct laws {
    ac_evaluator *e;
    ac_trial *trials[AC_MOST_LAWS];
    atomic_bool done[AC_MOST_LAWS]; /* it is known that it has to be computed by itself */
    int count;
    ag_program *program;
    ac_symbol **names; /* the quantified ones, which are the program's inputs */
    int name_count;
    int64_t own_count; /* numbers of those that are not kept */
    worker workers[MOST_WORKERS];
    int worker_count;
    bool all;              /* draws are kept, and none ends the work */
    double until;          /* no draw is begun later than this, by ac_clock */
    atomic_int next, open; /* the next draw; laws that are not done */
    atomic_bool stop, failed, late;
} laws;

/* ---- the program ------------------------------------------------------------------------------------------------ */

/* Those that the draw on the tape was made for. */
static bool find_names(laws *l) {
    const ac_evaluator *e = l->e;
    l->names = nn_allocate((size_t)e->file->symbol_count, sizeof *l->names);
    for (int i = 0; l->names != NULL && i < e->file->symbol_count; i++) {
        ac_symbol *s = e->file->symbols[i];
        if (s->kind == AC_QUANTIFIED && e->recorded[i] == e->passing) l->names[l->name_count++] = s;
    }
    return l->names != NULL;
}

/* How many sides a program has of a law: printed numbers are none. */
static int side_count(const ac_trial *t) { return 2 - t->literal; }

static void freeze(laws *l, ag_var sides[], int count) {
    ac_evaluator *e = l->e;
    ag_var *inputs = nn_allocate((size_t)l->name_count, sizeof *inputs);
    if (inputs == NULL) return;
    for (int i = 0; i < l->name_count; i++) inputs[i] = e->values[l->names[i]->index];
    for (int i = 0; i < count; i++)
        if (ag_tape_of(sides[i]) == NULL) sides[i] = ag_constant(e->tape, ag_value(sides[i]));
    e->held = ag_tape_held(e->tape);
    e->has_program = true;
    l->program = ag_program_freeze(inputs, NULL, l->name_count, sides, NULL, count);
    nn_release(inputs);
}

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
    e->tracing = true;
    ag_tape_trace(e->tape, true);
    ac_start_draw(e, 0);
    for (int i = 0; i < count && !e->error->set; i++) {
        bool taken = take_in(l, trials[i], start, sides + found);
        if (!taken && trials[i]->outlook == AC_UNKNOWN) break; /* it, and those behind it, when it is their turn */
        if (!taken) continue;
        l->trials[l->count++] = trials[i];
        found += side_count(trials[i]);
    }
    if (l->count > 0 && find_names(l)) freeze(l, sides, found);
    e->tracing = false;
    ag_tape_trace(e->tape, false);
    ag_tape_rewind(e->tape, mark);
    ac_forgive(e);
    (void)ac_is_in_time(e->file, e->error, trials[0]->statement->left->span);
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static size_t numbers_of_sides(const laws *l) {
    int64_t count = 0;
    for (int i = 0; i < l->count; i++) {
        const ac_trial *t = l->trials[i];
        count += t->right_count + (t->literal ? 0 : t->claimed_count);
    }
    return (size_t)count;
}

/* One law's sides behind the other's. */
static void place_sides(const laws *l, worker *w) {
    double *next = w->own + l->own_count;
    for (int i = 0, side = 0; i < l->count; i++) {
        const ac_trial *t = l->trials[i];
        w->sides[side++] = next;
        next += t->right_count;
        if (t->literal) continue;
        w->sides[side++] = next;
        next += t->claimed_count;
    }
}

/* False if there is no memory for it. What all hold together leaves half of what is allowed to what runs need. */
static bool open_worker(laws *l, worker *w) {
    ac_evaluator *e = l->e;
    w->runner = ag_runner_new(l->program);
    if (*ag_runner_message(w->runner) != '\0' || atomic_load(&e->beside) > e->file->limits.bytes / 2) return false;
    w->memory = nn_allocate((size_t)l->own_count + numbers_of_sides(l), sizeof *w->memory);
    w->inputs = nn_allocate((size_t)l->name_count, sizeof *w->inputs);
    w->sides = nn_allocate(2 * (size_t)l->count, sizeof *w->sides);
    w->worst = nn_allocate((size_t)l->count, sizeof *w->worst);
    if (w->memory == NULL || w->inputs == NULL || w->sides == NULL || w->worst == NULL) return false;
    w->own = w->memory;
    place_sides(l, w);
    for (int i = 0; i < l->count; i++) w->worst[i] = l->all ? (nn_comparison){.ratio = -1} : l->trials[i]->worst;
    return true;
}

static void close_worker(worker *w) {
    ag_runner_free(w->runner);
    nn_release(w->memory);
    nn_release(w->inputs);
    nn_release(w->sides);
    nn_release(w->worst);
    memset(w, 0, sizeof *w);
}

/* As many as there is memory for. */
static void open_workers(laws *l, int wanted) {
    if (wanted > MOST_WORKERS) wanted = MOST_WORKERS;
    while (l->worker_count < wanted && open_worker(l, &l->workers[l->worker_count])) l->worker_count++;
    if (l->worker_count < wanted) close_worker(&l->workers[l->worker_count]);
}

/* ---- draws ------------------------------------------------------------------------------------------------------ */

static const double *const *find_inputs(const laws *l, worker *w, int draw) {
    const ac_evaluator *e = l->e;
    double *own = w->own;
    for (int i = 0; i < l->name_count; i++) {
        w->inputs[i] = ac_draw_numbers(e, l->names[i], draw, own);
        if (w->inputs[i] == own) own += e->draws[l->names[i]->index].count;
    }
    return w->inputs;
}

/* Is the number at a - 1 greater than that at b - 1, or as great and comes first? 0: there is none. */
static bool is_greater(const double *x, int64_t a, int64_t b) {
    if (a == 0 || b == 0) return a != 0;
    double more = fabs(x[a - 1]) - fabs(x[b - 1]);
    return more > 0 || (more == 0 && a < b);
}

/* Notes where the greatest right number is, while the draw is at hand. */
static void note_greatest(const ac_trial *t, worker *w, int draw, const nn_claim *claim) {
    int64_t here = nn_claim_greatest(claim) + 1;
    if (here > 0) here += draw * t->right_count;
    if (is_greater(t->right, here, w->greatest)) w->greatest = here;
}

static void leave_out(laws *l, int which) {
    if (!atomic_exchange(&l->done[which], true) && atomic_fetch_sub(&l->open, 1) == 1) atomic_store(&l->stop, true);
}

/* Of one l, at the draw at hand. */
static void compare(laws *l, worker *w, int which, double *const *sides, int draw) {
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

/* Computes a draw; false if it cannot be done. */
static bool run_draw(laws *l, worker *w, int draw) {
    if (l->all) {
        const ac_trial *t = l->trials[0];
        w->sides[0] = t->right + draw * t->right_count;
        w->sides[1] = t->literal ? NULL : t->claimed + draw * t->claimed_count;
    }
    if (ag_run(w->runner, find_inputs(l, w, draw), w->sides) != AG_OK) return false;
    for (int i = 0, side = 0; i < l->count; side += side_count(l->trials[i++]))
        if (!atomic_load(&l->done[i])) compare(l, w, i, w->sides + side, draw);
    return true;
}

static void work(void *context, int k) {
    laws *l = context;
    const ac_file *file = l->e->file;
    for (double now = ac_clock(); now <= l->until && !atomic_load(&l->stop); now = ac_clock()) {
        int draw = atomic_fetch_add(&l->next, 1);
        if (draw >= l->trials[0]->claim.draws) return;
        bool late = now > file->deadline;
        if (!late && run_draw(l, &l->workers[k], draw)) continue;
        atomic_store(late ? &l->late : &l->failed, true);
        atomic_store(&l->stop, true);
    }
}

/* Draws from this one on; first by one thread, which shows how long they take. */
static bool run(laws *l, int first) {
    ac_evaluator *e = l->e;
    int draws = l->trials[0]->claim.draws;
    double start = ac_clock();
    atomic_store(&l->next, first);
    l->until = start + alone;
    work(l, 0);
    int done = atomic_load(&l->next) - first, left = draws - first - done;
    if (left > 1 && (ac_clock() - start) / done * left > worth_threads) {
        int threads = ag_threads();
        open_workers(l, threads < left ? threads : left);
    }
    l->until = INFINITY;
    if (left > 0) ag_parallel_long(l->worker_count, work, l);
    if (atomic_load(&l->late)) (void)ac_is_in_time(e->file, e->error, l->trials[0]->statement->left->span);
    if (atomic_load(&l->late) || atomic_load(&l->failed)) return false;
    for (int i = 0; i < l->name_count && !atomic_load(&l->stop); i++) ac_draws_are_made(e, l->names[i], draws);
    return true;
}

/* The first of those that are furthest off; its ratio is -1 if no draw was compared. */
static nn_comparison find_worst(const laws *l, int which) {
    nn_comparison worst = {.ratio = -1};
    for (int i = 0; i < l->worker_count; i++) {
        const nn_comparison *c = &l->workers[i].worst[which];
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
    for (int i = 0; i < l->worker_count; i++)
        if (is_greater(t->right, l->workers[i].greatest, t->claim.greatest)) t->claim.greatest = l->workers[i].greatest;
}

static void close_laws(laws *l) {
    if (l == NULL) return;
    ac_evaluator *e = l->e;
    for (int i = 0; i < l->worker_count; i++) close_worker(&l->workers[i]);
    ag_program_free(l->program);
    nn_release(l->names);
    nn_release(l);
    e->has_program = false;
    atomic_store(&e->beside, 0);
}

/* ---- laws ------------------------------------------------------------------------------------------------------- */

/* Names of which all draws can be kept are; numbers of others are made when they are needed. */
static void keep_names(laws *l) {
    ac_evaluator *e = l->e;
    for (int i = 0; i < l->name_count; i++) {
        const ac_symbol *s = l->names[i];
        if (!ac_keep_draws(e, s, l->trials[0]->claim.draws)) l->own_count += e->draws[s->index].count;
    }
}

static laws *open_laws(ac_trial *const *trials, int count, bool all) {
    laws *l = nn_allocate(1, sizeof *l);
    if (l == NULL) return NULL;
    l->e = trials[0]->e;
    l->all = all;
    make_program(l, trials, count);
    if (l->program != NULL && ag_program_status(l->program) == AG_OK) {
        keep_names(l);
        open_workers(l, 1);
    }
    atomic_store(&l->open, l->count);
    if (l->worker_count > 0) return l;
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
