/* Values that are cheap to compute are computed again instead of being kept for a use far away.
 *
 * The reverse part of a gradient reads what the forward part computed, the newest first. What is more than a cache apart
 * has to be fetched from memory, and all of it has to be kept. So a value that is read more than `far` bytes of other
 * results later is looked at: going back from it through what it was computed from, as long as that is cheap, the place is
 * looked for where the fewest bytes lead to it and to what is read next, for the fewest operations. What is behind that
 * place is computed again, in one go, right before the first use; what leads there is kept. In time steps, say, the state
 * at the beginning of each is kept, and its stages are computed again.
 *
 * Nothing is computed again from what was itself computed again for an earlier use, and each time it saves at least a
 * quarter of what it computes. So it never adds up to more than a part of the program. */
#include "recompute_impl.h"

#include <stdlib.h>

enum {
    WINDOW = 96,     /* instructions whose needs are computed together */
    MOST_AGAIN = 64, /* values behind one place */
    MOST_NEEDS = 3 * WINDOW,
    LEAST_SAVED = 4,  /* one byte in so many that are computed */
    CACHED = 1 << 20, /* bytes that a cache surely holds until they are read; if they are more, then what is */
    FARTHER = 16      /* computed again has to be so many times as far away as they are large */
};

typedef struct ag_recomputing {
    const ag_planning *g;
    const ag_program *p;
    ag_again *to;
    int64_t far, budget;
    int64_t *clock;                        /* bytes of results before each instruction */
    int64_t *copied;                       /* of each value: the clock when it was computed again last */
    uint32_t *late, *last, *copy, *number; /* its first use that is far from the one before; its last use; the newest */
    uint8_t *kept;                         /* copy; its number in the new program. Never to be computed again */
    uint32_t need[MOST_NEEDS], need_count; /* ascending */
    uint32_t again[MOST_NEEDS * MOST_AGAIN], again_count;
} ag_recomputing;

/* An instruction as it is executed: a sum that takes in a product is one operation. */
typedef struct ag_executed {
    uint32_t op, n;
    const ag_ref *in;
    ag_ref own[3];
} ag_executed;

static void executed(const ag_planning *g, uint32_t i, ag_executed *e) {
    const ag_program *p = g->p;
    const ag_code *c = ag_code_at(p, i);
    e->op = c->op;
    e->n = ag_operand_count(p, c);
    e->in = e->n ? ag_ref_at(p, c->in) : NULL;
    int k = c->view & WHERE_ELEMENT ? -1 : ag_fused_operand(g, i);
    if (k < 0) return;
    const ag_code *m = ag_code_at(p, e->in[k].value);
    if (m->op == AG_CHAIN) return;
    e->op = c->op == AG_ADD ? AG_FMA : AG_FNMA;
    e->own[0] = *ag_ref_at(p, m->in);
    e->own[1] = m->op == AG_SQUARE ? e->own[0] : *ag_ref_at(p, m->in + 1);
    e->own[2] = e->in[1 - k];
    e->in = e->own;
    e->n = 3;
}

/* Whether it is part of another instruction. */
static bool is_taken_in(const ag_planning *g, uint32_t i) {
    const ag_code *c = ag_code_at(g->p, i);
    return g->skipped[i] && c->op != AG_CHAIN && !(c->view & WHERE_ELEMENT);
}

static int64_t bytes_of(const ag_recomputing *s, uint32_t value) {
    return ag_value_count(s->p, value) * (int64_t)ag_type_size(s->p->type);
}

static bool is_large(const ag_recomputing *s, uint32_t value) {
    const ag_code *c = ag_code_at(s->p, value);
    return ag_is_computed(c) && !(c->view & WHERE_ELEMENT) && ag_where_count(s->p, c->view) > AG_LANES;
}

static bool is_cheap(const ag_recomputing *s, uint32_t value) {
    ag_executed e;
    ag_shift shift;
    if (!is_large(s, value) || s->kept[value] || s->g->skipped[value]) return false;
    executed(s->g, value, &e);
    for (uint32_t k = 0; k < e.n; k++)
        if (s->g->skipped[e.in[k].value]) return false;
    return e.op < AG_OPCODES ? ag_op_table[e.op].traits & AG_CHEAP : ag_find_shift(s->g, value, &shift);
}

