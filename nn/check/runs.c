/* Values at one draw after the other as runs of a program: they are recorded once and frozen, so that what they have in
 * common is computed once, numbers of a draw stay near, and nothing is recorded again; runs for several draws go on at a
 * time. */
#include "nn/check/check_impl.h"
#include "nn/memory.h"

#include <math.h>

/* Seconds of work that are worth threads, and those of what is done before that is asked. */
static const double worth_threads = 1e-3, alone = 0.5e-3;

/* What a thread has for itself. */
typedef struct worker {
    ag_runner *runner;
    double *memory;
    const double **inputs; /* of the draw at hand */
    double *own;           /* numbers of names of which there is no room to keep all draws */
    double **values;       /* where those of the draw at hand go */
} worker;

struct ac_runs {
    ac_evaluator *e;
    ag_program *program;
    ac_symbol **names; /* the quantified ones, which are the program's inputs */
    int name_count;
    int64_t own_count; /* numbers of those that are not kept */
    int64_t *counts;   /* of each value */
    int value_count, draws;
    worker workers[AC_MOST_WORKERS];
    int worker_count;
    ac_visitor visitor;
    double until;    /* no draw is begun later than this, by ac_clock */
    atomic_int next; /* draw */
    atomic_bool stop, failed, late;
};

/* ---- the program ------------------------------------------------------------------------------------------------ */

/* Those that the draw on the tape was made for. */
static bool find_names(ac_runs *r) {
    const ac_evaluator *e = r->e;
    r->names = nn_allocate((size_t)e->file->symbol_count, sizeof *r->names);
    for (int i = 0; r->names != NULL && i < e->file->symbol_count; i++) {
        ac_symbol *s = e->file->symbols[i];
        if (s->kind == AC_QUANTIFIED && e->recorded[i] == e->passing) r->names[r->name_count++] = s;
    }
    return r->names != NULL;
}

static bool find_counts(ac_runs *r, const ag_var values[]) {
    r->counts = nn_allocate((size_t)r->value_count, sizeof *r->counts);
    for (int i = 0; r->counts != NULL && i < r->value_count; i++) r->counts[i] = ag_count(values[i]);
    return r->counts != NULL;
}

static void freeze(ac_runs *r, ag_var values[]) {
    ac_evaluator *e = r->e;
    ag_var *inputs = nn_allocate((size_t)r->name_count, sizeof *inputs);
    if (inputs == NULL) return;
    for (int i = 0; i < r->name_count; i++) inputs[i] = e->values[r->names[i]->index];
    for (int i = 0; i < r->value_count; i++)
        if (ag_tape_of(values[i]) == NULL) values[i] = ag_constant(e->tape, ag_value(values[i]));
    e->held = ag_tape_held(e->tape);
    e->has_program = true;
    r->program = ag_program_freeze(inputs, NULL, r->name_count, values, NULL, r->value_count);
    nn_release(inputs);
}

void ac_trace(ac_evaluator *e, bool on) {
    e->tracing = on;
    ag_tape_trace(e->tape, on);
}

