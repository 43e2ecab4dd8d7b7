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
    nn_comparison *worst;  /* of each law, so far; its ratio is -1 before the first */
    int64_t greatest;      /* 1 + where the greatest of all right numbers is, if draws are kept; 0 if there is none */
} worker;

typedef struct laws {
    ac_evaluator *e;
    ac_trial *trials[AC_MOST_LAWS];
    atomic_bool wrong[AC_MOST_LAWS];
    int count;
    ag_program *program;
    ac_symbol **names; /* the quantified ones, which are the program's inputs */
    int name_count;
    int64_t own_count; /* numbers of those that are not kept */
    worker workers[MOST_WORKERS];
    int worker_count;
    bool all;               /* draws are kept, and none ends the work */
    double until;           /* no draw is begun later than this, by ac_clock */
    atomic_int next, right; /* the next draw; laws that are not wrong */
    atomic_bool stop, failed, late;
} laws;

/* ---- the program ------------------------------------------------------------------------------------------------ */

/* Those that the draw on the tape was made for. */
static bool find_names(laws *law) {
    const ac_evaluator *e = law->e;
    law->names = nn_allocate((size_t)e->file->symbol_count, sizeof *law->names);
    for (int i = 0; law->names != NULL && i < e->file->symbol_count; i++) {
        ac_symbol *s = e->file->symbols[i];
        if (s->kind == AC_QUANTIFIED && e->recorded[i] == e->passing) law->names[law->name_count++] = s;
    }
    return law->names != NULL;
}

/* How many sides a program has of a law: printed numbers are none. */
static int side_count(const ac_trial *t) { return 2 - t->literal; }

static void freeze(laws *law, ag_var sides[], int count) {
    ac_evaluator *e = law->e;
    ag_var *inputs = nn_allocate((size_t)law->name_count, sizeof *inputs);
    if (inputs == NULL) return;
    for (int i = 0; i < law->name_count; i++) inputs[i] = e->values[law->names[i]->index];
    for (int i = 0; i < count; i++)
        if (ag_tape_of(sides[i]) == NULL) sides[i] = ag_constant(e->tape, ag_value(sides[i]));
    e->held = ag_tape_held(e->tape);
    e->has_program = true;
    law->program = ag_program_freeze(inputs, NULL, law->name_count, sides, NULL, count);
    nn_release(inputs);
}

static bool is_small(ag_stats before, ag_stats after, uint64_t most_slots) {
    uint64_t instructions =
        after.scalar_instructions + after.tensor_instructions - before.scalar_instructions - before.tensor_instructions;
    return instructions <= MOST_INSTRUCTIONS && after.slots - before.slots <= most_slots;
}

/* Takes a law in at the draw that is recorded, unless it cannot be recorded or is too much beside the others. One that is
 * wrong here already is not worth it. */
static bool take_in(laws *law, ac_trial *t, ag_stats start, ag_var *sides) {
    ac_evaluator *e = law->e;
    const ac_statement *s = t->statement;
    bool fine = ac_prepare(e, s->uses, s->use_count, true);
    ag_mark mark = ag_tape_mark(e->tape);
    fine = fine && ac_record_first(t, sides) &&
           is_small(start, ag_tape_stats(e->tape), law->count == 0 ? MOST_SLOTS : MOST_TOGETHER);
    if (fine && !t->worst.holds) t->outlook = AC_WRONG;
    if (fine && (t->worst.holds || law->all)) return true;
    ac_forgive(e); /* step by step there may be memory for it */
    ag_tape_rewind(e->tape, mark);
    return false;
}