static bool has_copy(const ag_recomputing *s, uint32_t value, uint32_t at) {
    return s->copy[value] != NOWHERE && s->clock[at] - s->copied[value] < s->far;
}

/* Whether instruction `at` reads a value that is far away, and may be computed again. */
static bool is_needed(const ag_recomputing *s, uint32_t value, uint32_t at) {
    return s->late[value] <= at && !s->kept[value] && !has_copy(s, value, at);
}

/* Whether reading it at `at` makes nothing be kept that is not kept anyway. */
static bool is_free(const ag_recomputing *s, uint32_t value, uint32_t at) {
    if (!is_large(s, value) || s->kept[value] || has_copy(s, value, at)) return true;
    return s->late[value] == NOWHERE && s->last[value] != NOWHERE && s->last[value] >= at;
}

/* ---- which values ---- */

/* False if none is far from its use. */
static bool find_late(ag_recomputing *s) {
    const ag_planning *g = s->g;
    int64_t *touched = s->copied; /* not needed yet */
    bool any = false;
    for (uint64_t k = 0; k < s->p->outputs.count; k++) s->kept[ag_poutput_at(s->p, k)->ref.value] = 1;
    for (uint32_t i = 0; i < g->n; i++) {
        ag_executed e;
        executed(g, i, &e);
        for (uint32_t k = 0; k < e.n && !is_taken_in(g, i); k++) {
            uint32_t v = e.in[k].value;
            if (s->late[v] == NOWHERE && s->clock[i] - touched[v] >= s->far && is_cheap(s, v))
                s->late[v] = i, any = true;
            touched[v] = s->clock[i];
            s->last[v] = i;
        }
        s->clock[i + 1] = s->clock[i] + (g->stored[i] && is_large(s, i) ? bytes_of(s, i) : 0);
        touched[i] = s->clock[i + 1];
    }
    return any;
}

/* Values that lead to some needs: sorted, the newest last. */
typedef struct ag_front {
    uint32_t value[MOST_AGAIN], count;
    int64_t bytes;
} ag_front;

/* False if there is no room. */
static bool put(const ag_recomputing *s, ag_front *f, uint32_t value) {
    uint32_t k = f->count;
    while (k > 0 && f->value[k - 1] > value) k--;
    if (k > 0 && f->value[k - 1] == value) return true;
    if (f->count == MOST_AGAIN) return false;
    memmove(f->value + k + 1, f->value + k, (f->count - k) * sizeof *f->value);
    f->value[k] = value;
    f->count++;
    f->bytes += bytes_of(s, value);
    return true;
}

/* The newest values of the needs, back to some place: how many are computed again, and needs among them. */
typedef struct ag_stretch {
    uint32_t again[MOST_AGAIN], count, needs;
    ag_front kept;
    int64_t saved, cost, read; /* bytes: not kept, computed, computed to be read */
} ag_stretch;

/* Whether a copy that is made at `at` is used later, too. */
static bool is_read_soon(const ag_recomputing *s, uint32_t value, uint32_t at) {
    uint32_t late = s->late[value];
    return late != NOWHERE && late >= at && late - at < 2 * WINDOW && s->clock[late] - s->clock[at] < s->far;
}

