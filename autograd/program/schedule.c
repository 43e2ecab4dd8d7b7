/* In which order a program's instructions are executed, and which of them together.
 *
 * Elementwise operations on as many elements are gathered in groups, so that a chain of them goes over memory once. A
 * group is open while what is needed of it is needed by its own next members only; whatever else comes in between is
 * executed before it. An open group never depends on another open one. The sum of all elements of a member is a member,
 * too, and so is a member, or what is stored, that is shifted, if all shifts of the group go the same way; groups with sums
 * go from the first elements to the last. */
#include "guard_impl.h"
#include "plan_impl.h"

enum { OPEN_GROUPS = 8, LONGEST_GROUP = 192, LEAST_SHARED = 2 };

typedef struct ag_open_group {
    int64_t elements;
    uint32_t id;
    int direction; /* of shifts: 1 to the back, -1 to the front, 0 if there is none */
    uint32_t members[LONGEST_GROUP], count;
} ag_open_group;

typedef struct ag_scheduling {
    ag_planning *g;
    ag_open_group open[OPEN_GROUPS];
    uint32_t open_count, groups;
} ag_scheduling;

static void close_group(ag_scheduling *s, uint32_t k) {
    ag_planning *g = s->g;
    ag_open_group *o = &s->open[k];
    for (uint32_t j = 0; j < o->count; j++) {
        g->time[o->members[j]] = g->ordered + (o->count - 1 - j);
        g->order[g->ordered++] = o->members[j];
        bool lone = o->count < LEAST_SHARED && ag_value_count(g->p, o->members[j]) > AG_LANES;
        if (lone && !(g->recomputes && ag_is_product_sum(ag_code_at(g->p, o->members[j]))))
            g->group[o->members[j]] = ALONE;
    }
    if (k != --s->open_count) *o = s->open[s->open_count];
}

/* The open group that a value is waiting in, or open_count. */
static uint32_t waiting_in(const ag_scheduling *s, uint32_t value) {
    const ag_planning *g = s->g;
    uint32_t k = 0;
    if (g->time[value] != NOWHERE || g->group[value] == ALONE) return s->open_count;
    while (k < s->open_count && s->open[k].id != g->group[value]) k++;
    return k;
}

bool ag_is_whole(const ag_program *p, ag_ref r) {
    if (r.where & WHERE_ELEMENT) return false;
    const ag_pview *w = ag_pview_at(p, r.where);
    return w->view.contiguous && w->offset == 0 && w->view.count == ag_value_count(p, r.value);
}

/* Closes the groups that an instruction depends on, but not `but` if all that it reads of that is as many elements as it
 * has, one for one. */
static void close_operands(ag_scheduling *s, const ag_code *c, uint32_t but_id) {
    const ag_program *p = s->g->p;
    for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
        ag_ref r = *ag_ref_at(p, c->in + k);
        uint32_t at = waiting_in(s, r.value);
        if (at == s->open_count) continue;
        bool whole = ag_is_whole(p, r) && ag_value_count(p, r.value) == s->open[at].elements;
        if (s->open[at].id != but_id || !whole) close_group(s, at);
    }
}

/* Marks the ways of elementwise operations; their first use decides. */
static void find_ways(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint32_t i = g->n; i-- > 0;) {
        const ag_code *c = ag_code_at(p, i);
        ag_shift shift;
        if (c->op < AG_OPCODES && g->way[i] && !(c->view & WHERE_ELEMENT)) {
            for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
                ag_ref r = *ag_ref_at(p, c->in + k);
                if (ag_is_whole(p, r) && ag_value_count(p, r.value) == ag_value_count(p, i))
                    g->way[r.value] = g->way[i];
            }
        } else if (ag_find_shift(g, i, &shift)) {
            g->way[ag_ref_at(p, c->in + shift.part)->value] = shift.by > 0 ? 1 : -1;
        }
    }
}

/* The open group for as many elements that has room and whose shifts do not go the other way. */
static ag_open_group *find_group(ag_scheduling *s, int64_t elements, int way, uint32_t room) {
    for (uint32_t k = 0; k < s->open_count; k++) {
        ag_open_group *o = &s->open[k];
        if (o->elements == elements && o->count + room <= LONGEST_GROUP && (!way || o->direction != -way)) return o;
    }
    return NULL;
}