/* Records the first draw and freezes the sides of all. */
static void make_program(laws *law, ac_trial *const *trials, int count) {
    ac_evaluator *e = law->e;
    ag_mark mark = ag_tape_mark(e->tape);
    ag_stats start = ag_tape_stats(e->tape);
    ag_var sides[2 * AC_MOST_LAWS];
    int found = 0;
    e->tracing = true;
    ag_tape_trace(e->tape, true);
    ac_start_draw(e, 0);
    for (int i = 0; i < count && !e->error->set; i++) {
        bool taken = take_in(law, trials[i], start, sides + found);
        if (!taken && trials[i]->outlook == AC_UNKNOWN) break; /* it, and those behind it, when it is their turn */
        if (!taken) continue;
        law->trials[law->count++] = trials[i];
        found += side_count(trials[i]);
    }
    if (law->count > 0 && find_names(law)) freeze(law, sides, found);
    e->tracing = false;
    ag_tape_trace(e->tape, false);
    ag_tape_rewind(e->tape, mark);
    ac_forgive(e);
    (void)ac_is_in_time(e->file, e->error, trials[0]->statement->left->span);
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static size_t numbers_of_sides(const laws *law) {
    int64_t count = 0;
    for (int i = 0; i < law->count; i++) {
        const ac_trial *t = law->trials[i];
        count += t->right_count + (t->literal ? 0 : t->claimed_count);
    }
    return (size_t)count;
}

/* One law's sides behind the other's. */
static void place_sides(const laws *law, worker *w) {
    double *next = w->own + law->own_count;
    for (int i = 0, side = 0; i < law->count; i++) {
        const ac_trial *t = law->trials[i];
        w->sides[side++] = next;
        next += t->right_count;
        if (t->literal) continue;
        w->sides[side++] = next;
        next += t->claimed_count;
    }
}

/* False if there is no memory for it. What all hold together leaves half of what is allowed to what runs need. */
static bool open_worker(laws *law, worker *w) {
    ac_evaluator *e = law->e;
    w->runner = ag_runner_new(law->program);
    if (*ag_runner_message(w->runner) != '\0' || atomic_load(&e->beside) > e->file->limits.bytes / 2) return false;
    w->memory = nn_allocate((size_t)law->own_count + numbers_of_sides(law), sizeof *w->memory);
    w->inputs = nn_allocate((size_t)law->name_count, sizeof *w->inputs);
    w->sides = nn_allocate(2 * (size_t)law->count, sizeof *w->sides);
    w->worst = nn_allocate((size_t)law->count, sizeof *w->worst);
    if (w->memory == NULL || w->inputs == NULL || w->sides == NULL || w->worst == NULL) return false;
    w->own = w->memory;
    place_sides(law, w);
    for (int i = 0; i < law->count; i++) w->worst[i].ratio = -1;
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
static void open_workers(laws *law, int wanted) {
    if (wanted > MOST_WORKERS) wanted = MOST_WORKERS;
    while (law->worker_count < wanted && open_worker(law, &law->workers[law->worker_count])) law->worker_count++;
    if (law->worker_count < wanted) close_worker(&law->workers[law->worker_count]);
}

/* ---- draws ------------------------------------------------------------------------------------------------------ */

static const double *const *find_inputs(const laws *law, worker *w, int draw) {
    const ac_evaluator *e = law->e;
    double *own = w->own;
    for (int i = 0; i < law->name_count; i++) {
        w->inputs[i] = ac_draw_numbers(e, law->names[i], draw, own);
        if (w->inputs[i] == own) own += e->draws[law->names[i]->index].count;
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

/* Of one law, at the draw at hand. */
static void compare(laws *law, worker *w, int which, double *const *sides, int draw) {
    const ac_trial *t = law->trials[which];
    nn_comparison *worst = &w->worst[which];
    nn_claim claim = ac_claim_of(t, sides[0], t->literal ? t->claimed : sides[1], 1);
    if (law->all) note_greatest(t, w, draw, &claim);
    if (worst->ratio >= 0 && !law->all && !nn_claim_may_exceed(&claim, worst->ratio)) return;
    nn_comparison c = nn_claim_compare(&claim);
    if (!c.holds && !law->all && !atomic_exchange(&law->wrong[which], true) && atomic_fetch_sub(&law->right, 1) == 1)
        atomic_store(&law->stop, true);
    if (worst->ratio >= 0 && c.ratio <= worst->ratio) return;
    *worst = c;
    worst->draw = draw;
}

/* Computes a draw; false if it cannot be done. */
static bool run_draw(laws *law, worker *w, int draw) {
    if (law->all) {
        const ac_trial *t = law->trials[0];
        w->sides[0] = t->right + draw * t->right_count;
        w->sides[1] = t->literal ? NULL : t->claimed + draw * t->claimed_count;
    }
    if (ag_run(w->runner, find_inputs(law, w, draw), w->sides) != AG_OK) return false;
    for (int i = 0, side = 0; i < law->count; side += side_count(law->trials[i++]))
        if (!atomic_load(&law->wrong[i])) compare(law, w, i, w->sides + side, draw);
    return true;
}

static void work(void *context, int k) {
    laws *law = context;
    const ac_file *file = law->e->file;
    for (double now = ac_clock(); now <= law->until && !atomic_load(&law->stop); now = ac_clock()) {
        int draw = atomic_fetch_add(&law->next, 1);
        if (draw >= law->trials[0]->claim.draws) return;
        bool late = now > file->deadline;
        if (!late && run_draw(law, &law->workers[k], draw)) continue;
        atomic_store(late ? &law->late : &law->failed, true);
        atomic_store(&law->stop, true);
    }
}

/* Draws from this one on; first by one thread, which shows how long they take. */
static bool run(laws *law, int first) {
    ac_evaluator *e = law->e;
    int draws = law->trials[0]->claim.draws;
    double start = ac_clock();
    atomic_store(&law->next, first);
    law->until = start + alone;
    work(law, 0);
    int done = atomic_load(&law->next) - first, left = draws - first - done;
    if (left > 1 && (ac_clock() - start) / done * left > worth_threads) {
        int threads = ag_threads();
        open_workers(law, threads < left ? threads : left);
    }
    law->until = INFINITY;
    if (left > 0) ag_parallel_long(law->worker_count, work, law);
    if (atomic_load(&law->late)) (void)ac_is_in_time(e->file, e->error, law->trials[0]->statement->left->span);
    if (atomic_load(&law->late) || atomic_load(&law->failed)) return false;
    for (int i = 0; i < law->name_count && !atomic_load(&law->stop); i++) ac_draws_are_made(e, law->names[i], draws);
    return true;
}

/* The first of those that are furthest off; its ratio is -1 if no draw was compared. */
static nn_comparison find_worst(const laws *law, int which) {
    nn_comparison worst = {.ratio = -1};
    for (int i = 0; i < law->worker_count; i++) {
        const nn_comparison *c = &law->workers[i].worst[which];
        if (c->ratio > worst.ratio || (c->ratio >= 0 && c->ratio == worst.ratio && c->draw < worst.draw)) worst = *c;
    }
    return worst;
}

static void tell_outlook(laws *law) {
    for (int i = 0; i < law->count; i++) {
        ac_trial *t = law->trials[i];
        nn_comparison worst = find_worst(law, i);
        t->outlook = atomic_load(&law->wrong[i]) ? AC_WRONG : AC_HOLDS;
        if (worst.ratio > t->worst.ratio) t->worst = worst;
    }
}

/* Of all draws of one law, which are kept. */
static void note_all(const laws *law, nn_comparison *worst) {
    ac_trial *t = law->trials[0];
    *worst = find_worst(law, 0);
    t->shown = worst->draw;
    for (int i = 0; i < law->worker_count; i++)
        if (is_greater(t->right, law->workers[i].greatest, t->claim.greatest))
            t->claim.greatest = law->workers[i].greatest;
}

static void close_laws(laws *law) {
    if (law == NULL) return;
    ac_evaluator *e = law->e;
    for (int i = 0; i < law->worker_count; i++) close_worker(&law->workers[i]);
    ag_program_free(law->program);
    nn_release(law->names);
    nn_release(law);
    e->has_program = false;
    atomic_store(&e->beside, 0);
}

/* ---- laws ------------------------------------------------------------------------------------------------------- */

/* Names of which all draws can be kept are; numbers of others are made when they are needed. */
static void keep_names(laws *law) {
    ac_evaluator *e = law->e;
    for (int i = 0; i < law->name_count; i++) {
        const ac_symbol *s = law->names[i];
        if (!ac_keep_draws(e, s, law->trials[0]->claim.draws)) law->own_count += e->draws[s->index].count;
    }
}

static laws *open_laws(ac_trial *const *trials, int count, bool all) {
    laws *law = nn_allocate(1, sizeof *law);
    if (law == NULL) return NULL;
    law->e = trials[0]->e;
    law->all = all;
    make_program(law, trials, count);
    if (law->program != NULL && ag_program_status(law->program) == AG_OK) {
        keep_names(law);
        open_workers(law, 1);
    }
    atomic_store(&law->right, law->count);
    if (law->worker_count > 0) return law;
    close_laws(law);
    return NULL;
}

void ac_laws_look(ac_trial *const *trials, int count) {
    laws *law = open_laws(trials, count, false);
    if (law != NULL && run(law, 1)) tell_outlook(law);
    close_laws(law);
}

bool ac_law_compare_all(ac_trial *t, nn_comparison *worst) {
    laws *law = open_laws(&t, 1, true);
    bool done = law != NULL && ac_take_all_draws(t) && run(law, 0);
    if (done) note_all(law, worst);
    close_laws(law);
    return done;
}
