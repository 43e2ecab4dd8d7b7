/* The draws of a law as runs of a program: both sides are recorded once and frozen, so that what they have in common is
 * computed once and nothing is recorded again; runs for several draws go on at a time. What a draw needs beyond that (an
 * equation's steps, a position that changes) makes the law be computed step by step instead, as sides.c does. */
#include "nn/check/check_impl.h"
#include "nn/memory.h"

#include <math.h>

enum {
    MOST_WORKERS = 64,
    MOST_INSTRUCTIONS = 1 << 16, /* of a program: */
    MOST_SLOTS = 1 << 24         /* no run of one may take so long that it matters when time is looked at */
};

/* Seconds of work that are worth threads, and those of what is done before that is asked. */
static const double worth_threads = 1e-3, alone = 0.5e-3;

/* What a thread has for itself. */
typedef struct worker {
    ag_runner *runner;
    double *memory;
    const double **inputs; /* of the draw at hand */
    double *own;           /* numbers of names of which there is no room to keep all draws */
    double *sides[2];      /* both sides of two draws: the one at hand and the worst, */
    int worst_at;          /* which is there */
    bool any;              /* there is one */
    nn_comparison worst;
    int64_t greatest; /* 1 + where the greatest of all right numbers is, if draws are kept; 0 if there is none */
} worker;

struct ac_law {
    ac_trial *t;
    ag_program *program;
    ac_symbol **names; /* the quantified ones, which are the program's inputs */
    int name_count;
    int64_t own_count; /* numbers of those that are not kept */
    worker workers[MOST_WORKERS];
    int worker_count;
    bool all;     /* draws are kept, and none ends the work */
    double until; /* no draw is begun later than this, by ac_clock */
    atomic_int next;
    atomic_bool stop, failed, late;
};

/* ---- the program ------------------------------------------------------------------------------------------------ */

/* Those that the draw on the tape was made for. */
static bool find_names(ac_law *law) {
    const ac_evaluator *e = law->t->e;
    law->names = nn_allocate((size_t)e->file->symbol_count, sizeof *law->names);
    for (int i = 0; law->names != NULL && i < e->file->symbol_count; i++) {
        ac_symbol *s = e->file->symbols[i];
        if (s->kind == AC_QUANTIFIED && e->recorded[i] == e->passing) law->names[law->name_count++] = s;
    }
    return law->names != NULL;
}

static ag_program *freeze(ac_law *law, ag_var sides[2]) {
    ac_evaluator *e = law->t->e;
    ag_var *inputs = nn_allocate((size_t)law->name_count, sizeof *inputs);
    if (inputs == NULL) return NULL;
    for (int i = 0; i < law->name_count; i++) inputs[i] = e->values[law->names[i]->index];
    for (int i = 0; i < 2 - law->t->literal; i++)
        if (ag_tape_of(sides[i]) == NULL) sides[i] = ag_constant(e->tape, ag_value(sides[i]));
    e->held = ag_tape_held(e->tape);
    e->has_program = true;
    ag_program *program = ag_program_freeze(inputs, NULL, law->name_count, sides, NULL, 2 - law->t->literal);
    nn_release(inputs);
    return program;
}

static bool is_small(ag_stats before, ag_stats after) {
    uint64_t instructions =
        after.scalar_instructions + after.tensor_instructions - before.scalar_instructions - before.tensor_instructions;
    return instructions <= MOST_INSTRUCTIONS && after.slots - before.slots <= MOST_SLOTS;
}