/* The open group for as many elements and the way, a new one if there is none. */
static ag_open_group *open_group(ag_scheduling *s, int64_t elements, int way, uint32_t room) {
    ag_open_group *o = find_group(s, elements, way, room);
    if (!o) {
        for (uint32_t k = 0; k < s->open_count; k++) /* one of as many that is full, or goes the other way */
            if (s->open[k].elements == elements) close_group(s, k--);
        if (s->open_count == OPEN_GROUPS) close_group(s, 0);
        o = &s->open[s->open_count++];
        *o = (ag_open_group){.elements = elements, .id = ++s->groups};
    }
    if (!o->direction) o->direction = way;
    return o;
}

static void join(ag_scheduling *s, ag_open_group *o, uint32_t i) {
    s->g->group[i] = o->id;
    o->members[o->count++] = i;
}

/* A sum stands right behind what it adds up, which is at hand then. */
static void join_sum(ag_scheduling *s, ag_open_group *o, uint32_t i, uint32_t summand) {
    uint32_t at = o->count;
    join(s, o, i);
    for (uint32_t k = at; s->g->group[summand] == o->id && o->members[k - 1] != summand; k--) at = k - 1;
    memmove(o->members + at + 1, o->members + at, (o->count - 1 - at) * sizeof *o->members);
    o->members[at] = i;
}

/* A chain that a sum took in before the program was given more instructions: it joins with the sum, so that numbers do not
 * change. NOWHERE if there is none. */
static bool is_taken_in(const ag_planning *g, uint32_t i) {
    const ag_code *c = ag_code_at(g->p, i);
    return g->recomputes && c->op == AG_CHAIN && !(c->view & WHERE_ELEMENT) && g->uses[i] == 1;
}

static uint32_t taken_in(const ag_planning *g, const ag_code *c) {
    for (uint32_t k = 0; k < 2 && (c->op == AG_ADD || c->op == AG_SUB); k++) {
        uint32_t v = ag_ref_at(g->p, c->in + k)->value;
        if (is_taken_in(g, v)) return v;
    }
    return NOWHERE;
}

static void join_group(ag_scheduling *s, uint32_t i, const ag_code *c) {
    const ag_planning *g = s->g;
    int64_t elements = ag_value_count(g->p, i);
    uint32_t chain = taken_in(g, c), room = chain == NOWHERE ? 1 : 2;
    ag_open_group *o = find_group(s, elements, g->way[i], room);
    uint32_t id = o ? o->id : ALONE;
    close_operands(s, c, id);
    if (chain != NOWHERE) close_operands(s, ag_code_at(g->p, chain), id);
    o = open_group(s, elements, g->way[i], room); /* it may have been closed */
    if (chain != NOWHERE) join(s, o, chain);
    join(s, o, i);
}

/* The open group that a total sum can be a member of, or NULL. A sum, of one element, is not summed there again; groups on
 * one element have no sums, as these would look like members. The first elements come first. It was a member before
 * the program was given more instructions, or it is none: the order in which numbers are added stays. */
static ag_open_group *group_of_sum(ag_scheduling *s, uint32_t i, const ag_code *c) {
    const ag_planning *g = s->g;
    const ag_program *p = g->p;
    if (c->op != CODE_CALL || (g->recomputes && g->uses[i] != 1)) return NULL;
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    ag_ref r = *ag_ref_at(p, c->in);
    if (call->n != 1 || !ag_is_whole(p, r) ||
        !ag_is_total_sum(call->operation, ag_pparams_at(p, call->params), ag_pview_at(p, r.where)->view.rank))
        return NULL;
    int64_t elements = ag_value_count(p, r.value);
    uint32_t at = waiting_in(s, r.value);
    ag_open_group *o = at < s->open_count ? &s->open[at] : NULL;
    bool joins = o && elements == o->elements && o->count < LONGEST_GROUP && o->direction >= 0;
    if (!g->recomputes && (!joins || elements == 1)) return NULL;
    if (o && !joins) close_group(s, at);
    if (!joins) o = open_group(s, elements, 1, 1);
    o->direction = 1;
    return o;
}

/* The group that a shift can be a member of where what it moves is one, too: not if it also takes something else from
 * there. Or open_count. */
