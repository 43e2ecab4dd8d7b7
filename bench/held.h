/* What programs hold while they run: the memory of their runners, the states of scans in it. */
#ifndef HELD_H
#define HELD_H

#include "../autograd/program/runner_impl.h"

/* Programs that were counted, each once. */
typedef struct held_census {
    const ag_program *seen[256];
    int count;
    size_t bytes;
} held_census;

static void held_count(held_census *c, const ag_program *p) {
    for (int i = 0; i < c->count; i++)
        if (c->seen[i] == p) return;
    if (c->count == 256) return;
    c->seen[c->count++] = p;
    for (const ag_runner *r = p->idle; r; r = r->next) c->bytes += r->memory.held;
    for (uint64_t i = 0; i < p->calls.count; i++) {
        const ag_pcall *call = ag_pcall_at(p, i);
        if (call->operation->hold) held_count(c, *(const ag_program *const *)(void *)ag_pparams_at(p, call->params));
    }
}

/* Of a runner of p, and of the runners that are kept with p and the programs that it runs. */
static inline held_census held_by(const ag_runner *r, const ag_program *p) {
    held_census c = {.bytes = r->memory.held};
    held_count(&c, p);
    return c;
}

#endif
