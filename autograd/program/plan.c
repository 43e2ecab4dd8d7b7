/* Planning a run: the order of steps, where values are kept and when their place is free again.
 *
 * Scalars live side by side at the front of the work array, where straight-line code finds them; a freed place is taken
 * again at once, while it is in cache. Tensors live behind them, in the first gap that fits best. A tensor that is an
 * input or all of an output is not in the work array but where the caller has it, unless scalar code reads it. */
#include "runner_impl.h"

enum { ALIGN = 64 }; /* elements; a multiple of 64 bytes */
#define NOWHERE UINT32_MAX
#define BEHIND 0x80000000u /* an index into the tensors' part, before it is known where that begins */

typedef struct ag_gap {
    int64_t offset, size;
} ag_gap;

typedef struct ag_planning {
    ag_runner *r;
    const ag_program *p;
    uint32_t n;
    uint8_t *uses;      /* of each value: 0, 1, 2 = more */
    uint8_t *skipped;   /* fused into the instruction that uses it */
    uint8_t *by_scalar; /* read by straight-line code */
    uint32_t *last;     /* the last instruction that reads it */
    ag_spot *spot;      /* offsets of tensors in the work array count from their part */
    uint32_t *free;     /* scalar places, a stack */
    uint32_t free_count, scalars;
    ag_list gaps;
    int64_t tensors;
} ag_planning;

static bool is_scalar(const ag_program *p, uint32_t value) { return ag_code_at(p, value)->view & WHERE_ELEMENT; }
static bool is_computed(const ag_code *c) { return c->op != CODE_INPUT && c->op != CODE_CONSTANT; }

/* ---- uses ---- */

/* The product that an addition or subtraction can take in: which operand, or -1. */
static int fusible(const ag_planning *g, const ag_code *c) {
    if ((c->op != AG_ADD && c->op != AG_SUB) || !(c->view & WHERE_ELEMENT)) return -1;
    for (int k = c->op == AG_ADD ? 0 : 1; k < 2; k++) {
        uint32_t v = ag_ref_at(g->p, c->in + (uint32_t)k)->value;
        const ag_code *m = ag_code_at(g->p, v);
        if ((m->op == AG_MUL || m->op == AG_SQUARE) && m->view & WHERE_ELEMENT && g->uses[v] == 1) return k;
    }
    return -1;
}

static void count_uses(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint64_t i = 0; i < p->outputs.count; i++) g->uses[ag_poutput_at(p, i)->ref.value] = 2;
    for (uint32_t i = 0; i < g->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            uint8_t *uses = &g->uses[ag_ref_at(p, c->in + k)->value];
            *uses = (uint8_t)(*uses + (*uses < 2));
        }
    }
    for (uint32_t i = 0; i < g->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        int k = fusible(g, c);
        if (k >= 0) g->skipped[ag_ref_at(p, c->in + (uint32_t)k)->value] = 1;
    }
}

static void read_at(ag_planning *g, uint32_t value, uint32_t at, bool by_scalar) {
    if (g->last[value] == NOWHERE || g->last[value] < at) g->last[value] = at;
    g->by_scalar[value] |= by_scalar;
}

static void find_last_uses(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint32_t i = 0; i < g->n; i++) {
        const ag_code *c = ag_code_at(p, i);
        bool straight = c->op < AG_OPCODES && c->view & WHERE_ELEMENT;
        if (g->skipped[i]) continue;
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            uint32_t v = ag_ref_at(p, c->in + k)->value;
            read_at(g, v, i, straight);
            if (!g->skipped[v]) continue;
            const ag_code *m = ag_code_at(p, v);
            for (uint32_t j = 0; j < ag_operand_count(p, m); j++) read_at(g, ag_ref_at(p, m->in + j)->value, i, true);
        }
    }
    for (uint64_t i = 0; i < p->outputs.count; i++) g->last[ag_poutput_at(p, i)->ref.value] = g->n;
}