static uint32_t group_of_moved(const ag_scheduling *s, const ag_code *c, const ag_shift *shift) {
    const ag_program *p = s->g->p;
    uint32_t at = waiting_in(s, ag_ref_at(p, c->in + shift->part)->value);
    if (at == s->open_count) return at;
    const ag_open_group *o = &s->open[at];
    if (o->count == LONGEST_GROUP || o->direction == (shift->by > 0 ? -1 : 1)) return s->open_count;
    for (uint32_t k = 0; k < shift->parts; k++)
        if (k != shift->part && waiting_in(s, ag_ref_at(p, c->in + k)->value) == at) return s->open_count;
    return at;
}

/* A shift joins the group of what it moves, or one that begins with what was stored. */
static bool join_as_shift(ag_scheduling *s, uint32_t i, const ag_code *c) {
    const ag_program *p = s->g->p;
    ag_shift shift;
    if (!ag_find_shift(s->g, i, &shift)) return false;
    uint32_t at = group_of_moved(s, c, &shift);
    uint32_t id = at < s->open_count ? s->open[at].id : ALONE;
    for (uint32_t k = 0; k < shift.parts; k++) {
        uint32_t other = waiting_in(s, ag_ref_at(p, c->in + k)->value);
        if (other < s->open_count && s->open[other].id != id) close_group(s, other);
    }
    ag_open_group *o = s->open;
    if (id == ALONE) o = open_group(s, ag_value_count(p, i), shift.by > 0 ? 1 : -1, 1);
    else
        while (o->id != id) o++; /* closing moves groups */
    if (!o->direction) o->direction = shift.by > 0 ? 1 : -1;
    join(s, o, i);
    return true;
}

static void execute(ag_scheduling *s, uint32_t i) {
    ag_planning *g = s->g;
    for (; i != NOWHERE; i = g->after[i]) {
        if (g->time[i] != NOWHERE) return;
        g->time[i] = g->ordered;
        g->order[g->ordered++] = i;
    }
}

/* Over lanes, what is added to a sum is added as soon as it is known. */
static void attach_sums(ag_planning *g) {
    const ag_program *p = g->p;
    uint32_t sums = ag_pinput_at(p, p->inputs.count - 1)->ref.value;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        uint32_t i = ag_poutput_at(p, k)->ref.value;
        const ag_code *c = ag_code_at(p, i);
        if (c->op != AG_ADD || ag_ref_at(p, c->in)->value != sums) continue;
        uint32_t v = ag_ref_at(p, c->in + 1)->value;
        if (!ag_is_computed(ag_code_at(p, v)) || g->after[i] != NOWHERE) continue;
        g->after[i] = g->after[v];
        g->after[v] = i;
    }
}

/* Does it ask which of two numbers is the greater? */
static bool compares(const ag_program *p, const ag_code *c) {
    if (c->op == CODE_CALL) return ag_is_guard(p, c);
    return c->op < AG_OPCODES && ag_op_table[c->op].arity == 2 && ag_op_table[c->op].traits & AG_FLAT;
}

/* Of `uses`: two or more, one of them by a comparison. Such a value is rounded as it is on a tape. */
enum { COMPARED = 6 };

static void count_uses(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint64_t i = 0; i < p->outputs.count; i++) g->uses[ag_poutput_at(p, i)->ref.value] = 2;
    for (uint32_t i = 0; i < g->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            uint8_t *uses = &g->uses[ag_ref_at(p, c->in + k)->value];
            *uses = compares(p, c) ? COMPARED : (uint8_t)(*uses + (*uses < 2));
        }
    }
}

/* Operand k of an addition. Of chains, those of single numbers: others are products as their group says. */
static bool is_product(const ag_planning *g, const ag_code *c, uint32_t k) {
    const ag_code *m = ag_code_at(g->p, ag_ref_at(g->p, c->in + k)->value);
    if (m->op == AG_CHAIN) return m->view & WHERE_ELEMENT && !g->r->is_lanes;
    return m->op == AG_MUL || m->op == AG_SQUARE;
}

int ag_fused_operand(const ag_planning *g, uint32_t i) {
    const ag_code *c = ag_code_at(g->p, i);
    if ((c->op != AG_ADD && c->op != AG_SUB) || g->uses[i] == COMPARED) return -1;
    /* a d - b c is 0 where both are the same, and has the sign that it should have: both are rounded */
    if (c->op == AG_SUB && is_product(g, c, 0) && is_product(g, c, 1)) return -1;
    for (int k = c->op == AG_ADD ? 0 : 1; k < 2; k++) {
        ag_ref r = *ag_ref_at(g->p, c->in + (uint32_t)k);
        const ag_code *m = ag_code_at(g->p, r.value);
        /* the operands of the product are broadcast to its shape, which must be that of the sum */
        bool together = c->view & WHERE_ELEMENT ? m->view & WHERE_ELEMENT
                                                : g->group[i] != ALONE && g->group[i] == g->group[r.value] &&
                                                      m->view == c->view && r.where == c->view;
        if ((is_product(g, c, (uint32_t)k) || g->quick[r.value]) && together && g->uses[r.value] == 1) return k;
    }
    return -1;
}

