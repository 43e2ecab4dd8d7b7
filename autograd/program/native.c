/* Steps as instructions of the processor. */
#include "runner_impl.h"

enum {
    LEAST = 8,        /* instructions of a program: for fewer it is not worth a call of the system */
    MOST_SHARED = 256 /* steps back, at most, that are looked at for the same code */
};

static size_t room_for(const ag_pstep *s) {
    if (s->kind == STEP_STRAIGHT || s->kind == STEP_LIST) return ag_native_room(s->count);
    return s->kind == STEP_FUSED ? ag_native_rows_room(s->codes) : 0;
}

/* A list that comes next, of which the numbers are most likely in registers. */
static ag_native_list list_behind(const ag_runner *r, const ag_pstep *s, const ag_pstep *end, uint32_t *places) {
    ag_native_list list = {.places = places};
    if (!places || s + 1 == end || s[1].kind != STEP_LIST) return list;
    const ag_poperand *o = (const ag_poperand *)(const void *)r->operands.range.base + s[1].first;
    list.space = o->spot.space;
    list.offset = o->spot.offset * (int64_t)ag_type_size(r->p->type);
    list.count = s[1].count - 1;
    for (uint32_t k = 0; k < list.count; k++) places[k] = (uint32_t)o[1 + k].spot.offset;
    return list;
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

static void add_straight(ag_runner *r, ag_pstep *s, const ag_pstep *end, uint32_t *places) {
    const ag_straight *code = (const ag_straight *)(const void *)r->straight.range.base;
    ag_native_list list = list_behind(r, s, end, places);
    s->native = ag_native_add(&r->native, r->p->type, code + s->first, s->count, list.count ? &list : NULL);
    if (s->native && list.count) s[1].done = true;
}

static void add_rows(ag_runner *r, const ag_pstep *first, ag_pstep *s) {
    const ag_straight *code = (const ag_straight *)(const void *)r->straight.range.base;
    const ag_pstep *same = find_same(first, s);
    s->native_rows = same ? same->native_rows
                          : ag_native_add_rows(&r->native, r->p->type, code + s->code, s->codes, s->lanes, s->outs);
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
    uint32_t *places = ag_memory_resize(&r->memory, NULL, 0, r->longest * sizeof *places + 1);
    for (ag_pstep *s = first; s < end; s++) {
        if (s->kind == STEP_STRAIGHT) add_straight(r, s, end, places);
        else if (s->kind == STEP_FUSED) add_rows(r, first, s);
    }
    ag_memory_free(&r->memory, places, r->longest * sizeof *places + 1);
    if (ag_native_seal(&r->memory, &r->native)) return;
    for (ag_pstep *s = first; s < end; s++) {
        s->native = NULL;
        s->native_rows = NULL;
        s->done = false;
    }
}
