/* Which elements of tensors are computed. What is added to a tensor of zeros somewhere, as derivatives by slices and shifts
 * are, is known to be 0 elsewhere; and of a tensor that slices and shifts are taken of, later instructions may need only a
 * part. A group computes one stretch of its elements, in whole rows: those that some member needs and that are not known to
 * be 0. What is read beyond that is filled in, so that nothing depends on what was there before.
 *
 * What is known to be 0 is 0 whatever the inputs are, infinities and NaN included. */
#include "plan_impl.h"

#include <math.h>

static const ag_extent nothing = {0, 0};

static bool is_empty(ag_extent a) { return a.lo >= a.hi; }
static ag_extent hull(ag_extent a, ag_extent b) {
    if (is_empty(a)) return b;
    if (is_empty(b)) return a;
    return (ag_extent){a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi};
}
static ag_extent common(ag_extent a, ag_extent b) {
    return (ag_extent){a.lo > b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi};
}
static ag_extent all_of(const ag_program *p, uint32_t value) { return (ag_extent){0, ag_value_count(p, value)}; }
static ag_extent moved(ag_extent a, int64_t by, ag_extent within) {
    return is_empty(a) ? nothing : common((ag_extent){a.lo + by, a.hi + by}, within);
}

/* Whether an instruction of `count` elements reads those of a value one for one. */
static bool is_one_for_one(const ag_program *p, ag_ref r, int64_t count) {
    return ag_is_whole(p, r) && ag_value_count(p, r.value) == count;
}

/* What a ref sees of its value. */
static ag_extent seen(const ag_program *p, ag_ref r) {
    int64_t offset = ag_where_offset(p, r.where);
    if (r.where & WHERE_ELEMENT) return (ag_extent){offset, offset + 1};
    const ag_view *v = &ag_pview_at(p, r.where)->view;
    return v->count ? (ag_extent){offset + v->lo, offset + v->hi + 1} : nothing;
}

/* ---- what is not 0 ---- */

/* Which elements of a tensor may not be 0; the others are all 0, or all -0. */
typedef struct ag_known {
    ag_extent nonzero;
    bool minus;
} ag_known;

static ag_known unknown(const ag_program *p, uint32_t value) { return (ag_known){all_of(p, value), false}; }
static ag_known negated(ag_known z) { return (ag_known){z.nonzero, !z.minus}; }
static ag_known sum_of(ag_known a, ag_known b) { return (ag_known){hull(a.nonzero, b.nonzero), a.minus && b.minus}; }

static ag_known operand_zeros(const ag_planning *g, ag_ref r, uint32_t i) {
    double number;
    if (ag_ref_number(g->p, r, &number) && number == 0) return (ag_known){nothing, signbit(number)};
    if (!is_one_for_one(g->p, r, ag_value_count(g->p, i))) return unknown(g->p, i);
    return (ag_known){g->extents[r.value].nonzero, g->extents[r.value].minus};
}

/* 0 times what may be infinite may be NaN. */
static ag_known product_of(const ag_planning *g, const ag_ref *in, uint32_t i) {
    for (int k = 0; k < 2; k++) {
        double number;
        if (!ag_ref_number(g->p, in[k], &number) || !isfinite(number) || number == 0) continue;
        ag_known z = operand_zeros(g, in[1 - k], i);
        return number < 0 ? negated(z) : z;
    }
    return unknown(g->p, i);
}

/* Where a part of an assembly is, unless it is 0. */
static ag_extent placed(const ag_planning *g, ag_ref r, const ag_placement *where, uint32_t i) {
    const ag_program *p = g->p;
    int64_t lo = where->offset, hi = lo;
    double number;
    if (ag_ref_number(p, r, &number) && number == 0 && !signbit(number)) return nothing;
    if (!(r.where & WHERE_ELEMENT)) {
        const ag_view *v = &ag_pview_at(p, r.where)->view;
        const ag_extents *e = &g->extents[r.value];
        if (v->count == 0 || (!e->minus && is_empty(common(seen(p, r), e->nonzero)))) return nothing;
        for (int d = 0; d < v->rank; d++) *(where->stride[d] < 0 ? &lo : &hi) += (v->dim[d] - 1) * where->stride[d];
    }
    return common((ag_extent){lo, hi + 1}, all_of(p, i));
}

