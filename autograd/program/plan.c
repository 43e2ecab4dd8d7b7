/* Planning a run: the order of steps, where values are kept and when their place is free again.
 *
 * Scalars live side by side at the front of the work array, where straight-line code finds them; a freed place is taken
 * again at once, while it is in cache. Tensors live behind them, in the first gap that fits best. A tensor that is an
 * input or all of an output is not in the work array but where the caller has it, unless scalar code reads it. What is
 * cheap and would be kept for long may be computed again instead. */
#include "guard_impl.h"
#include "recompute_impl.h"

enum { ALIGN = 64, PAGE = 512 }; /* elements; a multiple of 64 bytes, and 4096 bytes of f64 */
#define BEHIND 0x80000000u       /* an index into the tensors' part, before it is known where that begins */

enum { PER_VALUE = sizeof(ag_spot) + 7 * sizeof(uint32_t) + 6 }; /* bytes */

typedef struct ag_gap {
    int64_t offset, size;
} ag_gap;

/* ---- uses ---- */

/* Scalars put together to a tensor: straight-line code does that. NULL for other instructions. */
static const ag_placement *assembled_scalars(const ag_planning *g, const ag_code *c) {
    const ag_program *p = g->p;
    if (c->op != CODE_CALL || c->view & WHERE_ELEMENT) return NULL;
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    for (uint32_t k = 0; k < call->n; k++)
        if (ag_where_count(p, ag_ref_at(p, c->in + k)->where) != 1) return NULL;
    return ag_placements_of(call->operation, ag_pparams_at(p, call->params));
}

/* Many of them in order, one after the other: that is a step of its own. */
static bool is_list(const ag_planning *g, const ag_code *c) {
    enum { LEAST_LISTED = 8 };
    const ag_placement *where = assembled_scalars(g, c);
    uint32_t n = where ? ag_operand_count(g->p, c) : 0, k = 0;
    while (k < n && where[k].offset == k) k++;
    return k == n && n >= LEAST_LISTED && !g->r->is_lanes;
}

static void read_at(ag_planning *g, uint32_t value, uint32_t at, const ag_code *by) {
    if (g->last[value] == NOWHERE || g->last[value] < at) g->last[value] = at;
    g->by_scalar[value] |= ag_is_straight(by) || assembled_scalars(g, by);
    g->by_few[value] += ag_is_short(g->p, by);
}

static void read_operands(ag_planning *g, const ag_code *c, uint32_t time) {
    for (uint32_t k = 0, n = ag_operand_count(g->p, c); k < n; k++) {
        uint32_t v = ag_ref_at(g->p, c->in + k)->value;
        read_at(g, v, time, c);
        if (g->skipped[v]) read_operands(g, ag_code_at(g->p, v), time);
    }
}

/* Over lanes guards are checked when the straight-line code has run: their operands are kept until then. */
static bool is_lane_guard(const ag_planning *g, uint32_t i) {
    return g->r->is_lanes && ag_is_guard(g->p, ag_code_at(g->p, i));
}

static void find_last_uses(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint32_t i = 0; i < g->n; i++)
        if (!g->skipped[i]) read_operands(g, ag_code_at(p, i), is_lane_guard(g, i) ? g->n : g->time[i]);
    for (uint64_t i = 0; i < p->outputs.count; i++) g->last[ag_poutput_at(p, i)->ref.value] = g->n;
}

/* ---- places ---- */

static int64_t take_scalar(ag_planning *g) { return g->free_count ? g->free[--g->free_count] : g->scalars++; }

/* Straight-line code reads and writes whole blocks. Those of arrays that begin at the same place of a page drive each other
 * out of the first-level cache. */
static int64_t room_for(const ag_planning *g, int64_t count) {
    int64_t room = ag_row_room(g->p->type, count);
    return room % PAGE == 0 ? room + ag_row_lanes(g->p->type, count) : room;
}

static int64_t take_scalars(ag_planning *g, int64_t count) {
    int64_t first = g->scalars;
    g->scalars += (uint32_t)count;
    return first;
}

