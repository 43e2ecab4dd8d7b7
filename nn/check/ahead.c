/* Laws that follow one another are tested together when it is the first one's turn: what they share is computed once. All
 * that is kept of them is where they are furthest off, and what a wrong one has in common at all draws. What goes wrong here
 * is met again, and told, when it is their turn. */
#include "nn/check/check_impl.h"
#include "nn/memory.h"

enum { MOST_STATEMENTS = 64 };

/* Are names that this one defines recorded for a draw, or not at all? Others stay, and are not to be there too early. */
static bool may_pass(const ac_statement *s) {
    return s->kind != AC_DEFINE || s->random || s->symbol->kind == AC_DEFINED;
}

static int find_law(const ac_ahead *a, const ac_statement *s) {
    for (int i = 0; i < a->count; i++)
        if (a->laws[i].statement == s) return i;
    return -1;
}

/* Laws that are looked at. */
typedef struct group {
    ac_evaluator *e;
    int draws, count;
    ac_trial trials[AC_MOST_LAWS];
    ac_statement *read[AC_MOST_LAWS]; /* those of the trials, and perhaps one more */
    int read_count;
} group;

static bool open_trial(group *g, ac_statement *s, ac_room *rooms) {
    ac_evaluator *e = g->e;
    g->read[g->read_count++] = s;
    bool fine = ac_read_sides(e->file, s, e->error) && ac_prepare(e, s->uses, s->use_count, false);
    g->trials[g->count] = (ac_trial){
        .e = e, .statement = s, .rooms = rooms, .claim.draws = g->draws, .literal = fine && ac_is_literal(s->right)};
    if (!fine) ac_forgive(e);
    return fine;
}

/* Those of the statements from this one on. Returns where that ends. */
static int open_trials(ac_ahead *a, group *g, int place, int most) {
    const ac_file *file = g->e->file;
    int i = place;
    for (; i < file->statement_count && i < place + MOST_STATEMENTS && g->count < most; i++) {
        ac_statement *s = file->statements[i];
        if (!may_pass(s)) break;
        if (s->kind != AC_CHECK || !s->random) continue;
        if (!open_trial(g, s, a->rooms[g->count])) break;
        g->count++;
    }
    return i;
}

static void keep_outlooks(ac_ahead *a, const group *g) {
    a->count = 0;
    for (int i = 0; i < g->count && g->trials[i].outlook != AC_UNKNOWN; i++) {
        a->laws[a->count].statement = g->trials[i].statement;
        a->laws[a->count].outlook = g->trials[i].outlook;
        a->laws[a->count].guess = g->trials[i].guess;
        a->laws[a->count++].worst = g->trials[i].worst;
    }
}

/* Expressions are forgotten: they are read again when it is their turn. Returns how many were computed together. */
static int look(ac_ahead *a, ac_evaluator *e, int draws, int place, int most, int *end) {
    group g = {.e = e, .draws = draws};
    ac_trial *list[AC_MOST_LAWS];
    ac_bookmark before = ac_bookmark_here(e->file);
    *end = open_trials(a, &g, place, most);
    for (int i = 0; i < g.count; i++) list[i] = &g.trials[i];
    int together = g.count > 0 && !e->error->set ? ac_laws_look(list, g.count) : 0;
    for (int i = 0; i < g.read_count; i++) ac_go_back(e->file, before, g.read[i]);
    keep_outlooks(a, &g);
    return together;
}

bool ac_look_ahead(ac_ahead *a, ac_evaluator *e, int draws, int place) {
    const ac_statement *s = e->file->statements[place];
    if (s->kind != AC_CHECK || !s->random || draws == 1 || find_law(a, s) >= 0) return true;
    int end, together = look(a, e, draws, place, place < a->together ? 1 : AC_MOST_LAWS, &end);
    if (together > 1 && find_law(a, s) < 0 && !e->error->set) {
        a->together = end;
        (void)look(a, e, draws, place, 1, &end);
    }
    return !e->error->set;
}

void ac_tell_outlook(const ac_ahead *a, ac_trial *t) {
    int i = find_law(a, t->statement);
    if (i < 0) return;
    t->outlook = a->laws[i].outlook;
    t->worst = a->laws[i].worst;
    t->guess = a->laws[i].guess;
}

void ac_ahead_close(ac_ahead *a) {
    for (int i = 0; i < AC_MOST_LAWS; i++)
        for (int j = 0; j < 3; j++) nn_release(a->rooms[i][j].values);
}