static ag_known zeros_of_call(const ag_planning *g, const ag_code *c, uint32_t i) {
    const ag_program *p = g->p;
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    const ag_placement *where = ag_parts_of(call->operation, ag_pparams_at(p, call->params));
    if (!where) return unknown(p, i);
    ag_shift shift = {.part = NOWHERE};
    bool shifts = ag_find_shift(g, i, &shift);
    ag_extent result = nothing;
    for (uint32_t k = 0; k < call->n; k++) {
        ag_ref r = *ag_ref_at(p, c->in + k);
        bool moves = shifts && k == shift.part && !g->extents[r.value].minus;
        result = hull(result,
                      moves ? moved(g->extents[r.value].nonzero, shift.by, all_of(p, i)) : placed(g, r, &where[k], i));
    }
    return (ag_known){result, false};
}

static bool is_zero(const ag_program *p, const ag_code *c, int64_t k) {
    double number = *ag_pconstant_at(p, c->extra + (uint64_t)k);
    return number == 0 && !signbit(number);
}

static ag_known zeros_of_constant(const ag_program *p, const ag_code *c, uint32_t i) {
    ag_extent e = all_of(p, i);
    while (e.lo < e.hi && is_zero(p, c, e.lo)) e.lo++;
    while (e.lo < e.hi && is_zero(p, c, e.hi - 1)) e.hi--;
    return (ag_known){e, false};
}

static ag_known find_zeros(const ag_planning *g, uint32_t i) {
    const ag_program *p = g->p;
    const ag_code *c = ag_code_at(p, i);
    const ag_ref *in = ag_operand_count(p, c) ? ag_ref_at(p, c->in) : NULL;
    if (c->view & WHERE_ELEMENT) return unknown(p, i);
    switch (c->op) {
    case CODE_CONSTANT: return zeros_of_constant(p, c, i);
    case CODE_CALL: return zeros_of_call(g, c, i);
    case AG_ADD: return sum_of(operand_zeros(g, in[0], i), operand_zeros(g, in[1], i));
    case AG_SUB: return sum_of(operand_zeros(g, in[0], i), negated(operand_zeros(g, in[1], i)));
    case AG_MUL: return product_of(g, in, i);
    case AG_FMA: return sum_of(product_of(g, in, i), operand_zeros(g, in[2], i));
    case AG_FNMA: return sum_of(negated(product_of(g, in, i)), operand_zeros(g, in[2], i));
    case AG_NEG: return negated(operand_zeros(g, in[0], i));
    case AG_SQUARE: return (ag_known){operand_zeros(g, in[0], i).nonzero, false};
    case AG_CHAIN:
        return (ag_known){common(operand_zeros(g, in[0], i).nonzero, operand_zeros(g, in[1], i).nonzero), false};
    default: return unknown(p, i);
    }
}

/* ---- what is needed ---- */

/* How a member reads an operand: one for one, moved by some elements, or whatever of its value it sees. */
typedef struct ag_reading {
    bool in_rows;
    int64_t by;
} ag_reading;

/* The elements that a member works on. */
static int64_t elements_of(const ag_planning *g, uint32_t i) {
    return ag_value_count(g->p, ag_is_grouped_sum(g, i) ? ag_ref_at(g->p, ag_code_at(g->p, i)->in)->value : i);
}

static ag_reading reading_of(const ag_planning *g, uint32_t i, uint32_t k) {
    ag_ref r = *ag_ref_at(g->p, ag_code_at(g->p, i)->in + k);
    ag_shift shift;
    if (!ag_is_grouped_shift(g, i)) return (ag_reading){is_one_for_one(g->p, r, elements_of(g, i)), 0};
    (void)ag_find_shift(g, i, &shift);
    return (ag_reading){k == shift.part, -shift.by};
}

static void read_seen(ag_planning *g, ag_ref r) {
    ag_extents *e = &g->extents[r.value];
    e->needed = hull(e->needed, seen(g->p, r));
    e->read = hull(e->read, seen(g->p, r));
}

