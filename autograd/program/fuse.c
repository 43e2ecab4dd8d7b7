/* A group of elementwise operations as one step: straight-line code that runs over a row of elements at a time, of arrays
 * and of a small buffer that stays in cache. */
#include "plan_impl.h"

/* What one group needs: rows 0.. are the operands of the step, first the results that are stored, then the sums, then
 * what is read from outside; behind them come rows for shifts, one that tells the size of a block, and those for values
 * that only the group sees. */
typedef struct ag_grouping {
    ag_planning *g;
    uint32_t first, end;
    uint32_t *row;  /* of each member, by its position in the group */
    uint32_t *last; /* the position of the last member that reads it */
    ag_poperand *operands;
    ag_ref *refs;                   /* what each operand behind the results is */
    uint32_t outs, sums, ins, rows; /* of operands: the results, the sums, what is read */
    uint32_t block;                 /* the row with the size of a block */
    uint32_t *free, free_count;
    uint32_t *quick, quick_count; /* which instructions are products in place of chains, or take one in */
    uint32_t *chained, checked;   /* of each member, whether it depends on such a product; how many results do */
} ag_grouping;

static uint32_t member(const ag_grouping *u, uint32_t j) { return u->g->order[u->first + j]; }
static uint32_t member_count(const ag_grouping *u) { return u->end - u->first; }

/* The position of a member in the group; of the members those that come after `before` are not looked at. */
static uint32_t position_of(const ag_grouping *u, uint32_t value, uint32_t before) {
    for (uint32_t j = before; j-- > 0;)
        if (member(u, j) == value) return j;
    return NOWHERE;
}

static uint32_t operand_count(const ag_grouping *u, uint32_t i) {
    return ag_operand_count(u->g->p, ag_code_at(u->g->p, i));
}

static ag_ref operand(const ag_grouping *u, uint32_t i, uint32_t k) {
    return *ag_ref_at(u->g->p, ag_code_at(u->g->p, i)->in + k);
}

static bool is_shift(const ag_grouping *u, uint32_t j) { return ag_is_grouped_shift(u->g, member(u, j)); }
static bool is_sum(const ag_grouping *u, uint32_t j) { return ag_is_grouped_sum(u->g, member(u, j)); }

/* Whether it, or the product that it takes in, is a chain that is computed as a product. */
static bool is_quick(const ag_grouping *u, uint32_t j) {
    uint32_t i = member(u, j);
    int fused = ag_fused_operand(u->g, i);
    return u->g->quick[fused < 0 ? i : operand(u, i, (uint32_t)fused).value];
}

/* The operands of a member as it is executed: those of a product that it takes in stand for the product. */
static uint32_t operands_of(const ag_grouping *u, uint32_t j, ag_ref in[3], uint32_t *op) {
    const ag_planning *g = u->g;
    uint32_t i = member(u, j), n = operand_count(u, i);
    *op = ag_code_at(g->p, i)->op;
    if (is_shift(u, j)) { /* the rest is not of the group */
        ag_shift shift;
        (void)ag_find_shift(g, i, &shift);
        in[0].value = operand(u, i, shift.part).value;
        in[0].where = ag_code_at(g->p, in[0].value)->view; /* all of it moves */
        return 1;
    }
    for (uint32_t k = 0; k < n; k++) in[k] = operand(u, i, k);
    if (*op == CODE_CALL) *op = AG_STRAIGHT_SUM;
    else if (g->quick[i]) *op = AG_MUL;
    else if (*op == AG_FMA) *op = AG_STRAIGHT_FMA; /* codes of both kinds are the same numbers */
    else if (*op == AG_FNMA) *op = AG_STRAIGHT_FNMA;
    int fused = ag_fused_operand(g, i);
    if (fused < 0) return n;
    uint32_t product = in[fused].value;
    *op = *op == AG_ADD ? AG_STRAIGHT_FMA : AG_STRAIGHT_FNMA;
    in[2] = in[1 - fused];
    in[0] = operand(u, product, 0);
    in[1] = operand(u, product, operand_count(u, product) - 1); /* the same for a square */
    return 3;
}