static int64_t take_tensor(ag_planning *g, int64_t count) {
    int64_t size = room_for(g, count);
    ag_gap *gaps = (ag_gap *)(void *)g->gaps.range.base, *best = NULL;
    for (uint64_t i = 0; i < g->gaps.count; i++)
        if (gaps[i].size >= size && (!best || gaps[i].size < best->size)) best = &gaps[i];
    if (!best) {
        int64_t at = g->tensors;
        g->tensors += size;
        return at;
    }
    int64_t at = best->offset;
    best->offset += size;
    best->size -= size;
    if (!best->size) *best = gaps[--g->gaps.count];
    return at;
}

static void free_tensor(ag_planning *g, int64_t offset, int64_t count) {
    int64_t size = room_for(g, count);
    ag_gap *gaps = (ag_gap *)(void *)g->gaps.range.base;
    for (uint64_t i = 0; i < g->gaps.count;) {
        bool before = gaps[i].offset + gaps[i].size == offset, behind = offset + size == gaps[i].offset;
        if (before) offset = gaps[i].offset;
        if (before || behind) {
            size += gaps[i].size;
            gaps[i] = gaps[--g->gaps.count];
        } else {
            i++;
        }
    }
    ag_gap *gap = ag_runner_add(g->r, &g->gaps, sizeof *gap, 1);
    if (gap) *gap = (ag_gap){offset, size};
}

/* Is it one number, of which nothing reads a whole row? Sums are, as a rule. */
static bool is_number(const ag_planning *g, uint32_t value) {
    bool sum = g->group[value] != ALONE && ag_is_grouped_sum(g, value) && ag_value_count(g->p, value) == 1;
    return ag_is_scalar(g->p, value) || (sum && !g->by_few[value] && !g->r->is_lanes);
}

void ag_place(ag_planning *g, uint32_t value) {
    if (g->spot[value].space != NOWHERE) return;
    if (is_number(g, value)) g->spot[value] = (ag_spot){SPACE_WORK, take_scalar(g)};
    else if (g->r->is_lanes) g->spot[value] = (ag_spot){SPACE_WORK, take_scalars(g, ag_value_count(g->p, value))};
    else g->spot[value] = (ag_spot){SPACE_WORK, take_tensor(g, ag_value_count(g->p, value))};
}

/* A result that is all of an output goes there at once. */
static void place_results_in_outputs(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint32_t i = 0; i < p->outputs.count; i++) {
        ag_ref r = ag_poutput_at(p, i)->ref;
        const ag_code *c = ag_code_at(p, r.value);
        if (!ag_is_computed(c) || !ag_is_whole(p, r) || (assembled_scalars(g, c) && !is_list(g, c)) ||
            ag_is_scalar(p, r.value) || g->by_scalar[r.value])
            continue;
        if (g->spot[r.value].space == NOWHERE)
            g->spot[r.value] = (ag_spot){SPACE_INPUTS + (uint32_t)p->inputs.count + i, 0};
    }
}

/* Over lanes everything is among the scalars. Output k is place k, and so is the sum that it adds to. */
static void pin_outputs(ag_planning *g) {
    const ag_program *p = g->p;
    g->scalars = (uint32_t)p->outputs.count;
    g->spot[ag_pinput_at(p, p->inputs.count - 1)->ref.value] = (ag_spot){SPACE_WORK, 0};
    for (uint32_t k = 0; k < p->outputs.count; k++) {
        uint32_t v = ag_poutput_at(p, k)->ref.value;
        if (ag_is_computed(ag_code_at(p, v)) && g->spot[v].space == NOWHERE) g->spot[v] = (ag_spot){SPACE_WORK, k};
    }
}

static void release(ag_planning *g, uint32_t value, uint32_t at) {
    const ag_code *c = ag_code_at(g->p, value);
    if (g->last[value] != at || !ag_is_computed(c) || g->spot[value].space != SPACE_WORK) return;
    if (is_number(g, value)) g->free[g->free_count++] = (uint32_t)g->spot[value].offset;
    else free_tensor(g, g->spot[value].offset, ag_value_count(g->p, value));
    g->last[value] = NOWHERE; /* once */
}