ac_runs *ac_runs_freeze(ac_evaluator *e, ag_var values[], int count, int draws) {
    ac_runs *r = nn_allocate(1, sizeof *r);
    if (r == NULL) return NULL;
    r->e = e;
    r->value_count = count;
    r->draws = draws;
    if (find_names(r) && find_counts(r, values)) freeze(r, values);
    return r;
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static size_t numbers_of_values(const ac_runs *r) {
    int64_t count = 0;
    for (int i = 0; i < r->value_count; i++) count += r->counts[i];
    return (size_t)count;
}

/* One value behind the other. */
static void place_values(const ac_runs *r, worker *w) {
    double *next = w->own + r->own_count;
    for (int i = 0; i < r->value_count; next += r->counts[i++]) w->values[i] = next;
}

/* False if there is no memory for it. What all hold together leaves half of what is allowed to what runs need. */
static bool open_worker(ac_runs *r, worker *w) {
    ac_evaluator *e = r->e;
    w->runner = ag_runner_new(r->program);
    if (*ag_runner_message(w->runner) != '\0' || atomic_load(&e->beside) > e->file->limits.bytes / 2) return false;
    w->memory = nn_allocate((size_t)r->own_count + numbers_of_values(r), sizeof *w->memory);
    w->inputs = nn_allocate((size_t)r->name_count, sizeof *w->inputs);
    w->values = nn_allocate((size_t)r->value_count, sizeof *w->values);
    if (w->memory == NULL || w->inputs == NULL || w->values == NULL) return false;
    w->own = w->memory;
    place_values(r, w);
    return true;
}

static void close_worker(worker *w) {
    ag_runner_free(w->runner);
    nn_release(w->memory);
    nn_release(w->inputs);
    nn_release(w->values);
    memset(w, 0, sizeof *w);
}

/* As many as there is memory for. */
static void open_workers(ac_runs *r, int wanted) {
    if (wanted > AC_MOST_WORKERS) wanted = AC_MOST_WORKERS;
    while (r->worker_count < wanted && open_worker(r, &r->workers[r->worker_count])) r->worker_count++;
    if (r->worker_count < wanted) close_worker(&r->workers[r->worker_count]);
}

/* Names of which all draws can be kept are; numbers of others are made when they are needed. */
static void keep_names(ac_runs *r) {
    ac_evaluator *e = r->e;
    for (int i = 0; i < r->name_count; i++) {
        const ac_symbol *s = r->names[i];
        if (!ac_keep_draws(e, s, r->draws)) r->own_count += e->draws[s->index].count;
    }
}

bool ac_runs_open(ac_runs *r) {
    if (r == NULL || r->program == NULL || ag_program_status(r->program) != AG_OK) return false;
    keep_names(r);
    open_workers(r, 1);
    return r->worker_count > 0;
}

void ac_runs_close(ac_runs *r) {
    if (r == NULL) return;
    ac_evaluator *e = r->e;
    for (int i = 0; i < r->worker_count; i++) close_worker(&r->workers[i]);
    ag_program_free(r->program);
    nn_release(r->names);
    nn_release(r->counts);
    nn_release(r);
    e->has_program = false;
    atomic_store(&e->beside, 0);
}

/* ---- draws ------------------------------------------------------------------------------------------------------ */

static const double *const *find_inputs(const ac_runs *r, worker *w, int draw) {
    const ac_evaluator *e = r->e;
    double *own = w->own;
    for (int i = 0; i < r->name_count; i++) {
        w->inputs[i] = ac_draw_numbers(e, r->names[i], draw, own);
        if (w->inputs[i] == own) own += e->draws[r->names[i]->index].count;
    }
    return w->inputs;
}

/* Computes a draw; false if it cannot be done. */
static bool run_draw(ac_runs *r, int k, int draw) {
    const ac_visitor *v = &r->visitor;
    worker *w = &r->workers[k];
    if (v->place != NULL) v->place(v->context, draw, w->values);
    if (ag_run(w->runner, find_inputs(r, w, draw), w->values) != AG_OK) return false;
    if (!v->visit(v->context, k, draw, w->values)) atomic_store(&r->stop, true);
    return true;
}

static void work(void *context, int k) {
    ac_runs *r = context;
    const ac_file *file = r->e->file;
    for (double now = ac_clock(); now <= r->until && !atomic_load(&r->stop); now = ac_clock()) {
        int draw = atomic_fetch_add(&r->next, 1);
        if (draw >= r->draws) return;
        bool late = now > file->deadline;
        if (!late && run_draw(r, k, draw)) continue;
        atomic_store(late ? &r->late : &r->failed, true);
        atomic_store(&r->stop, true);
    }
}

bool ac_runs_visit(ac_runs *r, int first, ac_span span, const ac_visitor *visitor) {
    ac_evaluator *e = r->e;
    double start = ac_clock();
    r->visitor = *visitor;
    atomic_store(&r->next, first);
    r->until = start + alone;
    work(r, 0); /* one thread shows how long draws take */
    int done = atomic_load(&r->next) - first, left = r->draws - first - done;
    if (left > 1 && (ac_clock() - start) / done * left > worth_threads) {
        int threads = ag_threads();
        open_workers(r, threads < left ? threads : left);
    }
    r->until = INFINITY;
    if (left > 0) ag_parallel_long(r->worker_count, work, r);
    if (atomic_load(&r->late)) (void)ac_is_in_time(e->file, e->error, span);
    if (atomic_load(&r->late) || atomic_load(&r->failed)) return false;
    for (int i = 0; i < r->name_count && !atomic_load(&r->stop); i++) ac_draws_are_made(e, r->names[i], r->draws);
    return true;
}