/* The view of the shape that an operand of a member is broadcast to; all of it is shifted or added up. */
static uint32_t shape_for(const ag_grouping *u, uint32_t j, ag_ref operand) {
    const ag_code *c = ag_code_at(u->g->p, member(u, j));
    return c->op == CODE_CALL ? operand.where : c->view;
}

/* The row of what a member of shape `to` reads from outside. */
static uint32_t input_row(ag_grouping *u, ag_ref r, uint32_t to) {
    const ag_view *shape = &ag_pview_at(u->g->p, to)->view;
    uint32_t first = u->outs + u->sums;
    for (uint32_t k = 0; k < u->ins; k++)
        if (u->refs[k].value == r.value && u->refs[k].where == r.where && u->operands[first + k].to == shape)
            return first + k;
    u->operands[first + u->ins] = ag_operand_at(u->g, r);
    u->operands[first + u->ins].to = shape;
    ag_cursor cursor;
    ag_cursor_open(&cursor, u->operands[first + u->ins].view, shape);
    u->operands[first + u->ins].access = cursor.access;
    u->refs[u->ins] = r;
    return first + u->ins++;
}

static void find_chained(ag_grouping *u) {
    for (uint32_t j = 0; j < member_count(u); j++) {
        uint32_t i = member(u, j);
        u->chained[j] = u->g->quick[i];
        for (uint32_t k = 0, n = operand_count(u, i); k < n && !u->chained[j]; k++) {
            uint32_t at = position_of(u, operand(u, i, k).value, j);
            u->chained[j] = at != NOWHERE && u->chained[at];
        }
    }
}

/* Results that are chained or not, or sums, get their rows; returns how many. */
static uint32_t find_results(ag_grouping *u, uint32_t first, bool chained, bool sums) {
    ag_planning *g = u->g;
    uint32_t row = first;
    for (uint32_t j = 0; j < member_count(u); j++) {
        uint32_t i = member(u, j);
        if (is_sum(u, j) != sums || !g->stored[i] || g->skipped[i] || (!sums && u->chained[j] != chained)) continue;
        u->row[j] = row;
        u->operands[row++] = ag_operand_at(g, (ag_ref){i, ag_code_at(g->p, i)->view});
    }
    return row - first;
}

static uint32_t count_shifts(const ag_grouping *u) {
    uint32_t shifts = 0;
    for (uint32_t j = 0; j < member_count(u); j++) shifts += is_shift(u, j);
    return shifts;
}

/* Inputs are all found before there are rows for values. */
static void find_rows(ag_grouping *u) {
    find_chained(u);
    u->checked = find_results(u, 0, true, false);
    u->outs = u->checked + find_results(u, u->checked, false, false);
    u->sums = find_results(u, u->outs, false, true);
    for (uint32_t j = 0; j < member_count(u); j++) {
        ag_ref in[3];
        uint32_t op;
        if (u->g->skipped[member(u, j)]) continue;
        for (uint32_t k = 0, n = operands_of(u, j, in, &op); k < n; k++) {
            uint32_t at = position_of(u, in[k].value, j);
            if (at == NOWHERE) input_row(u, in[k], shape_for(u, j, in[k]));
            else u->last[at] = j;
        }
    }
    uint32_t shifts = count_shifts(u);
    u->block = u->outs + u->sums + u->ins + shifts;
    u->rows = u->block + (u->sums || shifts);
}

/* What is at the end of a shifted row are operands behind all others, in the order of the parts. Returns its own row. */
static uint32_t add_shift(ag_grouping *u, uint32_t j, ag_pstep *step) {
    ag_runner *r = u->g->r;
    ag_shift shift;
    (void)ag_find_shift(u->g, member(u, j), &shift);
    uint32_t first = u->outs + u->sums + u->ins, others = first + step->edges;
    ag_pshift *to = ag_runner_add(r, &r->shifts, sizeof *to, 1);
    if (!to) return 0;
    *to = (ag_pshift){.by = shift.by, .parts = shift.parts, .part = shift.part, .edge = others, .where = shift.where};
    for (uint32_t k = 0; k < shift.parts; k++)
        if (k != shift.part) u->operands[others++] = ag_operand_at(u->g, operand(u, member(u, j), k));
    step->edges += shift.parts - 1;
    step->backward = shift.by < 0;
    return first + step->shifts++;
}