static void release_operands(ag_planning *g, const ag_code *c, uint32_t at) {
    for (uint32_t k = 0, n = ag_operand_count(g->p, c); k < n; k++) {
        uint32_t v = ag_ref_at(g->p, c->in + k)->value;
        if (g->skipped[v]) release_operands(g, ag_code_at(g->p, v), at);
        else release(g, v, at);
    }
}

/* ---- steps ---- */

static bool is_in_front(const ag_planning *g, uint32_t value) { return g->r->is_lanes || is_number(g, value); }

static uint32_t straight_place(const ag_planning *g, ag_ref r) {
    int64_t at = g->spot[r.value].offset + ag_where_offset(g->p, r.where);
    return (uint32_t)at | (is_in_front(g, r.value) ? 0 : BEHIND);
}

static void add_straight(ag_planning *g, ag_straight s) {
    ag_runner *r = g->r;
    ag_straight *to = ag_runner_add(r, &r->straight, sizeof *to, 1);
    if (!to) return;
    *to = s;
    ag_pstep *last = r->steps.count ? (ag_pstep *)(void *)r->steps.range.base + (r->steps.count - 1) : NULL;
    if (last && last->kind == STEP_STRAIGHT) {
        last->count++;
        return;
    }
    ag_pstep *step = ag_runner_add(r, &r->steps, sizeof *step, 1);
    if (step) *step = (ag_pstep){.kind = STEP_STRAIGHT, .first = (uint32_t)r->straight.count - 1, .count = 1};
}

/* Of lanes, the exact code too. */
static void add_code(ag_planning *g, ag_straight s, bool quick) {
    ag_runner *r = g->r;
    add_straight(g, s);
    ag_straight *exact = r->is_lanes ? ag_runner_add(r, &r->exact, sizeof *exact, 1) : NULL;
    if (!exact) return;
    *exact = s;
    if (quick) exact->op = ag_exact_op(s.op);
    r->chains += quick;
}

static void plan_scalar(ag_planning *g, uint32_t i, const ag_code *c) {
    ag_straight s = {.op = g->quick[i] ? AG_MUL : c->op};
    bool quick = g->quick[i];
    uint32_t in[3] = {0};
    int fused = ag_fused_operand(g, i);
    for (uint32_t k = 0, n = ag_operand_count(g->p, c); k < n; k++)
        if ((int)k != fused) in[k] = straight_place(g, *ag_ref_at(g->p, c->in + k));
    if (fused >= 0) {
        const ag_code *m = ag_code_at(g->p, ag_ref_at(g->p, c->in + (uint32_t)fused)->value);
        bool chain = m->op == AG_CHAIN && !g->r->is_lanes;
        if (c->op == AG_ADD) s.op = chain ? AG_STRAIGHT_CHAIN_FMA : AG_STRAIGHT_FMA;
        else s.op = chain ? AG_STRAIGHT_CHAIN_FNMA : AG_STRAIGHT_FNMA;
        in[2] = in[1 - fused];
        in[0] = straight_place(g, *ag_ref_at(g->p, m->in));
        in[1] = m->op == AG_SQUARE ? in[0] : straight_place(g, *ag_ref_at(g->p, m->in + 1));
        quick = g->quick[ag_ref_at(g->p, c->in + (uint32_t)fused)->value];
    }
    if (c->op == AG_FMA) s.op = AG_STRAIGHT_FMA;
    if (c->op == AG_FNMA) s.op = AG_STRAIGHT_FNMA;
    if (c->op == AG_CHAIN && !g->r->is_lanes) s.op = AG_STRAIGHT_CHAIN;
    release_operands(g, c, g->time[i]); /* it reads before it writes */
    ag_place(g, i);
    s.to = (uint32_t)g->spot[i].offset;
    s.x = in[0];
    s.y = in[1];
    s.z = in[2];
    add_code(g, s, quick);
}

static void plan_assembly(ag_planning *g, uint32_t i, const ag_code *c) {
    const ag_placement *where = assembled_scalars(g, c);
    ag_place(g, i);
    for (uint32_t k = 0, n = ag_operand_count(g->p, c); k < n; k++) {
        ag_straight s = {.op = AG_STRAIGHT_COPY, .x = straight_place(g, *ag_ref_at(g->p, c->in + k))};
        s.to = (uint32_t)(g->spot[i].offset + where[k].offset) | BEHIND;
        add_code(g, s, false);
    }
    release_operands(g, c, g->time[i]);
}

