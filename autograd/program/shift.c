/* Shifts: a value moved by a few elements, with something else where that leaves a gap, as in x[i - 1] of a recurrence.
 * Within a group they are done block by block, each block after the one that it takes elements from. */
#include "plan_impl.h"

/* How far a part moves if it is all of a value but for what falls off one end; 0 if it is not that. */
static int64_t moved_by(const ag_program *p, ag_ref r, const ag_placement *where, int64_t count) {
    if (r.where & WHERE_ELEMENT || ag_value_count(p, r.value) != count) return 0;
    const ag_pview *w = ag_pview_at(p, r.where);
    int64_t stride[AG_MAX_RANK], from = w->offset, length = w->view.count;
    ag_row_major(w->view.rank, w->view.dim, stride);
    for (int i = 0; i < w->view.rank; i++)
        if (w->view.dim[i] > 1 && (where->stride[i] != stride[i] || w->view.stride[i] != stride[i])) return 0;
    bool back = from == 0 && where->offset + length == count, front = where->offset == 0 && from + length == count;
    int64_t by = where->offset - from;
    return (back || front) && by >= -AG_LANES && by <= AG_LANES ? by : 0;
}

/* Whether all that a part reaches is within lo..hi-1. */
static bool is_between(const ag_program *p, ag_ref r, const ag_placement *where, int64_t lo, int64_t hi) {
    int64_t first = where->offset, last = first;
    if (!(r.where & WHERE_ELEMENT)) {
        const ag_view *v = &ag_pview_at(p, r.where)->view;
        if (v->count == 0) return true;
        for (int i = 0; i < v->rank; i++)
            *(where->stride[i] < 0 ? &first : &last) += (v->dim[i] - 1) * where->stride[i];
    }
    return first >= lo && last < hi;
}

bool ag_find_shift(const ag_planning *g, uint32_t i, ag_shift *shift) {
    const ag_program *p = g->p;
    const ag_code *c = ag_code_at(p, i);
    if (c->op != CODE_CALL || c->view & WHERE_ELEMENT || g->r->is_lanes) return false;
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    const ag_placement *where = ag_parts_of(call->operation, ag_pparams_at(p, call->params));
    int64_t count = ag_value_count(p, i), by = 0;
    if (!where || count <= AG_LANES) return false;
    for (uint32_t k = 0; k < call->n && by == 0; k++) {
        by = moved_by(p, *ag_ref_at(p, c->in + k), &where[k], count);
        *shift = (ag_shift){.part = k, .by = (int32_t)by, .parts = call->n, .where = where};
    }
    if (by == 0) return false;
    for (uint32_t k = 0; k < call->n; k++)
        if (k != shift->part &&
            !is_between(p, *ag_ref_at(p, c->in + k), &where[k], by > 0 ? 0 : count + by, by > 0 ? by : count))
            return false;
    return true;
}