/* Records the first draw and keeps both sides of it. */
static void make_program(ac_law *law) {
    ac_evaluator *e = law->t->e;
    ag_mark mark = ag_tape_mark(e->tape);
    ag_stats before = ag_tape_stats(e->tape);
    ag_var sides[2];
    e->tracing = true;
    ag_tape_trace(e->tape, true);
    if (ac_record_first(law->t, sides) && is_small(before, ag_tape_stats(e->tape)) && find_names(law))
        law->program = freeze(law, sides);
    e->tracing = false;
    ag_tape_trace(e->tape, false);
    ag_tape_rewind(e->tape, mark);
    ac_forgive(e); /* step by step there may be memory for it */
    (void)ac_is_in_time(e->file, e->error, law->t->statement->left->span);
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static int64_t side_count(const ac_law *law) {
    return law->t->right_count + (law->t->literal ? 0 : law->t->claimed_count);
}

/* False if there is no memory for it. What all hold together leaves half of what is allowed to what runs need. */
static bool open_worker(ac_law *law, worker *w) {
    ac_evaluator *e = law->t->e;
    size_t count = (size_t)(law->own_count + 2 * side_count(law));
    w->runner = ag_runner_new(law->program);
    if (*ag_runner_message(w->runner) != '\0' || atomic_load(&e->beside) > e->file->limits.bytes / 2) return false;
    w->memory = nn_allocate(count, sizeof *w->memory);
    w->inputs = nn_allocate((size_t)law->name_count, sizeof *w->inputs);
    if (w->memory == NULL || w->inputs == NULL) return false;
    w->own = w->memory;
    w->sides[0] = w->own + law->own_count;
    w->sides[1] = w->sides[0] + side_count(law);
    return true;
}

static void close_worker(worker *w) {
    ag_runner_free(w->runner);
    nn_release(w->memory);
    nn_release(w->inputs);
    memset(w, 0, sizeof *w);
}

/* As many as there is memory for. */
static void open_workers(ac_law *law, int wanted) {
    if (wanted > MOST_WORKERS) wanted = MOST_WORKERS;
    while (law->worker_count < wanted && open_worker(law, &law->workers[law->worker_count])) law->worker_count++;
    if (law->worker_count < wanted) close_worker(&law->workers[law->worker_count]);
}

/* ---- draws ------------------------------------------------------------------------------------------------------ */

static const double *const *find_inputs(const ac_law *law, worker *w, int draw) {
    const ac_evaluator *e = law->t->e;
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
static void note_greatest(const ac_law *law, worker *w, int draw, const nn_claim *claim) {
    int64_t here = nn_claim_greatest(claim) + 1;
    if (here > 0) here += draw * law->t->right_count;
    if (is_greater(law->t->right, here, w->greatest)) w->greatest = here;
}

/* Computes a draw; false if it cannot be done. */
static bool run_draw(ac_law *law, worker *w, int draw) {
    ac_trial *t = law->t;
    double *outputs[2] = {w->sides[1 - w->worst_at]};
    outputs[1] = outputs[0] + t->right_count;
    if (law->all) outputs[0] = t->right + draw * t->right_count;
    if (law->all) outputs[1] = t->claimed + draw * t->claimed_count;
    if (ag_run(w->runner, find_inputs(law, w, draw), outputs) != AG_OK) return false;
    nn_claim claim = ac_claim_of(t, outputs[0], t->literal ? t->claimed : outputs[1], 1);
    if (law->all) note_greatest(law, w, draw, &claim);
    if (w->any && !law->all && !nn_claim_may_exceed(&claim, w->worst.ratio)) return true;
    nn_comparison c = nn_claim_compare(&claim);
    if (!c.holds && !law->all) atomic_store(&law->stop, true);
    if (w->any && c.ratio <= w->worst.ratio) return true;
    w->worst = c;
    w->worst.draw = draw;
    w->worst_at = 1 - w->worst_at;
    w->any = true;
    return true;
}

static void work(void *context, int k) {
    ac_law *law = context;
    const ac_file *file = law->t->e->file;
    for (double now = ac_clock(); now <= law->until && !atomic_load(&law->stop); now = ac_clock()) {
        int draw = atomic_fetch_add(&law->next, 1);
        if (draw >= law->t->claim.draws) return;
        bool late = now > file->deadline;
        if (!late && run_draw(law, &law->workers[k], draw)) continue;
        atomic_store(late ? &law->late : &law->failed, true);
        atomic_store(&law->stop, true);
    }
}

/* Draws from this one on; first by one thread, which shows how long they take. */
static bool run(ac_law *law, int first) {
    ac_trial *t = law->t;
    double start = ac_clock();
    for (int i = 0; i < law->worker_count; i++) {
        law->workers[i].any = false;
        law->workers[i].greatest = 0;
    }
    atomic_store(&law->next, first);
    atomic_store(&law->stop, false);
    law->until = start + alone;
    work(law, 0);
    int done = atomic_load(&law->next) - first, left = t->claim.draws - first - done;
    if (left > 1 && (ac_clock() - start) / done * left > worth_threads) {
        int threads = ag_threads();
        open_workers(law, threads < left ? threads : left);
    }
    law->until = INFINITY;
    if (left > 0) ag_parallel_long(law->worker_count, work, law);
    if (atomic_load(&law->late)) (void)ac_is_in_time(t->e->file, t->e->error, t->statement->left->span);
    if (atomic_load(&law->late) || atomic_load(&law->failed)) return false;
    for (int i = 0; i < law->name_count && !atomic_load(&law->stop); i++)
        ac_draws_are_made(t->e, law->names[i], t->claim.draws);
    return true;
}

/* The first of those that are furthest off. */
static const worker *find_worst(const ac_law *law) {
    const worker *worst = NULL;
    for (int i = 0; i < law->worker_count; i++) {
        const worker *w = &law->workers[i];
        if (!w->any) continue;
        bool further = worst == NULL || w->worst.ratio > worst->worst.ratio ||
                       (w->worst.ratio == worst->worst.ratio && w->worst.draw < worst->worst.draw);
        if (further) worst = w;
    }
    return worst;
}

bool ac_law_compare_rest(ac_law *law, nn_comparison *worst) {
    ac_trial *t = law->t;
    if (!worst->holds) return true;
    law->all = false;
    if (!run(law, 1)) return false;
    const worker *w = find_worst(law);
    if (w->worst.holds && w->worst.ratio <= worst->ratio) return true;
    *worst = w->worst;
    t->shown = 1 - t->shown;
    const double *sides = w->sides[w->worst_at];
    memcpy(t->right + t->shown * t->right_count, sides, (size_t)t->right_count * sizeof *sides);
    if (!t->literal)
        memcpy(t->claimed + t->shown * t->claimed_count, sides + t->right_count,
               (size_t)t->claimed_count * sizeof *sides);
    return true;
}

bool ac_law_compare_all(ac_law *law, nn_comparison *worst) {
    ac_trial *t = law->t;
    t->right = ac_take_draws(t, &t->rooms[0], t->statement->left->span, t->right_count);
    if (t->right != NULL && !t->literal)
        t->claimed = ac_take_draws(t, &t->rooms[1], t->statement->right->span, t->claimed_count);
    law->all = true;
    if (t->e->error->set || !run(law, 0)) return false;
    *worst = find_worst(law)->worst;
    t->shown = worst->draw;
    for (int i = 0; i < law->worker_count; i++)
        if (is_greater(t->right, law->workers[i].greatest, t->claim.greatest))
            t->claim.greatest = law->workers[i].greatest;
    return true;
}

/* ---- one law ---------------------------------------------------------------------------------------------------- */

/* Names of which all draws can be kept are; numbers of others are made when they are needed. */
static void keep_names(ac_law *law) {
    ac_evaluator *e = law->t->e;
    for (int i = 0; i < law->name_count; i++) {
        const ac_symbol *s = law->names[i];
        if (!ac_keep_draws(e, s, law->t->claim.draws)) law->own_count += e->draws[s->index].count;
    }
}

ac_law *ac_law_open(ac_trial *t) {
    ac_law *law = nn_allocate(1, sizeof *law);
    if (law == NULL) return NULL;
    law->t = t;
    make_program(law);
    if (law->program != NULL && ag_program_status(law->program) == AG_OK) {
        keep_names(law);
        open_workers(law, 1);
    }
    if (law->worker_count > 0) return law;
    ac_law_close(law);
    return NULL;
}

void ac_law_close(ac_law *law) {
    if (law == NULL) return;
    ac_evaluator *e = law->t->e;
    for (int i = 0; i < law->worker_count; i++) close_worker(&law->workers[i]);
    ag_program_free(law->program);
    nn_release(law->names);
    nn_release(law);
    e->has_program = false;
    atomic_store(&e->beside, 0);
}