static void add_code(ag_grouping *u, ag_list *list, ag_straight code) {
    ag_straight *to = ag_runner_add(u->g->r, list, sizeof *to, 1);
    if (to) *to = code;
}

static ag_straight code_at(const ag_runner *r, uint32_t i) {
    return ((const ag_straight *)(const void *)r->straight.range.base)[i];
}

/* If what is shifted to row `to`, and then forgotten, is a product just computed, or one with something added, that
 * instruction shifts it at once. */
static void shift_at_once(ag_grouping *u, const ag_pstep *step, uint32_t from, uint32_t to) {
    ag_runner *r = u->g->r;
    if (r->straight.count == step->code || r->status != AG_OK) return;
    ag_straight *last = (ag_straight *)(void *)r->straight.range.base + (r->straight.count - 1);
    if (last->to != from || (last->op != AG_MUL && last->op != AG_STRAIGHT_FMA)) return;
    last->op = last->op == AG_MUL ? AG_STRAIGHT_SHIFT_MUL : AG_STRAIGHT_SHIFT_FMA;
    last->to = to;
}

static bool is_single(const ag_grouping *u, uint32_t row) {
    return row < u->outs + u->sums + u->ins && u->operands[row].access == SINGLE;
}

/* If what is added up is a product of rows just computed, that instruction adds it up at once. */
static void add_up_at_once(ag_grouping *u, const ag_pstep *step, uint32_t from) {
    ag_runner *r = u->g->r;
    if (r->straight.count == step->code || r->status != AG_OK) return;
    ag_straight *last = (ag_straight *)(void *)r->straight.range.base + (r->straight.count - 1);
    if (last->to != from || last->op != AG_MUL || is_single(u, last->x) || is_single(u, last->y)) return;
    last->op = AG_STRAIGHT_MUL_SUM;
}

/* The code once more, as it is executed when a product is NaN. */
static void add_exact(ag_grouping *u, ag_pstep *step) {
    ag_runner *r = u->g->r;
    ag_list *list = &r->exact;
    uint32_t spare = u->rows, found = 0;
    bool spares = false;
    step->exact = (uint32_t)list->count;
    for (uint32_t k = 0; k < step->codes && r->status == AG_OK; k++) {
        ag_straight c = code_at(r, step->code + k), shift;
        bool quick = found < u->quick_count && u->quick[found] == k;
        bool shifts = c.op == AG_STRAIGHT_SHIFT_MUL || c.op == AG_STRAIGHT_SHIFT_FMA;
        found += quick;
        if (quick) c.op = ag_exact_op(c.op);
        if (quick && shifts) c.to = spare, spares = true; /* in two steps */
        add_code(u, list, c);
        if (!shifts) continue;
        shift = code_at(r, step->code + ++k);
        if (quick) shift.x = spare;
        add_code(u, list, shift);
    }
    step->exacts = (uint32_t)list->count - step->exact;
    u->rows += spares;
}

/* The commonest operations with one number need no row of it; others do. */
static void find_single_numbers(ag_grouping *u, const ag_list *list, uint32_t first) {
    ag_straight *code = (ag_straight *)(void *)list->range.base;
    for (uint64_t k = first; k < list->count && u->g->r->status == AG_OK; k++) {
        ag_straight *c = &code[k];
        bool common = c->op == AG_ADD || c->op == AG_MUL || c->op == AG_STRAIGHT_FMA;
        if (common && is_single(u, c->x)) {
            uint32_t x = c->x;
            c->x = c->y;
            c->y = x;
        }
        uint32_t full[3] = {c->x, c->y, c->z}, n = 3;
        if (common && is_single(u, c->y)) {
            c->op = c->op == AG_ADD ? AG_STRAIGHT_ADD_1 : c->op == AG_MUL ? AG_STRAIGHT_MUL_1 : AG_STRAIGHT_FMA_1;
            full[1] = full[--n];
        } else if (common && c->op == AG_STRAIGHT_FMA && is_single(u, c->z)) {
            c->op = AG_STRAIGHT_MUL_ADD_1;
            n--;
        }
        while (n-- > 0)
            if (is_single(u, full[n])) u->operands[full[n]].fills = true;
    }
}

