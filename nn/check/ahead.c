/* Laws that follow one another are tested together when it is the first one's turn: what they share is computed once. All
 * that is kept of them is where they are furthest off. What goes wrong here is met again, and told, when it is their turn. */
#include "nn/check/check_impl.h"
#include "nn/memory.h"

enum { MOST_STATEMENTS = 64 };

/* Are names that this one defines recorded for a draw, or not at all? Others stay, and are not to be there too early. */
static bool may_pass(const ac_statement *s) {
    return s->kind != AC_DEFINE || s->random || s->symbol->kind == AC_DEFINED;
}

static int find(const ac_ahead *a, const ac_statement *s) {
    for (int i = 0; i < a->count; i++)
        if (a->laws[i].statement == s) return i;
    return -1;
}

/* Laws that are looked at. */
typedef struct view {
    ac_evaluator *e;
    int draws, count;
    ac_trial trials[AC_MOST_LAWS];
    ac_statement *read[AC_MOST_LAWS]; /* those of the trials, and perhaps one more */
    int read_count;
} view;

static bool open_trial(view *v, ac_statement *s, ac_room *rooms) {
    ac_evaluator *e = v->e;
    v->read[v->read_count++] = s;
    bool fine = ac_read_sides(e->file, s, e->error) && ac_prepare(e, s->uses, s->use_count, false);
    v->trials[v->count] = (ac_trial){
        .e = e, .statement = s, .rooms = rooms, .claim.draws = v->draws, .literal = fine && ac_is_literal(s->right)};
    if (!fine) ac_forgive(e);
    return fine;
}

/* Those of the statements from this one on. Returns where that ends. */
static int open_trials(ac_ahead *a, view *v, int place, int most) {
    const ac_file *file = v->e->file;
    int i = place;
    for (; i < file->statement_count && i < place + MOST_STATEMENTS && v->count < most; i++) {
        ac_statement *s = file->statements[i];
        if (!may_pass(s)) break;
        if (s->kind != AC_CHECK || !s->random) continue;
        if (!open_trial(v, s, a->rooms[v->count])) break;
        v->count++;
    }
    return i;
}

static void keep_outlooks(ac_ahead *a, const view *v) {
    a->count = 0;
    for (int i = 0; i < v->count && v->trials[i].outlook != AC_UNKNOWN; i++) {
        a->laws[a->count].statement = v->trials[i].statement;
        a->laws[a->count].outlook = v->trials[i].outlook;
        a->laws[a->count++].worst = v->trials[i].worst;
    }
}

/* Expressions are forgotten: they are read again when it is their turn. Returns how many were computed together. */
static int look(ac_ahead *a, ac_evaluator *e, int draws, int place, int most, int *end) {
    view v = {.e = e, .draws = draws};
    ac_trial *list[AC_MOST_LAWS];
    ac_bookmark before = ac_bookmark_here(e->file);
    *end = open_trials(a, &v, place, most);
    for (int i = 0; i < v.count; i++) list[i] = &v.trials[i];
    int together = v.count > 0 && !e->error->set ? ac_laws_look(list, v.count) : 0;
    for (int i = 0; i < v.read_count; i++) ac_go_back(e->file, before, v.read[i]);
    keep_outlooks(a, &v);
    return together;
}

bool ac_look_ahead(ac_ahead *a, ac_evaluator *e, int draws, int place) {
    const ac_statement *s = e->file->statements[place];
    if (s->kind != AC_CHECK || !s->random || draws == 1 || find(a, s) >= 0) return true;
    int end, together = look(a, e, draws, place, place < a->together ? 1 : AC_MOST_LAWS, &end);
    if (together > 1 && find(a, s) < 0 && !e->error->set) {
        a->together = end;
        (void)look(a, e, draws, place, 1, &end);
    }
    return !e->error->set;
}

void ac_tell_outlook(const ac_ahead *a, ac_trial *t) {
    int i = find(a, t->statement);
    if (i < 0) return;
    t->outlook = a->laws[i].outlook;
    t->worst = a->laws[i].worst;
}

void ac_ahead_close(ac_ahead *a) {
    for (int i = 0; i < AC_MOST_LAWS; i++)
        for (int j = 0; j < 3; j++) nn_release(a->rooms[i][j].values);
}