/* Whether the last values of the needs can be computed again so that it is worth it; the best way. */
static bool find_stretch(const ag_recomputing *s, uint32_t at, ag_stretch *best) {
    ag_stretch now = {.count = 0};
    ag_front front = {.count = 0}, fixed = {.count = 0};
    int64_t saved = 0;
    best->saved = best->cost = 0;
    while (now.count < MOST_AGAIN && (best->saved == 0 || now.cost <= 4 * best->cost)) {
        uint32_t need = now.needs < s->need_count ? s->need[s->need_count - 1 - now.needs] : NOWHERE;
        uint32_t newest = front.count ? front.value[front.count - 1] : NOWHERE;
        if (need == NOWHERE && newest == NOWHERE) break;
        bool is_need = newest == NOWHERE || (need != NOWHERE && need >= newest);
        uint32_t v = is_need ? need : newest;
        if (v == newest) front.bytes -= bytes_of(s, front.value[--front.count]);
        if (!is_cheap(s, v)) {
            now.needs += is_need;
            if (!is_need && !put(s, &fixed, v)) break;
            continue;
        }
        ag_executed e;
        bool room = true;
        executed(s->g, v, &e);
        for (uint32_t k = 0; k < e.n; k++)
            if (!is_free(s, e.in[k].value, at)) room &= put(s, &front, e.in[k].value);
        if (!room) break;
        now.again[now.count++] = v;
        now.needs += is_need;
        now.cost += bytes_of(s, v);
        if (is_need || is_read_soon(s, v, at)) saved += bytes_of(s, v);
        now.read = saved;
        now.saved = saved - front.bytes - fixed.bytes;
        bool first = best->saved == 0 && now.saved > 0;
        if (!first && (double)now.saved * (double)best->cost <= (double)best->saved * (double)now.cost) continue;
        *best = now;
        best->kept = front;
        for (uint32_t k = 0; k < fixed.count; k++) (void)put(s, &best->kept, fixed.value[k]);
    }
    if (best->saved == 0 || best->saved * LEAST_SAVED < best->cost) return false;
    return best->read <= CACHED || s->clock[at] - s->clock[best->again[0]] >= FARTHER * best->read;
}

static void add_need(ag_recomputing *s, uint32_t value) {
    uint32_t k = s->need_count;
    while (k > 0 && s->need[k - 1] > value) k--;
    if (k > 0 && s->need[k - 1] == value) return;
    memmove(s->need + k + 1, s->need + k, (s->need_count - k) * sizeof *s->need);
    s->need[k] = value;
    s->need_count++;
}

/* What instructions from `at` on need that is far away. */
static void find_needs(ag_recomputing *s, uint32_t at) {
    int64_t bytes = 0;
    s->need_count = 0;
    for (uint32_t i = at; i < s->g->n && i < at + WINDOW && (bytes < s->budget || i == at); i++) {
        ag_executed e;
        executed(s->g, i, &e);
        for (uint32_t k = 0; k < e.n && !is_taken_in(s->g, i); k++) {
            uint32_t v = e.in[k].value, before = s->need_count;
            if (v < at && is_needed(s, v, i) && s->need_count < MOST_NEEDS) add_need(s, v);
            if (s->need_count > before) bytes += bytes_of(s, v);
        }
    }
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Decides on all needs. */
static void choose(ag_recomputing *s, uint32_t at) {
    ag_stretch stretch;
    s->again_count = 0;
    while (s->need_count) {
        if (s->kept[s->need[s->need_count - 1]]) {
            s->need_count--;
        } else if (find_stretch(s, at, &stretch)) {
            memcpy(s->again + s->again_count, stretch.again, stretch.count * sizeof *s->again);
            s->again_count += stretch.count;
            s->need_count -= stretch.needs;
            for (uint32_t k = 0; k < stretch.kept.count; k++) s->kept[stretch.kept.value[k]] = 1;
        } else {
            s->kept[s->need[--s->need_count]] = 1;
        }
    }
    qsort(s->again, s->again_count, sizeof *s->again, by_number);
}

/* ---- the new program ---- */

/* Appends instruction i of the old one, a copy of it or not; returns its number. Chains that sums have taken in, and sums
 * that were members of groups, are told by one use. */
static uint32_t append(ag_recomputing *s, uint32_t i, uint32_t at, bool is_copy) {
    ag_runner *r = s->g->r;
    ag_program *q = &s->to->program;
    ag_code c = *ag_code_at(s->p, i);
    ag_executed e;
    executed(s->g, i, &e);
    c.op = e.op;
    c.in = (uint32_t)q->refs.count;
    ag_ref *in = ag_runner_add(r, &q->refs, sizeof *in, e.n);
    ag_code *to = in || !e.n ? ag_runner_add(r, &q->codes, sizeof *to, 1) : NULL;
    uint8_t *uses = to ? ag_runner_add(r, &s->to->uses, sizeof *uses, 1) : NULL;
    if (!uses) return 0;
    for (uint32_t k = 0; k < e.n; k++) {
        uint32_t v = e.in[k].value;
        bool copied = has_copy(s, v, at) && (is_copy || s->late[v] <= at);
        in[k] = (ag_ref){copied ? s->copy[v] : s->number[v], e.in[k].where};
    }
    *to = c;
    bool is_sum = c.op == CODE_CALL, is_scalar = c.view & WHERE_ELEMENT;
    bool was_member = !is_copy && (is_sum ? s->g->group[i] != ALONE : s->g->skipped[i]);
    *uses = is_scalar && !is_sum ? s->g->uses[i] : was_member ? 1 : 2;
    return (uint32_t)q->codes.count - 1;
}

static void rewrite(ag_recomputing *s) {
    const ag_planning *g = s->g;
    for (uint32_t i = 0; i < g->n && g->r->status == AG_OK; i++) {
        ag_executed e;
        if (is_taken_in(g, i)) continue;
        executed(g, i, &e);
        bool any = false;
        for (uint32_t k = 0; k < e.n; k++) any |= is_needed(s, e.in[k].value, i);
        if (any) {
            find_needs(s, i);
            choose(s, i);
            for (uint32_t k = 0; k < s->again_count; k++) {
                uint32_t v = s->again[k];
                s->copy[v] = append(s, v, i, true);
                s->copied[v] = s->clock[i];
            }
        }
        s->number[i] = append(s, i, i, false);
    }
}

/* The ports that name values, of their new numbers. */
static void renumber_ports(ag_recomputing *s) {
    ag_runner *r = s->g->r;
    ag_program *q = &s->to->program;
    const ag_list *from[] = {&s->p->inputs, &s->p->outputs};
    ag_list *to[] = {&q->inputs, &q->outputs};
    for (int k = 0; k < 2; k++) {
        *to[k] = (ag_list){.count = 0};
        ag_pport *port = from[k]->count ? ag_runner_add(r, to[k], sizeof *port, from[k]->count) : NULL;
        if (!port) continue;
        memcpy(port, from[k]->range.base, from[k]->count * sizeof *port);
        for (uint64_t i = 0; i < from[k]->count; i++) port[i].ref.value = s->number[port[i].ref.value];
    }
}

void ag_close_again(ag_runner *r, ag_again *again) {
    ag_list *lists[] = {&again->program.codes, &again->program.refs, &again->program.inputs, &again->program.outputs,
                        &again->uses};
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) ag_range_free(&r->memory, &lists[k]->range);
}