static void make_code(ag_grouping *u, ag_pstep *step) {
    ag_planning *g = u->g;
    ag_runner *r = g->r;
    step->code = (uint32_t)r->straight.count;
    step->shift = (uint32_t)r->shifts.count;
    for (uint32_t j = 0; j < member_count(u); j++) {
        ag_ref in[3];
        uint32_t row[3] = {0}, i = member(u, j), op, n;
        if (g->skipped[i]) continue;
        bool dies = false; /* its last operand, with it */
        n = operands_of(u, j, in, &op);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t at = position_of(u, in[k].value, j);
            row[k] = at == NOWHERE ? input_row(u, in[k], shape_for(u, j, in[k])) : u->row[at];
            bool again = false;
            for (uint32_t m = 0; m < k; m++) again |= in[m].value == in[k].value;
            dies = at != NOWHERE && !again && u->last[at] == j && !g->stored[in[k].value];
            if (dies) u->free[u->free_count++] = u->row[at];
        }
        if (!g->stored[i]) u->row[j] = u->free_count ? u->free[--u->free_count] : u->rows++;
        if (is_shift(u, j)) {
            if (dies) shift_at_once(u, step, row[0], u->row[j]);
            op = AG_STRAIGHT_SHIFT;
            row[1] = add_shift(u, j, step);
        }
        if (op == AG_STRAIGHT_SHIFT || op == AG_STRAIGHT_SUM) row[2] = u->block;
        if (op == AG_STRAIGHT_SUM) add_up_at_once(u, step, row[0]);
        if (is_quick(u, j)) u->quick[u->quick_count++] = (uint32_t)r->straight.count - step->code;
        add_code(u, &r->straight, (ag_straight){op, u->row[j], row[0], row[1], row[2]});
    }
    step->codes = (uint32_t)r->straight.count - step->code;
    if (u->quick_count) add_exact(u, step);
    find_single_numbers(u, &r->straight, step->code);
    if (u->quick_count) find_single_numbers(u, &r->exact, step->exact);
    step->outs = u->outs;
    step->checked = u->checked;
    step->sums = u->sums;
    step->rows = u->rows;
    if (u->rows > r->most_rows) r->most_rows = u->rows;
    if (step->shifts > r->most_shifts) r->most_shifts = step->shifts;
}

static bool is_same_code(const ag_list *list, uint32_t a, uint32_t b, uint32_t count) {
    const ag_straight *code = (const ag_straight *)(const void *)list->range.base;
    return count == 0 || memcmp(code + a, code + b, count * sizeof *code) == 0;
}

/* Groups of a loop that was unrolled often have the same code, which is then kept once: it stays in cache. */
static void share_code(ag_planning *g, ag_pstep *step) {
    ag_runner *r = g->r;
    uint32_t hash = 0;
    if (r->status != AG_OK) return;
    for (uint32_t k = 0; k < step->codes; k++) {
        ag_straight c = code_at(r, step->code + k);
        hash = (hash ^ c.op ^ c.to << 6 ^ c.x << 12 ^ c.y << 18 ^ c.z << 24) * 0x9E3779B1u;
    }
    uint32_t *recent = &g->recent[(hash >> 16) % RECENT_CODES];
    const ag_pstep *other = (const ag_pstep *)(const void *)r->steps.range.base + *recent;
    if (*recent < r->steps.count && other->kind == STEP_FUSED && other->codes == step->codes &&
        other->exacts == step->exacts && is_same_code(&r->straight, step->code, other->code, step->codes) &&
        is_same_code(&r->exact, step->exact, other->exact, step->exacts)) {
        r->straight.count = step->code;
        if (step->exacts) r->exact.count = step->exact;
        step->code = other->code;
        step->exact = other->exact;
    } else {
        *recent = (uint32_t)r->steps.count;
    }
}