/* ---- places ---- */

static int64_t take_scalar(ag_planning *g) { return g->free_count ? g->free[--g->free_count] : g->scalars++; }

static int64_t take_tensor(ag_planning *g, int64_t count) {
    int64_t size = (count + ALIGN - 1) / ALIGN * ALIGN;
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
    int64_t size = (count + ALIGN - 1) / ALIGN * ALIGN;
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

static void place(ag_planning *g, uint32_t value) {
    if (g->spot[value].space != NOWHERE) return;
    if (is_scalar(g->p, value)) g->spot[value] = (ag_spot){SPACE_WORK, take_scalar(g)};
    else g->spot[value] = (ag_spot){SPACE_WORK, take_tensor(g, ag_value_count(g->p, value))};
}

/* A result that is all of an output goes there at once. */
static void place_results_in_outputs(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint32_t i = 0; i < p->outputs.count; i++) {
        ag_ref r = ag_poutput_at(p, i)->ref;
        const ag_code *c = ag_code_at(p, r.value);
        if (!is_computed(c) || c->view != r.where || is_scalar(p, r.value) || g->by_scalar[r.value]) continue;
        if (g->spot[r.value].space == NOWHERE)
            g->spot[r.value] = (ag_spot){SPACE_INPUTS + (uint32_t)p->inputs.count + i, 0};
    }
}

/* Over lanes, output k is place k. */
static void pin_outputs(ag_planning *g) {
    const ag_program *p = g->p;
    g->scalars = (uint32_t)p->outputs.count;
    for (uint32_t k = 0; k < p->outputs.count; k++) {
        uint32_t v = ag_poutput_at(p, k)->ref.value;
        if (is_computed(ag_code_at(p, v)) && g->spot[v].space == NOWHERE) g->spot[v] = (ag_spot){SPACE_WORK, k};
    }
}