static const ag_view scalar_view = {.rank = 0, .contiguous = true, .count = 1};

static const ag_view *view_at(const ag_program *p, uint32_t where) {
    return where & WHERE_ELEMENT ? &scalar_view : &ag_pview_at(p, where)->view;
}

ag_poperand ag_operand_at(const ag_planning *g, ag_ref r) {
    ag_spot s = g->spot[r.value];
    s.offset += ag_where_offset(g->p, r.where);
    if (s.space == SPACE_WORK && !is_in_front(g, r.value)) s.offset |= INT64_MIN; /* BEHIND, of 64 bits */
    double number;
    bool constant = ag_ref_number(g->p, r, &number);
    uint64_t at = constant ? ag_code_at(g->p, r.value)->extra + (uint64_t)ag_where_offset(g->p, r.where) : 0;
    return (ag_poperand){
        .spot = s, .view = view_at(g->p, r.where), .number = constant ? ag_pconstant_at(g->p, at) : NULL};
}

ag_pstep *ag_add_step(ag_planning *g, ag_pstep step, const ag_poperand *operands, uint32_t n) {
    ag_runner *r = g->r;
    step.first = (uint32_t)r->operands.count;
    step.count = n;
    ag_poperand *to = ag_runner_add(r, &r->operands, sizeof *to, n);
    ag_pstep *at = to ? ag_runner_add(r, &r->steps, sizeof *at, 1) : NULL;
    if (!at) return NULL;
    memcpy(to, operands, n * sizeof *to);
    *at = step;
    if (n > r->longest) r->longest = n;
    return at;
}

/* A row-major copy of an operand that its operation cannot take as it is; where it is, and its view. */
static ag_poperand copied(ag_planning *g, ag_poperand from) {
    ag_runner *r = g->r;
    ag_view *v = ag_memory_resize(&r->memory, NULL, 0, sizeof *v);
    ag_view **kept = v ? ag_runner_add(r, &r->views, sizeof *kept, 1) : NULL;
    if (!kept) {
        ag_memory_free(&r->memory, v, sizeof *v);
        ag_runner_fail(r, AG_ERR_MEMORY, "run: out of memory");
        return from;
    }
    *kept = v;
    *v = *from.view;
    ag_row_major(v->rank, v->dim, v->stride);
    v->contiguous = true;
    v->lo = 0;
    v->hi = v->count ? v->count - 1 : 0;
    ag_poperand to = {.spot = {SPACE_WORK, take_tensor(g, v->count) | INT64_MIN}, .view = v};
    ag_add_step(g, (ag_pstep){.kind = STEP_COPY}, (ag_poperand[]){to, from}, 2);
    return to;
}

static void plan_tensor(ag_planning *g, uint32_t i, const ag_code *c) {
    const ag_program *p = g->p;
    const ag_operation *operation = c->op == CODE_CALL ? ag_pcall_at(p, c->extra)->operation : NULL;
    uint32_t n = ag_operand_count(p, c);
    ag_poperand few[8], *in = n < 8 ? few : ag_memory_resize(&g->r->memory, NULL, 0, (n + 1) * sizeof *in);
    if (!in) {
        ag_runner_fail(g->r, AG_ERR_MEMORY, "run: out of memory");
        return;
    }
    for (uint32_t k = 0; k < n; k++) {
        ag_ref ref = *ag_ref_at(p, c->in + k);
        in[1 + k] = ag_operand_at(g, ref);
        if (operation && !operation->strided && !in[1 + k].view->contiguous) in[1 + k] = copied(g, in[1 + k]);
    }
    ag_place(g, i);
    in[0] = ag_operand_at(g, (ag_ref){i, c->view});
    ag_pstep step = {.kind = operation ? STEP_CALL : STEP_ELEMENTWISE, .code = operation ? c->extra : c->op};
    int64_t saved = 0;
    if (operation) {
        saved = (int64_t)(ag_pcall_at(p, c->extra)->saved_size / ag_type_size(p->type)) + 1;
        step.saved = take_tensor(g, saved);
    }
    if (in[0].view->count) ag_add_step(g, step, in, n + 1);
    if (operation) free_tensor(g, step.saved, saved);
    for (uint32_t k = 0; k < n; k++) {
        ag_ref ref = *ag_ref_at(p, c->in + k);
        if (in[1 + k].view == view_at(p, ref.where)) continue;
        free_tensor(g, in[1 + k].spot.offset & INT64_MAX, in[1 + k].view->count);
    }
    release_operands(g, c, g->time[i]);
    if (in != few) ag_memory_free(&g->r->memory, in, (n + 1) * sizeof *in);
}