/* The shape of the elements of a group, which may begin with a sum of what is no member. */
static const ag_view *view_of(const ag_planning *g, uint32_t first) {
    const ag_code *c = ag_code_at(g->p, g->order[first]);
    return &ag_pview_at(g->p, ag_is_grouped_sum(g, g->order[first]) ? ag_ref_at(g->p, c->in)->where : c->view)->view;
}

static void add_gap(const ag_grouping *u, ag_pstep *step, uint32_t result, int64_t from, int64_t to, double number) {
    ag_pgap *gap = from < to ? ag_runner_add(u->g->r, &u->g->r->gaps, sizeof *gap, 1) : NULL;
    if (!gap) return;
    *gap = (ag_pgap){result, number, from, to};
    step->gaps++;
}

/* What is read before or behind the rows of a result is 0 where that is known to be 0. Nobody needs the rest; it is 1, so
 * that not even quotients and logarithms of it are NaN. */
static void add_gaps(const ag_grouping *u, ag_pstep *step) {
    int64_t count = step->view->count, end = step->from + step->blocks * step->lanes;
    step->gap = (uint32_t)u->g->r->gaps.count;
    for (uint32_t j = 0; u->g->extents && j < member_count(u); j++) {
        const ag_extents *e = &u->g->extents[member(u, j)];
        if (u->row[j] >= u->outs || !u->g->stored[member(u, j)]) continue;
        for (int side = 0; side < 2; side++) {
            int64_t from = side && e->read.lo < end ? end : e->read.lo, to = e->read.hi;
            if (!side && to > step->from) to = step->from;
            if (to > count) to = count;
            int64_t lo = e->nonzero.lo > from ? e->nonzero.lo : from, hi = e->nonzero.hi < to ? e->nonzero.hi : to;
            if (lo >= hi) lo = hi = to;
            double zero = e->minus ? -0.0 : 0.0;
            add_gap(u, step, u->row[j], from, lo, zero);
            add_gap(u, step, u->row[j], lo, hi, 1);
            add_gap(u, step, u->row[j], hi, to, zero);
        }
    }
}

static void set_rows(const ag_planning *g, uint32_t first, ag_pstep *step) {
    ag_extent e = {0, step->view->count};
    if (g->extents) e = g->extents[g->order[first]].computed;
    step->lanes = (uint32_t)ag_stretch_lanes(g->p->type, e.hi - e.lo, step->shifts > 0);
    step->from = e.lo;
    step->blocks = (e.hi - e.lo + step->lanes - 1) / step->lanes;
}

void ag_plan_group(ag_planning *g, uint32_t first, uint32_t end) {
    ag_memory *memory = &g->r->memory;
    size_t n = end - first, operands = 4 * n;
    for (uint32_t j = first; j < end; j++) operands += ag_operand_count(g->p, ag_code_at(g->p, g->order[j]));
    size_t size = operands * (sizeof(ag_poperand) + sizeof(ag_ref)) + 5 * n * sizeof(uint32_t);
    ag_grouping u = {.g = g, .first = first, .end = end, .operands = ag_memory_zeroed(memory, size)};
    if (!u.operands) {
        ag_runner_fail(g->r, AG_ERR_MEMORY, "run: out of memory");
        return;
    }
    u.refs = (ag_ref *)(void *)(u.operands + operands);
    u.row = (uint32_t *)(void *)(u.refs + operands);
    u.last = u.row + n;
    u.free = u.last + n;
    u.quick = u.free + n;
    u.chained = u.quick + n;
    find_rows(&u);
    ag_pstep step = {.kind = STEP_FUSED, .view = view_of(g, first)};
    make_code(&u, &step);
    share_code(g, &step);
    set_rows(g, first, &step);
    add_gaps(&u, &step);
    ag_add_step(g, step, u.operands, u.outs + u.sums + u.ins + step.edges);
    ag_memory_free(memory, u.operands, size);
}
