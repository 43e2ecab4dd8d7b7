/* Scalar inputs of which sweeps tell whether they reached them. Adjoints of scalars have no mark as those of tensors do, and
 * 0 may come from anywhere, so the way from the outputs down is followed once more, where a tape has any such inputs. */
#include "watch_impl.h"

ag_watched *ag_watched_at(const ag_tape *t, uint32_t slot) {
    uint32_t lo = 0, hi = t->watched_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->watched[mid].slot < slot) lo = mid + 1;
        else hi = mid;
    }
    return lo < t->watched_count && t->watched[lo].slot == slot ? &t->watched[lo] : NULL;
}

static bool make_room(ag_tape *t) {
    if (t->watched_count < t->watched_capacity) return true;
    uint32_t capacity = t->watched_capacity ? 2 * t->watched_capacity : 8;
    ag_watched *more =
        ag_memory_resize(&t->memory, t->watched, t->watched_capacity * sizeof *more, capacity * sizeof *more);
    if (!more) return ag_out_of_memory(t, "watch", capacity * sizeof *more);
    t->watched = more;
    t->watched_capacity = capacity;
    return true;
}

void ag_watch(ag_var x) {
    ag_operand o;
    uint32_t first;
    ag_tape *t = ag_tape_of(x);
    if (!t || t->status != AG_OK || !ag_resolve(t, "watch", x, &o) || ag_watched_at(t, o.slot)) return;
    const ag_instruction_ *i = ag_instructions(t) + ag_find_instruction(t, o.slot, &first);
    if (ag_op_of(i) != OP_LEAF || i->a != SCALAR_INPUT || first != o.slot || !make_room(t)) return;
    uint32_t at = t->watched_count++;
    for (; at > 0 && t->watched[at - 1].slot > o.slot; at--) t->watched[at] = t->watched[at - 1];
    t->watched[at] = (ag_watched){.slot = o.slot};
}

static bool has_derivative(const ag_tape *t, const ag_instruction_ *i) {
    uint32_t code = ag_op_of(i);
    if (code == OP_NODE) {
        const ag_node *node = ag_node_at(t, i->a);
        if (node->operation) return true;
        code = node->code;
    }
    return !(ag_op_table[code].traits & AG_FLAT);
}

bool ag_watch_begin(ag_tape *t, bool accumulates, ag_watch_ *w) {
    *w = (ag_watch_){.flow = {.t = t}};
    for (uint32_t i = 0; i < t->watched_count; i++) t->watched[i].reached = accumulates && t->watched[i].reached;
    w->flow.lo = t->watched[0].slot;
    w->flow.hi = ag_top(t);
    w->needed = ag_memory_sparse(&t->memory, w->flow.hi - w->flow.lo + (size_t)1);
    return w->needed || ag_out_of_memory(t, "sweep", w->flow.hi - w->flow.lo);
}

void ag_watch_output(ag_watch_ *w, ag_operand y) {
    if (!ag_is_constant_view(w->flow.t, y.view)) ag_flow_need(&w->flow, w->needed, y.slot);
}

void ag_watch_end(ag_watch_ *w) {
    ag_tape *t = w->flow.t;
    ag_flow_need_all(&w->flow, w->needed, has_derivative);
    for (uint32_t i = 0; i < t->watched_count; i++)
        if (w->needed[t->watched[i].slot - w->flow.lo]) t->watched[i].reached = true;
    ag_memory_sparse_free(&t->memory, w->needed, w->flow.hi - w->flow.lo + (size_t)1);
}