static void plan_list(ag_planning *g, uint32_t i, const ag_code *c) {
    uint32_t n = ag_operand_count(g->p, c);
    size_t size = (n + (size_t)1) * sizeof(ag_poperand);
    ag_poperand *in = ag_memory_resize(&g->r->memory, NULL, 0, size);
    if (!in) {
        ag_runner_fail(g->r, AG_ERR_MEMORY, "run: out of memory");
        return;
    }
    for (uint32_t k = 0; k < n; k++) in[1 + k] = ag_operand_at(g, *ag_ref_at(g->p, c->in + k));
    ag_place(g, i);
    in[0] = ag_operand_at(g, (ag_ref){i, c->view});
    ag_add_step(g, (ag_pstep){.kind = STEP_LIST}, in, n + 1);
    release_operands(g, c, g->time[i]);
    ag_memory_free(&g->r->memory, in, size);
}

/* Whether an input is worth copying, so that operations on few elements find it where it was: if it is not large, or they
 * read about all of it. */
static bool is_worth_loading(const ag_planning *g, uint32_t i) {
    enum { MOST_LOADED = 1 << 16 }; /* numbers */
    int64_t most = g->by_few[i] * (int64_t)AG_LANES;
    return g->by_few[i] && ag_value_count(g->p, i) <= (most > MOST_LOADED ? most : MOST_LOADED);
}

/* Inputs are where the caller has them, or are loaded; constants stay in the work array. */
static void plan_given(ag_planning *g, uint32_t i, const ag_code *c) {
    ag_runner *r = g->r;
    if (c->op == CODE_CONSTANT) {
        ag_place(g, i);
        return;
    }
    bool loaded = g->by_scalar[i] || is_worth_loading(g, i);
    if (ag_is_scalar(g->p, i) || loaded || r->is_lanes) {
        r->loaded[c->extra] = 1;
        ag_place(g, i);
        r->load_at[c->extra] = ag_operand_at(g, (ag_ref){i, c->view}).spot.offset;
    } else {
        g->spot[i] = (ag_spot){SPACE_INPUTS + c->extra, 0};
    }
}

static void plan_outputs(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint32_t k = 0; k < p->outputs.count; k++) {
        ag_ref ref = ag_poutput_at(p, k)->ref;
        if (g->r->is_lanes) {
            uint32_t from = straight_place(g, ref);
            if (from != k) add_code(g, (ag_straight){.op = AG_STRAIGHT_COPY, .to = k, .x = from}, false);
            continue;
        }
        ag_spot to = {SPACE_INPUTS + (uint32_t)p->inputs.count + k, 0};
        if (g->spot[ref.value].space == to.space) continue;
        const ag_view *v = view_at(p, ref.where);
        if (v->count)
            ag_add_step(g, (ag_pstep){.kind = STEP_COPY},
                        (ag_poperand[]){{.spot = to, .view = v}, ag_operand_at(g, ref)}, 2);
    }
}

/* ---- the end ---- */

static void settle_place(int64_t start, uint32_t *place) {
    if (*place & BEHIND) *place = (uint32_t)(start + (int64_t)(*place & ~BEHIND));
}