static void share(const ag_program *p, ag_program *q) {
    q->type = p->type;
    q->calls = p->calls;
    q->params = p->params;
    q->constants = p->constants;
    q->views = p->views;
    q->names = p->names;
}

bool ag_recompute(const ag_planning *g, ag_again *again) {
    ag_runner *r = g->r;
    int64_t bytes = 0;
    size_t n = g->n + (size_t)1, size = sizeof(ag_recomputing) + n * (2 * sizeof(int64_t) + 4 * sizeof(uint32_t) + 1);
    *again = (ag_again){.uses = {.count = 0}};
    for (uint32_t i = 0; i < g->n && !r->is_lanes; i++)
        if (g->stored[i] && !(ag_code_at(g->p, i)->view & WHERE_ELEMENT)) bytes += ag_value_count(g->p, i);
    if (bytes * (int64_t)ag_type_size(g->p->type) <= r->far) return false;
    ag_recomputing *s = ag_memory_zeroed(&r->memory, size);
    if (!s) {
        ag_runner_fail(r, AG_ERR_MEMORY, "run: out of memory for the plan");
        return false;
    }
    *s = (ag_recomputing){.g = g, .p = g->p, .to = again, .far = r->far, .budget = r->far / 8};
    s->clock = (int64_t *)(void *)(s + 1);
    s->copied = s->clock + n;
    s->late = (uint32_t *)(void *)(s->copied + n);
    s->last = s->late + n;
    s->copy = s->last + n;
    s->number = s->copy + n;
    s->kept = (uint8_t *)(s->number + n);
    memset(s->late, 0xff, 3 * n * sizeof *s->late);
    bool any = find_late(s);
    if (any) {
        share(g->p, &again->program);
        rewrite(s);
        renumber_ports(s);
    }
    ag_memory_free(&r->memory, s, size);
    return any && r->status == AG_OK;
}