static void find_products(ag_planning *g) {
    for (uint32_t i = 0; i < g->n; i++) {
        int k = ag_fused_operand(g, i);
        if (k >= 0) g->skipped[ag_ref_at(g->p, ag_code_at(g->p, i)->in + (uint32_t)k)->value] = 1;
    }
}

static void find_stored(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint64_t i = 0; i < p->outputs.count; i++) g->stored[ag_poutput_at(p, i)->ref.value] = 1;
    for (uint32_t i = 0; i < g->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        if (c->op == CODE_CALL && !ag_is_grouped_shift(g, i)) g->stored[i] = 1;
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            uint32_t v = ag_ref_at(p, c->in + k)->value;
            g->stored[v] |= g->group[i] == ALONE || g->group[v] != g->group[i];
        }
    }
}

/* Marks the operands in which a NaN shows as one in instruction i, a member of a group. */
static void show_operands(ag_planning *g, uint32_t i, uint8_t *shown) {
    const ag_program *p = g->p;
    const ag_code *c = ag_code_at(p, i);
    ag_shift shift;
    if (c->op == CODE_CALL) {
        uint32_t part = ag_is_grouped_shift(g, i) && ag_find_shift(g, i, &shift) ? shift.part : 0; /* a sum has one */
        shown[ag_ref_at(p, c->in + part)->value] = 1;
    } else if (c->op == AG_CHAIN ? g->quick[i] : ag_op_table[c->op].traits & AG_STRICT) {
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            uint32_t v = ag_ref_at(p, c->in + k)->value;
            if (g->group[v] == g->group[i]) shown[v] = 1;
        }
    }
}

/* Chains of a group that are quick: as there is a way from each to a result that keeps a NaN, the step can tell when
 * products were not enough. What a shift loses beyond the end, nobody reads. Lanes are one step, whose results are outputs. */
static void find_quick(ag_planning *g) {
    uint8_t *shown = g->skipped; /* not needed yet */
    bool lanes = g->r->is_lanes;
    for (uint64_t k = 0; lanes && k < g->p->outputs.count; k++) shown[ag_poutput_at(g->p, k)->ref.value] = 1;
    for (uint32_t i = g->n; i-- > 0;) {
        if (g->group[i] == ALONE && !lanes) continue;
        if (!lanes && !shown[i] && taken_in(g, ag_code_at(g->p, i)) != NOWHERE)
            g->stored[i] = 1; /* as quick as it was before */
        if (!lanes) shown[i] |= g->stored[i];
        if (!shown[i] || !ag_is_computed(ag_code_at(g->p, i))) continue;
        g->quick[i] = ag_code_at(g->p, i)->op == AG_CHAIN;
        show_operands(g, i, shown);
    }
    memset(g->skipped, 0, g->n);
}

void ag_schedule(ag_planning *g) {
    ag_scheduling s = {.g = g};
    if (g->r->is_lanes) attach_sums(g);
    if (g->recomputes) find_ways(g);
    for (uint32_t i = 0; i < g->n; i++) {
        const ag_code *c = ag_code_at(g->p, i);
        if (!ag_is_computed(c) || g->time[i] != NOWHERE || is_taken_in(g, i)) continue;
        bool was_alone = g->recomputes && ag_is_product_sum(c) && g->uses[i] != 1;
        if (c->op < AG_OPCODES && !ag_is_straight(c) && ag_value_count(g->p, i) > 0 && !was_alone) {
            join_group(&s, i, c);
            continue;
        }
        ag_open_group *o = group_of_sum(&s, i, c);
        if (o) {
            join_sum(&s, o, i, ag_ref_at(g->p, c->in)->value);
            continue;
        }
        if (join_as_shift(&s, i, c)) continue;
        close_operands(&s, c, ALONE);
        execute(&s, i);
    }
    while (s.open_count) close_group(&s, 0);
    if (!g->recomputes) count_uses(g);
    find_stored(g);
    find_quick(g);
    find_products(g);
}