/* Now that it is known where tensors begin. */
static void settle(ag_planning *g) {
    ag_runner *r = g->r;
    int64_t start = ((int64_t)g->scalars + ALIGN - 1) / ALIGN * ALIGN;
    if (start + g->tensors >= (int64_t)BEHIND && (r->straight.count || r->guards.count))
        ag_runner_fail(r, AG_ERR_SLOTS, "run: scalar operations reach only the first %u numbers of the work array",
                       BEHIND);
    ag_straight *s = (ag_straight *)(void *)r->straight.range.base;
    for (uint64_t i = 0; i < r->straight.count; i++) {
        uint32_t *at[4] = {&s[i].to, &s[i].x, &s[i].y, &s[i].z};
        for (int k = 0; k < 4; k++) settle_place(start, at[k]);
    }
    ag_pguard *guard = (ag_pguard *)(void *)r->guards.range.base;
    for (uint64_t i = 0; i < r->guards.count; i++)
        for (int k = 0; k < 3; k++) settle_place(start, &guard[i].at[k]);
    ag_poperand *o = (ag_poperand *)(void *)r->operands.range.base;
    for (uint64_t i = 0; i < r->operands.count; i++)
        if (o[i].spot.offset < 0) o[i].spot.offset = start + (o[i].spot.offset & INT64_MAX);
    ag_pstep *step = (ag_pstep *)(void *)r->steps.range.base;
    for (uint64_t i = 0; i < r->steps.count; i++) step[i].saved += start;
    for (uint64_t k = 0; k < g->p->inputs.count; k++)
        if (r->load_at[k] < 0) r->load_at[k] = start + (r->load_at[k] & INT64_MAX);
    r->work_count = start + g->tensors;
}

static void write_constants(ag_planning *g) {
    const ag_program *p = g->p;
    ag_runner *r = g->r;
    int64_t start = r->work_count - g->tensors;
    for (uint32_t i = 0; i < g->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        if (c->op != CODE_CONSTANT) continue;
        int64_t at = g->spot[i].offset + (is_in_front(g, i) ? 0 : start);
        int64_t lanes = r->is_lanes ? AG_LANES : 1;
        for (int64_t k = 0; k < ag_value_count(p, i) * lanes; k++)
            ag_store(p->type, r->work, at * lanes + k, *ag_pconstant_at(p, c->extra + (uint64_t)(k / lanes)));
    }
}

static bool open_planning(ag_planning *g, ag_runner *r, const ag_program *p) {
    *g = (ag_planning){.r = r, .p = p, .n = (uint32_t)p->codes.count};
    size_t n = g->n + (size_t)1;
    char *space = ag_memory_zeroed(&r->memory, n * PER_VALUE);
    if (!space) return false;
    g->spot = (ag_spot *)(void *)space;
    uint32_t **words[] = {&g->order, &g->group, &g->time, &g->last, &g->free, &g->after, &g->by_few};
    uint8_t **bytes[] = {&g->uses, &g->skipped, &g->stored, &g->quick, &g->by_scalar};
    space += n * sizeof *g->spot;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++, space += n * sizeof(uint32_t))
        *words[k] = (uint32_t *)(void *)space;
    for (size_t k = 0; k < sizeof bytes / sizeof *bytes; k++, space += n) *bytes[k] = (uint8_t *)space;
    g->way = (int8_t *)space;
    memset(g->time, 0xff, n * sizeof *g->time);
    memset(g->last, 0xff, n * sizeof *g->last);
    memset(g->after, 0xff, n * sizeof *g->after);
    for (size_t i = 0; i < n; i++) g->spot[i] = (ag_spot){NOWHERE, 0};
    return true;
}

static void close_planning(ag_planning *g) {
    ag_memory *m = &g->r->memory;
    ag_memory_free(m, g->extents, g->n * sizeof *g->extents);
    ag_memory_free(m, g->spot, (g->n + (size_t)1) * PER_VALUE);
    ag_range_free(m, &g->gaps.range);
}

/* The group that begins at a position of the order; returns the position behind it. */
static uint32_t plan_group(ag_planning *g, uint32_t first) {
    uint32_t end = first;
    while (end < g->ordered && g->group[g->order[end]] == g->group[g->order[first]]) end++;
    for (uint32_t j = first; j < end; j++)
        if (g->stored[g->order[j]]) ag_place(g, g->order[j]);
    ag_plan_group(g, first, end);
    for (uint32_t j = first; j < end; j++) release_operands(g, ag_code_at(g->p, g->order[j]), end - 1);
    return end;
}