/* Notes what a member needs of its operands; returns what it needs of the rows. */
static ag_extent need_operands(ag_planning *g, uint32_t i) {
    const ag_code *c = ag_code_at(g->p, i);
    ag_extent all = {0, elements_of(g, i)};
    ag_extent own = ag_is_grouped_sum(g, i) ? all : common(g->extents[i].needed, g->extents[i].nonzero), rows = own;
    for (uint32_t k = 0, n = ag_operand_count(g->p, c); k < n; k++) {
        ag_ref r = *ag_ref_at(g->p, c->in + k);
        ag_reading how = reading_of(g, i, k);
        if (!how.in_rows) {
            read_seen(g, r);
            continue;
        }
        ag_extent part = moved(own, how.by, all), end = moved(all, -how.by, all);
        g->extents[r.value].needed = hull(g->extents[r.value].needed, part);
        rows = hull(rows, part);
        /* what a shift puts at the end is at hand when the rows begin there */
        if (own.lo < end.lo && !is_empty(own)) rows = hull(rows, (ag_extent){0, 1});
        if (own.hi > end.hi && !is_empty(own)) rows = hull(rows, (ag_extent){all.hi - 1, all.hi});
    }
    return rows;
}

/* As few rows as there can be, within the room that results have. */
static ag_extent whole_rows(ag_type type, ag_extent stretch, int64_t count, bool shifts) {
    if (is_empty(stretch)) return nothing;
    int64_t lo = stretch.lo / AG_FEW_LANES * AG_FEW_LANES, lanes = ag_stretch_lanes(type, stretch.hi - lo, shifts);
    int64_t length = (stretch.hi - lo + lanes - 1) / lanes * lanes, room = ag_row_room(type, count);
    if (length >= room) return (ag_extent){0, room};
    return (ag_extent){lo < room - length ? lo : room - length, lo < room - length ? lo + length : room};
}

/* The stretch that a group computes. Sums are added up in whole rows from the first element on. */
static void find_stretch(ag_planning *g, uint32_t first, uint32_t end) {
    const ag_program *p = g->p;
    ag_extent rows = nothing;
    bool shifts = false, sums = false;
    int64_t count = elements_of(g, g->order[first]);
    for (uint32_t j = end; j-- > first;) {
        uint32_t i = g->order[j];
        shifts |= ag_is_grouped_shift(g, i);
        sums |= ag_is_grouped_sum(g, i);
        rows = hull(rows, need_operands(g, i));
    }
    rows = sums || count <= AG_LANES ? (ag_extent){0, count} : whole_rows(p->type, rows, count, shifts);
    for (uint32_t j = first; j < end; j++) {
        uint32_t i = g->order[j];
        const ag_code *c = ag_code_at(p, i);
        g->extents[i].computed = rows;
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            ag_extents *e = &g->extents[ag_ref_at(p, c->in + k)->value];
            if (reading_of(g, i, k).in_rows) e->read = hull(e->read, rows);
        }
    }
}

static void find_needed(ag_planning *g) {
    const ag_program *p = g->p;
    for (uint64_t k = 0; k < p->outputs.count; k++) read_seen(g, ag_poutput_at(p, k)->ref);
    for (uint32_t end = g->ordered; end > 0;) {
        uint32_t first = end - 1, i = g->order[first];
        const ag_code *c = ag_code_at(p, i);
        if (g->group[i] == ALONE) {
            for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) read_seen(g, *ag_ref_at(p, c->in + k));
        } else {
            while (first > 0 && g->group[g->order[first - 1]] == g->group[i]) first--;
            find_stretch(g, first, end);
        }
        end = first;
    }
}

bool ag_find_extents(ag_planning *g) {
    bool any = false;
    for (uint32_t i = 0; i < g->n && !any && !g->r->is_lanes; i++)
        any = g->group[i] != ALONE && ag_value_count(g->p, i) > AG_LANES;
    if (!any) return true;
    g->extents = ag_memory_zeroed(&g->r->memory, g->n * sizeof *g->extents);
    if (!g->extents) return false;
    for (uint32_t i = 0; i < g->n; i++) {
        ag_known z = find_zeros(g, i);
        g->extents[i].nonzero = z.nonzero;
        g->extents[i].minus = z.minus;
    }
    find_needed(g);
    return true;
}