static void release(ag_planning *g, uint32_t value, uint32_t at) {
    const ag_code *c = ag_code_at(g->p, value);
    if (g->last[value] != at || !is_computed(c) || g->spot[value].space != SPACE_WORK) return;
    if (is_scalar(g->p, value)) g->free[g->free_count++] = (uint32_t)g->spot[value].offset;
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

static uint32_t straight_place(const ag_planning *g, ag_ref r) {
    int64_t at = g->spot[r.value].offset + ag_where_offset(g->p, r.where);
    return (uint32_t)at | (is_scalar(g->p, r.value) ? 0 : BEHIND);
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

static void plan_scalar(ag_planning *g, uint32_t i, const ag_code *c) {
    ag_straight s = {.op = c->op};
    uint32_t in[3] = {0};
    int fused = fusible(g, c);
    for (uint32_t k = 0, n = ag_operand_count(g->p, c); k < n; k++)
        if ((int)k != fused) in[k] = straight_place(g, *ag_ref_at(g->p, c->in + k));
    if (fused >= 0) {
        const ag_code *m = ag_code_at(g->p, ag_ref_at(g->p, c->in + (uint32_t)fused)->value);
        s.op = c->op == AG_ADD ? AG_STRAIGHT_FMA : AG_STRAIGHT_FNMA;
        in[2] = in[1 - fused];
        in[0] = straight_place(g, *ag_ref_at(g->p, m->in));
        in[1] = m->op == AG_SQUARE ? in[0] : straight_place(g, *ag_ref_at(g->p, m->in + 1));
    }
    if (c->op == AG_FMA) s.op = AG_STRAIGHT_FMA;
    if (c->op == AG_FNMA) s.op = AG_STRAIGHT_FNMA;
    release_operands(g, c, i); /* it reads before it writes */
    place(g, i);
    s.to = (uint32_t)g->spot[i].offset;
    s.x = in[0];
    s.y = in[1];
    s.z = in[2];
    add_straight(g, s);
}

static const ag_view scalar_view = {.rank = 0, .contiguous = true, .count = 1};

static const ag_view *view_at(const ag_program *p, uint32_t where) {
    return where & WHERE_ELEMENT ? &scalar_view : &ag_pview_at(p, where)->view;
}

static ag_spot spot_at(const ag_planning *g, ag_ref r) {
    ag_spot s = g->spot[r.value];
    s.offset += ag_where_offset(g->p, r.where);
    if (s.space == SPACE_WORK && !is_scalar(g->p, r.value)) s.offset |= INT64_MIN; /* BEHIND, of 64 bits */
    return s;
}

static void add_step(ag_planning *g, ag_pstep step, const ag_poperand *operands, uint32_t n) {
    ag_runner *r = g->r;
    step.first = (uint32_t)r->operands.count;
    step.count = n;
    ag_poperand *to = ag_runner_add(r, &r->operands, sizeof *to, n);
    ag_pstep *at = to ? ag_runner_add(r, &r->steps, sizeof *at, 1) : NULL;
    if (!at) return;
    memcpy(to, operands, n * sizeof *to);
    *at = step;
    if (n > r->longest) r->longest = n;
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
    ag_poperand to = {{SPACE_WORK, take_tensor(g, v->count) | INT64_MIN}, v};
    add_step(g, (ag_pstep){.kind = STEP_COPY}, (ag_poperand[]){to, from}, 2);
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
        in[1 + k] = (ag_poperand){spot_at(g, ref), view_at(p, ref.where)};
        if (operation && !operation->strided && !in[1 + k].view->contiguous) in[1 + k] = copied(g, in[1 + k]);
    }
    place(g, i);
    in[0] = (ag_poperand){spot_at(g, (ag_ref){i, c->view}), view_at(p, c->view)};
    ag_pstep step = {.kind = operation ? STEP_CALL : STEP_ELEMENTWISE, .code = operation ? c->extra : c->op};
    int64_t saved = 0;
    if (operation) {
        saved = (int64_t)(ag_pcall_at(p, c->extra)->saved_size / ag_type_size(p->type)) + 1;
        step.saved = take_tensor(g, saved);
    }
    if (in[0].view->count) add_step(g, step, in, n + 1);
    if (operation) free_tensor(g, step.saved, saved);
    for (uint32_t k = 0; k < n; k++) {
        ag_ref ref = *ag_ref_at(p, c->in + k);
        if (in[1 + k].view == view_at(p, ref.where)) continue;
        free_tensor(g, in[1 + k].spot.offset & INT64_MAX, in[1 + k].view->count);
    }
    release_operands(g, c, i);
    if (in != few) ag_memory_free(&g->r->memory, in, (n + 1) * sizeof *in);
}

/* Inputs are where the caller has them, or are loaded; constants stay in the work array. */
static void plan_given(ag_planning *g, uint32_t i, const ag_code *c) {
    ag_runner *r = g->r;
    if (c->op == CODE_CONSTANT) {
        place(g, i);
        return;
    }
    if (is_scalar(g->p, i) || g->by_scalar[i] || r->is_lanes) {
        r->loaded[c->extra] = 1;
        place(g, i);
        r->load_at[c->extra] = spot_at(g, (ag_ref){i, c->view}).offset;
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
            if (from != k) add_straight(g, (ag_straight){.op = AG_STRAIGHT_COPY, .to = k, .x = from});
            continue;
        }
        ag_spot to = {SPACE_INPUTS + (uint32_t)p->inputs.count + k, 0};
        if (g->spot[ref.value].space == to.space) continue;
        const ag_view *v = view_at(p, ref.where);
        if (v->count) add_step(g, (ag_pstep){.kind = STEP_COPY}, (ag_poperand[]){{to, v}, {spot_at(g, ref), v}}, 2);
    }
}

/* ---- the end ---- */