static void plan_guard(ag_planning *g, const ag_code *c) {
    const ag_pcall *call = ag_pcall_at(g->p, c->extra);
    ag_pguard *to = ag_runner_add(g->r, &g->r->guards, sizeof *to, 1);
    if (!to) return;
    *to = (ag_pguard){.guard = (const ag_guarding *)(const void *)ag_pparams_at(g->p, call->params)};
    for (uint32_t k = 0; k < call->n && k < 3; k++) to->at[k] = straight_place(g, *ag_ref_at(g->p, c->in + k));
}

static void plan_codes(ag_planning *g) {
    if (g->r->is_lanes) pin_outputs(g);
    for (uint32_t i = 0; i < g->n; i++)
        if (!ag_is_computed(ag_code_at(g->p, i))) plan_given(g, i, ag_code_at(g->p, i));
    if (!g->r->is_lanes) place_results_in_outputs(g);
    for (uint32_t at = 0; at < g->ordered && g->r->status == AG_OK;) {
        uint32_t i = g->order[at];
        const ag_code *c = ag_code_at(g->p, i);
        if (g->group[i] != ALONE) {
            at = plan_group(g, at);
            continue;
        }
        at++;
        if (g->skipped[i]) continue;
        if (is_lane_guard(g, i)) plan_guard(g, c);
        else if (ag_is_straight(c)) plan_scalar(g, i, c);
        else if (is_list(g, c)) plan_list(g, i, c);
        else if (assembled_scalars(g, c)) plan_assembly(g, i, c);
        else plan_tensor(g, i, c);
    }
}

/* The most bytes of tensors that are kept at a time, about. */
static int64_t most_kept(const ag_planning *g) {
    int64_t *ends = ag_memory_zeroed(&g->r->memory, (g->n + (size_t)1) * sizeof *ends), most = 0, now = 0;
    for (uint32_t i = 0; ends && i < g->n; i++)
        if (g->stored[i] && g->last[i] < g->n && !ag_is_scalar(g->p, i)) ends[g->last[i]] += ag_value_count(g->p, i);
    for (uint32_t at = 0; ends && at < g->ordered; at++) {
        uint32_t i = g->order[at];
        if (g->stored[i] && !ag_is_scalar(g->p, i)) now += ag_value_count(g->p, i);
        if (now > most) most = now;
        now -= ends[at];
    }
    ag_memory_free(&g->r->memory, ends, (g->n + (size_t)1) * sizeof *ends);
    return most * (int64_t)ag_type_size(g->p->type);
}

static void order(ag_planning *g) {
    ag_schedule(g);
    find_last_uses(g);
}

enum { LEAST_GAIN = 8 }; /* one byte in so many that are kept otherwise */

/* Plans with values that are computed again, if there are any and memory is saved. False if there is no memory. */
static bool order_again(ag_planning *g, ag_again *again) {
    ag_planning other;
    if (!ag_recompute(g, again)) return true;
    bool open = open_planning(&other, g->r, &again->program);
    if (open) {
        other.recomputes = true;
        memcpy(other.uses, again->uses.range.base, other.n);
        order(&other);
    }
    int64_t before = most_kept(g), after = open ? most_kept(&other) : 0;
    if (open && after <= before - before / LEAST_GAIN) {
        close_planning(g);
        *g = other;
    } else {
        close_planning(&other);
    }
    return open;
}

/* It is the same as what is executed anyway. */
static void drop_exact(ag_runner *r) {
    ag_range_free(&r->memory, &r->exact.range);
    r->exact.count = 0;
}

bool ag_plan(ag_runner *r) {
    ag_planning g;
    ag_again again = {.uses = {.count = 0}};
    bool open = open_planning(&g, r, r->p);
    if (open) {
        order(&g);
        open = order_again(&g, &again) && ag_find_extents(&g);
    }
    if (open && r->status == AG_OK) {
        plan_codes(&g);
        plan_outputs(&g);
        settle(&g);
        if (r->is_lanes && !r->chains) drop_exact(r);
        open = ag_runner_work(r, r->work_count * (r->is_lanes ? AG_LANES : 1));
        if (open) write_constants(&g);
    }
    if (!open) ag_runner_fail(r, AG_ERR_MEMORY, "run: out of memory");
    close_planning(&g);
    ag_close_again(r, &again);
    return r->status == AG_OK;
}
