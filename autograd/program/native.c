/* Steps as instructions of the processor. */
#include "runner_impl.h"

enum {
    LEAST = 8,        /* instructions of a program: for fewer it is not worth a call of the system */
    MOST_SHARED = 256 /* steps back, at most, that are looked at for the same code */
};

static size_t room_for(const ag_pstep *s) {
    if (s->kind == STEP_STRAIGHT) return ag_native_room(s->count);
    return s->kind == STEP_FUSED ? ag_native_rows_room(s->codes) : 0;
}

/* Groups of a loop have the same code. */
static const ag_pstep *find_same(const ag_pstep *first, const ag_pstep *s) {
    for (const ag_pstep *other = s; other > first && s - other < MOST_SHARED;) {
        other--;
        if (other->kind == STEP_FUSED && other->code == s->code && other->lanes == s->lanes && other->outs == s->outs)
            return other;
    }
    return NULL;
}

static void add_step(ag_runner *r, const ag_pstep *first, ag_pstep *s) {
    const ag_straight *code = (const ag_straight *)(const void *)r->straight.range.base;
    if (s->kind == STEP_STRAIGHT) {
        s->native = ag_native_add(&r->native, r->p->type, code + s->first, s->count);
    } else if (s->kind == STEP_FUSED) {
        const ag_pstep *same = find_same(first, s);
        s->native_rows = same ? same->native_rows
                              : ag_native_add_rows(&r->native, r->p->type, code + s->code, s->codes, s->lanes, s->outs);
    }
}

/* All places are read by whoever reads guards. */
static void translate_lanes(ag_runner *r) {
    uint32_t count = (uint32_t)r->straight.count, results = (uint32_t)r->p->outputs.count;
    if (!ag_native_open(&r->memory, &r->native, r->p->type, ag_native_rows_room(count))) return;
    r->native_lanes =
        ag_native_add_lanes(&r->native, r->p->type, (const ag_straight *)(const void *)r->straight.range.base, count,
                            r->guards.count ? UINT32_MAX : results);
    if (!ag_native_seal(&r->memory, &r->native)) r->native_lanes = NULL;
}

void ag_translate(ag_runner *r) {
    ag_pstep *first = (ag_pstep *)(void *)r->steps.range.base, *end = first + r->steps.count;
    size_t room = 0;
    if (r->straight.count < LEAST) return;
    if (r->is_lanes) {
        translate_lanes(r);
        return;
    }
    for (const ag_pstep *s = first; s < end; s++) room += room_for(s);
    if (room == 0 || !ag_native_open(&r->memory, &r->native, r->p->type, room)) return;
    for (ag_pstep *s = first; s < end; s++) add_step(r, first, s);
    if (ag_native_seal(&r->memory, &r->native)) return;
    for (ag_pstep *s = first; s < end; s++) s->native = NULL, s->native_rows = NULL;
}
