/* What operations that run a program (map, ...) keep with it, so that running them again plans and derives nothing. */
#include "runner_impl.h"

ag_runner *ag_program_borrow(const ag_program *p) {
    ag_program *q = (ag_program *)(uintptr_t)p;
    pthread_mutex_lock(&q->lock);
    ag_runner *r = q->idle;
    if (r) q->idle = r->next;
    pthread_mutex_unlock(&q->lock);
    if (r) return r;
    r = ag_runner_new(p);
    if (r->p) r->pooled = true;
    if (r->p == p) {
        r->is_counted = false;
        ag_program_free(q);
    }
    return r;
}

void ag_program_give_back(const ag_program *p, ag_runner *r) {
    ag_program *q = (ag_program *)(uintptr_t)p;
    if (!r->pooled || r->status != AG_OK) { /* out of memory now, not for ever */
        ag_runner_free(r);
        return;
    }
    pthread_mutex_lock(&q->lock);
    r->next = q->idle;
    q->idle = r;
    pthread_mutex_unlock(&q->lock);
}

static ag_program *make_adjoints(const ag_program *p) {
    ag_program *all = ag_program_vjp(p, NULL, 0);
    int ny = ag_program_outputs(p), nx = ag_program_inputs(p);
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    int *wanted = ag_memory_resize(&memory, NULL, 0, (size_t)nx * sizeof *wanted + 1);
    for (int k = 0; wanted && k < nx; k++) wanted[k] = ny + k;
    ag_program *q =
        wanted ? ag_program_select(all, wanted, nx) : ag_program_failed(p, AG_ERR_MEMORY, "adjoint: out of memory");
    ag_memory_free(&memory, wanted, (size_t)nx * sizeof *wanted + 1);
    ag_program_free(all);
    return q;
}

ag_program *ag_program_adjoints(const ag_program *p) {
    ag_program *q = (ag_program *)(uintptr_t)p;
    pthread_mutex_lock(&q->lock);
    ag_program *vjp = q->vjp ? q->vjp : make_adjoints(p);
    bool lasting = ag_program_status(vjp) != AG_ERR_MEMORY; /* next time there may be memory */
    if (lasting) q->vjp = vjp;
    if (lasting) ag_program_keep(vjp);
    pthread_mutex_unlock(&q->lock);
    return vjp;
}

/* ---- derived programs ---- */

struct ag_derived {
    ag_derived *next;
    ag_program *program;
    size_t key_size;
    char key[];
};

static ag_program *find_derived(const ag_program *p, const void *key, size_t key_size) {
    for (const ag_derived *d = p->derived; d; d = d->next)
        if (d->key_size == key_size && memcmp(d->key, key, key_size) == 0) return ag_program_keep(d->program);
    return NULL;
}

/* What failed is not kept: it may have been for lack of memory. */
static void keep_derived(ag_program *p, const void *key, size_t key_size, ag_program *made) {
    if (ag_program_status(made) != AG_OK) return;
    ag_derived *d = ag_memory_zeroed(&p->memory, sizeof *d + key_size);
    if (!d) return;
    d->program = ag_program_keep(made);
    d->key_size = key_size;
    memcpy(d->key, key, key_size);
    d->next = p->derived;
    p->derived = d;
}

ag_program *ag_program_derived(const ag_program *p, const void *key, size_t key_size, ag_deriver *make) {
    ag_program *q = (ag_program *)(uintptr_t)p;
    pthread_mutex_lock(&q->lock);
    ag_program *made = find_derived(p, key, key_size);
    if (!made) {
        made = make(p, key);
        keep_derived(q, key, key_size, made);
    }
    pthread_mutex_unlock(&q->lock);
    return made;
}

void ag_program_close_pool(ag_program *p) {
    while (p->derived) {
        ag_derived *d = p->derived;
        p->derived = d->next;
        ag_program_free(d->program);
        ag_memory_free(&p->memory, d, sizeof *d + d->key_size);
    }
    while (p->idle) {
        ag_runner *r = p->idle;
        p->idle = r->next;
        ag_runner_free(r);
    }
    ag_program_free(p->vjp);
    pthread_mutex_destroy(&p->lock);
}