/* Now that it is known where tensors begin. */
static void settle(ag_planning *g) {
    ag_runner *r = g->r;
    int64_t start = ((int64_t)g->scalars + ALIGN - 1) / ALIGN * ALIGN;
    if (start + g->tensors >= (int64_t)BEHIND && r->straight.count)
        ag_runner_fail(r, AG_ERR_SLOTS, "run: scalar operations reach only the first %u numbers of the work array",
                       BEHIND);
    ag_straight *s = (ag_straight *)(void *)r->straight.range.base;
    for (uint64_t i = 0; i < r->straight.count; i++) {
        uint32_t *in[3] = {&s[i].x, &s[i].y, &s[i].z};
        for (int k = 0; k < 3; k++)
            if (*in[k] & BEHIND) *in[k] = (uint32_t)(start + (int64_t)(*in[k] & ~BEHIND));
    }
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
        int64_t at = g->spot[i].offset + (is_scalar(p, i) ? 0 : start);
        int64_t lanes = r->is_lanes ? AG_LANES : 1;
        for (int64_t k = 0; k < ag_value_count(p, i) * lanes; k++)
            ag_store(p->type, r->work, at * lanes + k, *ag_pconstant_at(p, c->extra + (uint64_t)(k / lanes)));
    }
}

static bool open_planning(ag_planning *g, ag_runner *r) {
    *g = (ag_planning){.r = r, .p = r->p, .n = (uint32_t)r->p->codes.count};
    ag_memory *m = &r->memory;
    size_t n = g->n + (size_t)1;
    g->uses = ag_memory_zeroed(m, n);
    g->skipped = ag_memory_zeroed(m, n);
    g->by_scalar = ag_memory_zeroed(m, n);
    g->last = ag_memory_resize(m, NULL, 0, n * sizeof *g->last);
    g->spot = ag_memory_resize(m, NULL, 0, n * sizeof *g->spot);
    g->free = ag_memory_resize(m, NULL, 0, n * sizeof *g->free);
    if (!g->uses || !g->skipped || !g->by_scalar || !g->last || !g->spot || !g->free) return false;
    memset(g->last, 0xff, n * sizeof *g->last);
    for (size_t i = 0; i < n; i++) g->spot[i] = (ag_spot){NOWHERE, 0};
    return true;
}

static void close_planning(ag_planning *g) {
    ag_memory *m = &g->r->memory;
    size_t n = g->n + (size_t)1;
    ag_memory_free(m, g->uses, n);
    ag_memory_free(m, g->skipped, n);
    ag_memory_free(m, g->by_scalar, n);
    ag_memory_free(m, g->last, n * sizeof *g->last);
    ag_memory_free(m, g->spot, n * sizeof *g->spot);
    ag_memory_free(m, g->free, n * sizeof *g->free);
    ag_range_free(m, &g->gaps.range);
}

static void plan_codes(ag_planning *g) {
    if (g->r->is_lanes) pin_outputs(g);
    for (uint32_t i = 0; i < g->n; i++)
        if (!is_computed(ag_code_at(g->p, i))) plan_given(g, i, ag_code_at(g->p, i));
    if (!g->r->is_lanes) place_results_in_outputs(g);
    for (uint32_t i = 0; i < g->n && g->r->status == AG_OK; i++) {
        const ag_code *c = ag_code_at(g->p, i);
        if (!is_computed(c) || g->skipped[i]) continue;
        if (c->op < AG_OPCODES && c->view & WHERE_ELEMENT) plan_scalar(g, i, c);
        else plan_tensor(g, i, c);
    }
}

bool ag_plan(ag_runner *r) {
    ag_planning g;
    bool open = open_planning(&g, r);
    if (open) {
        count_uses(&g);
        find_last_uses(&g);
        plan_codes(&g);
        plan_outputs(&g);
        settle(&g);
        open = ag_runner_work(r, r->work_count * (r->is_lanes ? AG_LANES : 1));
        if (open) write_constants(&g);
    }
    if (!open) ag_runner_fail(r, AG_ERR_MEMORY, "run: out of memory");
    close_planning(&g);
    return r->status == AG_OK;
}
